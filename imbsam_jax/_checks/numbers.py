# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of hyper-parameters.

NumPy's numbers count as Python's do, and neither bool is a number.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Error = type[Exception] | None


def number(
  name: str,
  value: Any,
  *,
  low: float | None = None,
  high: float | None = None,
  above: float | None = None,
  below: float | None = None,
  finite: bool = True,
  error: Error = None,
  hint: str = '',
) -> None:
  """Refuses what is not a number of a range.

  Values of JAX arrays, and of NumPy arrays with axes, are not looked at: they
  are known at run time only, or belong to the caller.

  Args:
    name: The argument's name.
    value: The argument.
    low: Smallest value.
    high: Largest value.
    above: Bound that is itself outside, instead of `low`.
    below: Bound that is itself outside, instead of `high`.
    finite: Whether infinity is refused; NaN always is.
    error: Class of all errors, instead of the two below.
    hint: Sentences at the end of a message.

  Raises:
    TypeError: Neither a number nor an array of real numbers.
    ValueError: Outside of the range, or NaN.
  """
  shown = value
  if isinstance(value, (jax.Array, np.ndarray, np.generic)):
    _real('must be a number', name, value, error, hint)
    if isinstance(value, jax.Array) or value.ndim:
      return
    value = float(value)
  if isinstance(value, bool) or not isinstance(value, numbers.Real):
    raise (error or TypeError)(
      _message(name, 'must be a number', repr(shown), hint)
    )
  try:
    as_float = float(value)
  except OverflowError:
    as_float = math.inf
  bounds = ['finite'] if finite else []
  inside = math.isfinite(as_float) if finite else not math.isnan(as_float)
  if low is not None and high is not None:
    bounds.append(f'from {low:g} to {high:g}')
    inside = inside and low <= as_float <= high
  else:
    for limit, words, holds in (
      (low, 'at least', lambda limit: as_float >= limit),
      (above, 'above', lambda limit: as_float > limit),
      (high, 'at most', lambda limit: as_float <= limit),
      (below, 'below', lambda limit: as_float < limit),
    ):
      if limit is not None:
        bounds.append(f'{words} {limit:g}')
        inside = inside and holds(limit)
  if not inside:
    *first, last = bounds or ['a number']
    listed = f'{", ".join(first)} and {last}' if first else last
    raise (error or ValueError)(
      _message(name, f'must be {listed}', repr(shown), hint)
    )


def host_number(
  name: str,
  value: Any,
  *,
  low: float | None = None,
  high: float | None = None,
) -> float:
  """A number that is known on the host, as a float.

  Args:
    name: The argument's name.
    value: The argument: a number, or an array without axes.
    low: Smallest value.
    high: Largest value.

  Raises:
    TypeError: Traced, or no number.
    ValueError: Outside of the range, infinite or NaN.
  """
  concrete(name, value)
  if isinstance(value, (jax.Array, np.ndarray)):
    if value.ndim:
      raise TypeError(f'`{name}` must be one number, got shape {value.shape}.')
    _real('must be a number', name, value, None, '')
    value = np.asarray(value).astype(np.float64).item()
  number(name, value, low=low, high=high)
  return float(value)


def share(
  name: str, value: Any, *, zero: bool = True, one: bool = True
) -> float:
  """A number of [0, 1] as a float.

  Args:
    name: The argument's name.
    value: The argument.
    zero: Whether 0 is allowed.
    one: Whether 1 is allowed.

  Raises:
    TypeError: Not a number.
    ValueError: Outside of the range.
  """
  value = host_number(name, value)
  number(
    name,
    value,
    low=0 if zero else None,
    above=None if zero else 0,
    high=1 if one else None,
    below=None if one else 1,
  )
  return value


def integer(
  name: str,
  value: Any,
  *,
  low: int = 1,
  high: int | None = None,
  error: Error = None,
  hint: str = '',
) -> int:
  """An integer of a range, as Python's.

  Args:
    name: The argument's name.
    value: The argument.
    low: Smallest value.
    high: Largest value; None is any.
    error: Class of all errors, instead of the two below.
    hint: Sentences at the end of a message.

  Raises:
    TypeError: Not an integer.
    ValueError: Outside of the range.
  """
  if isinstance(value, bool) or not isinstance(value, numbers.Integral):
    raise (error or TypeError)(
      _message(name, 'must be an integer', repr(value), hint)
    )
  as_int = int(value)
  if as_int < low or (high is not None and as_int > high):
    bounds = f'at least {low}' if high is None else f'from {low} to {high}'
    raise (error or ValueError)(
      _message(name, f'must be {bounds}', str(as_int), hint)
    )
  return as_int


def seed(name: str, value: Any, *, error: Error = None) -> int:
  """A seed of `numpy.random.RandomState`, from 0 to 2**32 - 1."""
  return integer(name, value, low=0, high=2**32 - 1, error=error)


def radius(name: str, rho: Any) -> None:
  """Refuses a radius that is not a finite number >= 0, array or schedule.

  Raises:
    TypeError: None of them.
    ValueError: Negative, infinite or NaN.
  """
  if callable(rho):
    return
  known = (numbers.Real, jax.Array, np.ndarray, np.generic)
  if isinstance(rho, bool) or not isinstance(rho, known):
    raise TypeError(
      f'`{name}` must be a number or an `optax.Schedule`, got {rho!r}. Pass a '
      'float such as 0.05, or a function from the update count to one.'
    )
  number(name, rho, low=0, hint='Pass 0.0 to switch the perturbation off.')


def concrete(name: str, value: Any) -> None:
  """Refuses what is traced.

  Raises:
    TypeError: A tracer.
  """
  if isinstance(value, jax.core.Tracer):
    raise TypeError(
      f'`{name}` must be concrete here, got a traced array. Call this outside '
      'of `jax.jit` and pass what it returns as an argument.'
    )


def _real(what: str, name: str, value: Any, error: Error, hint: str) -> None:
  # bfloat16 is a subtype of JAX's floating only.
  if not (
    jnp.issubdtype(value.dtype, jnp.integer)
    or jnp.issubdtype(value.dtype, jnp.floating)
  ):
    raise (error or TypeError)(
      _message(name, what, f'dtype {value.dtype}', hint)
    )


def _message(name: str, expected: str, came: str, hint: str) -> str:
  return f'`{name}` {expected}, got {came}.' + (f' {hint}' if hint else '')
