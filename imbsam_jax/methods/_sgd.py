# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SGD alone."""

from imbsam_jax import training
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _rule


@_registry.word(
  'sgd',
  axis='update rule',
  about='SGD alone',
)
def sgd(setup: _rule.RuleSetup) -> training.Method:
  """See `training.update_rules.sgd`."""
  return training.update_rules.sgd(setup.class_counts)
