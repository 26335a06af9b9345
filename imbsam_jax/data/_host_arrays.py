# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whatever holds numbers as NumPy arrays, or what to do about it."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from imbsam_jax.data import _errors

# Sides of an image; fewer are channels.
_MIN_SIDE = 5
_CHANNELS = (1, 3)
_NUMBERS = (int, float, np.number, np.bool_)


def host_array(values: Any, name: str) -> np.ndarray:
  """An array of numbers or texts on the host, without a copy where possible.

  Arrays of NumPy (memory-mapped ones too), JAX and PyTorch, frames of pandas
  and lists are taken.

  Args:
    values: The array.
    name: What messages call it.

  Raises:
    DataError: If values are missing (masked), rows have different shapes, or
      it is a sparse matrix, has named fields, or holds anything else.
  """
  if hasattr(values, 'toarray') and hasattr(values, 'nnz'):
    raise _errors.DataError(
      f'{name} is a sparse matrix, {type(values).__name__}. Pass '
      'matrix.toarray().'
    )
  if isinstance(values, np.ma.MaskedArray):
    return _unmasked(values, name)
  try:
    array = np.asarray(values)
  except Exception as error:  # Of any library whose array it is.
    raise _errors.DataError(f'{name} is not an array: {error}') from error
  if array.dtype.names is not None:
    raise _errors.DataError(
      f'{name} has named fields, {", ".join(array.dtype.names[:10])}. Pass '
      'numpy.lib.recfunctions.structured_to_unstructured(array).'
    )
  if array.dtype == object:
    return _of_objects(array, name)
  if array.dtype.kind == 'V' and not is_floating(array.dtype):
    raise _errors.DataError(
      f'{name} must hold numbers, got dtype {array.dtype}.'
    )
  return array


def is_floating(dtype: np.dtype) -> bool:
  """Whether numbers are floating point, bfloat16 and its like too."""
  return bool(jnp.issubdtype(dtype, jnp.floating))


def image_array(values: Any) -> np.ndarray:
  """Images, or feature vectors, as uint8 or float32.

  Integers are taken where their meaning is certain: as uint8 where images hold
  0 to 255, as float32 where they are features ``[N, D]``.

  Args:
    values: ``[N, ...]``.

  Raises:
    DataError: If values are not finite, are integers beyond 0 to 255 in images,
      have their channels first, or as for `host_array`.
  """
  images = host_array(values, '`images`')
  _check_channels_last(images)
  if is_floating(images.dtype):
    return _finite_float32(images)
  if images.dtype == np.uint8:
    return images
  if images.dtype.kind not in 'biu':
    raise _errors.DataError(
      f'`images` must be uint8 or floating point, got {images.dtype}. '
      'Pass images.astype("float32").'
    )
  if images.ndim < 3 or images.dtype == bool:
    return images.astype(np.float32)
  low, high = (int(images.min()), int(images.max())) if images.size else (0, 0)
  if low >= 0 and high <= 255:
    return images.astype(np.uint8)
  raise _errors.DataError(
    f'`images` must be uint8 (0 to 255) or floating point, got {images.dtype} '
    f'from {low} to {high}. Pass (images / {_full_scale(low, high)})'
    '.astype("float32"), the images of all splits divided by the same number.'
  )


def _full_scale(low: int, high: int) -> int:
  """The largest value of as many bits."""
  return 2 ** max(abs(low), high).bit_length() - 1


def _unmasked(values: np.ma.MaskedArray, name: str) -> np.ndarray:
  missing = np.argwhere(np.ma.getmaskarray(values))
  if len(missing):
    raise _errors.DataError(
      f'{name} is a masked array whose values are missing in '
      f'{len(np.unique(missing[:, :1]))} rows, first in row '
      f'{missing[0][0] if missing.shape[1] else 0}. Leave these rows out, or '
      'fill them by array.filled(value).'
    )
  return np.asarray(values.data)


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
  """Python objects as an array of their own dtype."""
  if array.ndim == 0:
    raise _errors.DataError(
      f'{name} must be an array with a row for each example, got '
      f'{type(array[()]).__name__}.'
    )
  entries = array.ravel()
  if not entries.size:
    return np.zeros(array.shape)
  first = entries[0]
  if hasattr(first, 'shape') and array.ndim == 1 and np.ndim(first):
    shapes = [np.shape(entry) for entry in entries]
    other = next((i for i, s in enumerate(shapes) if s != shapes[0]), None)
    if other is None:
      return host_array(np.stack(list(entries)), name)
    raise _errors.DataError(
      f'{name} must have rows of one shape, got {shapes[0]} in row 0 and '
      f'{shapes[other]} in row {other}. Resize or cut them to the same shape.'
    )
  if all(isinstance(entry, str) for entry in entries):
    return array.astype(str)
  if all(isinstance(entry, _NUMBERS) for entry in entries):
    return _of_numbers(array, name)
  # Of texts it is what is no text, such as None.
  texts = isinstance(first, str) and array.ndim == 1
  kinds = str if texts else _NUMBERS
  wrong = next(i for i, x in enumerate(entries) if not isinstance(x, kinds))
  place = np.unravel_index(wrong, array.shape)
  raise _errors.DataError(
    f'{name} must hold {"texts" if texts else "numbers"}, got '
    f'{str(entries[wrong])[:40]!r} ({type(entries[wrong]).__name__}) in row '
    f'{place[0]}'
    + (f', column {place[1]}' if array.ndim == 2 else '')
    + '. Leave such rows or columns out, or replace them.'
  )


def _of_numbers(array: np.ndarray, name: str) -> np.ndarray:
  """Python's numbers as int64 where all are whole, else as float64."""
  try:
    numbers = array.astype(np.float64)
  except OverflowError as error:
    raise _errors.DataError(f'{name}: {error}. Leave it out.') from error
  whole = np.isfinite(numbers) & (numbers == np.round(numbers))
  if whole.all() and abs(numbers).max() < 2**53:
    return array.astype(np.int64)
  return numbers


def _check_channels_last(images: np.ndarray) -> None:
  """Refuses ``[N, C, height, width]``, in which the last axis is no channel."""
  if images.ndim != 4:
    return
  _, first, height, last = images.shape
  if first in _CHANNELS and height >= _MIN_SIDE and last >= _MIN_SIDE:
    raise _errors.DataError(
      f'`images` must be [N, height, width, channels], got {images.shape}, '
      'which is [N, channels, height, width]. Pass images.transpose(0, 2, 3, '
      f'1). If they are {first} pixels high indeed, with {last} channels, pass '
      'images.transpose(0, 2, 1, 3).'
    )


def _finite_float32(images: np.ndarray) -> np.ndarray:
  with np.errstate(over='ignore'):
    images = images.astype(np.float32)
  finite = np.isfinite(images.reshape(len(images), -1)).all(axis=1)
  if not finite.all():
    raise _errors.DataError(
      f'`images` has NaN or infinity in row {np.flatnonzero(~finite)[0]} '
      f'({np.sum(~finite)} such rows). Remove or repair these rows.'
    )
  return images
