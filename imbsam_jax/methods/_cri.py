# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The focal LDAM of PPL+CRI: Xu et al., arXiv 2205.12117."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'cri',
  axis='loss',
  about='focal LDAM of PPL+CRI (arXiv 2205.12117)',
  head='cosine',
)(losses.cri_loss)
