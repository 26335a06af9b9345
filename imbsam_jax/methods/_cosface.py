# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One margin for all classes: Wang et al., CVPR 2018."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.choice(
  'cosface',
  axis='loss',
  head='cosine',
)(losses.cosface_loss)

_registry.alias(
  'cosface',
  'cosface(margin=0.1, scale=30.0)',
  axis='loss',
  about='one margin for all (CVPR 2018)',
)

_registry.alias(
  'normface',
  'cosface(margin=0.0, scale=30.0)',
  axis='loss',
  about='cross entropy on cosines',
)
