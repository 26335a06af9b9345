# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables in .npz, .mat and .csv files."""

from collections.abc import Sequence
import math
import numbers
import os
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _npz
from imbsam_jax.data import _csv_cells
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


class Columns(NamedTuple):
  """Columns of a table, by which those of another file are found.

  Attributes:
    columns: Names of the features, or their positions in the file.
    label: Name, or position, of the label column, if it is known.
    named: Whether the columns have names, rather than positions.
  """

  columns: tuple[str, ...]
  label: str | None = None
  named: bool = False


class Rows(NamedTuple):
  """Rows without labels.

  Attributes:
    features: float64 ``[N, D]``; not finite where there is an error.
    errors: What was wrong with a row, by its number.
    left_out: Names of the columns that are no features.
  """

  features: np.ndarray
  errors: dict[int, str]
  left_out: tuple[str, ...]


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

  .csv files are UTF-8, numbers separated by commas; or by semicolons or tabs,
  where a comma is the decimal point too. The first line is a header if it has
  words; a line of numbers only is a row of data. Blank lines are skipped. The
  label column is, unless `label` says, the one that is named (in any case) y,
  label, labels, class, target, outlier, is_outlier, anomaly or is_anomaly;
  without such a name, the only one that holds 0 and 1, or else the last one.
  Without a header it is the last one, and a feature is named by its column's
  index in the file.

  Columns that number the rows are left out: integers that go up by one, in
  tables of 20 rows or more, and different integers in a column that is named
  'Unnamed: 0', 'id', 'index', 'row', 'row_id', 'rowid', 'row_number' or ''.

  Args:
    path: The file.
    label: Name or index (from 0; from -1 backwards) of the label column of a
      .csv file.

  Raises:
    DataError: If the file is missing or broken, is of another kind, or has
      other arrays, a cell is not a number, there is no such column, or several
      may be the label; and as for `make_table`.
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
  cells = _csv_cells.read_cells(path)
  header, values = cells.header, cells.values
  width = values.shape[1]
  if width < 2:
    raise _errors.DataError(
      f'{path} has one column; at least one feature and the label are needed. '
      'Separate the columns by commas.'
    )
  index = _label_column(path, header, values, label)
  left_out = [
    i for i in _csv_cells.row_number_columns(header, values) if i != index
  ]
  _check_header(path, header, left_out)
  kept = [i for i in range(width) if i != index and i not in left_out]
  if not kept:
    raise _errors.DataError(
      f'{path} has no feature: besides the label there are row numbers only.'
    )
  columns = [str(i) for i in range(width)] if header is None else header
  table = _tables.check_table(
    values[:, kept],
    values[:, index],
    [columns[i] for i in kept],
    _tables.Names(
      f'{path}: features', f'{path}: label column {columns[index]!r}'
    ),
    cells.lines,
  )
  return table._replace(
    label=columns[index],
    left_out=tuple(columns[i] for i in left_out),
    named=header is not None,
  )


def read_rows(
  path: str | os.PathLike[str], like: Columns, *, skip: bool = False
) -> Rows:
  """Reads rows without labels, such as new ones for a fitted detector.

  Of a .csv with a header the columns are found by their names, in whatever
  order; all others are left out. Without names they are found by their order.
  A .npz or .mat file has an array ``X``.

  Args:
    path: A .csv, .npz or .mat file.
    like: Columns of the table that the detector was fitted to.
    skip: Whether rows that cannot be read are left to `Rows.errors`, instead of
      an error.

  Raises:
    DataError: If the file cannot be read, lacks a column, or, unless `skip`,
      a cell is no finite number; the message names line and column.
  """
  suffix = os.path.splitext(os.fspath(path))[1].lower()
  if suffix == '.csv':
    return _rows_of_csv(path, like, skip)
  if suffix not in _SUFFIXES:
    raise _errors.DataError(
      f'{path} must end in .csv, .npz or .mat, got {suffix!r}.'
    )
  read = _npz_features if suffix == '.npz' else _mat_features
  features = _tables.real_array(read(path), f"{path}: 'X'")
  if features.ndim != 2 or features.shape[1] != len(like.columns):
    raise _errors.DataError(
      f"{path}: 'X' must be [rows, {len(like.columns)}], as the table that the "
      f'detector was fitted to, got the shape {features.shape}.'
    )
  return _checked_rows(
    path, features.astype(np.float64), range(len(features)), {}, (), skip
  )


def _rows_of_csv(path: Any, like: Columns, skip: bool) -> Rows:
  ignored = [] if like.label is None else [like.label]
  header = _csv_cells.header_of(path)
  if header is not None and like.named:
    ignored = [name for name in header if name not in like.columns]
  cells = _csv_cells.read_cells(path, ignored=ignored, skip=skip)
  kept = _find_columns(path, cells.header, cells.values.shape[1], like)
  names = cells.header or [str(i) for i in range(cells.values.shape[1])]
  return _checked_rows(
    path,
    cells.values[:, kept],
    cells.lines,
    cells.errors,
    tuple(name for i, name in enumerate(names) if i not in kept),
    skip,
  )


def _find_columns(
  path: Any, header: Sequence[str] | None, width: int, like: Columns
) -> list[int]:
  """Where the columns of a table are in another file."""
  wanted, number = like.columns, len(like.columns)
  listed = ', '.join(map(repr, wanted[:20]))
  if not like.named:
    positions = [int(name) for name in wanted if name.isdecimal()]
    if header is None and len(positions) == number and max(positions) < width:
      return positions
    if width == number:
      return list(range(number))
    raise _errors.DataError(
      f'{path} has {width} columns, the detector was fitted to {number} '
      'without names. Write the same columns in the same order.'
    )
  if header is None:
    raise _errors.DataError(
      f'{path} has no header, the detector was fitted to columns with names. '
      f'Write a first line with {listed}.'
    )
  missing = [name for name in wanted if name not in header]
  if missing:
    raise _errors.DataError(
      f'{path} lacks {", ".join(map(repr, missing[:20]))} of the {number} '
      f'columns that the detector was fitted to: {listed}. It has '
      f'{", ".join(map(repr, header[:20]))}.'
    )
  twice = [name for name in wanted if list(header).count(name) > 1]
  if twice:
    raise _errors.DataError(f'{path} has two columns {twice[0]!r}.')
  return [list(header).index(name) for name in wanted]


def _checked_rows(
  path: Any,
  features: np.ndarray,
  lines: Sequence[int],
  errors: dict[int, str],
  left_out: tuple[str, ...],
  skip: bool,
) -> Rows:
  """Rows whose numbers are finite, the others with their errors."""
  errors = dict(errors)
  for row in np.flatnonzero(~np.isfinite(features).all(axis=1)).tolist():
    text = f'line {lines[row]} is not finite'
    if not skip and row not in errors:
      raise _errors.DataError(
        f'{path}, {text}. Leave that row out, or fill its cells.'
      )
    errors.setdefault(row, text)
  if not len(features):
    raise _errors.DataError(f'{path} has no rows.')
  return Rows(features, errors, left_out)


def _npz_features(path: Any) -> np.ndarray:
  try:
    return _npz.read(path, ['X'])['X']
  except ValueError as error:
    raise _errors.DataError(f'{error} An array X is expected.') from error


def _mat_features(path: Any) -> np.ndarray:
  from scipy import io as scipy_io

  try:
    return scipy_io.loadmat(path, appendmat=False, variable_names=['X'])['X']
  except Exception as error:  # Broken files raise all sorts.
    raise _errors.DataError(
      f'{path} cannot be read as a .mat file with an array X: {error!r}.'
    ) from error


def _check_header(
  path: Any, header: Sequence[str] | None, left_out: Sequence[int]
) -> None:
  for i, name in enumerate(header or ()):
    if not name and i not in left_out:
      raise _errors.DataError(
        f'{path}, line 1: column {i} has no name. If it '
        'holds row numbers, leave it out, such as by to_csv(path, index=False) '
        'in pandas; else name it.'
      )


def _label_column(
  path: Any,
  header: list[str] | None,
  values: np.ndarray,
  label: str | int | None,
) -> int:
  width = values.shape[1]
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
    columns = columns or _two_valued(values) or [width - 1]
  else:
    columns = [i for i, x in enumerate(header) if x == label]
  if len(columns) == 1:
    return columns[0]
  listed = ', '.join(repr(x) for x in header[:20])
  if not columns:
    raise _errors.DataError(
      f'{path} has no column {label!r}. Its columns are {listed}.'
    )
  candidates = ' or '.join(f'{i} ({header[i]!r})' for i in columns[:20])
  name = header[columns[0]]
  example = name if header.count(name) == 1 else columns[0]
  raise _errors.DataError(
    f'{path} has {len(columns)} columns that may be the label. Pass `label`: '
    f'{candidates}, such as `label={example}`.'
  )


def _two_valued(values: np.ndarray) -> list[int]:
  """Columns that hold 0 and 1, both of them, and nothing else."""
  return [
    i
    for i, column in enumerate(values.T)
    if np.isin(column, (0, 1)).all() and column.min() != column.max()
  ]
