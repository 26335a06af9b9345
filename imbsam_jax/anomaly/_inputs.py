# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of tables, labels and hyper-parameters of a detector."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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


def check_rows(x: ArrayLike, *, num_features: int | None = None) -> np.ndarray:
  """Rows as float64 ``[N, D]``, all finite."""
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
  values = np.asarray(y)
  if values.shape != (num_rows,):
    raise ValueError(
      f'`y` must have the shape ({num_rows},), a label for each row, got '
      f'{values.shape}.'
    )
  allowed = np.isin(values, (-1, 0, 1))
  if not allowed.all():
    row = int(np.argmin(allowed))
    raise ValueError(
      '`y` must be 1 (labelled anomaly), 0 (unlabelled) or -1 (labelled '
      f'normal), got {values[row]!r} in row {row}.'
    )
  values = values.astype(np.int32)
  if (values > 0).all():
    raise ValueError(
      f'all {num_rows} rows are labelled anomalies: there is nothing to learn '
      'what is normal from. Add rows that are not labelled.'
    )
  return values


def check_hyperparameters(parameters: Mapping[str, Any]) -> None:
  """Refuses values of `DeepSAD` that no training could run with.

  Raises:
    ValueError: Names the argument, the value, and what it can be.
  """
  for name, choices in _CHOICES.items():
    if parameters[name] not in choices:
      raise ValueError(
        f'`{name}` must be one of {", ".join(choices)}, got '
        f'{parameters[name]!r}.'
      )

  def check(name: str, holds: Callable[[Any], bool], what: str) -> None:
    if not holds(parameters[name]):
      raise ValueError(f'`{name}` must be {what}, got {parameters[name]!r}.')

  for name in _NOT_NEGATIVE:
    check(name, lambda value: _is_number(value) and value >= 0, '>= 0')
  for name in _SHARES:
    check(
      name, lambda value: _is_number(value) and 0 <= value <= 1, 'from 0 to 1'
    )
  check('eta', lambda value: _is_number(value) and value > 0, '> 0')
  check(
    'clip_norm',
    lambda value: value is None or _is_number(value) and value > 0,
    '> 0, or None',
  )
  for name, lowest in _INTEGERS.items():
    if name == 'embedding_size' and parameters[name] is None:
      continue
    check(
      name,
      lambda value, low=lowest: _is_integer(value) and value >= low,
      f'an integer >= {lowest}',
    )
  check(
    'seed',
    lambda value: _is_integer(value) and 0 <= value < 2**32,
    'an integer from 0 to 2**32 - 1',
  )
  check(
    'hidden_sizes',
    lambda value: value is None or _are_sizes(value),
    'integers >= 1, such as (32, 16), or None',
  )


def _is_number(value: Any) -> bool:
  return isinstance(value, numbers.Real) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
  # Not isinstance(value, int): NumPy's integers are welcome.
  return isinstance(value, numbers.Integral)


def _are_sizes(value: Any) -> bool:
  return (
    isinstance(value, Sequence)
    and len(value) > 0
    and all(_is_integer(size) and size >= 1 for size in value)
  )
