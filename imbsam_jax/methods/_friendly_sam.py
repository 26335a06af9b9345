# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Friendly SAM: Li et al., CVPR 2024."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'friendly_sam',
  axis='update rule',
  about='Friendly SAM, noise of the batch alone (CVPR 2024)',
  perturbs=True,
)
def friendly_sam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  sigma: float = 1.0,
  lam: float = 0.9,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.friendly_sam`."""
  return training.update_rules.friendly_sam(
    setup.class_counts,
    rho,
    sigma=sigma,
    lam=lam,
    adaptive=adaptive,
    mask=setup.mask,
  )
