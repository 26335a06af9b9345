# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of arrays: logits, and values of classes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np


def float_logits(logits: ArrayLike) -> jax.Array:
  """Logits as float32 ``[B, C]``.

  Raises:
    TypeError: If the array is not floating point.
    ValueError: If it does not have two axes, or has no classes.
  """
  logits = jnp.asarray(logits)
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise TypeError(
      f'`logits` must be floating point, got dtype {logits.dtype}. Pass '
      'logits.astype(jnp.float32).'
    )
  if logits.ndim != 2 or not logits.shape[1]:
    raise ValueError(
      f'`logits` must have shape [B, C], got {logits.shape}. For one example '
      'pass logits[None], for more axes logits.reshape(-1, C).'
    )
  return logits.astype(jnp.float32)


def per_class(name: str, values: ArrayLike, num_classes: int) -> jax.Array:
  """Values of the classes as float32 ``[num_classes]``.

  Raises:
    TypeError: If the values are not real numbers.
    ValueError: If the values have another shape.
  """
  array = jnp.asarray(values)
  real_dtype(name, array)
  if array.shape != (num_classes,):
    raise ValueError(
      f'`{name}` must have shape [{num_classes}], one value for each class, '
      f'got {array.shape}.'
    )
  return array.astype(jnp.float32)


def row_mask(name: str, mask: ArrayLike, num_rows: int) -> jax.Array:
  """A bool for each row, ``[num_rows]``.

  Raises:
    TypeError: If the values are not bools.
    ValueError: If there is not one for each row.
  """
  array = jnp.asarray(mask)
  if array.dtype != jnp.bool_:
    raise TypeError(
      f'`{name}` must be bool, got dtype {array.dtype}. Pass {name} != 0, or '
      'for a mask of classes class_mask[labels].'
    )
  if array.shape != (num_rows,):
    raise ValueError(
      f'`{name}` must have shape [{num_rows}], one bool for each row, got '
      f'{array.shape}. For a mask of classes pass class_mask[labels].'
    )
  return array


def real_dtype(name: str, array: Any) -> None:
  """Refuses an array of booleans, complex numbers, text or objects.

  Raises:
    TypeError: If the values are not real numbers.
  """
  # bfloat16 is a subtype of JAX's floating only.
  if not (
    jnp.issubdtype(array.dtype, jnp.integer)
    or jnp.issubdtype(array.dtype, jnp.floating)
  ):
    what = 'real numbers' if array.ndim else 'a real number'
    raise TypeError(f'`{name}` must be {what}, got dtype {array.dtype}.')


def shares_of_classes(
  name: str,
  values: np.ndarray,
  *,
  all_zero: bool = False,
  error: type[Exception] | None = None,
) -> np.ndarray:
  """Values of which only the ratios count, as float64 ``[C]``.

  Args:
    name: Name of the argument.
    values: Real numbers, shape ``[C]``.
    all_zero: Whether all may be zero: then there are no ratios.
    error: Class of the error, instead of `ValueError`.

  Raises:
    ValueError: If a value is negative, infinite or NaN, or all of them are
      zero.
  """
  values = values.astype(np.float64)
  wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
  if wrong.size:
    raise (error or ValueError)(
      f'`{name}` must be finite and at least 0, got {values[wrong[0]]:.16g} '
      f'for class {wrong[0]}.'
    )
  if not values.any() and not all_zero:
    raise (error or ValueError)(f'`{name}` must not all be zero.')
  return values
