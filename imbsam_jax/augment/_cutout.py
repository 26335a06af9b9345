# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cutout: a square of one color."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.augment import _images


def cutout(
  key: jax.Array, image: ArrayLike, *, size: int = 16, fill: ArrayLike = 0
) -> jax.Array:
  """Covers a square around a random pixel.

  DeVries and Taylor, `Improved Regularization of Convolutional Neural Networks
  with Cutout <https://arxiv.org/abs/1708.04552>`_, arXiv 2017. The center is
  uniform over all pixels and the square is cut off at the border, so less than
  ``size ** 2`` pixels are covered in many images; the paper finds that
  important. It begins ``size // 2`` before the center.

  Args:
    key: Key of `jax.random`.
    image: Float or uint8 array, shape ``[H, W, C]``, of any range.
    size: Side of the square, >= 0: the paper takes 16 for CIFAR-10, 8 for
      CIFAR-100, 20 for SVHN.
    fill: Color, a scalar or ``[C]``, in the range of the image. The paper
      covers normalized images with 0, their mean: before normalization pass
      the mean color.

  Returns:
    Array of the shape and dtype of `image`.

  Raises:
    ValueError: If `image` is not one image, `size` is negative, or `fill` has
      another shape or is beyond uint8.
    TypeError: If `image` has another dtype, or `size` is not an integer.

  .. note::
    The square of the authors' code has the side ``2 * (size // 2)``, which is
    one less for odd sizes.
  """
  _checks.integer('size', size, low=0)
  image = _images.check_image(image, 'cutout')
  pixel = _images.fill_pixel(fill, image)
  height, width, _ = image.shape
  start = jax.random.randint(
    key, (2,), 0, jnp.array([height, width], jnp.int32), jnp.int32
  )
  start -= size // 2
  # A mask: the size of a slice would have to be known while tracing.
  rows = jnp.arange(height, dtype=jnp.int32) - start[0]
  columns = jnp.arange(width, dtype=jnp.int32) - start[1]
  covered = ((rows >= 0) & (rows < size))[:, None]
  covered &= ((columns >= 0) & (columns < size))[None, :]
  return jnp.where(covered[:, :, None], pixel, image)
