# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Logit adjustment in training: Menon et al., ICLR 2021."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'logit_adjustment',
  axis='loss',
  about='logit adjustment in training (ICLR 2021)',
  head='linear',
  corrects_prior=True,
)(losses.logit_adjusted_cross_entropy)
