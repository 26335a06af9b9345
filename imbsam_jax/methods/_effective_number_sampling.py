# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sampling by the effective number: Cui et al., CVPR 2019."""

import numpy as np

from imbsam_jax import sampling
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'effective_number_sampling',
  axis='sampler',
  choice_name='effective_number',
  about='examples by 1 / effective number',
  corrects_prior=True,
)
def effective_number_sampling(
  setup: _part.Setup, *, beta: float = 0.9999
) -> _part.Part:
  """Class probabilities n / effective number."""
  probabilities = np.asarray(
    sampling.effective_number_probabilities(setup.class_counts, beta=beta)
  )
  return _part.Part(probabilities=lambda step: probabilities)
