# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of features in which some rows are anomalies."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax.data import _errors
from imbsam_jax.data import _host_arrays


class Table(NamedTuple):
  """Rows of features, some of them anomalies; `make_table` checks them.

  Attributes:
    features: float64 ``[N, D]``, finite.
    labels: int32 ``[N]``: 1 anomaly, 0 normal; both occur.
    columns: D names of the features; '0', '1', ... where there are none.
    label: Name of the label column, of a .csv file.
    left_out: Names of columns that number the rows, and are no features.
    named: Whether the columns have names of their own.
  """

  features: np.ndarray
  labels: np.ndarray
  columns: tuple[str, ...]
  label: str | None = None
  left_out: tuple[str, ...] = ()
  named: bool = False


class Names(NamedTuple):
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
    features: ``[N, D]`` of any real dtype, an array or a frame; copied.
    labels: ``[N]`` or ``[N, 1]``, 1 for anomalies, 0 for normal rows, as
      integers, booleans or floats; copied.
    columns: D names of the features; default are those of a frame, or '0',
      '1', ...

  Raises:
    DataError: If lengths differ, there are no rows, no features, other labels
      than 0 and 1, no anomalies or no normal rows, or there is NaN or infinity,
      or a dtype is not real.
    TypeError: If `columns` are not several strings.
  """
  if columns is not None and (
    isinstance(columns, str) or not all(isinstance(c, str) for c in columns)
  ):
    raise TypeError(f'`columns` must be strings, got {columns!r}.')
  if columns is None and not isinstance(features, np.ndarray):
    names = tuple(getattr(features, 'columns', ()))
    columns = (
      names if names and all(isinstance(c, str) for c in names) else None
    )
  table = check_table(features, labels, columns, Names())
  return table._replace(named=columns is not None)


def check_table(
  features: Any,
  labels: Any,
  columns: Sequence[str] | None,
  names: Names,
  lines: Sequence[int] | None = None,
) -> Table:
  """Checks a table, whose rows are from these lines of a file."""
  features = real_array(features, names.features)
  labels = real_array(labels, names.labels)
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


def real_array(values: Any, name: str) -> np.ndarray:
  """An array of real numbers, of their own dtype."""
  values = _host_arrays.host_array(values, name)
  if _host_arrays.is_floating(values.dtype) and values.dtype.kind != 'f':
    values = values.astype(np.float32)  # Such as bfloat16.
  if values.dtype.kind in 'SUT' and values.size:
    first = values.ravel()[0]
    raise _errors.DataError(
      f'{name} must be real numbers, got dtype {values.dtype}, {str(first)!r} '
      'first. Leave columns of text out; of labels pass labels == '
      f'{str(first)!r}, if that is the name of anomalies.'
    )
  if values.dtype.kind not in 'biuf':
    raise _errors.DataError(
      f'{name} must be real numbers, got dtype {values.dtype}. Convert it, '
      'such as by .astype("float64"), and leave out columns of text.'
    )
  return values


def _check_labels(
  labels: np.ndarray, names: Names, lines: Sequence[int] | None
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
