# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of features in which some rows are anomalies."""

import array
from collections.abc import Sequence
import contextlib
import csv
import io
import math
import numbers
import os
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _npz
from imbsam_jax.data import _errors
from imbsam_jax.data import _npz_source

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


class Table(NamedTuple):
  """Rows of features, some of them anomalies; `make_table` checks them.

  Attributes:
    features: float64 ``[N, D]``, finite.
    labels: int32 ``[N]``: 1 anomaly, 0 normal; both occur.
    columns: D names of the features; '0', '1', ... where there are none.
  """

  features: np.ndarray
  labels: np.ndarray
  columns: tuple[str, ...]


class _Names(NamedTuple):
  """What messages call the arrays."""

  features: str = '`features`'
  labels: str = '`labels`'


def make_table(
  features: Any, labels: Any, *, columns: Sequence[str] | None = None
) -> Table:
  """Checks arrays of one's own.

  >>> make_table([[0.5, 3], [0.7, 9]], [False, True]).columns
  ('0', '1')

  Args:
    features: ``[N, D]`` of any real dtype; copied.
    labels: ``[N]`` or ``[N, 1]``, 1 for anomalies, 0 for normal rows, as
      integers, booleans or floats; copied.
    columns: D names of the features; default '0', '1', ...

  Raises:
    DataError: Lengths that differ, no rows, no features, other labels than 0
      and 1, no anomalies or no normal rows, NaN or infinity, dtypes that are
      not real.
    TypeError: `columns` that are not several strings.
  """
  if columns is not None and (
    isinstance(columns, str) or not all(isinstance(c, str) for c in columns)
  ):
    raise TypeError(f'`columns` must be strings, got {columns!r}.')
  return _check(features, labels, columns, _Names())


def read_table(
  path: str | os.PathLike[str], *, label: str | int | None = None
) -> Table:
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
    DataError: The file is missing or broken, is of another kind, or has other
      arrays; a cell that is not a number; no such column; and as for
      `make_table`.
    TypeError: `label` is neither a name nor an index.
    ValueError: `label` for a file that is not .csv.
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


def odds_table(
  name: str,
  *,
  data_dir: str | os.PathLike[str] | None = None,
  download: bool = True,
) -> Table:
  """A table of ODDS, as a TFDS builder keeps it.

  Prepared on first use, from the manual folder ``DATA_DIR/downloads/manual`` if
  ``NAME.mat``, ``NAME.npz`` or ADBench's file is there, else by a download of
  that file. Rows are in the order of the file.

  Args:
    name: 'arrhythmia' (only from the manual folder), 'cardio', 'satellite',
      'satimage_2', 'shuttle' or 'thyroid'.
    data_dir: Where prepared data sets are; None is TFDS's own default.
    download: Whether a table that is neither prepared nor in the manual folder
      may be downloaded.

  Raises:
    DataError: The table is not there, cannot be downloaded, or is not the one
      that is expected.
    ValueError: An unknown name.
  """
  import tensorflow_datasets as tfds

  from imbsam_jax.data import _odds

  if name not in _odds.TABLES:
    raise ValueError(
      f'`name` must be one of {", ".join(sorted(_odds.TABLES))}, got {name!r}. '
      'Read another table by `read_table`.'
    )
  builder = _odds.Odds(
    config=name, data_dir=data_dir, file_format='array_record'
  )
  if not builder.is_prepared():
    manual = builder.data_dir_root / 'downloads' / 'manual'
    advice = (
      f'Put one of the files {", ".join(_odds.file_names(name))} into {manual}'
    )
    if _odds.find_file(manual, name) is None and not (
      download and _odds.TABLES[name].url
    ):
      more = ', or pass download=True' if _odds.TABLES[name].url else ''
      raise _errors.DataError(
        f'table {name!r} is not prepared in {builder.data_dir}. {advice}{more}.'
      )
    # TFDS would tell a lot for a small table.
    tfds.disable_progress_bar()
    try:
      with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    except _errors.DataError:
      raise
    except Exception as error:  # Networks fail in many ways.
      raise _errors.DataError(
        f'table {name!r} cannot be prepared: {error}. {advice}.'
      ) from error
  rows: Any = builder.as_data_source(split='train')
  rows = rows.__getitems__(list(range(len(rows))))
  return make_table(
    np.stack([row['features'] for row in rows]),
    np.array([row['label'] for row in rows]),
  )


def read_npz(path: str | os.PathLike[str]) -> Table:
  """`read_table` of a .npz file, whatever it is called."""
  features, labels = _npz_source.read_pair(
    path,
    [('X', 'y')],
    lambda _: '. Save them by numpy.savez(path, X=features, y=labels).',
  )
  return _check(features, labels, None, _file_names(path))


def read_mat(path: str | os.PathLike[str]) -> Table:
  """`read_table` of a .mat file, whatever it is called."""
  from scipy import io as scipy_io

  try:
    with open(path, 'rb') as file:
      if file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC:
        raise NotImplementedError
    found = {
      name: (shape, kind)
      for name, shape, kind in scipy_io.whosmat(path, appendmat=False)
    }
    _check_mat_variables(path, found)
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
  return _check(features, labels, None, _file_names(path))


def _check_mat_variables(path: Any, found: dict[str, tuple]) -> None:
  """Refuses, before anything is loaded, what is no pair of arrays."""
  if not {'X', 'y'} <= set(found):
    raise _errors.DataError(
      f"{path} has the arrays {list(found)[:10]}; 'X' and 'y' are expected. "
      "Save both by save('name.mat', 'X', 'y', '-v7'), or copy the file anew "
      'if it is cut off.'
    )
  limit = _npz.MAX_COMPRESSION * os.path.getsize(path)
  for name in ('X', 'y'):
    shape, kind = found[name]
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


def _file_names(path: Any) -> _Names:
  return _Names(f"{path}: 'X'", f"{path}: 'y'")


def _check(
  features: Any,
  labels: Any,
  columns: Sequence[str] | None,
  names: _Names,
  lines: Sequence[int] | None = None,
) -> Table:
  """Checks a table, whose rows are from these lines of a file."""
  features = _real_array(features, names.features)
  labels = _real_array(labels, names.labels)
  if features.ndim != 2:
    raise _errors.DataError(
      f'{names.features} must be [rows, features], got the shape '
      f'{features.shape}. Reshape it: one row per example.'
    )
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim != 1:
    raise _errors.DataError(
      f'{names.labels} must be [rows], got the shape {labels.shape}. Pass one '
      'number per row: 1 for anomalies, 0 for the others.'
    )
  if len(features) != len(labels):
    raise _errors.DataError(
      f'{names.features} and {names.labels} must have one row per example, got '
      f'{len(features)} and {len(labels)} rows.'
    )
  for size, what in zip(features.shape, ('rows', 'features'), strict=True):
    if not size:
      raise _errors.DataError(
        f'{names.features} has no {what}: its shape is {features.shape}.'
      )
  columns = (
    tuple(str(i) for i in range(features.shape[1]))
    if columns is None
    else tuple(columns)
  )
  if len(columns) != features.shape[1]:
    raise _errors.DataError(
      f'`columns` must have one name for each of {features.shape[1]} features, '
      f'got {len(columns)}.'
    )
  _check_labels(labels, names, lines)
  with np.errstate(over='ignore'):  # Of longer floats: infinity is refused.
    features = features.astype(np.float64)
  finite = np.isfinite(features)
  if not finite.all():
    row, column = np.argwhere(~finite)[0]
    raise _errors.DataError(
      f'{names.features} must be finite, got {features[row, column]} in '
      f'{_place(row, lines)}, column {columns[column]!r} ({np.sum(~finite)} '
      'such values). Remove or repair these rows.'
    )
  return Table(features, labels.astype(np.int32), columns)


def _real_array(values: Any, name: str) -> np.ndarray:
  try:
    values = np.asarray(values)
  except ValueError as error:  # Rows of different lengths.
    raise _errors.DataError(f'{name} is not an array: {error}') from error
  if values.dtype.kind not in 'biuf':
    raise _errors.DataError(
      f'{name} must be real numbers, got dtype {values.dtype}. Convert it, '
      'such as by .astype("float64"), and leave out columns of text.'
    )
  return values


def _check_labels(
  labels: np.ndarray, names: _Names, lines: Sequence[int] | None
) -> None:
  wrong = np.flatnonzero(~np.isin(labels, (0, 1)))
  if wrong.size:
    distinct = np.unique(labels)
    listed = ', '.join(str(x) for x in distinct[:6])
    raise _errors.DataError(
      f'{names.labels} must be 1 (anomaly) or 0 (normal), got '
      f'{labels[wrong[0]]} in {_place(wrong[0], lines)} ({wrong.size} such '
      f'rows); of {len(distinct)} distinct values the first are {listed}. '
      f'Mark what is an anomaly, such as by labels == {labels[wrong[0]]}.'
    )
  num_anomalies = int(np.sum(labels == 1))
  for count, what in (
    (num_anomalies, 'anomalies (1)'),
    (len(labels) - num_anomalies, 'normal rows (0)'),
  ):
    if not count:
      raise _errors.DataError(
        f'{names.labels} has no {what} among {len(labels)} rows; both kinds '
        'are needed. Add rows, or look whether the labels are those meant.'
      )


def _place(row: int, lines: Sequence[int] | None) -> str:
  return f'row {row}' + ('' if lines is None else f' (line {lines[row]})')


def _read_csv(path: Any, label: str | int | None) -> Table:
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
  return _check(
    np.delete(values, index, axis=1),
    values[:, index],
    columns[:index] + columns[index + 1 :],
    _Names(f'{path}: features', f'{path}: label column {columns[index]!r}'),
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
    found = [i for i, x in enumerate(header) if x.lower() in _LABEL_NAMES]
    if not found:
      return width - 1
  else:
    found = [i for i, x in enumerate(header) if x == label]
  if len(found) == 1:
    return found[0]
  listed = ', '.join(repr(x) for x in header[:20])
  if not found:
    raise _errors.DataError(
      f'{path} has no column {label!r}. Its columns are {listed}.'
    )
  candidates = ' or '.join(f'{i} ({header[i]!r})' for i in found)
  raise _errors.DataError(
    f'{path} has {len(found)} columns that may be the label. Pass `label`: '
    f'{candidates}.'
  )
