# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of tables, labels and hyper-parameters of a detector."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.anomaly import _recipe

_NOT_NEGATIVE = (
  'rho',
  'head_rho',
  'learning_rate',
  'pretrain_learning_rate',
  'weight_decay',
)
_SHARES = ('switch', 'contamination')
_INTEGERS = {
  'batch_size': 1,
  'epochs': 1,
  'pretrain_epochs': 0,
  'embedding_size': 1,
}
_CHOICES = {
  'method': _recipe.METHODS,
  'optimizer': _recipe.OPTIMIZERS,
  'normalization': ('group', 'batch'),
  'norm': ('batch', 'none'),
}


def feature_names(x: Any) -> tuple[str, ...] | None:
  """Names of the columns of a frame, such as of pandas; others have none."""
  names = getattr(x, 'columns', None)
  if names is None or isinstance(x, np.ndarray):
    return None
  names = tuple(names)
  return names if names and all(isinstance(n, str) for n in names) else None


def in_order(x: Any, names: Sequence[str] | None) -> Any:
  """A frame with its columns in the order of those of `fit`.

  Args:
    x: A frame or an array; what has no names stays as it is.
    names: Names of the columns that `fit` got, or None.

  Raises:
    ValueError: If columns are missing, or there are others.
  """
  given = feature_names(x)
  if names is None or given is None or tuple(names) == given:
    return x
  missing = [name for name in names if name not in given]
  if missing:
    raise ValueError(
      f'`x` lacks {_listed(missing)} of the {len(names)} columns of `fit`. '
      f'It has {_listed(given)}.'
    )
  if len(given) != len(names):
    others = [name for name in given if name not in names] or [
      name for name in names if given.count(name) > 1
    ]
    raise ValueError(
      f'`x` has {_listed(others)} besides the {len(names)} columns of `fit`. '
      'Pass x[list(detector.feature_names_in_)].'
    )
  return x[list(names)]


def _listed(names: Sequence[str]) -> str:
  more = f' and {len(names) - 10} more' if len(names) > 10 else ''
  return ', '.join(map(repr, names[:10])) + more


def check_rows(x: ArrayLike, *, num_features: int | None = None) -> np.ndarray:
  """Rows as float64 ``[N, D]``, all finite."""
  if isinstance(x, np.ma.MaskedArray) and np.ma.getmaskarray(x).any():
    row, column = (*np.argwhere(np.ma.getmaskarray(x))[0], 0)[:2]
    raise ValueError(
      f'`x` is a masked array whose value in row {row}, column {column} is '
      'missing. Leave such rows out, or fill them by x.filled(value).'
    )
  try:
    if np.iscomplexobj(x):
      raise TypeError('these are complex')
    rows = np.asarray(x, np.float64)
  except (TypeError, ValueError) as error:
    raise ValueError(f'`x` must hold real numbers: {error}.') from error
  if rows.ndim != 2 or 0 in rows.shape:
    raise ValueError(
      '`x` must have the shape [N, D] with at least one row and one column, '
      f'got {rows.shape}.'
      + (' Pass x[None] for a single row.' if rows.ndim == 1 else '')
    )
  if num_features is not None and rows.shape[1] != num_features:
    raise ValueError(
      f'`x` must have the {num_features} columns of the rows of `fit`, got '
      f'{rows.shape[1]}.'
    )
  wrong = np.argwhere(~np.isfinite(rows))
  if len(wrong):
    row, column = wrong[0]
    raise ValueError(
      f'`x` must be finite, got {rows[row, column]} in row {row}, column '
      f'{column} ({len(wrong)} such values in all). Remove or impute them.'
    )
  return rows


def check_labels(
  labels: Sequence[ArrayLike] | None, shape: tuple[int, ...]
) -> np.ndarray:
  """Labels as int32 ``[S, N]``; zeros for None."""
  if labels is None:
    return np.zeros(shape, np.int32)
  if len(labels) != shape[0]:
    raise ValueError(
      f'`labels` must hold labels for each of {shape[0]} tables, got '
      f'{len(labels)}.'
    )
  return np.stack([_check_labels(y, shape[1]) for y in labels])


def _check_labels(y: ArrayLike, num_rows: int) -> np.ndarray:
  if isinstance(y, np.ma.MaskedArray) and np.ma.getmaskarray(y).any():
    raise ValueError(
      '`y` is a masked array in which labels are missing. Pass y.filled(0): 0 '
      'is for rows of which nothing is known.'
    )
  values = np.asarray(y)
  if values.shape == (num_rows, 1):
    values = values[:, 0]
  if values.shape != (num_rows,):
    raise ValueError(
      f'`y` must have the shape ({num_rows},), a label for each row, got '
      f'{values.shape}.'
      + (
        ' For one-hot rows pass y.argmax(axis=1).'
        if values.ndim == 2 and len(values) == num_rows
        else ''
      )
    )
  if values.dtype.kind in 'SUTO':
    values = _numbers(values)
  allowed = np.isin(values, (-1, 0, 1))
  if not allowed.all():
    row = int(np.argmin(allowed))
    raise ValueError(
      '`y` must be 1 (labeled anomaly), 0 (unlabeled) or -1 (labeled '
      f'normal), got {values[row]!r} in row {row}.'
    )
  # bool has no -1.
  values = values.astype(np.int32)
  if (values > 0).all():
    raise ValueError(
      f'all {num_rows} rows are labeled anomalies: there is nothing to learn '
      'what is normal from. Add rows that are not labeled.'
    )
  return values


def _numbers(values: np.ndarray) -> np.ndarray:
  """Python objects as numbers; texts are refused."""
  for row, value in enumerate(values):
    if not isinstance(value, int | float | np.number | np.bool_):
      raise ValueError(
        '`y` must be 1 (labeled anomaly), 0 (unlabeled) or -1 (labeled '
        f'normal), got {value!r} in row {row}.'
        + (
          f' Pass (y == {str(value)!r}).astype(int), if {value!r} is the '
          'name of anomalies.'
          if isinstance(value, str)
          else ''
        )
      )
  return values.astype(np.float64)


def check_hyperparameters(parameters: Mapping[str, Any]) -> None:
  """Refuses values of `DeepSAD` that no training could run with.

  Raises:
    ValueError: If a value does not fit; the message names the argument, the
      value, and what it can be.
  """
  for name, choices in _CHOICES.items():
    if parameters[name] not in choices:
      raise ValueError(
        f'`{name}` must be one of {", ".join(choices)}, got '
        f'{parameters[name]!r}.'
      )

  for name in _NOT_NEGATIVE:
    _checks.number(name, parameters[name], low=0, error=ValueError)
  for name in _SHARES:
    _checks.number(name, parameters[name], low=0, high=1, error=ValueError)
  _checks.number(
    'average_decay',
    parameters['average_decay'],
    low=0,
    below=1,
    error=ValueError,
  )
  _checks.number('eta', parameters['eta'], above=0, error=ValueError)
  if parameters['clip_norm'] is not None:
    _checks.number(
      'clip_norm',
      parameters['clip_norm'],
      above=0,
      error=ValueError,
      hint='Pass None to clip nothing.',
    )
  for name, lowest in _INTEGERS.items():
    if name == 'embedding_size' and parameters[name] is None:
      continue
    _checks.integer(name, parameters[name], low=lowest, error=ValueError)
  _checks.seed('seed', parameters['seed'], error=ValueError)
  sizes = parameters['hidden_sizes']
  if sizes is None:
    return
  hint = 'Pass sizes such as (32, 16), or None.'
  if not isinstance(sizes, Sequence) or isinstance(sizes, str) or not sizes:
    raise ValueError(
      f'`hidden_sizes` must be one integer or more, got {sizes!r}. {hint}'
    )
  for size in sizes:
    _checks.integer('hidden_sizes', size, error=ValueError, hint=hint)
