# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gaussian clouded logits, and their second stage: Li et al., CVPR 2022."""

import jax
import jax.numpy as jnp

from imbsam_jax import losses
from imbsam_jax.methods import _registry

_registry.word(
  'gcl',
  axis='loss',
  about='Gaussian clouded logits (CVPR 2022)',
  head='cosine',
)(losses.gcl_loss)


@_registry.choice('gcl_focal', axis='loss', head='cosine')
def gcl_focal(
  logits: jax.Array,
  labels: jax.Array,
  class_counts: jax.Array,
  *,
  key: jax.Array,
  noise_scale: float = 0.5,
  margin: float = 0.1,
  scale: float = 20.0,
  gamma: float = 1.0,
) -> jax.Array:
  """GCL times sg(1 - p)^gamma, p the probability in it: the second stage's."""
  loss = losses.gcl_loss(
    logits,
    labels,
    class_counts,
    key=key,
    noise_scale=noise_scale,
    margin=margin,
    scale=scale,
  )
  # Zero times infinity, where it is fitted and gamma is below 1, has no part.
  missing = jnp.maximum(jax.lax.stop_gradient(-jnp.expm1(-loss)), 0.0)
  return jnp.power(missing, gamma) * loss


_registry.alias(
  'gcl_stage2',
  'head_only',
  axis='scheme',
  about='the head of a finished run of gcl, classes alike (CVPR 2022)',
  sets={
    'objective.loss': 'gcl_focal',
    'data.sampler': 'class_balanced',
  },
  follows='gcl',
)
