# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of a run: small, readable, written whole or not at all."""

from collections.abc import Iterable
from collections.abc import Mapping
import csv
import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax.training import _processes


class History:
  """``metrics.jsonl``: one line per step, and per validation.

  Holds nothing that two equal runs would not share (no times), so that the
  history of a resumed run equals that of an uninterrupted one. Of several
  processes, the first has it; the others know of their own steps only.

  Args:
    path: File to append to.
    start: Completed steps of the run that goes on: later lines, which were
      written after its checkpoint, are dropped.
  """

  def __init__(self, path: pathlib.Path, *, start: int = 0):
    self._path = path if _processes.is_first_process() else None
    self.records: list[dict[str, Any]] = []
    _processes.in_first_process(lambda: self._read(path, start))

  def _read(self, path: pathlib.Path, start: int) -> None:
    self.records = [r for r in read_history(path) if r['step'] <= start]
    write_text(path, ''.join(_line(r) for r in self.records))

  def append(self, records: Iterable[Mapping[str, Any]]) -> None:
    """Adds lines, in order."""
    added = [dict(record) for record in records]
    if self._path is not None:
      with self._path.open('a') as file:
        file.writelines(_line(record) for record in added)
    self.records += added


def read_history(path: pathlib.Path) -> list[dict[str, Any]]:
  """Lines of ``metrics.jsonl``; a last line cut short is left out.

  Raises:
    CheckpointError: If a whole line is not readable.
  """
  if not path.exists():
    return []
  lines = path.read_text().splitlines(keepends=True)
  try:
    return [json.loads(line) for line in lines if line.endswith('\n')]
  except json.JSONDecodeError as error:
    raise _errors.CheckpointError(
      f'{path} has a broken line: {error}. Put the file back, or remove the '
      'folder and start again.'
    ) from error


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a JSON file that is either the old or the new one."""
  write_text(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


def write_csv(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
  """Writes one line per dictionary; None is an empty cell."""
  with path.open('w', newline='') as file:
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
  """Reads what `write_csv` wrote; cells are text."""
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file that is either the old or the new one."""
  temporary = path.with_name(path.name + '.tmp')
  temporary.write_text(text)
  os.replace(temporary, path)


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
