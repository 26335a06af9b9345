# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics of classifiers on class-imbalanced data and of anomaly scores.

Host-side NumPy in float64: every function takes arrays over the whole
evaluation set, after rows that only pad a batch were dropped. scikit-learn and
Matplotlib are imported by the functions that use them, not with the package.
"""

from imbsam_jax.metrics._anomaly import anomaly_metrics
from imbsam_jax.metrics._anomaly import plot_anomaly_scores
from imbsam_jax.metrics._calibration import expected_calibration_error
from imbsam_jax.metrics._classification import classification_metrics
from imbsam_jax.metrics._classification import per_class_metrics
from imbsam_jax.metrics._groups import class_groups
from imbsam_jax.metrics._plots import plot_accuracy_by_frequency

__all__ = [
  'anomaly_metrics',
  'class_groups',
  'classification_metrics',
  'expected_calibration_error',
  'per_class_metrics',
  'plot_accuracy_by_frequency',
  'plot_anomaly_scores',
]
