# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses: one value per example, in float32.

`margin_softmax` is the core; nearly every loss is a few lines on top of it.
Class weights and means come afterwards: `class_weighted_loss`, `reduce_loss`.
"""

from imbsam_jax.losses._autobalance import autobalance_loss
from imbsam_jax.losses._autobalance import interpolate_groups
from imbsam_jax.losses._cc_sam import cc_sam_shift
from imbsam_jax.losses._cri import cri_loss
from imbsam_jax.losses._cross_entropy import cross_entropy
from imbsam_jax.losses._cross_entropy import focal_loss
from imbsam_jax.losses._cross_entropy import sigmoid_focal_loss
from imbsam_jax.losses._distribution_balanced import distribution_balanced_loss
from imbsam_jax.losses._gcl import gcl_loss
from imbsam_jax.losses._largest_margins import cosface_loss
from imbsam_jax.losses._largest_margins import gm_softmax
from imbsam_jax.losses._largest_margins import lm_softmax
from imbsam_jax.losses._largest_margins import sample_margin_loss
from imbsam_jax.losses._largest_margins import zero_centroid_penalty
from imbsam_jax.losses._ldam import ldam_loss
from imbsam_jax.losses._ldam import ldam_margins
from imbsam_jax.losses._margin_softmax import margin_softmax
from imbsam_jax.losses._maximum_margin import mm_ldam_loss
from imbsam_jax.losses._maximum_margin import mm_loss
from imbsam_jax.losses._mixed import MixedLabels
from imbsam_jax.losses._reduction import class_weighted_loss
from imbsam_jax.losses._reduction import reduce_loss
from imbsam_jax.losses._rescom import ClassQueue
from imbsam_jax.losses._rescom import enqueue
from imbsam_jax.losses._rescom import init_class_queue
from imbsam_jax.losses._rescom import rescom_loss
from imbsam_jax.losses._vector_scaling import arb_loss
from imbsam_jax.losses._vector_scaling import balanced_softmax
from imbsam_jax.losses._vector_scaling import cdt_loss
from imbsam_jax.losses._vector_scaling import logit_adjusted_cross_entropy
from imbsam_jax.losses._vector_scaling import vs_loss

__all__ = [
  'ClassQueue',
  'MixedLabels',
  'arb_loss',
  'autobalance_loss',
  'balanced_softmax',
  'cc_sam_shift',
  'cdt_loss',
  'class_weighted_loss',
  'cosface_loss',
  'cri_loss',
  'cross_entropy',
  'distribution_balanced_loss',
  'enqueue',
  'focal_loss',
  'gcl_loss',
  'gm_softmax',
  'init_class_queue',
  'interpolate_groups',
  'ldam_loss',
  'ldam_margins',
  'lm_softmax',
  'logit_adjusted_cross_entropy',
  'margin_softmax',
  'mm_ldam_loss',
  'mm_loss',
  'reduce_loss',
  'rescom_loss',
  'sample_margin_loss',
  'sigmoid_focal_loss',
  'vs_loss',
  'zero_centroid_penalty',
]
