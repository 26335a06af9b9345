# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Facts about large files, such as their labels, that are read once."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import hashlib
import os
import pathlib
import tempfile

import numpy as np

from imbsam_jax import _npz

# Beside the compiled programs of runs.
FOLDER = '~/.cache/imbsam_jax/facts'
# Of a file, and how many of them are kept: those last used.
_MAX_BYTES = 1 << 26
_MAX_FILES = 64
_KEY = 'key'


def get(
  key_files: Iterable[str | os.PathLike[str]],
  name: str,
  compute: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
  """Arrays that are computed once, until one of their files changes.

  They are kept in a file in ``~/.cache/imbsam_jax/facts``, whose key is the
  name and the paths, sizes and times of change of the files. A file of the
  cache that cannot be read is computed and written anew, and one that cannot be
  written is left out; several processes may do so at once. Of more than 64
  files those that were not used for longest are removed; arrays of more than 64
  MB are not kept.

  Args:
    key_files: Files that the arrays depend on.
    name: What they are, and all else that they depend on.
    compute: Makes them: no objects, and none called 'key'.

  Returns:
    The arrays by name.
  """
  try:
    key = _key(key_files, name)
  except OSError:  # A file is missing: whoever reads it says so.
    return dict(compute())
  folder = pathlib.Path(FOLDER).expanduser()
  path = folder / f'{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz'
  with contextlib.suppress(OSError, ValueError):
    arrays = _npz.read(path)
    # An older file may have been written half, or by a program of another kind.
    if str(arrays.pop(_KEY, '')) == key and arrays:
      os.utime(path)
      return arrays
  arrays = dict(compute())
  with contextlib.suppress(OSError):
    _write(path, {_KEY: np.array(key), **arrays})
  return arrays


def _key(files: Iterable[str | os.PathLike[str]], name: str) -> str:
  lines = [name]
  for file in sorted(os.path.abspath(os.fspath(file)) for file in files):
    stat = os.stat(file)
    lines.append(f'{file!r} {stat.st_size} {stat.st_mtime_ns}')
  # NumPy drops zeros at the end of a text, and there are none here.
  return '\n'.join(lines)


def _write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  if sum(array.nbytes for array in arrays.values()) > _MAX_BYTES:
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temporary = tempfile.mkstemp(dir=path.parent, suffix='.tmp')
  try:
    with open(handle, 'wb') as file:
      np.savez_compressed(file, allow_pickle=False, **arrays)
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(temporary)
    raise
  _remove_old(path.parent)


def _remove_old(folder: pathlib.Path) -> None:
  """Removes what was not used for longest, also what was left half-written."""
  with os.scandir(folder) as entries:
    files = [
      entry for entry in entries if entry.name.endswith(('.npz', '.tmp'))
    ]
  by_use: list[tuple[float, str]] = []
  for file in files:
    with contextlib.suppress(OSError):  # Another process was faster.
      by_use.append((file.stat().st_mtime, file.path))
  for _, old in sorted(by_use)[: -_MAX_FILES or None]:
    with contextlib.suppress(OSError):
      os.unlink(old)
