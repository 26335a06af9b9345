# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Schedules by epoch: class weights, class probabilities, learning rates.

Epochs count from 0 and may be traced: a compiled step serves all of them.
"""

from imbsam_jax.schedules._bbn_alpha import bbn_alpha
from imbsam_jax.schedules._deferred import deferred
from imbsam_jax.schedules._deferred import deferred_resampling
from imbsam_jax.schedules._deferred import deferred_reweighting
from imbsam_jax.schedules._learning_rate import ldam_learning_rate
from imbsam_jax.schedules._phase import phase
from imbsam_jax.schedules._progressive import progressive_probabilities
from imbsam_jax.schedules._progressive import progressive_weights
from imbsam_jax.schedules._timeline import Timeline

__all__ = [
  'Timeline',
  'bbn_alpha',
  'deferred',
  'deferred_resampling',
  'deferred_reweighting',
  'ldam_learning_rate',
  'phase',
  'progressive_probabilities',
  'progressive_weights',
]
