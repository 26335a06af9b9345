# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws of classes, which all samplers on the device share."""

import jax
import jax.numpy as jnp
import numpy as np

# No data set has this row, and no problem this class: NumPy refuses it.
NOTHING = np.iinfo(np.int32).max


def draw_classes(
  key: jax.Array, probabilities: jax.Array, num_samples: int
) -> jax.Array:
  """Classes by their probabilities, with replacement.

  Args:
    key: Key of `jax.random`.
    probabilities: Float32 array, shape ``[C]``, >= 0; divided by its sum.
    num_samples: Number of draws.

  Returns:
    Int32 array, shape ``[num_samples]``; `NOTHING` if no class has a
    probability above 0, or one is NaN.
  """
  # Inverse of the cumulative distribution. Rare classes come first, near 0,
  # where float32 still tells 1 in 2**32 apart: near 1 it could not resolve
  # classes of a few images in half a million. Classes with probability 0 end
  # at exactly 0, and nothing is drawn below that.
  order = jnp.argsort(probabilities)
  ends = jnp.cumsum(probabilities[order])
  bits = jax.random.bits(key, (num_samples,), jnp.uint32)
  points = bits.astype(jnp.float32) * (2.0**-32) * ends[-1]
  ranks = jnp.searchsorted(ends, points, side='right')
  # A point that rounds up to the total belongs to the last.
  classes = order[jnp.minimum(ranks, len(order) - 1)].astype(jnp.int32)
  return jnp.where(ends[-1] > 0, classes, NOTHING)
