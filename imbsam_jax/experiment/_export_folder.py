# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``export.json``: what is in the folder of an export, with checksums."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

from imbsam_jax import _errors

FORMAT = 1
NAME = 'export.json'
MODEL = 'model.json'
CONFIG = 'config.json'
WEIGHTS = 'model.safetensors'
STABLEHLO = 'model.jaxexport'
ONNX = 'model.onnx'

# Bytes that are read at once.
_PIECE = 1 << 20


def is_export(folder: pathlib.Path) -> bool:
  """Whether a folder was written by `export`."""
  return (folder / NAME).is_file()


@contextlib.contextmanager
def written(output: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder that gets its name when it is whole.

  Args:
    output: The name; nothing may be there but an empty folder.

  Raises:
    ConfigError: If it cannot be written.
  """
  check_free(output)
  unfinished = output.with_name(f'.{output.name}.{os.getpid()}.tmp')
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    yield unfinished
    unfinished.rename(output)
  except OSError as error:
    raise _errors.ConfigError(
      f'`output={output}` cannot be written: {error.strerror}. Pass another '
      'folder.'
    ) from error
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def check_free(output: pathlib.Path) -> None:
  """Refuses a name under which there is something.

  Args:
    output: Folder to be written.

  Raises:
    ConfigError: If there is a file, or a folder that is not empty.
  """
  if not output.name:
    raise _errors.ConfigError('`output` must be the name of a new folder.')
  if os.path.lexists(output) and not (
    output.is_dir() and not any(output.iterdir())
  ):
    raise _errors.ConfigError(
      f'there is something in `output={output}` already. Pass another folder, '
      'or remove this one.'
    )


def write(folder: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes ``export.json``, with the checksums of all other files.

  Args:
    folder: The folder, with these files.
    content: What the file holds beside.
  """
  files = {
    path.name: {'sha256': _sha256(path), 'bytes': path.stat().st_size}
    for path in sorted(folder.iterdir())
  }
  content = {'format': FORMAT, **content, 'files': files}
  (folder / NAME).write_text(
    _text({**content, 'sha256': _own_sha256(content)}), encoding='utf-8'
  )


def read(folder: pathlib.Path, *, verify: bool = True) -> dict[str, Any]:
  """The content of ``export.json``.

  Args:
    folder: Folder of the export.
    verify: Whether it and all files are compared with their checksums.

  Raises:
    ConfigError: If there is no export, or it was written by a later version.
    CheckpointError: If a file is missing, or is not what was written.
  """
  path = folder / NAME
  if not path.exists():
    advice = ''
    if (folder / CONFIG).exists():
      advice = ' It looks like a run: load_run reads it, export exports it.'
    raise _errors.ConfigError(
      f'there is no export in {folder}, which has no {NAME}.{advice}'
    )
  try:
    text = path.read_text(encoding='utf-8')
    content = json.loads(text)
    version, files = content['format'], dict(content['files'])
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    raise _damaged(path, f'it cannot be read ({error!r})') from error
  if version != FORMAT:
    raise _errors.ConfigError(
      f'{path} has format {version}, and this version of imbsam_jax reads '
      f'{FORMAT}. Install the version that wrote it, which it names under '
      '"versions".'
    )
  if verify:
    known = content.pop('sha256', None)
    if known != _own_sha256(content) or text != _text(
      {**content, 'sha256': known}
    ):
      raise _damaged(path, 'its checksum is another one')
    for name, entry in files.items():
      _check(folder / name, entry)
  return content


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The content of another file of the folder.

  Args:
    path: Path of a JSON file.

  Raises:
    CheckpointError: If it cannot be read.
  """
  try:
    return dict(json.loads(path.read_text(encoding='utf-8')))
  except (OSError, ValueError, TypeError, RecursionError) as error:
    raise _damaged(path, f'it cannot be read ({error})') from error


def _check(path: pathlib.Path, entry: Mapping[str, Any]) -> None:
  try:
    size = path.stat().st_size
    if size != entry['bytes']:
      raise _damaged(path, f'it has {size} bytes, and had {entry["bytes"]}')
    if _sha256(path) != entry['sha256']:
      raise _damaged(path, f'its checksum is not that of {NAME}')
  except OSError as error:
    raise _damaged(path, f'it cannot be read ({error.strerror})') from error


def _damaged(path: pathlib.Path, why: str) -> _errors.CheckpointError:
  return _errors.CheckpointError(
    f'{path} is not what was exported: {why}. Copy the folder again, or export '
    'the run again.'
  )


def _text(content: Mapping[str, Any]) -> str:
  return json.dumps(content, indent=2, allow_nan=False) + '\n'


def _own_sha256(content: Mapping[str, Any]) -> str:
  return hashlib.sha256(_text(content).encode()).hexdigest()


def _sha256(path: pathlib.Path) -> str:
  digest = hashlib.sha256()
  with path.open('rb') as file:
    while piece := file.read(_PIECE):
      digest.update(piece)
  return digest.hexdigest()
