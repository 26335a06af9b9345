# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cells of a .csv file as numbers, with the line that each row is from."""

import array
from collections.abc import Iterator
from collections.abc import Sequence
import csv
import io
import itertools
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax.data import _errors

# What spreadsheets and programs write for a value that is missing.
_MISSING = (
  *('', '?', '-', '.', 'na', 'n/a', 'nan', 'null', 'none', 'missing'),
  *('#n/a', '#na', '#null!', '#value!', '#div/0!', '#ref!', '#name?', '#num!'),
)
# How much is looked at to find the separator.
_SAMPLE = 1 << 16


class Cells(NamedTuple):
  """A .csv file.

  Attributes:
    header: Names of the columns, or None.
    values: Float64 ``[N, width]``, NaN in rows that could not be read.
    lines: Line of each row in the file.
    errors: What was wrong with a row, by its number.
    separator: What separates columns.
  """

  header: list[str] | None
  values: np.ndarray
  lines: Sequence[int]
  errors: dict[int, str]
  separator: str


def read_cells(
  path: Any, *, ignored: Sequence[str] = (), skip: bool = False
) -> Cells:
  """Reads a .csv file.

  Args:
    path: The file.
    ignored: Names of columns whose cells may be anything.
    skip: Whether a row that cannot be read is left to `Cells.errors`.

  Raises:
    DataError: If the file cannot be read, or, unless `skip`, a cell is no
      number; the message names line and column.
  """
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      separator = _separator(file.read(_SAMPLE))
      file.seek(0)
      return _read(path, file, separator, {*ignored}, skip)
  except OSError as error:
    raise _errors.DataError(
      f'{path} cannot be read: {error.strerror or error}.'
    ) from error
  except UnicodeDecodeError as error:
    raise _errors.DataError(
      f'{path} is not UTF-8 text ({error}). Save it as UTF-8.'
    ) from error


def header_of(path: Any) -> list[str] | None:
  """The header of a .csv file, if it has one."""
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      separator = _separator(file.read(_SAMPLE))
      file.seek(0)
      reader = csv.reader(file, strict=True, delimiter=separator)
      first = next(filter(_is_filled, reader), [])
  except (OSError, UnicodeDecodeError, csv.Error):
    return None  # Said when all is read.
  return [cell.strip() for cell in first] if any(map(_is_word, first)) else None


def _separator(sample: str) -> str:
  """A semicolon or a tab, if both first lines have as many; else a comma."""
  for separator in (';', '\t'):
    reader = csv.reader(io.StringIO(sample), delimiter=separator, strict=True)
    try:
      rows = [*itertools.islice(filter(_is_filled, reader), 2)]
    except csv.Error:
      continue
    if rows and len(rows[0]) > 1 and len(rows[0]) == len(rows[-1]):
      return separator
  return ','


def _is_filled(row: Sequence[str]) -> bool:
  return len(row) > 1 or bool(''.join(row).strip())


def _read(
  path: Any,
  file: io.TextIOBase,
  separator: str,
  ignored: set[str],
  skip: bool,
) -> Cells:
  header, width = None, None
  values, lines = array.array('d'), array.array('q')
  errors: dict[int, str] = {}
  reader = csv.reader(file, strict=True, delimiter=separator)
  try:
    for row in reader:
      if not _is_filled(row):
        continue
      if width is None:
        width = len(row)
        if any(map(_is_word, row)):
          header = [cell.strip() for cell in row]
          continue
      numbers, error = _numbers_of(row, header, width, separator, ignored)
      if error is not None:
        error = f'line {reader.line_num}{error}'
        if not skip:
          raise _errors.DataError(f'{path}, {error}')
        errors[len(lines)] = error
        numbers = [float('nan')] * width
      values.extend(numbers)
      lines.append(reader.line_num)
  except csv.Error as error:
    raise _errors.DataError(
      f'{path}, line {reader.line_num} cannot be read as .csv: {error}.'
    ) from error
  if width is None:
    raise _errors.DataError(f'{path} is empty.')
  if not lines:
    raise _errors.DataError(f'{path} has a header, but no rows of data.')
  cells = np.array(values).reshape(-1, width)
  return Cells(header, cells, lines, errors, separator)


def _numbers_of(
  row: Sequence[str],
  header: Sequence[str] | None,
  width: int,
  separator: str,
  ignored: set[str],
) -> tuple[list[float], str | None]:
  """Numbers of a line, or what is wrong with it."""
  if len(row) != width:
    return [], (
      f' has {len(row)} cells, the first line {width}. Give each line as many.'
    )
  numbers = []
  for i, cell in enumerate(row):
    name = str(i) if header is None else header[i]
    number = to_number(cell, decimal_comma=separator != ',')
    if number is None and name in ignored:
      number = 0.0
    if number is None:
      return [], f', column {name!r}: {_complaint(cell)}'
    numbers.append(number)
  return numbers, None


def _complaint(cell: str) -> str:
  if _is_missing(cell):
    return (
      f'{cell[:40]!r} is not a number: the value is missing. Leave that row '
      'out, or fill the cell, such as by the median of its column.'
    )
  return (
    f'{cell[:40]!r} is not a number. Write numbers only, separated by commas, '
    'and labels as 1 for anomalies and 0 for the others; leave columns of text '
    'out, or make a column of 0 and 1 of each text.'
  )


def to_number(cell: str, *, decimal_comma: bool = False) -> float | None:
  """The number of a cell, or None.

  Args:
    cell: Its text.
    decimal_comma: Whether a comma stands for the decimal point.
  """
  if decimal_comma and '.' not in cell and cell.count(',') == 1:
    cell = cell.replace(',', '.')
  try:
    return None if '_' in cell else float(cell)  # Python reads 1_000 as 1000.
  except ValueError:
    return None


def _is_word(cell: str) -> bool:
  """Whether a cell is a name, rather than a number or one that is missing."""
  return (
    to_number(cell) is None
    and any(c.isalpha() for c in cell)
    and not _is_missing(cell)
  )


def _is_missing(cell: str) -> bool:
  return cell.strip().lower() in _MISSING


def row_number_columns(
  header: Sequence[str] | None, values: np.ndarray
) -> Iterator[int]:
  """Columns that number the rows: no feature, and in any order of no use.

  Those are the columns whose integers go up by one, in tables of at least 20
  rows; and in any table those that are called as pandas and others call them,
  if all their integers are different.
  """
  if len(values) < 2:
    return
  for i, column in enumerate(values.T):
    if not np.isfinite(column).all() or (column != np.floor(column)).any():
      continue
    if len(column) >= _MIN_ROWS and (np.diff(column) == 1).all():
      yield i
    elif header is not None and header[i].lower() in _ROW_NUMBERS:
      if len(np.unique(column)) == len(column):
        yield i


_MIN_ROWS = 20
_ROW_NUMBERS = (
  *('', 'unnamed: 0', 'id', 'index', 'row', 'row_id', 'rowid', 'row_number'),
)
