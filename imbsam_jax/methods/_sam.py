# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SAM: Foret et al., ICLR 2021."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'sam',
  axis='update rule',
  about='SAM, all classes perturbed together (ICLR 2021)',
  perturbs=True,
)
def sam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  average_decay: float | None = None,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.sam`."""
  return training.update_rules.sam(
    setup.class_counts,
    rho,
    average_decay=average_decay,
    adaptive=adaptive,
    mask=setup.mask,
  )
