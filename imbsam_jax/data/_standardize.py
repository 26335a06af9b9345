# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Standardization of stored images, as the input of a model."""

from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import augment

# Mean and standard deviation of the channels.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Standardization(NamedTuple):
  """Zero mean and unit variance per channel; a function of stored images.

  Images of another size than `size` are resized, as a whole. An evaluation
  looks at their `center` before, or at `five_crops` of them.

  Attributes:
    scale: Stored value of a pixel that is 1: 255 for bytes.
    mean: Mean of each channel in [0, 1], float32 with the axes of images.
    std: Standard deviation of each channel, likewise.
    size: Height and width of the input; None is those of the images.
    method: Interpolation, 'bilinear' or 'bicubic'.
    rgb: Whether gray images become three channels that are alike.
  """

  scale: float
  mean: jax.Array
  std: jax.Array
  size: tuple[int, int] | None = None
  method: Any = 'bilinear'
  rgb: bool = False

  def __call__(self, images: jax.Array) -> jax.Array:
    """The input of a model, of stored images ``[B, ...]``."""
    pixels = images.astype(jnp.float32) / self.scale
    if self.size is not None or self.rgb:
      pixels = augment.resize_images(
        pixels,
        self.size or (pixels.shape[1], pixels.shape[2]),
        method=self.method,
        rgb=self.rgb,
      )
    return self.of_pixels(pixels)

  def of_pixels(self, pixels: jax.Array) -> jax.Array:
    """The input of a model, of pixels; of bytes these are in [0, 1]."""
    return (pixels - self.mean) / self.std

  def pixels(self, inputs: jax.Array) -> jax.Array:
    """What `of_pixels` made the input of a model from."""
    return inputs * self.std + self.mean

  def center(self, images: jax.Array) -> jax.Array:
    """The part of stored images that an evaluation sees, at its size.

    Images are resized to 8/7 of `size`, 256 for 224, and the center is cut out,
    as by LIFT and GNM-PT. Those that have this size already stay as they are.

    Args:
      images: Array ``[B, H, W, C]``.

    Returns:
      Array ``[B, height, width, C]`` in the range of `images`, float32 where
      they were resized.
    """
    if self.size is None or self.size == images.shape[1:3]:
      return images
    height, width = self.size
    larger = self._resized(
      images, (round(height * 8 / 7), round(width * 8 / 7))
    )
    top = round((larger.shape[1] - height) / 2)
    left = round((larger.shape[2] - width) / 2)
    return larger[:, top : top + height, left : left + width]

  def five_crops(
    self, images: jax.Array, margin: int | None = None
  ) -> tuple[jax.Array, ...]:
    """The corners of stored images, and their center, at the size of the input.

    Images are resized to `margin` pixels more in height and width, 248 for 224
    as by LIFT's test-time ensembling, and cut. The mean of a model's logits of
    all five is less dependent on where its patches begin.

    Args:
      images: Array ``[B, H, W, C]``.
      margin: Pixels more, at least 1; None is 24 of 224, in proportion to the
        shorter side.

    Returns:
      Five float32 arrays ``[B, height, width, C]`` in the range of `images`:
      upper left, upper right, lower left, lower right, center.
    """
    height, width = self.size or images.shape[1:3]
    if margin is None:
      margin = max(1, round(min(height, width) * 24 / 224))
    larger = self._resized(images, (height + margin, width + margin))
    half = round(margin / 2)
    starts = ((0, 0), (0, margin), (margin, 0), (margin, margin), (half, half))
    return tuple(
      larger[:, top : top + height, left : left + width] for top, left in starts
    )

  def _resized(self, images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Stored images of another size, in their range."""
    pixels = images.astype(jnp.float32) / self.scale
    return self.scale * augment.resize_images(pixels, size, method=self.method)


def standardization(
  images: Any,
  *,
  size: int | tuple[int, int] | None = None,
  method: Literal['bilinear', 'bicubic'] = 'bilinear',
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
  rgb: bool = False,
) -> Standardization:
  """Zero mean and unit variance per channel of the training images.

  A trained trunk has been standardized by constants of its own, and has its own
  size of input: images of 32 pixels stay bytes of 32 pixels in memory, and
  become 224 pixels within the step.

  Args:
    images: Training images; of encoded ones the statistics are those of
      ImageNet, as is usual.
    size: Height and width of the input, or one number for both; None is those
      of the images.
    method: Interpolation, 'bilinear' or 'bicubic'; see `augment.resize_images`.
    mean: Mean of each channel in [0, 1], in place of that of the images.
    std: Standard deviation of each channel, likewise.
    rgb: Whether gray images become three channels that are alike.

  Returns:
    The function from stored images to the input of a model.

  Raises:
    ValueError: If images cannot be resized, only one of `mean` and `std` is
      given, or they do not fit the images.
  """
  scale = 255.0 if images.dtype == np.uint8 else 1.0
  if size is not None:
    size = _checked_size(images, size)
  if rgb and images.ndim != 4:
    raise ValueError(
      '`rgb` is for images [N, H, W, C], and these examples have the shape '
      f'{images.shape}. Leave it out.'
    )
  if size is not None and method == 'bicubic' and scale == 1.0:
    raise ValueError(
      "'bicubic' is cut off at the range of bytes, and these images are "
      f"{images.dtype}. Pass uint8 images, or method='bilinear'."
    )
  if (mean is None) != (std is None):
    raise ValueError(
      f'`mean` and `std` go together, got {mean} and {std}. Pass both or none.'
    )
  if mean is not None and std is not None:
    means, stds = _constants(images, mean, std, rgb)
  else:
    means, stds = _statistics(images, scale)
  made = Standardization(
    scale,
    jnp.asarray(means, jnp.float32),
    jnp.asarray(np.where(stds > 0, stds, 1.0), jnp.float32),
    size,
    method,
    rgb,
  )
  # Tried on one image, so that what does not fit is refused here.
  sample = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
  if size is not None or rgb:
    jax.eval_shape(made, sample)
  return made


def _checked_size(images: Any, size: Any) -> tuple[int, int]:
  """Height and width to which images can be resized."""
  height, width = size if isinstance(size, (tuple, list)) else (size, size)
  size = _checks.integer('size', height), _checks.integer('size', width)
  if images.ndim != 4:
    raise ValueError(
      '`size` is for images [N, H, W, C], and these examples have the shape '
      f'{images.shape}. Leave it out.'
    )
  if not isinstance(images, np.ndarray) and images.shape[1:3] != size:
    raise ValueError(
      f'images are decoded to {images.shape[1]}x{images.shape[2]}, and the '
      f'network takes {size[0]}x{size[1]}. Pass `data.image_size={size[0]}`, '
      'so that they are resized once.'
    )
  return size


def _constants(
  images: Any, mean: Sequence[float], std: Sequence[float], rgb: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Constants of a trained network, with the axes of images."""
  num_channels = 3 if rgb else images.shape[-1]
  if images.ndim != 4 or {len(mean), len(std)} != {num_channels}:
    hint = ' Gray images become three with `rgb=True`.' * (
      images.shape[-1] == 1
    )
    raise ValueError(
      '`mean` and `std` must be a number for each channel of images '
      f'[N, H, W, C], got {len(mean)} and {len(std)} for {images.shape}.{hint}'
    )
  if images.dtype != np.uint8 and (images.min() < 0 or images.max() > 1):
    raise ValueError(
      '`mean` and `std` are of pixels in [0, 1], and those of these images are '
      f'from {images.min():g} to {images.max():g}. Pass uint8 images.'
    )
  if min(std) <= 0:
    raise ValueError(f'`std` must be above 0, got {tuple(std)}.')
  return np.reshape(mean, (1, 1, 1, -1)), np.reshape(std, (1, 1, 1, -1))


def _statistics(images: Any, scale: float) -> tuple[Any, Any]:
  """Mean and standard deviation per channel, with the axes of images."""
  if not isinstance(images, np.ndarray):
    mean, std = (np.array(x).reshape(1, 1, 1, 3) for x in _IMAGENET)
    return mean, std
  if images.dtype == np.uint8 and images.ndim == 4:
    return _statistics_of_bytes(images)
  axes = tuple(range(images.ndim - 1))
  return (
    images.mean(axis=axes, dtype=np.float64, keepdims=True) / scale,
    images.std(axis=axes, dtype=np.float64, keepdims=True) / scale,
  )


def _statistics_of_bytes(
  images: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation per channel, in [0, 1].

  From histograms: exact, and many times faster than sums of float64 images.
  """
  values = np.arange(256) / 255
  means, variances = [], []
  for channel in np.moveaxis(images, -1, 0):
    counts = np.bincount(channel.ravel(), minlength=256)
    means.append(counts @ values / counts.sum())
    variances.append(counts @ (values - means[-1]) ** 2 / counts.sum())
  shape = (1, 1, 1, -1)
  return np.reshape(means, shape), np.sqrt(np.reshape(variances, shape))
