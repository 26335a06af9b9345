# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LookSAM: Liu et al., CVPR 2022."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'look_sam',
  axis='update rule',
  about='LookSAM, SAM every few steps (CVPR 2022)',
  perturbs=True,
)
def look_sam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  every: int = 10,
  alpha: float = 0.7,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.look_sam`."""
  return training.update_rules.look_sam(
    setup.class_counts,
    rho,
    every=every,
    alpha=alpha,
    adaptive=adaptive,
    mask=setup.mask,
  )
