# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ImbSAM: Zhou et al., ICCV 2023."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'imbsam',
  axis='update rule',
  about='ImbSAM, tail classes perturbed (ICCV 2023)',
  perturbs=True,
)
def imbsam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  threshold: int,
  tail_weight: float,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.imbsam`."""
  _rule.check_tail('imbsam', setup, threshold)
  return training.update_rules.imbsam(
    setup.class_counts,
    rho,
    threshold=threshold,
    tail_weight=tail_weight,
    adaptive=adaptive,
    mask=setup.mask,
  )
