# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``.safetensors`` files, read and written by the library of that name.

It compares the header with the size of the file, so that no tensor has gaps
before it, overlaps another or ends after the file
(https://github.com/huggingface/safetensors).
"""

from collections.abc import Mapping
import json
import os
import pathlib
import secrets
from typing import Any
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

# The longest header that is read; that of a ViT-B/16 has 16 KB. The library
# takes 100 MB, then 15 times as much memory, and parses for seconds, once for
# each tensor.
MAX_HEADER = 1 << 20
_FLOATS: dict[str, np.dtype] = {
  'F64': np.dtype('<f8'),
  'F32': np.dtype('<f4'),
  'F16': np.dtype('<f2'),
  'BF16': np.dtype(jnp.bfloat16),
}
_AGAIN = 'Download it again, and compare the sizes.'


class Entry(NamedTuple):
  """What the header says of a tensor.

  Attributes:
    shape: Its shape.
    dtype: Its dtype; None if it has none of the float dtypes.
    dtype_name: Name of its dtype in the file.
  """

  shape: tuple[int, ...]
  dtype: np.dtype | None
  dtype_name: str


class Contents(NamedTuple):
  """A header.

  Attributes:
    entries: The tensors, by their keys.
    metadata: What the file says beside.
  """

  entries: dict[str, Entry]
  metadata: dict[str, str]


def read_header(path: pathlib.Path) -> Contents:
  """The header of a file, compared with the size of the file.

  Args:
    path: Path of the file.

  Raises:
    OSError: If the file cannot be opened.
    ValueError: If it is no such file, cut off, or its header is not true.
  """
  size = os.path.getsize(path)
  with path.open('rb') as file:
    length = int.from_bytes(file.read(8), 'little')
  if size < 10 or length > size - 8:
    raise ValueError(
      f'{path} is no .safetensors file, or cut off: it has {size} bytes, and '
      f'its header would have {length}. {_AGAIN}'
    )
  if length > MAX_HEADER:
    raise ValueError(
      f'{path}: a header of {length} bytes is more than the {MAX_HEADER} that '
      f'are read. {_AGAIN}'
    )
  try:
    with safetensors.safe_open(path, framework='np') as file:
      entries = {key: _entry(file.get_slice(key)) for key in file.keys()}
      return Contents(entries, file.metadata() or {})
  except (safetensors.SafetensorError, OSError) as error:
    raise ValueError(
      f'{path} is no .safetensors file, or cut off: {_clipped(error)}. {_AGAIN}'
    ) from error


def read(path: pathlib.Path, key: str, entry: Entry) -> np.ndarray:
  """A tensor.

  The file is opened for each: as long as it is open, all that was read of it
  stays in the memory of the process, beside the copies.

  Args:
    path: Path of the file.
    key: Its key.
    entry: What the header says of it.

  Raises:
    ValueError: If it has no float dtype, or the file is not what it was when
      its header was read.
  """
  if entry.dtype is None:
    raise ValueError(
      f'{path}: {key[:80]!r} must have a float dtype, {", ".join(_FLOATS)}, '
      f'got {entry.dtype_name}. Save it as float32.'
    )
  try:
    with safetensors.safe_open(path, framework='np') as file:
      array = file.get_tensor(key)
  # Its own errors, of the system, and of NumPy for a shape that it refuses.
  except Exception as error:
    raise ValueError(
      f'{path}: {key[:80]!r} cannot be read: {_clipped(error)}. {_AGAIN}'
    ) from error
  if (array.shape, array.dtype) != (entry.shape, entry.dtype):
    raise ValueError(
      f'{path}: {key[:80]!r} has changed while it was read. Read it when it is '
      'written.'
    )
  return array


def write(
  path: str | os.PathLike[str],
  tensors: Mapping[str, np.ndarray],
  metadata: Mapping[str, str],
) -> None:
  """Writes tensors, and replaces the file whole.

  Args:
    path: Path of the file.
    tensors: The tensors, by their keys.
    metadata: What the file says beside, in ASCII.

  Raises:
    OSError: If the folder cannot be written to.
    ValueError: If the file cannot be written, as on a full disk.
  """
  # The library writes the bytes as they lie in memory.
  arrays = {key: np.ascontiguousarray(a) for key, a in tensors.items()}
  path = pathlib.Path(path).expanduser()
  part = path.with_name(f'{path.name}.{secrets.token_hex(4)}.part')
  try:
    part.touch()
    mode = part.stat().st_mode
    safetensors_numpy.save_file(arrays, part, dict(metadata))
    part.chmod(mode)  # The library makes it readable by its owner alone.
    _settle(part)
    part.replace(path)
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{path} cannot be written: {_clipped(error)}. See that its folder has '
      'room.'
    ) from error
  finally:
    part.unlink(missing_ok=True)


def _settle(path: pathlib.Path) -> None:
  """Sorts the metadata, so that the same tensors give the same bytes.

  The library writes them in an order that is random. Then all goes to the disk.
  """
  with path.open('r+b') as file:
    length = int.from_bytes(file.read(8), 'little')
    header = json.loads(file.read(length))
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':')).encode().ljust(length)
    assert len(text) == length, (len(text), length)
    file.seek(8)
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def _entry(tensor: Any) -> Entry:
  name = str(tensor.get_dtype())
  return Entry(tuple(tensor.get_shape()), _FLOATS.get(name), name)


def _clipped(error: Exception) -> str:
  return str(error)[:200]
