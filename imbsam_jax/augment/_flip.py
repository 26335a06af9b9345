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
    image: Float or uint8 ``[H, W, C]`` of any range.
    probability: In [0, 1], may be traced.

  Returns:
    The shape and dtype of `image`.

  Raises:
    ValueError: Not one image, or a `probability` out of range.
    TypeError: Another dtype, or a `probability` that is no number.
  """
  _checks.number('probability', probability, low=0, high=1)
  image = _images.check_image(image, 'random_flip')
  probability = jnp.asarray(probability).astype(jnp.float32)
  flips = jax.random.uniform(key, (), jnp.float32) < probability
  return jnp.where(flips, image[:, ::-1], image)
