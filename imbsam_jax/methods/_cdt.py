# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class-dependent temperatures: Ye et al., arXiv 2001.01385."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'cdt',
  axis='loss',
  about='class-dependent temperatures (arXiv 2001.01385)',
  head='linear',
  corrects_prior=True,
  published_with=frozenset({'bilateral_mix'}),
)(losses.cdt_loss)
