# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Orders of the rows that a mixing takes as partners."""

from typing import Any

import grain
import numpy as np

from imbsam_jax import data
from imbsam_jax.methods import _part
from imbsam_jax.methods import _probabilities


def batch_partners(
  order: grain.MapDataset, labels: np.ndarray, seed: int
) -> Any:
  """The rows of the batch itself in another order: a `Part.partners`."""
  del labels
  return data.permuted_order(order, seed=(seed, 1))


def sampled_partners(setup: _part.Setup, power: float) -> Any:
  """Rows of a stream of their own, with class probabilities n^power.

  Returns:
    A function as `Part.partners` has it.
  """

  def partners(order, labels, seed):
    del order
    return data.sampled_order(
      labels,
      _probabilities.by_power(setup, power),
      batch_size=setup.time.batch_size,
      seed=(seed, 1),
    )

  return partners
