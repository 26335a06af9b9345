# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions as a file, CSV or JSON lines, whole or not at all."""

from collections.abc import Iterator
import contextlib
import csv
import json
import os
import pathlib
import sys
from typing import Any
from typing import NamedTuple

from imbsam_jax import _errors
from imbsam_jax.experiment import _classifier

FORMATS = ('csv', 'jsonl')
STDOUT = '-'
# Digits of probabilities: fewer than those in which programs of several batch
# sizes differ.
_DIGITS = 6


class Row(NamedTuple):
  """What is written of one image.

  Attributes:
    path: What the image is called.
    prediction: What the classifier says of it, or None if it has no image.
    group: 'many', 'medium' or 'few', the group of the class.
    error: Why there is no image.
  """

  path: str
  prediction: _classifier.Prediction | None
  group: str = ''
  error: str = ''


def format_of(output: str, kind: str | None) -> str:
  """The format of a file, by its name if it is not given.

  Args:
    output: Path of the file; '-' is the standard output.
    kind: 'csv', 'jsonl' or None.

  Raises:
    ConfigError: If it does not tell.
  """
  suffix = pathlib.PurePath(output).suffix.removeprefix('.').lower()
  kind = kind or ('csv' if output == STDOUT else suffix)
  if kind not in FORMATS:
    raise _errors.ConfigError(
      f'`output={output}` does not tell its format: end it with .csv or '
      '.jsonl, or pass `format=csv`.'
    )
  return kind


class Writer:
  """Writes rows.

  Args:
    stream: A text stream.
    kind: 'csv' or 'jsonl'.
    top: How many classes of an image.
  """

  def __init__(self, stream: Any, kind: str, top: int):
    self._stream = stream
    self._top = top
    self._csv = csv.writer(stream) if kind == 'csv' else None
    if self._csv is not None:
      others = [
        f'top{k}_{part}'
        for k in range(2, top + 1)
        for part in ('name', 'probability')
      ]
      self._csv.writerow(
        ['path', 'class_index', 'class_name', 'probability', 'group']
        + [*others, 'error']
      )

  def write(self, row: Row) -> None:
    """Writes one row."""
    if self._csv is not None:
      self._csv.writerow(self._cells(row))
    else:
      self._stream.write(json.dumps(_entry(row), ensure_ascii=False) + '\n')

  def _cells(self, row: Row) -> list[Any]:
    if row.prediction is None:
      return [row.path, *[''] * (2 * self._top + 2), row.error]
    first, *others = row.prediction.top
    cells = [row.path, first.class_index, first.name]
    cells += [f'{first.probability:.{_DIGITS}f}', row.group]
    for one in others:
      cells += [one.name, f'{one.probability:.{_DIGITS}f}']
    return [*cells, row.error]


@contextlib.contextmanager
def opened(output: str) -> Iterator[Any]:
  """A stream whose content becomes a file at the end, if all went well.

  Args:
    output: Path of the file; '-' is the standard output.

  Raises:
    ConfigError: If it cannot be written.
  """
  if output == STDOUT:
    yield sys.stdout
    return
  path = pathlib.Path(output).expanduser()
  unfinished = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    # Names of files that are no UTF-8 come out as they went in.
    stream = open(  # noqa: SIM115
      unfinished, 'w', encoding='utf-8', errors='surrogateescape', newline=''
    )
  except OSError as error:
    raise _errors.ConfigError(
      f'`output={output}` cannot be written: {error.strerror}. Pass another '
      'file, in a folder that exists.'
    ) from error
  try:
    with stream:
      yield stream
    unfinished.replace(path)
  except OSError as error:
    raise _errors.ConfigError(
      f'`output={output}` cannot be written: {error.strerror}.'
    ) from error
  finally:
    unfinished.unlink(missing_ok=True)


def _entry(row: Row) -> dict[str, Any]:
  if row.prediction is None:
    return {'path': row.path, 'error': row.error}
  top = [
    {
      'class': one.class_index,
      'name': one.name,
      'probability': round(one.probability, _DIGITS),
    }
    for one in row.prediction.top
  ]
  return {'path': row.path, **top[0], 'group': row.group, 'top': top}
