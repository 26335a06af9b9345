# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Semi-supervised anomaly detection: Deep SAD under any update rule."""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('anomaly')

from imbsam_jax.anomaly._deep_sad import center_of
from imbsam_jax.anomaly._deep_sad import deep_sad_loss_fn
from imbsam_jax.anomaly._deep_sad import deep_sad_losses
from imbsam_jax.anomaly._deep_sad import squared_distances
from imbsam_jax.anomaly._detector import DeepSAD
from imbsam_jax.anomaly._detector import fit_stacked
from imbsam_jax.anomaly._detector import pretrain_stacked
from imbsam_jax.anomaly._fit import Pretrained
from imbsam_jax.anomaly._fitted import Fitted
from imbsam_jax.anomaly._networks import Autoencoder
from imbsam_jax.anomaly._networks import Encoder
from imbsam_jax.anomaly._weights import anomaly_weights

__all__ = [
  'Autoencoder',
  'DeepSAD',
  'Encoder',
  'Fitted',
  'Pretrained',
  'anomaly_weights',
  'center_of',
  'deep_sad_loss_fn',
  'deep_sad_losses',
  'fit_stacked',
  'pretrain_stacked',
  'squared_distances',
]
