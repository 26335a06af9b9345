# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Safe reading of .npz files that anyone may have written."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import math
import os
import zipfile

import numpy as np

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


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
  try:
    with zipfile.ZipFile(path) as archive:
      yield archive
  except _Unreadable as error:
    raise ValueError(str(error)) from error
  except Exception as error:  # Broken files raise all sorts.
    cause = getattr(error, 'strerror', None) or error
    raise ValueError(
      f'{path} cannot be read as a .npz file: {cause}.'
    ) from error


def _names_in(archive: zipfile.ZipFile) -> list[str]:
  return [name.removesuffix('.npy') for name in archive.namelist()]


class _Unreadable(ValueError):
  """An array that is not what it says, with the whole message."""


def _read_array(archive: zipfile.ZipFile, path: object, key: str) -> np.ndarray:
  info = archive.getinfo(f'{key}.npy')
  if info.file_size > MAX_COMPRESSION * info.compress_size + 1024 or (
    info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
  ):
    raise _Unreadable(
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
    raise _Unreadable(
      f'{path}: {key!r} holds Python objects, which could run code when read. '
      'Save it as an array of numbers.'
    )
  promised = math.prod(shape) * dtype.itemsize
  if min(shape, default=0) < 0 or promised > held:
    raise _Unreadable(
      f'{path}: the header of {key!r} promises {dtype} {shape}, so {promised} '
      f'bytes, but {held} follow. The file is cut off, or not what it seems.'
    )
  with archive.open(info) as file:
    return np.lib.format.read_array(file, allow_pickle=False)
