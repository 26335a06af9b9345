# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient oracles, class-group weights and the adapter for closed loops.

`gradient_oracle`, `split_gradient_oracle` and `tail_only_gradient_oracle` give
links the gradients of class groups, `head_tail_weights` and `focal_weights`
make these groups, and `value_and_grad` is for loops that call `jax.grad`.
`hypergradient` is for parameters of the loss itself.
"""

from imbsam_jax.oracles._gradient_oracle import gradient_oracle
from imbsam_jax.oracles._group_gradients import GroupGradients
from imbsam_jax.oracles._group_weights import focal_weights
from imbsam_jax.oracles._group_weights import head_tail_weights
from imbsam_jax.oracles._hypergradient import hypergradient
from imbsam_jax.oracles._hypergradient import hypergradient_and_growth
from imbsam_jax.oracles._split_gradient_oracle import split_gradient_oracle
from imbsam_jax.oracles._tail_only_gradient_oracle import (
  tail_only_gradient_oracle,
)
from imbsam_jax.oracles._value_and_grad import value_and_grad

__all__ = [
  'GroupGradients',
  'focal_weights',
  'gradient_oracle',
  'head_tail_weights',
  'hypergradient',
  'hypergradient_and_growth',
  'split_gradient_oracle',
  'tail_only_gradient_oracle',
  'value_and_grad',
]
