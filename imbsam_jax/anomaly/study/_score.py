# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of new rows by the detector of a run, without its table."""

import contextlib
import csv
import json
import os
import pathlib
import sys
from typing import Any

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import folder
from imbsam_jax.anomaly.study import _config

STDOUT = '-'
TABLE = 'table.json'
_FORMAT = 1
_LISTED = 5


def write_columns(table: data.Table, workdir: pathlib.Path) -> None:
  """Writes which columns a run was fitted to, as `score` wants to know them."""
  training.write_json(
    workdir / TABLE,
    {
      'format': _FORMAT,
      'columns': list(table.columns),
      'label': table.label,
      'named': table.named,
    },
  )


def score(
  workdir: pathlib.Path,
  source: str | os.PathLike[str],
  output: str,
  *,
  skip: bool = False,
) -> str:
  """Scores the rows of a file by the detector of a run.

  The table that the detector was fitted to is not needed. Columns are found by
  their names; the label column and others are left out.

  Args:
    workdir: Folder of a run of the program ``anomaly``.
    source: File of the rows, see `imbsam_jax.data.read_table`; no labels.
    output: File to write, .csv, which is there when it is whole; '-' is the
      standard output. Its columns are ``row`` (from 0, as in the file),
      ``score`` (higher is more anomalous), ``is_anomaly`` (whether it is above
      the threshold of the detector) and ``rank`` (1 is the most anomalous); and
      ``error`` with `skip`.
    skip: Whether a row that cannot be read is written with its error, instead
      of being an error.

  Returns:
    What is to be said of it.

  Raises:
    ConfigError: If there is no run, or the output cannot be written.
    DataError: If the file cannot be read, or lacks columns.
    CheckpointError: If the detector of the run is missing or broken.
  """
  config = folder.read_config(workdir, _config.Config)
  del config  # Whether it is a run.
  if output != STDOUT and pathlib.PurePath(output).suffix.lower() != '.csv':
    raise _errors.ConfigError(
      f'`output={output}` must end in .csv, or be - for the standard output.'
    )
  detector = _detector(workdir)
  columns = _columns(workdir, detector)
  path = pathlib.Path(source).expanduser()
  rows = data.read_rows(path, columns, skip=skip)
  if rows.errors and len(rows.errors) == len(rows.features):
    raise data.DataError(
      f'{path}: no row can be read; {rows.errors[min(rows.errors)]}'
    )
  lines = _lines(detector, rows, with_errors=skip)
  if output == STDOUT:
    _write(sys.stdout, lines)
    sys.stdout.flush()
  else:
    _write_file(pathlib.Path(output).expanduser(), lines)
  return _summary(lines, rows, columns, output)


def _detector(workdir: pathlib.Path) -> anomaly.DeepSAD:
  path = workdir / 'detector.npz'
  if not path.is_file():
    raise _errors.CheckpointError(
      f'{workdir} has no detector.npz: the run is not complete. Call the '
      'command that began it again.'
    )
  try:
    return anomaly.DeepSAD.load(path)
  except ValueError as error:
    raise _errors.CheckpointError(
      f'{error} Copy it anew, or call the command of the run again.'
    ) from error


def _columns(workdir: pathlib.Path, detector: anomaly.DeepSAD) -> data.Columns:
  """What the run was fitted to; runs of earlier versions know the number."""
  path, number = workdir / TABLE, detector.n_features_in_
  if not path.exists():
    return data.Columns(tuple(str(i) for i in range(number)))
  try:
    content = json.loads(path.read_text())
    columns = data.Columns(
      tuple(map(str, content['columns'])), content['label'], content['named']
    )
    if content['format'] != _FORMAT or len(columns.columns) != number:
      raise ValueError(f'{len(columns.columns)} columns, {number} are expected')
  except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
    raise _errors.CheckpointError(
      f'{path} is broken: {error}. Call the command of the run again.'
    ) from error
  return columns


def _lines(
  detector: anomaly.DeepSAD, rows: data.Rows, *, with_errors: bool
) -> list[dict[str, Any]]:
  """What is written, a line for each row."""
  whole = np.array([i not in rows.errors for i in range(len(rows.features))])
  scores = detector.decision_function(rows.features[whole])
  above = scores > detector.fitted_.threshold
  # Rows of the same score have the same rank.
  ranks = len(scores) - np.searchsorted(np.sort(scores), scores, 'right') + 1
  values = zip(scores, above, ranks, strict=True)
  lines = []
  for row in range(len(rows.features)):
    line: dict[str, Any] = {'row': row}
    if whole[row]:
      own, is_anomaly, rank = next(values)
      line |= {'score': float(own), 'is_anomaly': int(is_anomaly)}
      line['rank'] = int(rank)
    else:
      line |= {'score': '', 'is_anomaly': '', 'rank': ''}
    if with_errors:
      line['error'] = rows.errors.get(row, '')
    lines.append(line)
  return lines


def _write(stream: Any, lines: list[dict[str, Any]]) -> None:
  writer = csv.DictWriter(stream, list(lines[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(lines)


def _write_file(path: pathlib.Path, lines: list[dict[str, Any]]) -> None:
  temporary = path.with_name(f'{path.name}.tmp')
  try:
    with temporary.open('w', newline='', encoding='utf-8') as file:
      _write(file, lines)
    temporary.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      temporary.unlink()
    raise _errors.ConfigError(
      f'`output={path}` cannot be written: {error.strerror}.'
    ) from error


def _summary(
  lines: list[dict[str, Any]],
  rows: data.Rows,
  columns: data.Columns,
  output: str,
) -> str:
  """What was scored, and what was left out."""
  number = sum(line['is_anomaly'] == 1 for line in lines)
  text = f'{console.counted(len(lines), "row")}, {number} above the threshold'
  others = [name for name in rows.left_out if name != columns.label]
  if columns.label in rows.left_out:
    text += f'; the label column {columns.label!r} is not read'
  if others:
    more = ', ...' if len(others) > _LISTED else ''
    listed = ', '.join(map(repr, others[:_LISTED]))
    text += f'; left out: {listed}{more}'
  if rows.errors:
    first = rows.errors[min(rows.errors)]
    text += (
      f'; {console.counted(len(rows.errors), "row")} left out, first {first}'
    )
  if output != STDOUT:
    text += f'\n{output}'
  return text
