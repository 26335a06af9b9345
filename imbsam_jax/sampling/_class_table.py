# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples by class, as one rectangle."""

from typing import Any
from typing import NamedTuple

import jax
from jax.typing import ArrayLike
import numpy as np

# Never an example, and easy to spot.
_PADDING = -1


class ClassTable(NamedTuple):
  """Examples of each class; a pytree.

  Attributes:
    indices: int32 ``[C, max_count]``: row c begins with the examples of class
      c, in their order; slots from ``counts[c]`` on are padding.
    counts: int32 ``[C]``.
  """

  indices: Any
  counts: Any


def class_table(labels: ArrayLike, *, num_classes: int) -> ClassTable:
  """Sorts the examples of a data set by class.

  >>> table = class_table([1, 0, 1, 1], num_classes=3)
  >>> print(table.indices, table.counts)
  [[ 1 -1 -1]
   [ 0  2  3]
   [-1 -1 -1]] [1 3 0]

  Args:
    labels: Int ``[N]``, values in ``[0, num_classes)``, concrete.
    num_classes: Number of classes C; classes without examples have count 0.

  Returns:
    The table, in NumPy, for host and device alike. For many calls of
    `sample_indices` put it on the device once, ``jax.device_put(table)``.

  Raises:
    TypeError: Labels that are traced or not integers.
    ValueError: No labels, labels of another rank or out of range.
  """
  if isinstance(labels, jax.core.Tracer):
    raise TypeError(
      '`labels` must be concrete here, got a traced array. Build the table '
      'once, outside of `jax.jit`, and pass it as an argument.'
    )
  rows = np.asarray(labels)
  check_size('num_classes', num_classes)
  if rows.ndim != 1 or not rows.size:
    raise ValueError(
      f'`labels` must have shape [N], one label per example, got {rows.shape}. '
      'For one-hot labels pass labels.argmax(axis=-1).'
    )
  if not np.issubdtype(rows.dtype, np.integer):
    raise TypeError(
      f'`labels` must be integers, got {rows.dtype}. Pass class indices, '
      'labels.astype("int32").'
    )
  wrong = np.flatnonzero((rows < 0) | (rows >= num_classes))
  if wrong.size:
    raise ValueError(
      f'`labels` must be in [0, {num_classes}), got {rows[wrong[0]]} at row '
      f'{wrong[0]} ({wrong.size} such rows).'
    )
  rows = rows.astype(np.int64)
  counts = np.bincount(rows, minlength=num_classes)
  order = np.argsort(rows, kind='stable')
  classes = rows[order]
  slots = np.arange(len(rows)) - (np.cumsum(counts) - counts)[classes]
  indices = np.full((num_classes, counts.max()), _PADDING, np.int32)
  indices[classes, slots] = order
  return ClassTable(indices, counts.astype(np.int32))


def check_table(table: Any) -> None:
  """Refuses what is no table.

  Raises:
    TypeError: Not a `ClassTable`.
  """
  if not isinstance(table, ClassTable):
    raise TypeError(
      f'`table` must be a ClassTable, got {type(table).__name__}. Pass '
      '`class_table(labels, num_classes=...)`.'
    )


def check_size(name: str, value: Any) -> None:
  """Refuses a number of things that is not 1, 2, 3...

  Raises:
    TypeError: Not an integer.
    ValueError: Below 1.
  """
  if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
    raise TypeError(f'`{name}` must be an integer, got {value!r}.')
  if value < 1:
    raise ValueError(f'`{name}` must be >= 1, got {value!r}.')
