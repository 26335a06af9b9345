# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables in .npz, .mat and .csv files."""

import array
from collections.abc import Sequence
import csv
import io
import math
import numbers
import os
from typing import Any

import numpy as np

from imbsam_jax import _npz
from imbsam_jax.data import _errors
from imbsam_jax.data import _npz_source
from imbsam_jax.data import _tables

# What the label column of a .csv file may be called, in any case.
_LABEL_NAMES = (
  'y',
  'label',
  'labels',
  'class',
  'target',
  'outlier',
  'is_outlier',
  'anomaly',
  'is_anomaly',
)
_SUFFIXES = ('.npz', '.mat', '.csv')
_HDF5_MAGIC = b'\x89HDF\r\n\x1a\n'
_MAT_NUMBERS = (
  *('double', 'single', 'logical'),
  *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
)


def read_table(
  path: str | os.PathLike[str], *, label: str | int | None = None
) -> _tables.Table:
  """Reads a table from a .npz, .mat or .csv file.

  .npz and .mat files have arrays ``X`` ``[N, D]`` and ``y`` ``[N]`` or
  ``[N, 1]``, as those of ADBench and of ODDS. Nothing is unpickled.

  .csv files are UTF-8, comma-separated numbers. The first line is a header if
  it has words; a line of numbers only is a row of data. Blank lines are
  skipped. The label column is, unless `label` says, the one that is named (in
  any case) y, label, labels, class, target, outlier, is_outlier, anomaly or
  is_anomaly; without such a name, the last one. Without a header, a feature is
  named by its column's index in the file.

  Args:
    path: The file.
    label: Name or index (from 0; from -1 backwards) of the label column of a
      .csv file.

  Raises:
    DataError: If the file is missing or broken, is of another kind, or has
      other arrays, a cell is not a number, or there is no such column; and as
      for `make_table`.
    TypeError: If `label` is neither a name nor an index.
    ValueError: If `label` is given for a file that is not .csv.
  """
  suffix = os.path.splitext(os.fspath(path))[1].lower()
  if suffix not in _SUFFIXES:
    raise _errors.DataError(
      f'{path} must end in {", ".join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}, got '
      f'{suffix!r}. Read it yourself and pass the arrays to `make_table`.'
    )
  if suffix == '.csv':
    return _read_csv(path, label)
  if label is not None:
    raise ValueError(
      f'`label` chooses a column of a .csv file, got {label!r} for {path}, '
      "whose labels are the array 'y'. Leave it out."
    )
  return read_npz(path) if suffix == '.npz' else read_mat(path)


def read_npz(path: str | os.PathLike[str]) -> _tables.Table:
  """`read_table` of a .npz file, whatever it is called."""
  features, labels = _npz_source.read_pair(
    path,
    [('X', 'y')],
    lambda _: '. Save them by numpy.savez(path, X=features, y=labels).',
  )
  return _tables.check_table(features, labels, None, _file_names(path))


def read_mat(path: str | os.PathLike[str]) -> _tables.Table:
  """`read_table` of a .mat file, whatever it is called."""
  from scipy import io as scipy_io

  try:
    with open(path, 'rb') as file:
      if file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC:
        raise NotImplementedError
    variables = {
      name: (shape, kind)
      for name, shape, kind in scipy_io.whosmat(path, appendmat=False)
    }
    _check_mat_variables(path, variables)
    # Loads these two only.
    arrays = scipy_io.loadmat(path, appendmat=False, variable_names=['X', 'y'])
    features, labels = arrays['X'], arrays['y']
  except _errors.DataError:
    raise
  except NotImplementedError as error:
    raise _errors.DataError(
      f'{path} is a MATLAB 7.3 (HDF5) file, which cannot be read. Save it in '
      "MATLAB by save('name.mat', 'X', 'y', '-v7'), or as a .npz file."
    ) from error
  except Exception as error:  # Broken files raise all sorts.
    cause = getattr(error, 'strerror', None) or error
    raise _errors.DataError(
      f'{path} cannot be read as a .mat file: {cause}.'
    ) from error
  return _tables.check_table(features, labels, None, _file_names(path))


def _check_mat_variables(path: Any, variables: dict[str, tuple]) -> None:
  """Refuses, before anything is loaded, what is no pair of arrays."""
  if not {'X', 'y'} <= set(variables):
    raise _errors.DataError(
      f"{path} has the arrays {list(variables)[:10]}; 'X' and 'y' are "
      'expected. '
      "Save both by save('name.mat', 'X', 'y', '-v7'), or copy the file anew "
      'if it is cut off.'
    )
  limit = _npz.MAX_COMPRESSION * os.path.getsize(path)
  for name in ('X', 'y'):
    shape, kind = variables[name]
    if kind not in _MAT_NUMBERS:
      raise _errors.DataError(
        f'{path}: {name!r} must be a full array of real numbers, got {kind} '
        f'{shape}. Convert it in MATLAB by double or full.'
      )
    if min(shape, default=0) < 0 or math.prod(shape) > limit:
      raise _errors.DataError(
        f'{path}: {name!r} cannot be {shape}, which is more than the file '
        'holds. It is cut off, or not what it seems.'
      )


def _file_names(path: Any) -> _tables.Names:
  return _tables.Names(f"{path}: 'X'", f"{path}: 'y'")


def _read_csv(path: Any, label: str | int | None) -> _tables.Table:
  if label is not None and (
    isinstance(label, bool) or not isinstance(label, str | numbers.Integral)
  ):
    raise TypeError(
      f'`label` must be the name or the index of a column, got {label!r}.'
    )
  try:
    with open(path, newline='', encoding='utf-8-sig') as file:
      header, values, lines = _read_cells(path, file)
  except OSError as error:
    raise _errors.DataError(
      f'{path} cannot be read: {error.strerror or error}.'
    ) from error
  except UnicodeDecodeError as error:
    raise _errors.DataError(
      f'{path} is not UTF-8 text ({error}). Save it as UTF-8.'
    ) from error
  width = values.shape[1]
  if width < 2:
    raise _errors.DataError(
      f'{path} has one column; at least one feature and the label are needed. '
      'Separate the columns by commas.'
    )
  index = _label_column(path, header, width, label)
  columns = [str(i) for i in range(width)] if header is None else header
  return _tables.check_table(
    np.delete(values, index, axis=1),
    values[:, index],
    columns[:index] + columns[index + 1 :],
    _tables.Names(
      f'{path}: features', f'{path}: label column {columns[index]!r}'
    ),
    lines,
  )


def _read_cells(
  path: Any, file: io.TextIOBase
) -> tuple[list[str] | None, np.ndarray, Sequence[int]]:
  """Header, if any, numbers ``[N, width]``, and the line of each row."""
  header, width = None, None
  values, lines = array.array('d'), array.array('q')
  reader = csv.reader(file, strict=True)
  try:
    for row in reader:
      if len(row) < 2 and not ''.join(row).strip():
        continue  # A blank line.
      if width is None:
        width = len(row)
        if any(map(_is_word, row)):
          header = [cell.strip() for cell in row]
          _check_header(path, header, reader.line_num)
          continue
      if len(row) != width:
        raise _errors.DataError(
          f'{path}, line {reader.line_num} has {len(row)} cells, the first '
          f'line {width}. Give each line as many.'
        )
      for i, cell in enumerate(row):
        number = _to_number(cell)
        if number is None:
          name = str(i) if header is None else header[i]
          raise _errors.DataError(
            f'{path}, line {reader.line_num}, column {name!r}: {cell[:40]!r} '
            'is not a number. Write numbers only, separated by commas, and '
            'labels as 1 for anomalies and 0 for the others.'
          )
        values.append(number)
      lines.append(reader.line_num)
  except csv.Error as error:
    raise _errors.DataError(
      f'{path}, line {reader.line_num} cannot be read as .csv: {error}.'
    ) from error
  if width is None:
    raise _errors.DataError(f'{path} is empty.')
  if not lines:
    raise _errors.DataError(f'{path} has a header, but no rows of data.')
  return header, np.array(values).reshape(-1, width), lines


def _to_number(cell: str) -> float | None:
  try:
    return None if '_' in cell else float(cell)  # Python reads 1_000 as 1000.
  except ValueError:
    return None


def _is_word(cell: str) -> bool:
  """Whether a cell is a name, rather than a number or one that is missing."""
  return (
    _to_number(cell) is None
    and any(c.isalpha() for c in cell)
    and cell.strip().lower() not in ('na', 'n/a', 'null', 'none')
  )


def _check_header(path: Any, header: Sequence[str], line: int) -> None:
  if '' in header:
    raise _errors.DataError(
      f'{path}, line {line}: column {header.index("")} has no name. If it '
      'holds row numbers, leave it out, such as by to_csv(path, index=False) '
      'in pandas; else name it.'
    )


def _label_column(
  path: Any, header: list[str] | None, width: int, label: str | int | None
) -> int:
  if isinstance(label, numbers.Integral):
    if not -width <= label < width:
      raise _errors.DataError(
        f'{path} has {width} columns, so `label` must be from 0 to {width - 1} '
        f'(or from -1 backwards), got {label}.'
      )
    return int(label) % width
  if header is None:
    if label is None:
      return width - 1
    raise _errors.DataError(
      f'{path} has no header, so no column {label!r}. Pass the index of the '
      f'label column, 0 to {width - 1}.'
    )
  if label is None:
    columns = [i for i, x in enumerate(header) if x.lower() in _LABEL_NAMES]
    if not columns:
      return width - 1
  else:
    columns = [i for i, x in enumerate(header) if x == label]
  if len(columns) == 1:
    return columns[0]
  listed = ', '.join(repr(x) for x in header[:20])
  if not columns:
    raise _errors.DataError(
      f'{path} has no column {label!r}. Its columns are {listed}.'
    )
  candidates = ' or '.join(f'{i} ({header[i]!r})' for i in columns)
  raise _errors.DataError(
    f'{path} has {len(columns)} columns that may be the label. Pass `label`: '
    f'{candidates}.'
  )
