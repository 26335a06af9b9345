# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of stored features, their labels and values per class."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np


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


def row_labels(labels: Any, num_rows: int, num_classes: int) -> jax.Array:
  """Labels as int32 ``[num_rows]``; the range is checked if concrete.

  Raises:
    TypeError: Not integers.
    ValueError: Not one per row, or out of range.
  """
  if not isinstance(labels, jax.core.Tracer):
    labels = np.asarray(labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise TypeError(
      f'`labels` must be class indices, got dtype {labels.dtype}. For one-hot '
      'rows pass labels.argmax(axis=-1).'
    )
  if labels.shape != (num_rows,):
    raise ValueError(
      f'`labels` must have one entry for each of the {num_rows} rows, got '
      f'shape {labels.shape}.'
    )
  if isinstance(labels, np.ndarray) and labels.size:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
      raise ValueError(
        f'`labels` must be in [0, {num_classes}), got {labels[wrong[0]]} at '
        f'row {wrong[0]} ({wrong.size} such rows). Drop padded rows first.'
      )
  return jnp.asarray(labels).astype(jnp.int32)


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
