# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`auxiliary_examples`: images of other things than the classes, by text."""

import os
from typing import Any

import numpy as np

from imbsam_jax import _errors as errors_lib
from imbsam_jax import _npz
from imbsam_jax import _paths
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _errors
from imbsam_jax.data import _file_listing
from imbsam_jax.data import _host_arrays
from imbsam_jax.data import _image_files
from imbsam_jax.data import _same_rows
from imbsam_jax.data import _sources
from imbsam_jax.data import _textures

TEXTURES = 'textures'
_KINDS = ('tfds', 'folder', 'npz')
_ARRAYS = ('auxiliary', 'images', 'x_train', 'X')

# Textures of an in-memory set: as many as these bytes hold, within the bounds.
_TEXTURE_BYTES = 2**25
_MIN_TEXTURES, _MAX_TEXTURES = 256, 2048

# Of 2**16, what red, green and blue count in a gray value, as for Pillow.
_GRAY = (19595, 38470, 7471)


def check_auxiliary(text: str) -> None:
  """Refuses a text that names no auxiliary images; reads nothing.

  Raises:
    ConfigError: If it is none of the texts of `auxiliary_examples`.
  """
  kind, _, place = text.partition(':')
  if text != TEXTURES and (kind not in _KINDS or not place):
    raise errors_lib.ConfigError(
      f'`data.auxiliary` must be {TEXTURES}, tfds:NAME, tfds:NAME:SPLIT, '
      f'folder:PATH or npz:PATH, got {text!r}.'
    )


def auxiliary_examples(
  text: str,
  like: Any,
  *,
  data_dir: str | None = None,
  exif_orientation: bool = True,
) -> _sources.Examples:
  """Images of other things than the classes, as the training images are.

  Methods such as Open-sampling train on them. They have no labels: those of the
  result are -1.

  `textures` are made here, up to 2,048, see `data.textures`. Images of a folder
  or of TFDS come to the size of the training images: those that have it as they
  are, others as in evaluation, see `EncodedImages`; and to their one or three
  channels. They are decoded now where the training images are in memory, else
  when a batch needs them.

  Args:
    text: 'textures'; 'tfds:NAME' or 'tfds:NAME:SPLIT', of 'train' if no split
      is named; 'folder:PATH', all images in it and in the folders within; or
      'npz:PATH', the array 'auxiliary', 'images', 'x_train' or 'X' of the file,
      or its only one.
    like: Training images: an array ``[N, ...]``, or `EncodedImages`.
    data_dir: Where prepared TFDS data sets are; None is TFDS's own default.
    exif_orientation: Whether images are turned as EXIF says.

  Returns:
    Examples whose images have shape and dtype of the training images.

  Raises:
    ConfigError: If there is no such text, or the training examples are no
      images that textures could be made like.
    DataError: If the images are not there, or cannot be brought to that shape
      and dtype.
  """
  check_auxiliary(text)
  kind, _, place = text.partition(':')
  if kind == TEXTURES:
    images = _textures_like(like)
  elif kind == 'npz':
    return fitted_examples(_of_npz(os.path.expanduser(place)), like)
  elif kind == 'folder':
    images = _of_folder(os.path.expanduser(place), like, exif_orientation)
  else:
    name, _, split = place.partition(':')
    images = _of_tfds(name, split or 'train', data_dir, like, exif_orientation)
  return _without_labels(images)


def fitted_examples(images: np.ndarray, like: Any) -> _sources.Examples:
  """Arrays of one's own as auxiliary images.

  Args:
    images: Array ``[N, ...]``.
    like: Training images: an array ``[N, ...]``, or `EncodedImages`.

  Raises:
    DataError: If there is none, they are not finite, or have another shape than
      the training images, or hold bytes where those hold floats, or floats on
      another scale.
  """
  images = _host_arrays.host_array(images, 'auxiliary images')
  if not images.ndim or not len(images):
    raise _errors.DataError(
      'auxiliary images must be an array [N, ...] of at least one, got shape '
      f'{images.shape}.'
    )
  if like.shape[1:] == (*images.shape[1:], 1):  # Gray images.
    images = images[..., None]
  source = _sources.ArraySource(images, np.zeros(len(images), np.int32))
  images = source.examples(np.arange(len(images))).images
  _same_rows.check_like(like, images, 'auxiliary')
  return _without_labels(images)


def _without_labels(images: Any) -> _sources.Examples:
  return _sources.Examples(images, np.full(len(images), -1, np.int32))


def _textures_like(like: Any) -> np.ndarray:
  shape = like.shape[1:]
  if len(shape) != 3:
    raise errors_lib.ConfigError(
      f'the training examples have shape {list(shape)} and are no images '
      '[height, width, channels], so that no textures are made like them. Pass '
      'auxiliary examples of your own: `data.auxiliary=npz:PATH`, or '
      'experiment.Sources(..., auxiliary=array).'
    )
  num_bytes = int(np.prod(shape)) * like.dtype.itemsize
  number = np.clip(_TEXTURE_BYTES // num_bytes, _MIN_TEXTURES, _MAX_TEXTURES)
  bounds: dict[str, Any] = {}
  if like.dtype != np.uint8:
    for name, reduce in (('low', np.min), ('high', np.max)):
      bounds[name] = reduce(like, axis=tuple(range(like.ndim - 1)))
  return _textures.textures(int(number), shape, dtype=like.dtype, **bounds)


def _of_npz(path: str) -> np.ndarray:
  try:
    names = _npz.names_of(path)
    known = [name for name in _ARRAYS if name in names]
    if not known and len(names) == 1:
      known = names
    if known:
      return _npz.read(path, known[:1])[known[0]]
  except ValueError as error:
    raise _errors.DataError(str(error)) from error
  raise _errors.DataError(
    f'{path} has the arrays {names[:10]}; auxiliary images are expected as '
    f'{", ".join(map(repr, _ARRAYS))}, or as the only array.'
  )


def _of_folder(folder: str, like: Any, exif_orientation: bool) -> Any:
  if not os.path.isdir(folder):
    raise _errors.DataError(
      f'there is no folder of auxiliary images {folder}. Pass '
      '`data.auxiliary=folder:PATH`.'
    )
  paths = _file_listing.list_images(folder).paths
  if not paths:
    raise _errors.DataError(
      f'{folder} holds no image, neither itself nor in the folders within. '
      'Images are files that begin like a JPEG, PNG, WebP, BMP, GIF, PPM or '
      'TIFF.'
    )

  def path(i):
    return os.path.join(folder, paths[i])

  def read(i):
    with open(path(i), 'rb') as file:
      return file.read()

  return _decoded(
    read,
    lambda i: _paths.printable(path(i)),
    len(paths),
    like,
    exif_orientation=exif_orientation,
    identify=lambda i: _image_files.identity(folder, paths[i]),
  )


def _of_tfds(
  name: str,
  split: str,
  data_dir: str | None,
  like: Any,
  exif_orientation: bool,
) -> Any:
  _, rows = _sources.tfds_rows(
    name, split, data_dir=data_dir, needed=('image',)
  )
  return _decoded(
    lambda i: rows.__getitems__([i])[0]['image'],
    lambda i: f'example {i} of {name} {split}',
    len(rows),
    like,
    exif_orientation=exif_orientation,
  )


def _decoded(
  read: Any, describe: Any, number: int, like: Any, **how: Any
) -> Any:
  """Encoded images in the shape of the training images."""
  *sides, channels = like.shape[1:] if like.ndim == 4 else (0, 0, 0)
  if like.dtype != np.uint8 or channels not in (1, 3) or sides[0] != sides[1]:
    raise _errors.DataError(
      f'the training images are {like.dtype} {list(like.shape[1:])}; encoded '
      'auxiliary images are decoded to uint8, square, with 1 or 3 channels. '
      'Bring them to the form of the training images yourself and pass '
      '`data.auxiliary=npz:PATH`.'
    )
  options: Any = {'size': sides[0], 'indices': np.arange(number)} | how
  if not isinstance(like, np.ndarray):
    return _encoded_images.EncodedImages(read, describe, **options)
  encoded = _WholeImages(read, describe, **options)
  images = np.empty((number, *like.shape[1:]), np.uint8)
  for i in range(number):
    image = encoded[i]
    images[i] = image if channels == 3 else _to_gray(image)
  return images


def _to_gray(image: np.ndarray) -> np.ndarray:
  """``[height, width, 1]``; an image that is gray already stays as it is."""
  weights = np.array(_GRAY, np.int32)
  gray = (image * weights).sum(axis=-1, keepdims=True)
  return ((gray + 2**15) >> 16).astype(np.uint8)


class _WholeImages(_encoded_images.EncodedImages):
  """Images that have the size already are not cut."""

  def _evaluation_box(
    self, image_size: tuple[int, int]
  ) -> tuple[float, float, float, float]:
    if image_size == self.shape[1:3]:
      return (0.0, 0.0, float(image_size[0]), float(image_size[1]))
    return super()._evaluation_box(image_size)
