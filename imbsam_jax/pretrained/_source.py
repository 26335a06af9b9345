# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of tensors, whatever their format: headers first, then one by one.

Nothing is unpickled, and no tensor is read before all headers are known to be
true.
"""

from collections.abc import Callable
from collections.abc import Mapping
import hashlib
import os
import pathlib
from typing import NamedTuple
import zipfile

import jax.numpy as jnp
import numpy as np

from imbsam_jax import _npz
from imbsam_jax.pretrained import _memory
from imbsam_jax.pretrained import _safetensors
from imbsam_jax.pretrained import _shards

# A `.npz` of weights is not smaller than its arrays by more than this: random
# bits do not compress, and what does are a few biases that are still zero.
_MAX_COMPRESSION = 16
_SLACK = 1 << 20

_PICKLES = ('.pth', '.pt', '.bin', '.ckpt', '.pkl', '.pickle', '.tar')
_OTHERS = ('.msgpack', '.h5', '.hdf5', '.onnx', '.gguf')
_CONVERSION = (
  'Unpickling runs code of whoever wrote the file. Convert a file that you '
  'trust once, where PyTorch is installed: python -c "import torch; from '
  "safetensors.torch import save_file; s=torch.load('in.pth',"
  "map_location='cpu',weights_only=True); s=s.get('state_dict',s.get('model',"
  's)); save_file({k:v.contiguous().clone() for k,v in s.items() if hasattr(v,'
  "'shape')},'out.safetensors')\". OpenAI's ViT-B-16.pt is a TorchScript "
  'archive: torch.jit.load(...).state_dict() instead of torch.load.'
)


class Source(NamedTuple):
  """An opened file, or folder of files, of tensors.

  Attributes:
    path: Where it is.
    entries: Shape and dtype of each tensor, by its key.
    metadata: What the file says beside.
    read: Gives the tensor of a key, in the dtype of its entry.
    sha256: Gives the SHA-256 of the file, as hexadecimal digits.
  """

  path: str
  entries: Mapping[str, _safetensors.Entry]
  metadata: Mapping[str, str]
  read: Callable[[str], np.ndarray]
  sha256: Callable[[], str]


def open_source(path: str | os.PathLike[str]) -> Source:
  """The tensors of a file, known by its content and not by its name alone.

  Args:
    path: Path of a ``.npz`` or ``.safetensors`` file, or of a folder with
      ``model.safetensors`` or ``model.safetensors.index.json``.

  Raises:
    ValueError: If there is none, it is broken, or holds a pickle.
  """
  where = pathlib.Path(path).expanduser()
  try:
    if where.is_dir() or where.name.endswith(_shards.SUFFIX):
      return _folder(where)
    return _file(where)
  except OSError as error:
    raise ValueError(
      f'{where} cannot be read: {error.strerror or error}. Pass the path of a '
      '.npz or .safetensors file; nothing is downloaded.'
    ) from error


def _file(path: pathlib.Path) -> Source:
  suffix = path.suffix.lower()
  if suffix in _PICKLES:
    raise ValueError(f'{path} is a pickle by its name. {_CONVERSION}')
  if suffix in _OTHERS:
    raise ValueError(
      f'{path} is not a .npz or .safetensors file. Save its arrays by '
      'numpy.savez, under the names that timm or Google give them.'
    )
  with path.open('rb') as file:
    start = file.read(4)
  if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:
    raise ValueError(f'{path} is a pickle by its content. {_CONVERSION}')
  if start[:2] == b'PK':
    return _archive(path)
  if suffix == '.npz':
    raise ValueError(
      f'{path} is not a .npz file, which begins with PK, but with {start!r}. '
      'Download it again, and compare the sizes.'
    )
  contents = _safetensors.read_header(path)
  return Source(
    str(path),
    contents.entries,
    contents.metadata,
    lambda key: _safetensors.read(path, key, contents.entries[key]),
    lambda: _sha256(path),
  )


def _archive(path: pathlib.Path) -> Source:
  """A zip archive: ``.npz``, or what PyTorch writes, with a pickle in it."""
  try:
    with zipfile.ZipFile(path) as archive:
      names = archive.namelist()
  except OSError:
    raise
  except Exception as error:  # Broken archives raise all sorts.
    raise ValueError(
      f'{path} is a broken zip archive: {str(error)[:200]}. Download it again, '
      'and compare the sizes.'
    ) from error
  if any(name.rsplit('/', 1)[-1] == 'data.pkl' for name in names):
    raise ValueError(f'{path} holds a pickle, {names[0]!r}. {_CONVERSION}')
  if path.suffix.lower() == '.safetensors':
    raise ValueError(
      f'{path} is a zip archive, not a .safetensors file. If it is a .npz '
      'file, give it this name.'
    )
  limit = _MAX_COMPRESSION * os.path.getsize(path) + _SLACK
  headers = _npz.headers(path, most=limit)
  entries = {key: _entry(*header) for key, header in headers.items()}

  def read(key: str) -> np.ndarray:
    array = _npz.read_numbers(path, key, _memory.empty)
    return array.view(jnp.bfloat16) if array.dtype.str == '|V2' else array

  return Source(str(path), entries, {}, read, lambda: _sha256(path))


def _entry(shape: tuple[int, ...], dtype: np.dtype) -> _safetensors.Entry:
  # NumPy has no bfloat16, and writes what JAX has as two bytes of anything.
  if dtype.str == '|V2':
    return _safetensors.Entry(shape, np.dtype(jnp.bfloat16), 'bfloat16')
  is_float = dtype.kind == 'f' and dtype.itemsize <= 8
  return _safetensors.Entry(shape, dtype if is_float else None, str(dtype))


def _folder(path: pathlib.Path) -> Source:
  """A folder of shards with an index, or with a single file."""
  folder = path if path.is_dir() else path.parent
  index = path if path.is_file() else folder / f'model{_shards.SUFFIX}'
  single = folder / 'model.safetensors'
  if not index.is_file():
    if single.is_file():
      return _file(single)
    names = sorted(p.name for p in folder.iterdir())[:5]
    raise ValueError(
      f'{folder} must have a file {single.name!r} or {index.name!r}, and has '
      f'{names}. Pass the path of the file of weights itself.'
    )
  weight_map = _shards.read_index(index)
  parts = {
    name: _file(folder / name) for name in sorted(set(weight_map.values()))
  }
  entries = {}
  for key, name in weight_map.items():
    if key not in parts[name].entries:
      raise ValueError(
        f'{index} says that {key!r} is in {name}, and it is not. Download the '
        'folder again.'
      )
    entries[key] = parts[name].entries[key]

  def digest() -> str:
    digests = [_sha256(index), *(part.sha256() for part in parts.values())]
    return hashlib.sha256('\n'.join(digests).encode()).hexdigest()

  return Source(
    str(index),
    entries,
    {},
    lambda key: parts[weight_map[key]].read(key),
    digest,
  )


def _sha256(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
