# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SSE-SAM: Lyu et al., AAAI 2025."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'sse_sam',
  axis='update rule',
  about='SSE-SAM, head and tail apart, then the tail (AAAI 2025)',
  perturbs=True,
)
def sse_sam(
  setup: _rule.RuleSetup,
  *,
  rho: _rule.Radius,
  head_rho: _rule.Radius,
  threshold: int,
  tail_weight: float,
  average_decay: float | None = None,
  adaptive: bool,
) -> training.Method:
  """See `training.update_rules.sse_sam`."""
  _rule.check_tail('sse_sam', setup, threshold)
  return training.update_rules.sse_sam(
    setup.class_counts,
    head_rho,
    rho,
    threshold=threshold,
    tail_weight=tail_weight,
    switch_step=setup.switch_step,
    average_decay=average_decay,
    adaptive=adaptive,
    mask=setup.mask,
  )
