# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of hyper-parameters."""

import numbers
from typing import Any


def check_number(
  name: str,
  value: Any,
  *,
  low: float = float('-inf'),
  high: float = float('inf'),
  open_ends: bool = False,
) -> None:
  """Refuses a concrete number outside of a range; arrays pass unseen.

  Args:
    name: The argument's name.
    value: The argument.
    low: Smallest value.
    high: Largest value.
    open_ends: Whether `low` and `high` themselves are outside. Infinity and NaN
      always are.

  Raises:
    TypeError: Neither a number nor an array.
    ValueError: Outside of the range.
  """
  if hasattr(value, 'dtype') and not isinstance(value, numbers.Real):
    return  # Known only at run time, or the caller's own array.
  if isinstance(value, bool) or not isinstance(value, numbers.Real):
    raise TypeError(f'`{name}` must be a number, got {value!r}.')
  number = float(value)
  inside = low < number < high if open_ends else low <= number <= high
  if not inside or number in (float('inf'), float('-inf')):
    raise ValueError(
      f'`{name}` must be finite{_range(low, high, open_ends)}, got {value!r}.'
    )


def check_integer(name: str, value: Any, *, low: int = 1) -> None:
  """Refuses what is not an integer of `low` or more.

  Raises:
    TypeError: Not an integer.
    ValueError: Below `low`.
  """
  if isinstance(value, bool) or not isinstance(value, numbers.Integral):
    raise TypeError(f'`{name}` must be an integer, got {value!r}.')
  if value < low:
    raise ValueError(f'`{name}` must be at least {low}, got {value}.')


def _range(low: float, high: float, open_ends: bool) -> str:
  finite_low, finite_high = low > float('-inf'), high < float('inf')
  if finite_low and finite_high:
    return f' and {"between" if open_ends else "from"} {low:g} ' + (
      f'and {high:g}' if open_ends else f'to {high:g}'
    )
  if finite_low:
    return f' and {">" if open_ends else ">="} {low:g}'
  if finite_high:
    return f' and {"<" if open_ends else "<="} {high:g}'
  return ''
