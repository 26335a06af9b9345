# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Largest margins: Zhou et al., ICLR 2022."""

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.choice(
  'lm_softmax',
  axis='loss',
  head='cosine',
)(losses.lm_softmax)

_registry.choice(
  'gm_softmax',
  axis='loss',
  head='cosine',
)(losses.gm_softmax)

_registry.alias(
  'lm_softmax',
  'lm_softmax(scale=30.0)',
  axis='loss',
  about='largest margins, no target below (ICLR 2022)',
)

_registry.alias(
  'gm_softmax',
  'gm_softmax(beta1=-0.1, scale=30.0)',
  axis='loss',
  about='generalized margin (ICLR 2022)',
)

_registry.word(
  'sample_margin',
  axis='loss',
  about='the sample margin itself (ICLR 2022)',
  head='cosine',
)(losses.sample_margin_loss)
