# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""RSAM, the update of RSAM-PT and GNM-PT: Li et al., NeurIPS 2024."""

from imbsam_jax import training
from imbsam_jax import transforms
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'rsam',
  axis='update rule',
  about='RSAM/GNM, random neighborhood (NeurIPS 2024)',
  perturbs=True,
)
def rsam(setup: _rule.RuleSetup, *, rho: _rule.Radius) -> training.Method:
  """See `training.update_rules.rsam`; its radius is halved at the switch."""
  halves = transforms.stage_switch(1.0, 0.5, boundary=setup.switch_step)
  return training.update_rules.rsam(
    setup.class_counts,
    _rule.scaled(rho, halves),
    key=setup.key,
    mask=setup.mask,
  )
