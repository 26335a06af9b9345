# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions as a file, CSV or JSON lines, whole or not at all."""

from collections.abc import Iterator
import contextlib
import csv
import io
import json
import os
import pathlib
import sys
from typing import Any
from typing import NamedTuple
import zipfile

import numpy as np

from imbsam_jax import _errors
from imbsam_jax.experiment import _classifier

FORMATS = ('csv', 'jsonl')
STDOUT = '-'
# Digits of probabilities: fewer than those in which programs of several batch
# sizes differ.
_DIGITS = 6
# What cells begin with that a spreadsheet takes for a formula.
_FORMULAS = ('=', '+', '-', '@', '\t', '\r')


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
    spreadsheet_safe: Whether cells of a CSV that a spreadsheet would take for
      formulas get a ' before them.
  """

  def __init__(
    self, stream: Any, kind: str, top: int, *, spreadsheet_safe: bool = False
  ):
    self._spreadsheet_safe = spreadsheet_safe
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
      cells = self._cells(row)
      if self._spreadsheet_safe:
        cells = [_as_text(cell) for cell in cells]
      self._csv.writerow(cells)
    else:
      text = json.dumps(_entry(row), ensure_ascii=False)
      if not _is_unicode(text):  # JSON can only have it escaped.
        text = json.dumps(_entry(row))
      self._stream.write(text + '\n')

  def _cells(self, row: Row) -> list[Any]:
    if row.prediction is None:
      return [row.path, *[''] * (2 * self._top + 2), row.error]
    first, *others = row.prediction.top
    cells = [row.path, first.class_index, first.name]
    cells += [f'{first.probability:.{_DIGITS}f}', row.group]
    for one in others:
      cells += [one.name, f'{one.probability:.{_DIGITS}f}']
    return [*cells, row.error]


class Rows:
  """Writes an array of one row per image to a ``.npz`` file, row by row.

  Args:
    path: Path of the file.
    name: Name of the array.
    num_rows: Number of its rows.
    others: Other arrays of the file.
  """

  def __init__(
    self, path: pathlib.Path, name: str, num_rows: int, **others: np.ndarray
  ):
    self._archive = zipfile.ZipFile(path, 'w')
    self._name = name
    self._num_rows = num_rows
    self._others = others
    self._entry: Any = None
    self._width = 0
    self._empty = 0

  def write(self, rows: np.ndarray) -> None:
    """Writes rows, float32 ``[n, width]``."""
    if self._entry is None:
      self._width = rows.shape[1]
      self._entry = self._opened(self._name)
      np.lib.format.write_array_header_1_0(
        self._entry,
        {
          'descr': np.lib.format.dtype_to_descr(np.dtype(np.float32)),
          'fortran_order': False,
          'shape': (self._num_rows, self._width),
        },
      )
      self.write_empty(0)
    self._entry.write(np.ascontiguousarray(rows, np.float32).tobytes())

  def write_empty(self, number: int) -> None:
    """Writes rows of NaN, of images that could not be read."""
    self._empty += number
    if self._entry is not None and self._empty:
      number, self._empty = self._empty, 0
      self.write(np.full((number, self._width), np.nan, np.float32))

  def close(self) -> None:
    """Ends the file."""
    if self._entry is not None:
      self._entry.close()
    for name, x in self._others.items():
      with self._opened(name) as entry:
        np.lib.format.write_array(entry, x, allow_pickle=False)
    self._archive.close()

  def _opened(self, name: str) -> Any:
    # With a time of its own no two files would be the same.
    return self._archive.open(
      zipfile.ZipInfo(f'{name}.npy'), 'w', force_zip64=True
    )


def beside(output: str, name: str) -> str:
  """The ``.npz`` file of an array that belongs to an output.

  Args:
    output: Path of the file of predictions.
    name: Name of the array.

  Raises:
    ConfigError: If that is the standard output.
  """
  if output == STDOUT:
    raise _errors.ConfigError(
      f'there is no file beside the standard output: pass `{name}=FILE.npz`.'
    )
  return str(pathlib.PurePath(output).with_suffix(f'.{name}.npz'))


@contextlib.contextmanager
def opened_rows(
  path: str, name: str, num_rows: int, **others: np.ndarray
) -> Iterator[Rows]:
  """`Rows` whose content becomes a file at the end, if all went well.

  Args:
    path: Path of the file.
    name: Name of the array.
    num_rows: Number of its rows.
    **others: Other arrays of the file.

  Raises:
    ConfigError: If it cannot be written, or is no ``.npz`` file.
  """
  if not path.endswith('.npz'):
    raise _errors.ConfigError(
      f'`{name}={path}` must end with .npz: it is a file of arrays.'
    )
  with _replaced(path, name) as unfinished:
    rows = Rows(unfinished, name, num_rows, **others)
    yield rows
    rows.close()


@contextlib.contextmanager
def _replaced(given: str, name: str) -> Iterator[pathlib.Path]:
  """A path whose file takes the place of another one, if all went well."""
  path = pathlib.Path(given).expanduser()
  unfinished = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    yield unfinished
    unfinished.replace(path)
  except BrokenPipeError:  # Of what reads the standard output.
    raise
  except OSError as error:
    advice = ''
    if not path.parent.is_dir():
      advice = ' Pass another file, in a folder that exists.'
    raise _errors.ConfigError(
      f'`{name}={given}` cannot be written: {error.strerror}.{advice}'
    ) from error
  finally:
    unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(output: str) -> Iterator[Any]:
  """A stream whose content becomes a file at the end, if all went well.

  Args:
    output: Path of the file; '-' is the standard output.

  Raises:
    ConfigError: If it cannot be written.
  """
  if output == STDOUT:
    if isinstance(sys.stdout, io.TextIOWrapper):
      sys.stdout.reconfigure(errors='surrogateescape')
    yield sys.stdout
    return
  # Names of files that are no UTF-8 come out as they went in.
  with (
    _replaced(output, 'output') as unfinished,
    open(
      unfinished, 'w', encoding='utf-8', errors='surrogateescape', newline=''
    ) as stream,
  ):
    yield stream


def _is_unicode(text: str) -> bool:
  return not any('\ud800' <= letter <= '\udfff' for letter in text)


def _as_text(cell: Any) -> Any:
  """A cell that no spreadsheet takes for a formula; numbers are none."""
  if isinstance(cell, str) and cell.startswith(_FORMULAS):
    return f"'{cell}"
  return cell


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
