# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random crop of a padded image."""

import jax
from jax import lax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.augment import _images


def pad_crop(
  key: jax.Array, image: ArrayLike, *, padding: int = 4
) -> jax.Array:
  """Pads with zeros on all sides and takes a random window of the old size.

  The augmentation of CIFAR of He et al., `Deep Residual Learning for Image
  Recognition <https://arxiv.org/abs/1512.03385>`_, CVPR 2016, together with
  `random_flip`. All ``(2 * padding + 1) ** 2`` windows are equally likely.

  >>> import jax, jax.numpy as jnp
  >>> images = jnp.ones((128, 32, 32, 3))
  >>> keys = jax.random.split(jax.random.key(0), 128)
  >>> jax.vmap(pad_crop)(keys, images).shape
  (128, 32, 32, 3)

  Args:
    key: Key of `jax.random`.
    image: Float or uint8 array, shape ``[H, W, C]``, of any range; what is
      padded is black where 0 is black, and the mean where images are
      normalized.
    padding: Rows and columns added on each side, >= 0.

  Returns:
    Array of the shape and dtype of `image`.

  Raises:
    ValueError: If `image` is not one image, or `padding` is negative.
    TypeError: If `image` has another dtype, or `padding` is not an integer.
  """
  _checks.integer('padding', padding, low=0)
  image = _images.check_image(image, 'pad_crop')
  row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1, jnp.int32)
  padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
  # Also under vmap faster than indices, selections or one-hot products.
  return lax.dynamic_slice(padded, (row, column, 0), image.shape)
