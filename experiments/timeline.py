# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a run is: what schedules by epoch need to know."""

from collections.abc import Callable
import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Timeline(NamedTuple):
  """Epochs of a run, and the counts that its schedules begin with.

  Attributes:
    class_counts: int ``[C]``, training images of each class.
    num_epochs: Epochs of the run.
    batch_size: Rows of a batch.
  """

  class_counts: np.ndarray
  num_epochs: float
  batch_size: int

  def epoch(self, step: int) -> int:
    """Whole epochs that are over before a step."""
    return step * self.batch_size // int(self.class_counts.sum())

  def traced_epoch(self, step: jax.Array) -> jax.Array:
    """The same within a compiled step, float32."""
    steps_per_epoch = int(self.class_counts.sum()) / self.batch_size
    # The excess keeps a whole epoch from being rounded down.
    return jnp.floor(step.astype(jnp.float32) / steps_per_epoch + 1e-4)

  def at(self, share: float) -> float:
    """Epoch at a share of the run."""
    # 60 of 90 epochs is a share that no float has.
    return round(share * self.num_epochs, 3)

  def by_epoch(
    self, values: Callable[[int], Any]
  ) -> Callable[[int], np.ndarray]:
    """``f(step)`` from ``values(epoch)``, computed once an epoch."""
    cached = functools.lru_cache(maxsize=4)(lambda e: np.asarray(values(e)))
    return lambda step: cached(self.epoch(step))
