# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hyper-parameters of what is computed on the host."""

from typing import Any

import jax
import numpy as np

from imbsam_jax import _numbers


def host_number(
  name: str,
  value: Any,
  *,
  low: float = float('-inf'),
  high: float = float('inf'),
) -> float:
  """A concrete number as a float.

  Args:
    name: The argument's name.
    value: The argument: a number, or an array without axes.
    low: Smallest value.
    high: Largest value.

  Raises:
    TypeError: Traced, or no number.
    ValueError: Outside of the range, infinite or NaN.
  """
  if isinstance(value, jax.core.Tracer):
    raise TypeError(
      f'`{name}` must be concrete here, got a traced array. Call this outside '
      'of `jax.jit` and pass what it returns as an argument.'
    )
  if isinstance(value, (jax.Array, np.ndarray)):
    if value.ndim:
      raise TypeError(f'`{name}` must be one number, got shape {value.shape}.')
    value = np.asarray(value).astype(np.float64).item()
  _numbers.check_number(name, value, low=low, high=high)
  return float(value)
