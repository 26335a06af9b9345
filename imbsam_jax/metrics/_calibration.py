# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Expected calibration error, of a confidence against how often it is right."""

import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.metrics import _inputs


def expected_calibration_error(
  confidences: ArrayLike, correct: ArrayLike, *, num_bins: int = 15
) -> float:
  r"""Expected calibration error over bins of equal width.

  .. math::

    \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\mathrm{acc}_b - \mathrm{conf}_b|

  with the accuracy and the mean confidence of the n_b examples of bin b; empty
  bins are skipped. Guo et al., `On Calibration of Modern Neural Networks
  <https://arxiv.org/abs/1706.04599>`_, ICML 2017. Bin b of B is ((b - 1)/B,
  b/B], as there; the first bin also holds a confidence of exactly 0, so that
  every example counts.

  Args:
    confidences: Float array, shape ``[num_examples]``, values in [0, 1]: the
      largest softmax probability of each example.
    correct: Bool array (or numbers 0 and 1), shape ``[num_examples]``: whether
      the prediction was right.
    num_bins: Number of bins.

  Returns:
    The error, a float in [0, 1]; 0 is calibrated.

  Raises:
    TypeError: If `confidences` are not real numbers or `num_bins` is not an
      integer.
    ValueError: If there is no example, the lengths differ, a confidence is
      outside [0, 1] or NaN, `correct` is anything but 0 and 1, or `num_bins` is
      below 1.

  Examples:
    Two bins: 1/2 right at confidence 0.4, and 2/2 right at confidence 0.9.

    >>> error = expected_calibration_error(
    ...   [0.4, 0.4, 0.9, 0.9], [True, False, True, True], num_bins=2
    ... )
    >>> print(f'{error:.3f}')
    0.100
  """
  confidences = _inputs.as_confidences(confidences)
  correct = _inputs.as_correct(correct)
  _inputs.check_same_length(confidences=confidences, correct=correct)
  _checks.integer('num_bins', num_bins)

  # Compared with edges that are rounded once. ceil(confidence * num_bins) and
  # np.linspace round twice, and misplace some confidences that are an edge.
  inner_edges = np.arange(1, num_bins) / num_bins
  bins = np.searchsorted(inner_edges, confidences, side='left')
  # n_b * (acc_b - conf_b) is a sum of differences: an empty bin adds 0 and
  # nothing is divided by its size.
  gaps = np.bincount(bins, weights=correct - confidences)
  return float(np.abs(gaps).sum() / len(confidences))
