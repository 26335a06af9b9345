# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Post-hoc logit adjustment: the prior is taken out after training."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks


def post_hoc_logit_adjustment(
  logits: ArrayLike, class_counts: ArrayLike, *, tau: float = 1.0
) -> jax.Array:
  r"""Takes the prior out of the logits of a trained model.

  .. math::
    z_c - \tau \log \pi_c, \qquad \pi_c = n_c / N

  Menon et al., `Long-Tail Learning via Logit Adjustment
  <https://arxiv.org/abs/2007.07314>`_, ICLR 2021. For a model that was trained
  with plain cross entropy on the data as they come: after
  `logit_adjusted_cross_entropy`, class weights or balanced sampling the prior
  would be taken out twice.

  >>> print(post_hoc_logit_adjustment([[2.0, 1.5]], [75, 25]).argmax(axis=-1))
  [1]

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head.
    class_counts: Numbers, shape ``[C]``, of the training set, concrete or
      traced; only their ratios count. A class with 0 gets the logit -inf: it
      was never seen, and is never predicted.
    tau: Strength >= 0, 1 or chosen on validation data from 0 to 2; 0 leaves
      the logits.

  Returns:
    Float32 array, shape ``[B, C]``.

  Raises:
    ValueError: If `tau` is negative, or `class_counts` does not
      have one entry per class.
    TypeError: If `logits` are not floating point, or `class_counts` are not
      numbers.
  """
  _checks.number('tau', tau, low=0)
  logits = _checks.float_logits(logits)
  counts = _checks.loss_counts(class_counts, logits.shape[1])
  positive = jnp.where(counts > 0, counts, 1.0)
  log_prior = jnp.log(positive) - jnp.log(jnp.sum(counts))
  strength = jnp.asarray(tau).astype(jnp.float32)
  adjusted = logits - (strength * log_prior)[None]
  return jnp.where(counts[None] > 0, adjusted, -jnp.inf)
