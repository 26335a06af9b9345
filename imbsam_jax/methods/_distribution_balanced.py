# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The distribution-balanced loss: Wu et al., ECCV 2020."""

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from imbsam_jax.methods import _registry


@_registry.word(
  'distribution_balanced',
  axis='loss',
  about='multi-label loss, here of one label (ECCV 2020)',
  head='linear',
  corrects_prior=True,
  published_with=frozenset({'class_aware'}),
)
def distribution_balanced(
  logits: jax.Array,
  labels: jax.Array,
  class_counts: np.ndarray,
  *,
  alpha: float = 0.1,
  beta: float = 10.0,
  mu: float = 0.3,
  bias_scale: float = 0.05,
  negative_scale: float = 5.0,
  gamma: float = 2.0,
  balance: float = 2.0,
) -> jax.Array:
  """The multi-label loss on examples of one label, summed over classes."""
  targets = labels[:, None] == jnp.arange(logits.shape[1])[None]
  return jnp.sum(
    losses.distribution_balanced_loss(
      logits,
      targets.astype(jnp.float32),
      class_counts,
      int(class_counts.sum()),
      alpha=alpha,
      beta=beta,
      mu=mu,
      bias_scale=bias_scale,
      negative_scale=negative_scale,
      gamma=gamma,
      balance=balance,
    ),
    axis=1,
  )
