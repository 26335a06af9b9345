# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Balanced softmax: Ren et al., NeurIPS 2020."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'balanced_softmax',
  axis='loss',
  about='balanced softmax, logits + log n (NeurIPS 2020)',
  head='linear',
  corrects_prior=True,
)(losses.balanced_softmax)
