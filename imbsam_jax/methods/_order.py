# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Orders of the training rows by class probabilities."""

from collections.abc import Callable

import numpy as np

from imbsam_jax import data
from imbsam_jax import sampling
from imbsam_jax.methods import _part

Probabilities = Callable[[int], np.ndarray]


def sampled(setup: _part.Setup, probabilities: Probabilities) -> _part.Part:
  """Rows drawn with replacement, by class probabilities ``[C]`` by step."""

  def order(labels, is_tail, seed):
    return data.sampled_order(
      labels,
      probabilities,
      batch_size=setup.time.batch_size,
      seed=seed,
      is_tail=is_tail,
    )

  return _part.Part(order=order)


def by_power(setup: _part.Setup, power: float) -> Probabilities:
  """Class probabilities n^power throughout."""
  found = np.asarray(
    sampling.class_probabilities(setup.class_counts, power=power)
  )
  return lambda step: found
