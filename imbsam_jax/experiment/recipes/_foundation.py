# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What recipes on pre-trained trunks have in common."""

from typing import Any

from imbsam_jax.experiment import _config

# Where features are kept that were computed once.
FEATURES = '~/.cache/imbsam_jax/features'

# A cosine head that begins with class means.
HEAD: dict[str, Any] = {
  'head': 'scaled_cosine(scale=25.0)',
  'head_init': 'class_means',
}


def lift(**changes: Any) -> _config.Optimizer:
  """The optimizer of LIFT's code, for parameter-efficient tuning."""
  values: dict[str, Any] = {
    'threshold': 20,
    'learning_rate': 0.01,
    'schedule': 'cosine_by_epoch',
    'momentum': 0.9,
    'weight_decay': 5e-4,
    'decay': 'all',
  }
  return _config.Optimizer(**values | changes)
