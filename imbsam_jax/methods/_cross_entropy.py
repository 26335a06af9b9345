# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cross entropy."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'ce',
  axis='loss',
  about='cross entropy',
  choice_name='cross_entropy',
  head='linear',
)(losses.cross_entropy)
