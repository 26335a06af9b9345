# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Timeline`: the epochs of a run and its class counts, for schedules."""

from collections.abc import Callable
import functools
import math
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Timeline(NamedTuple):
  """Epochs of a run, and the counts that its schedules begin with.

  Attributes:
    class_counts: Int array, shape ``[C]``, training images of each class.
    num_epochs: Number of epochs of the run.
    batch_size: Number of rows of a batch.
  """

  class_counts: np.ndarray
  num_epochs: float
  batch_size: int

  def epoch(self, step: int) -> int:
    """Whole epochs that are over before a step."""
    return step * self.batch_size // int(self.class_counts.sum())

  def traced_epoch(self, step: jax.Array) -> jax.Array:
    """The same within a compiled step, float32.

    In integers, as quotients of floats round a whole epoch down; and by periods
    of whole epochs, so that no product of a late step overflows.
    """
    num_rows = int(self.class_counts.sum())
    common = math.gcd(num_rows, self.batch_size)
    period, epochs = num_rows // common, self.batch_size // common
    whole, rest = jnp.divmod(step.astype(jnp.int32), period)
    return (whole * epochs + rest * epochs // period).astype(jnp.float32)

  def at(self, share: float) -> float:
    """Epoch at a share of the run.

    Raises:
      ValueError: If the share is not in [0, 1].
    """
    if not 0 <= share <= 1:
      raise ValueError(
        'starts and ends are shares of the run, from 0 to 1 (160 of 200 epochs '
        f'is 0.8), got {share}.'
      )
    # 60 of 90 epochs is a share that no float has.
    return round(share * self.num_epochs, 3)

  def by_epoch(
    self, values: Callable[[int], Any]
  ) -> Callable[[int], np.ndarray]:
    """``f(step)`` from ``values(epoch)``, computed once an epoch."""
    cached = functools.lru_cache(maxsize=4)(lambda e: np.asarray(values(e)))
    return lambda step: cached(self.epoch(step))
