# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random horizontal flip."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.augment import _images


def random_flip(
  key: jax.Array, image: ArrayLike, *, probability: ArrayLike = 0.5
) -> jax.Array:
  """Swaps left and right with a probability.

  Args:
    key: Key of `jax.random`.
    image: Float or uint8 array, shape ``[H, W, C]``, of any range.
    probability: Probability of a flip, may be traced.

  Returns:
    Array of the shape and dtype of `image`.

  Raises:
    ValueError: If `image` is not one image, or `probability` is out of range.
    TypeError: If `image` has another dtype, or `probability` is not a number.
  """
  _checks.number('probability', probability, low=0, high=1)
  image = _images.check_image(image, 'random_flip')
  probability = jnp.asarray(probability).astype(jnp.float32)
  flips = jax.random.uniform(key, (), jnp.float32) < probability
  return jnp.where(flips, image[:, ::-1], image)
