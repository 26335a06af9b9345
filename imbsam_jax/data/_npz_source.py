# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Source of arrays in a .npz file."""

from collections.abc import Sequence
import math
import os
from typing import Any
import zipfile

import numpy as np

from imbsam_jax.data import _errors
from imbsam_jax.data import _sources

# Deflate, the one compression that NumPy writes, gains no more than this.
_MAX_COMPRESSION = 1032


class NpzSource(_sources.ArraySource):
  """Images (or feature vectors) and labels of a ``.npz`` file.

  Nothing is unpickled, and no array is made before the file is known to hold
  as many bytes.

  Args:
    path: A file of `numpy.savez` or `numpy.savez_compressed`.
    split: 'train' takes ``x_train`` and ``y_train``, 'test' ``x_test`` and
      ``y_test``, as in the files of Keras. None is for files of one split:
      ``images`` and ``labels``, or ``X`` and ``y``.
    class_names: As for `ArraySource`.

  Raises:
    DataError: The file is missing, broken, or has other arrays; and as for
      `ArraySource`.
    ValueError: An unknown split.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    split: str | None = None,
    *,
    class_names: Sequence[str] | None = None,
  ):
    if split not in ('train', 'test', None):
      raise ValueError(
        f"`split` must be 'train', 'test' or None, got {split!r}."
      )
    pairs = (
      (('images', 'labels'), ('X', 'y'))
      if split is None
      else ((f'x_{split}', f'y_{split}'),)
    )
    try:
      with zipfile.ZipFile(path) as archive:
        found = [name.removesuffix('.npy') for name in archive.namelist()]
        pair = next((pair for pair in pairs if set(pair) <= set(found)), None)
        if pair is None:
          expected = ' or '.join(f'{x!r} and {y!r}' for x, y in pairs)
          raise _errors.DataError(
            f'{path} has the arrays {found[:10]}; {expected} are expected for '
            f'split={split!r}.{_other_split(found)}'
          )
        images, labels = (_read_array(archive, path, key) for key in pair)
    except _errors.DataError:
      raise
    except Exception as error:  # Broken files raise all sorts.
      cause = getattr(error, 'strerror', None) or error
      raise _errors.DataError(
        f'{path} cannot be read as a .npz file: {cause}.'
      ) from error
    super().__init__(images, labels, class_names=class_names)


def _other_split(found: Sequence[str]) -> str:
  if 'x_train' in found:
    return " Pass 'train' or 'test'."
  if {'images', 'X'} & set(found):
    return ' Leave `split` out.'
  return ''


def _read_array(archive: zipfile.ZipFile, path: Any, key: str) -> np.ndarray:
  info = archive.getinfo(f'{key}.npy')
  if info.file_size > _MAX_COMPRESSION * info.compress_size + 1024 or (
    info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
  ):
    raise _errors.DataError(
      f'{path}: {key!r} cannot be {info.file_size} bytes, compressed to '
      f'{info.compress_size}. Save it anew by numpy.savez_compressed.'
    )
  with archive.open(info) as file:
    version = np.lib.format.read_magic(file)
    read_header = {
      (1, 0): np.lib.format.read_array_header_1_0,
      (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(file)
    held = info.file_size - file.tell()
  if dtype.hasobject:
    raise _errors.DataError(
      f'{path}: {key!r} holds Python objects, which could run code when read. '
      'Save it as an array of numbers.'
    )
  promised = math.prod(shape) * dtype.itemsize
  if min(shape, default=0) < 0 or promised > held:
    raise _errors.DataError(
      f'{path}: the header of {key!r} promises {dtype} {shape}, so {promised} '
      f'bytes, but {held} follow. The file is cut off, or not what it seems.'
    )
  with archive.open(info) as file:
    return np.lib.format.read_array(file, allow_pickle=False)
