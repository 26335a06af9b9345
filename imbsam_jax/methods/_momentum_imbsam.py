# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ImbSAM along a running average: the library's own."""

from imbsam_jax import _checks
from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'momentum_imbsam',
  axis='update rule',
  about='ImbSAM along a running average, for the price of SGD',
  perturbs=True,
)
def momentum_imbsam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  threshold: int,
  tail_weight: float,
  average_decay: float = 0.99,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.momentum_imbsam`."""
  _rule.check_tail('momentum_imbsam', setup, threshold)
  # Under the name that was typed.
  _checks.number('average_decay', average_decay, low=0, below=1)
  return training.update_rules.momentum_imbsam(
    setup.class_counts,
    rho,
    threshold=threshold,
    tail_weight=tail_weight,
    decay=average_decay,
    adaptive=adaptive,
    mask=setup.mask,
  )
