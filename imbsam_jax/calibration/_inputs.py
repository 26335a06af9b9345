# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of what the fits share: values per class, sizes."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def per_class(name: str, values: ArrayLike, num_classes: int) -> jax.Array:
  """Values per class as float32 ``[num_classes]``.

  Raises:
    TypeError: Not numbers.
    ValueError: Another shape.
  """
  array = jnp.asarray(values)
  if not jnp.issubdtype(array.dtype, jnp.number):
    raise TypeError(f'`{name}` must be numbers, got dtype {array.dtype}.')
  if array.shape != (num_classes,):
    raise ValueError(
      f'`{name}` must have shape [{num_classes}], one value for each class, '
      f'got {array.shape}.'
    )
  return array.astype(jnp.float32)


def check_fit(
  name: str, num_rows: int, num_steps: Any, batch_size: Any
) -> None:
  """Refuses to fit on nothing, or not at all."""
  if not num_rows:
    raise ValueError(f'`{name}` must have at least one row, got none.')
  check_integer('num_steps', num_steps)
  check_integer('batch_size', batch_size)


def check_integer(name: str, value: Any) -> None:
  """Refuses what is not an integer of 1 or more."""
  if isinstance(value, bool) or not isinstance(value, numbers.Integral):
    raise TypeError(f'`{name}` must be an integer, got {value!r}.')
  if value < 1:
    raise ValueError(f'`{name}` must be at least 1, got {value}.')
