# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attraction-repulsion-balanced loss: Xie et al., Neurocomputing 2023."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'arb',
  axis='loss',
  about='attraction-repulsion, counts of the batch (2023)',
  head='linear',
  corrects_prior=True,
  counts_batch=True,
  needs_batch=True,
)(losses.arb_loss)
