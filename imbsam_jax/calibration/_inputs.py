# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of what the fits share: values per class, sizes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _numbers


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
  _numbers.check_integer('num_steps', num_steps)
  _numbers.check_integer('batch_size', batch_size)
