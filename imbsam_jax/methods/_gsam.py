# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""GSAM: Zhuang et al., ICLR 2022."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'gsam',
  axis='update rule',
  about='GSAM, lowers the surrogate gap too (ICLR 2022)',
  perturbs=True,
)
def gsam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  alpha: float = 0.1,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.gsam`."""
  return training.update_rules.gsam(
    setup.class_counts, rho, alpha=alpha, adaptive=adaptive, mask=setup.mask
  )
