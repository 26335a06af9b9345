# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Classifiers of a trained network, corrected or trained again.

The fits take what the frozen network gives, logits or features of a whole
training set, computed once and with batch statistics as in evaluation.
`train_only` freezes leaves in a training step instead.
"""

from imbsam_jax.calibration._crt import fit_crt
from imbsam_jax.calibration._logit_adjustment import post_hoc_logit_adjustment
from imbsam_jax.calibration._lws import fit_lws
from imbsam_jax.calibration._lws import lws_logits
from imbsam_jax.calibration._marc import fit_marc
from imbsam_jax.calibration._marc import marc_logits
from imbsam_jax.calibration._nearest_class_mean import class_means
from imbsam_jax.calibration._nearest_class_mean import nearest_class_mean
from imbsam_jax.calibration._tau_normalize import tau_normalize
from imbsam_jax.calibration._temperature import fit_temperature
from imbsam_jax.calibration._train_only import train_only

__all__ = [
  'class_means',
  'fit_crt',
  'fit_lws',
  'fit_marc',
  'fit_temperature',
  'lws_logits',
  'marc_logits',
  'nearest_class_mean',
  'post_hoc_logit_adjustment',
  'tau_normalize',
  'train_only',
]
