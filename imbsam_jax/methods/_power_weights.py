# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class weights that are powers of the counts: Wang et al., ACML 2022."""

import numpy as np

from imbsam_jax import data
from imbsam_jax import weights
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.choice('power', axis='weights', corrects_prior=True)
def power_weights(setup: _part.Setup, *, power: float = 1.0) -> _part.Part:
  """Weights n^-power throughout."""
  by_class = np.asarray(weights.power_weights(setup.class_counts, power=power))
  return _part.Part(
    reweighting=data.Reweighting(lambda step: by_class, 'weighted_mean')
  )


_registry.alias(
  'inverse_frequency', 'power(power=1.0)', axis='weights', about='1 / n'
)
_registry.alias(
  'grw',
  'power(power=1.2)',
  axis='weights',
  about='n^-1.2, generalized (ACML 2022)',
)
