# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling: one number that makes confidences honest."""

from typing import Literal

from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks

# The temperature is within these multiples of the spread of the logits.
_RANGE = 1e3
# Numbers of a block of rows, in float64.
_BLOCK = 1 << 22
_MAX_STEPS = 100
# Relative change of the temperature at which the search ends; it converges
# quadratically.
_TOLERANCE = 1e-10


def fit_temperature(
  logits: ArrayLike,
  labels: ArrayLike,
  *,
  weighting: Literal['class', 'rows'] = 'class',
) -> float:
  r"""Fits the temperature that logits are divided by before the softmax.

  .. math::
    \min_T \; -\sum_i w_i \log \mathrm{softmax}(z_i / T)_{y_i}

  Guo et al., `On Calibration of Modern Neural Networks
  <https://arxiv.org/abs/1706.04599>`_, ICML 2017, on validation data. The order
  of the classes stays as it is, and so does the accuracy. In 1 / T the negative
  log-likelihood is convex: Newton steps in a bracket find its minimum, in
  float64 on the host, to a relative error of 1e-6 and less. Each costs one pass
  over the logits; it takes about ten.

  >>> round(fit_temperature([[4.0, 0.0]] * 4, [0, 0, 0, 1],
  ...                       weighting='rows'), 4)
  3.641

  T is between a thousandth of and a thousand times the spread of the logits,
  the root of the weighted mean over rows of the variance over classes. The
  lower bound is returned where the likelihood grows for ever as T falls, as it
  does if all rows are classified right; the upper one where it grows for ever
  with T, as it does if logits tell less than nothing. Where all classes of each
  row have equal logits, no temperature changes anything, and it is 1.

  Args:
    logits: Float array of any dtype, shape ``[N, C]``, concrete and finite,
      after all corrections of the classifier.
    labels: Int array, shape ``[N]``, values in ``[0, C)``, concrete.
    weighting: 'class' gives each class that has rows the same total weight, for
      balanced test sets; 'rows' each row.

  Returns:
    The temperature, above 0; ``c * logits`` have c times that of the logits.

  Raises:
    ValueError: If `weighting` is unknown, there are no rows, lengths differ, a
      logit is not finite, or a label is out of range.
    TypeError: If a dtype is wrong, or an argument is traced.
  """
  if weighting not in ('class', 'rows'):
    raise ValueError(
      f"`weighting` must be 'class' or 'rows', got {weighting!r}."
    )
  _checks.concrete('logits', logits)
  logits = np.asarray(_checks.float_logits(logits))
  if not np.isfinite(logits).all():
    raise ValueError(
      '`logits` must be finite, got infinity or NaN. Leave out the classes '
      'that a correction has made -inf, and the rows with their labels.'
    )
  labels = _checks.host_labels(labels, logits.shape[1])
  if len(labels) != len(logits):
    raise ValueError(
      f'`labels` must have one entry per row of `logits`, got {len(labels)} '
      f'for {len(logits)} rows.'
    )
  problem = _Problem(logits, labels, _weights(labels, weighting))
  spread = problem.spread()
  if spread == 0:
    return 1.0
  return float(spread / problem.solve(spread))


def _weights(labels: np.ndarray, weighting: str) -> np.ndarray:
  """Weights of the rows, float64 ``[N]``, whose sum is 1."""
  if weighting == 'rows':
    return np.full(len(labels), 1 / len(labels))
  counts = np.bincount(labels)
  return 1 / (np.count_nonzero(counts) * counts[labels])


class _Problem:
  """The likelihood as a function of the inverse temperature."""

  def __init__(
    self, logits: np.ndarray, labels: np.ndarray, weights: np.ndarray
  ):
    self._logits = logits
    self._labels = labels
    self._weights = weights

  def _blocks(self):
    """Logits less that of the label, float64, with the weights of the rows."""
    size = max(_BLOCK // self._logits.shape[1], 1)
    for start in range(0, len(self._labels), size):
      rows = slice(start, start + size)
      logits = self._logits[rows].astype(np.float64)
      own = np.take_along_axis(logits, self._labels[rows, None], axis=1)
      yield logits - own, self._weights[rows]

  def spread(self) -> float:
    """Root of the mean variance of a row."""
    return float(
      np.sqrt(
        sum(w @ differences.var(axis=1) for differences, w in self._blocks())
      )
    )

  def _derivatives(self, inverse: float) -> tuple[float, float]:
    """First and second derivative of the negative log-likelihood."""
    first = second = 0.0
    for differences, weights in self._blocks():
      exponents = inverse * differences
      shares = np.exp(exponents - exponents.max(axis=1, keepdims=True))
      shares /= shares.sum(axis=1, keepdims=True)
      means = (shares * differences).sum(axis=1)
      centered = differences - means[:, None]
      first += weights @ means
      second += weights @ (shares * centered**2).sum(axis=1)
    return float(first), float(second)

  def solve(self, spread: float) -> float:
    """The best inverse temperature, in units of 1 / spread."""
    low, high = 1 / _RANGE, _RANGE
    if self._derivatives(low / spread)[0] >= 0:
      return low
    if self._derivatives(high / spread)[0] <= 0:
      return high
    inverse = 1.0
    for _ in range(_MAX_STEPS):
      first, second = self._derivatives(inverse / spread)
      if first > 0:
        high = inverse
      else:
        low = inverse
      step = first / second * spread if second > 0 else np.inf
      following = inverse - step
      if not low < following < high:
        following = np.sqrt(low * high)
      if abs(following - inverse) <= _TOLERANCE * inverse:
        return following
      inverse = following
    return inverse
