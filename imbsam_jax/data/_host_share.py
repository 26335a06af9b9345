# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`HostShare`, the rows of each batch that one of several processes needs."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np


class HostShare(NamedTuple):
  """An equal share of every batch: the rows of one process's devices.

  Each process makes every batch, so that all agree on it, but decodes the
  images of its own rows only; those of others stay 0.

  `training.host_share` gives that of a mesh of devices. Batches that are to be
  stacked are made whole, see `stack_batches`.

  >>> HostShare(1, 4).rows(64)
  slice(16, 32, None)

  Attributes:
    index: Number of the process.
    count: Number of processes.
  """

  index: int = 0
  count: int = 1

  def rows(self, number: int) -> slice:
    """Which of so many rows, a multiple of `count`."""
    return slice(
      number * self.index // self.count, number * (self.index + 1) // self.count
    )


def take_own(
  take: Callable[[np.ndarray], np.ndarray],
  number: int,
  own: slice | np.ndarray,
  stored: Any,
) -> np.ndarray:
  """Images of a batch; those of rows that are not `own` stay 0.

  Args:
    take: ``take(rows)`` gives the images of some rows, int ``[n]``.
    number: Rows of the batch.
    own: Slice or mask of the rows whose images are taken.
    stored: What has the shape ``[N, ...]`` and the dtype of the images.
  """
  rows = np.arange(number)[own]
  if len(rows) == number:
    return take(rows)
  images = np.zeros((number, *stored.shape[1:]), stored.dtype)
  images[rows] = take(rows)
  return images


# Where there is one process.
WHOLE = HostShare()
