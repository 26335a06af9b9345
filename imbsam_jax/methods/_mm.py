# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Maximum margins: Kang et al., ICIP 2021."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'mm',
  axis='loss',
  about='maximum margin, by example (ICIP 2021)',
  head='cosine',
)(losses.mm_loss)

_registry.word(
  'mm_ldam',
  axis='loss',
  about='maximum margin less that of LDAM (ICIP 2021)',
  head='cosine',
)(losses.mm_ldam_loss)
