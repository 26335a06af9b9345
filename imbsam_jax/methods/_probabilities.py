# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class probabilities of samplers."""

from collections.abc import Callable

import numpy as np

from imbsam_jax import sampling
from imbsam_jax.methods import _part

Probabilities = Callable[[int], np.ndarray]


def by_power(setup: _part.Setup, power: float) -> Probabilities:
  """Class probabilities n^power throughout."""
  probabilities = np.asarray(
    sampling.class_probabilities(setup.class_counts, power=power)
  )
  return lambda step: probabilities
