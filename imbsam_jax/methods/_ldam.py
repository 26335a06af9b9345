# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LDAM: Cao et al., NeurIPS 2019."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'ldam',
  axis='loss',
  about='margins by label distribution (NeurIPS 2019)',
  head='cosine',
)(losses.ldam_loss)
