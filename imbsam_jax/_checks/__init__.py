# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments: the same rules and the same words in every package.

A message names the argument, says what was expected, then what came, and where
there is one the remedy. Wrong types raise `TypeError`, wrong values
`ValueError`; callers whose contract has one class for both pass `error`.
"""

from imbsam_jax._checks.arrays import float_logits
from imbsam_jax._checks.arrays import per_class
from imbsam_jax._checks.arrays import real_dtype
from imbsam_jax._checks.arrays import row_mask
from imbsam_jax._checks.arrays import shares_of_classes
from imbsam_jax._checks.counts import count_array
from imbsam_jax._checks.counts import float32_counts
from imbsam_jax._checks.counts import host_counts
from imbsam_jax._checks.counts import loss_counts
from imbsam_jax._checks.labels import class_labels
from imbsam_jax._checks.labels import device_labels
from imbsam_jax._checks.labels import host_labels
from imbsam_jax._checks.labels import label_array
from imbsam_jax._checks.numbers import concrete
from imbsam_jax._checks.numbers import host_number
from imbsam_jax._checks.numbers import integer
from imbsam_jax._checks.numbers import number
from imbsam_jax._checks.numbers import radius
from imbsam_jax._checks.numbers import seed
from imbsam_jax._checks.numbers import share

__all__ = [
  'class_labels',
  'concrete',
  'count_array',
  'device_labels',
  'float32_counts',
  'float_logits',
  'host_counts',
  'host_labels',
  'host_number',
  'integer',
  'label_array',
  'loss_counts',
  'number',
  'per_class',
  'radius',
  'real_dtype',
  'row_mask',
  'seed',
  'share',
  'shares_of_classes',
]
