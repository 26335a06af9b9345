# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class-balanced weights: Cui et al., CVPR 2019."""

import numpy as np

from imbsam_jax import data
from imbsam_jax import weights
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'cb',
  axis='weights',
  choice_name='class_balanced',
  about='1 / effective number (CVPR 2019)',
  corrects_prior=True,
)
def class_balanced(setup: _part.Setup, *, beta: float = 0.9999) -> _part.Part:
  """Weights by the effective number of examples, a mean over rows."""
  by_class = np.asarray(
    weights.class_balanced_weights(setup.class_counts, beta=beta)
  )
  return _part.Part(reweighting=data.Reweighting(lambda step: by_class, 'mean'))
