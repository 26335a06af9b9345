# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of classes and of examples.

Class weights are arrays ``[C]`` for `losses.class_weighted_loss`; that they
change with the epoch is in `schedules`.
"""

from imbsam_jax.weights._absgd import absgd_init
from imbsam_jax.weights._absgd import absgd_weights
from imbsam_jax.weights._absgd import AbsgdState
from imbsam_jax.weights._effective_number import class_balanced_weights
from imbsam_jax.weights._effective_number import effective_number
from imbsam_jax.weights._effective_number import rescom_weights
from imbsam_jax.weights._normalize import normalize_weights
from imbsam_jax.weights._optimal_transport import ot_weight_step
from imbsam_jax.weights._optimal_transport import sinkhorn
from imbsam_jax.weights._power import power_weights

__all__ = [
  'AbsgdState',
  'absgd_init',
  'absgd_weights',
  'class_balanced_weights',
  'effective_number',
  'normalize_weights',
  'ot_weight_step',
  'power_weights',
  'rescom_weights',
  'sinkhorn',
]
