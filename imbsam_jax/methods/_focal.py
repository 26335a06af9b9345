# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Focal losses: Lin et al., ICCV 2017."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'focal',
  axis='loss',
  about='focal loss (ICCV 2017)',
  head='linear',
)(losses.focal_loss)

_registry.word(
  'sigmoid_focal',
  axis='loss',
  about='focal loss of C sigmoids',
  head='linear',
)(losses.sigmoid_focal_loss)
