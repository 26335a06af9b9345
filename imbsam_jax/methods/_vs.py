# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Vector scaling: Kini et al., NeurIPS 2021."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'vs',
  axis='loss',
  about='vector scaling (NeurIPS 2021)',
  head='linear',
  corrects_prior=True,
)(losses.vs_loss)
