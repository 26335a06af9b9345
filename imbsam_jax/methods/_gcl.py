# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gaussian clouded logits: Li et al., CVPR 2022."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'gcl',
  axis='loss',
  about='Gaussian clouded logits (CVPR 2022)',
  head='cosine',
)(losses.gcl_loss)
