# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Focal-SAM: Li et al., ICML 2025."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'focal_sam',
  axis='update rule',
  about='Focal-SAM, classes perturbed by rarity (ICML 2025)',
  perturbs=True,
)
def focal_sam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  focal_gamma: float,
  focal_lam: float,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.focal_sam`."""
  return training.update_rules.focal_sam(
    setup.class_counts,
    rho,
    gamma=focal_gamma,
    lam=focal_lam,
    adaptive=adaptive,
    mask=setup.mask,
  )
