# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Softmax cross entropy."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(
  logits: jax.typing.ArrayLike, labels: jax.typing.ArrayLike
) -> jax.Array:
  r"""Cross entropy of the softmax, :math:`-\log p_y`, one value per example.

  >>> import jax.numpy as jnp
  >>> print(cross_entropy(jnp.zeros((1, 10)), jnp.array([3])))
  [2.3025851]

  Args:
    logits: Any float dtype ``[B, C]``; computed in float32.
    labels: Int ``[B]``, values in ``[0, C)``.

  Returns:
    float32 ``[B]``, not reduced.
  """
  logits = jnp.asarray(logits).astype(jnp.float32)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
