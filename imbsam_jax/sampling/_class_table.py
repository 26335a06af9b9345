# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples by class, as one rectangle."""

from typing import Any
from typing import NamedTuple

from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks

# Never an example, and easy to spot.
_PADDING = -1


class ClassTable(NamedTuple):
  """Examples of each class; a pytree.

  Attributes:
    indices: Int32 array, shape ``[C, max_count]``: row c begins with the
      examples of class c, in their order; slots from ``counts[c]`` on are
      padding.
    counts: Int32 array, shape ``[C]``, the number of examples of each class.
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
    labels: Int array, shape ``[N]``, values in ``[0, num_classes)``, concrete.
    num_classes: Number of classes C; classes without examples have count 0.

  Returns:
    The table, in NumPy, for host and device alike. For many calls of
    `sample_indices` put it on the device once, ``jax.device_put(table)``.

  Raises:
    TypeError: If `labels` are traced or not integers.
    ValueError: If there are no labels, or labels have another rank or are out
      of range.
  """
  num_classes = _checks.integer('num_classes', num_classes)
  rows = _checks.host_labels(labels, num_classes)
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
    TypeError: If `table` is not a `ClassTable`.
  """
  if not isinstance(table, ClassTable):
    raise TypeError(
      f'`table` must be a ClassTable, got {type(table).__name__}. Pass '
      '`class_table(labels, num_classes=...)`.'
    )
