# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Single images, new ones, as a run stores them."""

from collections.abc import Sequence
import os
from typing import Any

import numpy as np
from PIL import Image

from imbsam_jax import _paths
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _errors

# Values of pixels in [0, 1] that rounding may give.
_SLACK = 1e-3


class ImageReader:
  """Makes files, pictures of Pillow and arrays into rows of a trained network.

  A file is decoded as in evaluation: where images are `EncodedImages`, the
  shorter side is resized and the center cut out; elsewhere an image stays as it
  is, and must have the shape of the others. Gray images become three channels
  that are alike, and colors their luminance (ITU-R 601), where the others have
  three channels or one.

  Args:
    shape: Shape of a row, ``[H, W, C]`` of an image.
    dtype: Dtype in which the run stored it. To uint8, floats are pixels in
      [0, 1].
    is_encoded: Whether images were `EncodedImages`.
    resize: Whether images of another size are taken: by the rule above where
      images were encoded; elsewhere the largest part in the middle that has
      the ratio of the sides, resized.
    value_range: Smallest and largest value of stored floats, or None.
    exif_orientation: Whether pictures are turned as EXIF says.
  """

  def __init__(
    self,
    shape: Sequence[int],
    dtype: Any,
    *,
    is_encoded: bool = False,
    resize: bool = False,
    value_range: Sequence[float] | None = None,
    exif_orientation: bool = True,
  ):
    self.shape = tuple(shape)
    self.dtype = np.dtype(dtype)
    self._is_encoded = is_encoded
    self._resize = resize
    self._range = value_range
    self._exif_orientation = exif_orientation

  def from_file(self, path: str | os.PathLike[str]) -> np.ndarray:
    """The row of an image file.

    Args:
      path: A JPEG, PNG, WebP, BMP, GIF, PPM or TIFF file.

    Raises:
      DataError: If it cannot be read or decoded, or has another size.
    """
    name = os.path.expanduser(path)
    shown = _paths.printable(name)
    self._check_takes_pictures(shown)

    def read(i):
      del i
      with open(name, 'rb') as file:
        return file.read()

    if self._is_encoded:
      images = _encoded_images.EncodedImages(
        read,
        lambda i: shown,
        size=self.shape[0],
        indices=np.arange(1),
        exif_orientation=self._exif_orientation,
      )
      return images[0]
    content = _encoded_images.named_content(read, lambda i: shown, 0)
    (image,) = _encoded_images.decode_all(
      [content], exif_orientation=self._exif_orientation
    )
    return self._of_bytes(image, shown)

  def from_picture(self, picture: Image.Image) -> np.ndarray:
    """The row of a picture of Pillow, as that of a file with its pixels.

    Raises:
      DataError: If it has another size, or pixels of more than 8 bits.
    """
    name = 'the picture'
    self._check_takes_pictures(name)
    try:
      picture.load()
      turn = 1
      if self._exif_orientation:
        turn = _encoded_images.orientation(picture)
      if picture.mode in ('1', 'L') and not self._is_encoded:
        gray = _encoded_images.turned(picture.convert('L'), turn)
        image = np.asarray(gray)[..., None]
      else:
        rgb = _encoded_images.to_rgb(picture)
        image = np.asarray(_encoded_images.turned(rgb, turn))
    except Exception as error:  # Pillow's readers raise all sorts.
      raise _errors.DataError(f'{name} cannot be read: {error}.') from error
    if self._is_encoded:
      return self._fitted(image)
    return self._of_bytes(image, name)

  def from_arrays(self, images: np.ndarray) -> np.ndarray:
    """Rows of an array of examples.

    Args:
      images: uint8 or float array ``[N, ...]``.

    Returns:
      Array ``[N, *shape]`` in the range of the stored ones: bytes stay bytes,
      and floats for bytes become float32 in [0, 255].

    Raises:
      DataError: If shape, dtype or range are not those of the run.
    """
    if self.dtype == np.uint8:
      images = self._checked_pixels(images)
    else:
      images = self._checked_floats(images)
    if images.shape[1:] == self.shape:
      return images
    of_images = len(self.shape) == 3 and images.ndim == 4
    if of_images and images.shape[1:-1] == self.shape[:-1]:
      raise _errors.DataError(
        f'the images of this run have {self.shape[-1]} channels, got '
        f'{images.shape[-1]}, shape {images.shape}. Pass '
        'images.mean(axis=-1, keepdims=True) for gray ones, or images.repeat('
        '3, axis=-1) for colors.'
      )
    same_channels = of_images and images.shape[-1] == self.shape[-1]
    if not (self._resize and same_channels):
      advice = ' Pass `resize=True` to have them resized.' * same_channels
      raise _errors.DataError(
        f'the examples of this run have the shape {self.shape}, got '
        f'{images.shape[1:]}, of an array of {images.shape}.{advice}'
      )
    if not len(images):
      return np.empty((0, *self.shape), images.dtype)
    return np.stack([self._fitted(image) for image in images])

  def _check_takes_pictures(self, name: str) -> None:
    if len(self.shape) == 3 and self.shape[-1] in (1, 3):
      if self.dtype == np.uint8:
        return
      why = f'floats ({self.dtype}), whose scale for bytes is not known'
    else:
      why = f'examples of the shape {self.shape}'
    raise _errors.DataError(
      f'{name} is a picture, and this run was trained on {why}. Pass arrays '
      'that were made as its examples were.'
    )

  def _of_bytes(self, image: np.ndarray, name: str) -> np.ndarray:
    """Decoded bytes in the colors and size of the others."""
    if image.shape[-1] == 1 and self.shape[-1] == 3:
      image = np.repeat(image, 3, axis=-1)
    elif image.shape[-1] == 3 and self.shape[-1] == 1:
      image = np.asarray(Image.fromarray(image).convert('L'))[..., None]
    if image.shape == self.shape:
      return image
    if not self._resize:
      height, width, _ = image.shape
      raise _errors.DataError(
        f'{name} has {width}x{height} pixels, and the images of this run have '
        f'{self.shape[1]}x{self.shape[0]}. Pass `resize=True` to have others '
        'resized.'
      )
    return self._fitted(image)

  def _fitted(self, image: np.ndarray) -> np.ndarray:
    """An image ``[h, w, C]`` at the size of the others."""
    height, width = self.shape[:2]
    size = image.shape[1], image.shape[0]
    if self._is_encoded:
      box = _encoded_images.evaluation_box(size, height)
    else:
      box = _middle(size, (width, height))

    def resized(picture):
      return np.asarray(
        picture.resize(
          (width, height), resample=Image.Resampling.BILINEAR, box=box
        )
      )

    if image.dtype == np.uint8 and image.shape[-1] == 3:
      return resized(Image.fromarray(image))
    channels = np.moveaxis(image, -1, 0)
    return np.stack([resized(Image.fromarray(one)) for one in channels], -1)

  def _checked_pixels(self, images: np.ndarray) -> np.ndarray:
    """Bytes, or the bytes that floats in [0, 1] are shares of."""
    if images.dtype == np.uint8:
      return images
    _check_numbers(images, 'uint8 images, or floats in [0, 1]')
    if not np.issubdtype(images.dtype, np.floating):
      raise _errors.DataError(
        f'images must be uint8, or floats in [0, 1], got {images.dtype}. Pass '
        'images.astype(np.uint8) if they are in 0 to 255.'
      )
    low, high = _extremes(images)
    if high > 1 + _SLACK or low < -_SLACK:
      if low < -_SLACK:
        advice = 'do not standardize images, which this does'
      else:
        advice = 'pass images.astype(np.uint8) or images / 255'
      raise _errors.DataError(
        'the images of this run are bytes, so floats must be pixels in [0, 1], '
        f'got {low:g} to {high:g}; {advice}.'
      )
    return np.float32(255) * images.astype(np.float32)

  def _checked_floats(self, images: np.ndarray) -> np.ndarray:
    """Floats in the range of the stored ones, as far as it tells."""
    _check_numbers(images, f'{self.dtype} in the scale of the training images')
    low, high = _extremes(images)
    of_pixels = (
      len(self.shape) == 3
      and self._range is not None
      and self._range[0] >= 0
      and self._range[1] <= 1 + _SLACK
    )
    if images.dtype == np.uint8 or (of_pixels and high > 2):
      known = ''
      if self._range is not None:
        known = f' from {self._range[0]:g} to {self._range[1]:g}'
      raise _errors.DataError(
        f'this run was trained on {self.dtype}{known}, got {images.dtype} from '
        f'{low:g} to {high:g}. Pass them in that scale, such as images / 255.'
      )
    return images.astype(self.dtype)


def _middle(
  size: tuple[int, int], wanted: tuple[int, int]
) -> tuple[float, float, float, float]:
  """The largest box in the middle with a ratio of width to height."""
  pairs = list(zip(size, wanted, strict=True))
  factor = min(have / want for have, want in pairs)
  sides = [min(factor * want, have) for have, want in pairs]
  left, top = (size[0] - sides[0]) / 2, (size[1] - sides[1]) / 2
  return left, top, left + sides[0], top + sides[1]


def _check_numbers(images: np.ndarray, expected: str) -> None:
  is_float = np.issubdtype(images.dtype, np.floating)
  if images.dtype != np.uint8 and not (
    is_float or np.issubdtype(images.dtype, np.integer)
  ):
    raise _errors.DataError(f'expected {expected}, got {images.dtype}.')
  if is_float and not np.isfinite(images).all():
    raise _errors.DataError(
      f'expected {expected}, got values that are not finite.'
    )


def _extremes(images: np.ndarray) -> tuple[float, float]:
  return (float(images.min()), float(images.max())) if images.size else (0, 0)
