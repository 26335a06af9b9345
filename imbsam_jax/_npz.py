# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Safe reading of .npz files that anyone may have written."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import math
import os
from typing import IO
import zipfile

import numpy as np

# Bytes that are read at once.
_PIECE = 1 << 20
# Deflate, the compression of .npz and .mat files, gains no more than this.
MAX_COMPRESSION = 1032


def read(
  path: str | os.PathLike[str], names: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
  """Arrays of a ``.npz`` file.

  Nothing is unpickled, and no array is made before the file is known to hold
  as many bytes.

  Args:
    path: Path of the file.
    names: Names of the arrays to read; None reads all.

  Raises:
    ValueError: If the file is missing or broken, or an array is not in it.
  """
  with _opened(path) as archive:
    if names is None:
      names = _names_in(archive)
    return {name: _read_array(archive, path, name) for name in names}


def names_of(path: str | os.PathLike[str]) -> list[str]:
  """Names of the arrays in a file.

  Raises:
    ValueError: If the file is missing or broken.
  """
  with _opened(path) as archive:
    return _names_in(archive)


def headers(
  path: str | os.PathLike[str], *, most: float = math.inf
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """Shapes and dtypes of all arrays of a file, from their headers.

  Args:
    path: Path of the file.
    most: Bytes that the arrays may have together.

  Raises:
    ValueError: If the file is missing or broken, an array is not what it says,
      or they are larger than `most`.
  """
  with _opened(path) as archive:
    size = sum(info.file_size for info in archive.infolist())
    if size > most:
      raise _Unreadable(
        f'{path}: the arrays have {size} bytes, compressed to '
        f'{os.path.getsize(path)}. Weights do not compress like this.'
      )
    checked = {
      name: _checked_header(archive, path, name) for name in _names_in(archive)
    }
  return {name: (shape, dtype) for name, (shape, _, dtype) in checked.items()}


def read_numbers(
  path: str | os.PathLike[str],
  name: str,
  empty: Callable[[tuple[int, ...], np.dtype], np.ndarray],
) -> np.ndarray:
  """An array of numbers, in memory of the caller's choice.

  Args:
    path: Path of the file.
    name: Name of the array.
    empty: Makes an array in C order of a shape and a dtype.

  Raises:
    ValueError: If the file is missing or broken, or the array is not in it.
  """
  with _opened(path) as archive:
    shape, fortran_order, dtype = _checked_header(archive, path, name)
    array = empty(shape[::-1] if fortran_order else shape, dtype)
    view = memoryview(array.reshape(-1).view(np.uint8))
    with archive.open(f'{name}.npy') as file:
      _header_of(file)
      # Piece by piece: what `zipfile` reads it has in memory once more.
      for start in range(0, len(view), _PIECE):
        piece = view[start : start + _PIECE]
        piece[:] = file.read(len(piece))
      if file.read(1):  # At the end it compares the checksum, too.
        raise _Unreadable(
          f'{path}: {name!r} is longer than its header says, {dtype} {shape}.'
        )
    return array.T if fortran_order else array


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
  try:
    with zipfile.ZipFile(path) as archive:
      yield archive
  except _Unreadable as error:
    raise ValueError(str(error)) from error
  except Exception as error:  # Broken files raise all sorts.
    # Some errors have half of the file in their text.
    cause = str(getattr(error, 'strerror', None) or error)[:200]
    raise ValueError(
      f'{path} cannot be read as a .npz file: {cause}.'
    ) from error


def _names_in(archive: zipfile.ZipFile) -> list[str]:
  names = [name.removesuffix('.npy') for name in archive.namelist()]
  twice = next((name for name in names if names.count(name) > 1), None)
  if twice is not None:
    raise _Unreadable(
      f'{archive.filename} has two arrays {twice!r}. Save it anew by '
      'numpy.savez.'
    )
  return names


class _Unreadable(ValueError):
  """An array that is not what it says, with the whole message."""


def _read_array(archive: zipfile.ZipFile, path: object, key: str) -> np.ndarray:
  _checked_header(archive, path, key)
  with archive.open(f'{key}.npy') as file:
    return np.lib.format.read_array(file, allow_pickle=False)


def _checked_header(
  archive: zipfile.ZipFile, path: object, key: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
  """The header of an array that the file can hold, see `_header_of`."""
  info = archive.getinfo(f'{key}.npy')
  if info.file_size > MAX_COMPRESSION * info.compress_size + 1024 or (
    info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
  ):
    raise _Unreadable(
      f'{path}: {key!r} cannot be {info.file_size} bytes, compressed to '
      f'{info.compress_size}. Save it anew by numpy.savez_compressed.'
    )
  with archive.open(info) as file:
    shape, fortran_order, dtype = _header_of(file)
    held = info.file_size - file.tell()
  if dtype.hasobject:
    raise _Unreadable(
      f'{path}: {key!r} holds Python objects, which could run code when read. '
      'Save it as an array of numbers, or texts by array.astype(str).'
    )
  promised = math.prod(shape) * dtype.itemsize
  if min(shape, default=0) < 0 or promised > held:
    raise _Unreadable(
      f'{path}: the header of {key!r} promises {dtype} {shape}, so {promised} '
      f'bytes, but {held} follow. The file is cut off, or not what it seems.'
    )
  return shape, fortran_order, dtype


def _header_of(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
  """Shape, whether the first axis is the fastest, and dtype."""
  version = np.lib.format.read_magic(file)
  read_header = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
  }[version]
  return read_header(file)
