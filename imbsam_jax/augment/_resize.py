# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images resized on the device, and the weights of an interpolation."""

from collections.abc import Callable
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks

Method = Literal['bilinear', 'bicubic']
METHODS = ('bilinear', 'bicubic')


def resize_images(
  images: ArrayLike,
  size: int | tuple[int, int],
  *,
  method: Method = 'bilinear',
  rgb: bool = False,
) -> jax.Array:
  """Images of another size, each pixel an average of those around it.

  Centers of pixels are at halves, as in Pillow and in PyTorch with
  ``align_corners=False``. Where images become larger, 'bilinear' is
  ``torch.nn.functional.interpolate`` and Pillow's up to its rounding to bytes;
  where they become smaller, both methods are antialiased, as Pillow's are, and
  PyTorch's with ``antialias=True``. 'bicubic' is Keys's with a = -0.5; it
  overshoots, and is cut off at 0 and 1, as Pillow does.

  >>> import jax.numpy as jnp
  >>> image = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
  >>> resize_images(image, (1, 4)).ravel()
  Array([0.  , 0.25, 0.75, 1.  ], dtype=float32)

  The cost is two products of matrices, H x W and W x size, for each image and
  channel; from 32 to 224 pixels some 6 million multiplications.

  Args:
    images: Float array, shape ``[B, H, W, C]``, of pixels in [0, 1]; any range
      for 'bilinear'.
    size: Height and width, or one number for both.
    method: 'bilinear' or 'bicubic'.
    rgb: Whether gray images, of one channel, get three that are alike. Others
      have three already.

  Returns:
    Array ``[B, height, width, C]`` of the dtype of `images`.

  Raises:
    TypeError: If `images` are not floating point, or a size is not an integer.
    ValueError: If `images` do not have four axes, a size is below 1, the method
      is unknown, or there are neither one nor three channels for `rgb`.
  """
  images = jnp.asarray(images)
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise TypeError(
      f'`images` must be floating point, got {images.dtype}. Pass '
      'images.astype(jnp.float32) / 255 for bytes.'
    )
  if images.ndim != 4 or 0 in images.shape[1:]:
    raise ValueError(
      f'`images` must be [B, H, W, C] with pixels, got {images.shape}. Pass '
      'image[None] for one image.'
    )
  check_method(method)
  height, width = as_size(size)
  num_images, *old, num_channels = images.shape
  if rgb and num_channels not in (1, 3):
    raise ValueError(
      f'`rgb` is for images of 1 or 3 channels, got {num_channels}. Leave it '
      'out.'
    )
  if [height, width] != old:
    images = jax.image.resize(
      images,
      (num_images, height, width, num_channels),
      'linear' if method == 'bilinear' else 'cubic',
      antialias=True,
    )
    if method == 'bicubic':
      images = jnp.clip(images, 0.0, 1.0)
  if rgb and num_channels == 1:
    images = jnp.repeat(images, 3, axis=-1)
  return images


def as_size(size: Any, name: str = 'size') -> tuple[int, int]:
  """Height and width of one number or two.

  Raises:
    TypeError: If a number is not an integer.
    ValueError: If it is below 1, or there are not two.
  """
  if not isinstance(size, (tuple, list)):
    return (_checks.integer(name, size),) * 2
  if len(size) != 2:
    raise ValueError(
      f'`{name}` must be one number, or (height, width), got {size!r}.'
    )
  return _checks.integer(name, size[0]), _checks.integer(name, size[1])


def check_method(method: str) -> None:
  """Refuses unknown methods of interpolation.

  Raises:
    ValueError: If `method` is unknown.
  """
  if method not in METHODS:
    raise ValueError(
      f"`method` must be 'bilinear' or 'bicubic', got {method!r}."
    )


def interpolation(
  start: jax.Array,
  length: jax.Array,
  *,
  num_old: int,
  num_new: int,
  method: Method,
) -> jax.Array:
  """Weights ``[num_new, num_old]`` that resize a part of an axis.

  Pixels beside the part have the weight 0, as if it had been cut out before.

  Args:
    start: First pixel of the part, may be traced.
    length: Number of its pixels, likewise.
    num_old: Pixels of the axis.
    num_new: Pixels that the part becomes.
    method: 'bilinear' or 'bicubic'.
  """
  start = start.astype(jnp.float32)
  length = length.astype(jnp.float32)
  old = jnp.arange(num_old, dtype=jnp.float32) + 0.5
  new = start + (jnp.arange(num_new, dtype=jnp.float32) + 0.5) * (
    length / num_new
  )
  # Antialiased where it becomes smaller: the kernel is as wide as a new pixel.
  reach = jnp.maximum(length / num_new, 1.0)
  weights = _KERNELS[method](jnp.abs(old[None, :] - new[:, None]) / reach)
  inside = (old > start) & (old < start + length)
  weights = jnp.where(inside[None, :], weights, 0.0)
  return weights / jnp.sum(weights, axis=1, keepdims=True)


def _triangle(x: jax.Array) -> jax.Array:
  return jnp.maximum(1.0 - x, 0.0)


def _keys(x: jax.Array) -> jax.Array:
  """Keys's cubic with a = -0.5."""
  near = (1.5 * x - 2.5) * x * x + 1.0
  far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
  return jnp.where(x < 1.0, near, jnp.where(x < 2.0, far, 0.0))


_KERNELS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'bilinear': _triangle,
  'bicubic': _keys,
}
