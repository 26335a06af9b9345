# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of a run: small, readable, written whole or not at all."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import csv
import hashlib
import io
import json
import math
import os
import pathlib
import shutil
from typing import Any

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax.training import _processes

# Larger ones are no files of this package, and would fill the memory.
_MAX_BYTES = 2**26
_MAX_LINE = 2**20


class TornFileError(ValueError):
  """A file is not what was written into it; the text says why."""


class History:
  """``metrics.jsonl``: one line per step, and per validation.

  Holds nothing that two equal runs would not share (no times), so that the
  history of a resumed run equals that of an uninterrupted one. Of several
  processes, the first has it; the others know of their own steps only.

  Args:
    path: File to append to.
    start: Completed steps of the run that goes on: later lines, which were
      written after its checkpoint, are dropped, and so is what follows a line
      that cannot be read.
    also: Called with the records that are there, and with those that are added.
  """

  def __init__(
    self,
    path: pathlib.Path,
    *,
    start: int = 0,
    also: Callable[[list[dict[str, Any]]], None] | None = None,
  ):
    self._path = path if _processes.is_first_process() else None
    self._also = also
    self.records: list[dict[str, Any]] = []
    _processes.in_first_process(lambda: self._read(path, start))

  def _read(self, path: pathlib.Path, start: int) -> None:
    records, _ = _read_lines(path)
    self.records = [r for r in records if r['step'] <= start]
    write_text(path, ''.join(_line(r) for r in self.records))
    if self._also is not None:
      self._also([*self.records])

  def append(self, records: Iterable[Mapping[str, Any]]) -> None:
    """Adds lines, in order."""
    added = [dict(record) for record in records]
    if self._path is not None:
      with self._path.open('a') as file:
        file.writelines(_line(record) for record in added)
      if self._also is not None:
        self._also(added)
    self.records += added


def read_history(path: pathlib.Path) -> list[dict[str, Any]]:
  """Lines of ``metrics.jsonl``; a last line cut short is left out.

  Raises:
    CheckpointError: If a whole line is not readable.
  """
  records, problem = _read_lines(path)
  if problem:
    raise _errors.CheckpointError(
      f'{path} has a broken line: {problem}. Put the file back, or remove the '
      'folder and start again.'
    )
  return records


def whole_steps(
  path: pathlib.Path, validated_at: Iterable[int] = ()
) -> tuple[int, str]:
  """Up to which step ``metrics.jsonl`` has all that a run wrote.

  Args:
    path: The file.
    validated_at: Steps after which there is a validation too.

  Returns:
    The number of steps, from the first on, and what is wrong with the line
    after them; '' if they are only missing.
  """
  records, problem = _read_lines(path)
  marks = set(validated_at)
  whole = made = 0
  for record in records:
    if 'loss' in record:
      if record['step'] != made + 1 or whole != made:
        break
      made += 1
      whole = made - (made in marks)
    elif record['step'] == made:
      whole = made
  return whole, problem


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The object in a JSON file of a run.

  Raises:
    TornFileError: If there is none, or the file cannot be read.
  """
  try:
    if path.is_dir():
      raise TornFileError('it is a folder')
    if path.exists() and not path.is_file():
      raise TornFileError('it is no file')
    size = path.stat().st_size
    if size > _MAX_BYTES:
      raise TornFileError(f'it has {size} bytes')
    content = path.read_bytes()
  except FileNotFoundError as error:
    raise TornFileError('there is no such file') from error
  except OSError as error:
    raise TornFileError(error.strerror or str(error)) from error
  if not content.strip():
    raise TornFileError('it is empty')
  return _object(content)


def _read_lines(path: pathlib.Path) -> tuple[list[dict[str, Any]], str]:
  """Records up to the first broken line, and what is wrong with that."""
  records: list[dict[str, Any]] = []
  try:
    if path.is_dir():
      return records, 'it is a folder'
    with path.open('rb') as file:
      while line := file.readline(_MAX_LINE):
        if not line.endswith(b'\n'):
          too_long = len(line) == _MAX_LINE
          return records, f'line {len(records) + 1}' if too_long else ''
        record = _object(line)
        if type(record.get('step')) is not int:
          raise TornFileError('it has no step')
        records.append(record)
  except FileNotFoundError:
    return records, ''
  except OSError as error:
    return records, error.strerror or str(error)
  except TornFileError as error:
    return records, f'line {len(records) + 1}: {error}'
  return records, ''


def _object(content: bytes) -> dict[str, Any]:
  """The JSON object that bytes hold."""
  try:
    content_read = json.loads(
      content.decode(), parse_constant=_number, parse_float=_number
    )
  except UnicodeDecodeError as error:
    raise TornFileError('it is not UTF-8') from error
  except json.JSONDecodeError as error:
    raise TornFileError(
      f'{error.msg}, line {error.lineno} column {error.colno}'
    ) from error
  except RecursionError as error:
    raise TornFileError('it is nested too deeply') from error
  except ValueError as error:  # Of numbers.
    raise TornFileError(str(error)) from error
  if not isinstance(content_read, dict):
    raise TornFileError('it holds no object {...}')
  return content_read


def _number(text: str) -> float:
  number = float(text)
  if not math.isfinite(number):  # Which this package does not write.
    raise ValueError(f'it holds {text}')
  return number


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a JSON file that is either the old or the new one."""
  write_text(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


def write_csv(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
  """Writes one line per dictionary; None is an empty cell."""
  file = io.StringIO(newline='')
  writer = csv.DictWriter(file, fieldnames=list(rows[0]))
  writer.writeheader()
  writer.writerows(rows)
  write_text(path, file.getvalue())


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
  """Reads what `write_csv` wrote; cells are text.

  Raises:
    TornFileError: If the file is too large to be one of a run.
  """
  if path.stat().st_size > _MAX_BYTES:
    raise TornFileError(f'it has {path.stat().st_size} bytes')
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file that is either the old or the new one."""
  temporary = path.with_name(path.name + '.tmp')
  for place in (path, temporary):
    if place.is_dir():  # Which no file can replace.
      set_aside(place)
  # As it is: line ends of tables are their own.
  temporary.write_text(text, newline='')
  os.replace(temporary, path)


def set_aside(path: pathlib.Path) -> None:
  """Renames a damaged file, or what is in its place, to ``<name>.damaged``."""
  aside = path.with_name(path.name + '.damaged')
  if aside.is_dir() and not aside.is_symlink():
    shutil.rmtree(aside)
  os.replace(path, aside)


def params_sha256(params: Any) -> str:
  """Checksum of a parameter tree: names, dtypes, shapes and bits."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree.leaves_with_path(params):
    array = np.asarray(leaf)
    name = jax.tree_util.keystr(path)
    digest.update(f'{name} {array.dtype} {array.shape}\n'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def _line(record: Mapping[str, Any]) -> str:
  return json.dumps(record) + '\n'
