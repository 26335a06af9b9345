# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The temperature against closed forms and another search."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import calibration
from imbsam_jax.calibration import _temperature


def _set(seed=0, num_rows=200, num_classes=7, scale=3.0):
  """Logits with labels drawn from a softmax of a third of them."""
  rng = np.random.default_rng(seed)
  logits = scale * rng.normal(size=(num_rows, num_classes))
  shares = np.exp(logits / 3)
  shares /= shares.sum(axis=1, keepdims=True)
  labels = [rng.choice(num_classes, p=row) for row in shares]
  return logits.astype(np.float32), np.array(labels)


def _loss(logits, labels, weights, temperature):
  z = np.asarray(logits, np.float64) / temperature
  z -= z.max(axis=1, keepdims=True)
  log_shares = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
  return -(weights * log_shares[np.arange(len(labels)), labels]).sum()


def _golden(logits, labels, weights):
  """The minimum by golden sections on log T: no derivatives."""
  ratio = (np.sqrt(5) - 1) / 2
  low, high = np.log(0.05), np.log(50)
  for _ in range(120):
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    f = [_loss(logits, labels, weights, np.exp(x)) for x in (a, b)]
    low, high = (low, b) if f[0] < f[1] else (a, high)
  return np.exp((low + high) / 2)


def _slope(logits, labels, weights, temperature):
  """Derivative of the loss by log T, zero at the minimum."""
  z = np.asarray(logits, np.float64) / temperature
  shares = np.exp(z - z.max(axis=1, keepdims=True))
  shares /= shares.sum(axis=1, keepdims=True)
  own = z[np.arange(len(labels)), labels]
  return (weights * (own - (shares * z).sum(axis=1))).sum()


class FitTemperatureTest(parameterized.TestCase):
  @parameterized.product(
    weighting=['class', 'rows'], seed=[0, 1], scale=[0.3, 3.0, 40.0]
  )
  def test_minimum_of_the_loss(self, weighting, seed, scale):
    logits, labels = _set(seed, scale=scale)
    logits[:3] = 0.0  # Rows that say nothing.
    counts = np.bincount(labels, minlength=7)
    weights = np.full(len(labels), 1 / len(labels))
    if weighting == 'class':
      weights = 1 / (7.0 * counts[labels])
    found = calibration.fit_temperature(logits, labels, weighting=weighting)
    self.assertIs(type(found), float)
    # A search without derivatives sees half of the digits.
    np.testing.assert_allclose(
      found, _golden(logits, labels, weights), rtol=1e-6
    )
    below, above = (
      _slope(logits, labels, weights, found * (1 + e)) for e in (-1e-7, 1e-7)
    )
    self.assertLess(below * above, 0)

  def test_labels_of_a_softmax_have_its_temperature(self):
    logits, labels = _set(2, num_rows=100_000, num_classes=4)
    found = calibration.fit_temperature(logits, labels, weighting='rows')
    np.testing.assert_allclose(found, 3, rtol=0.02)

  @parameterized.parameters((3, 1), (7, 3), (99, 1))
  def test_two_logits_in_closed_form(self, right, wrong):
    # sigmoid(d / T) is the share of the rows that are right.
    logits = np.tile([[5.0, 2.0]], (right + wrong, 1))
    labels = [0] * right + [1] * wrong
    np.testing.assert_allclose(
      calibration.fit_temperature(logits, labels, weighting='rows'),
      3 / np.log(right / wrong),
      rtol=1e-9,
    )

  def test_classes_weigh_the_same(self):
    # Rows of class 0 say [d, 0] and are right; of the two of class 1 one is.
    logits = [[2.0, 0.0]] * 50 + [[0.0, 2.0]] + [[2.0, 0.0]]
    labels = [0] * 50 + [1, 1]
    found = calibration.fit_temperature(logits, labels)
    np.testing.assert_allclose(found, 2 / np.log(3), rtol=1e-9)
    twice = logits + logits[50:], labels + [1, 1]
    self.assertAlmostEqual(calibration.fit_temperature(*twice), found, 9)

  def test_classes_without_labels_do_not_count(self):
    logits, labels = _set()
    few = labels < 3
    weights = 1 / (3.0 * np.bincount(labels[few])[labels[few]])
    np.testing.assert_allclose(
      calibration.fit_temperature(logits[few], labels[few]),
      _golden(logits[few], labels[few], weights),
      rtol=1e-6,
    )

  @parameterized.parameters(1e-6, 0.25, 2.0**10, 1e8)
  def test_scale_of_the_logits(self, scale):
    logits, labels = _set()
    one = calibration.fit_temperature(logits, labels)
    np.testing.assert_allclose(
      calibration.fit_temperature(np.float32(scale) * logits, labels),
      scale * one,
      rtol=1e-6,
    )

  def test_what_does_not_matter(self):
    logits, labels = _set()
    one = calibration.fit_temperature(logits, labels)
    order = np.random.default_rng(0).permutation(len(labels))
    np.testing.assert_allclose(
      calibration.fit_temperature(logits[order], labels[order]), one, rtol=1e-9
    )
    classes = np.array([3, 1, 0, 6, 5, 2, 4])
    permuted = np.empty_like(logits)
    permuted[:, classes] = logits
    np.testing.assert_allclose(
      calibration.fit_temperature(permuted, classes[labels]), one, rtol=1e-9
    )
    shifts = np.arange(len(labels), dtype=np.float32)[:, None]
    np.testing.assert_allclose(
      calibration.fit_temperature(logits + shifts, labels), one, rtol=1e-4
    )
    # Twice by its own temperature leaves nothing to do.
    np.testing.assert_allclose(
      calibration.fit_temperature(logits / np.float32(one), labels),
      1,
      rtol=1e-6,
    )

  def test_blocks_are_all_rows(self):
    logits, labels = _set()
    one = calibration.fit_temperature(logits, labels)
    with mock.patch.object(_temperature, '_BLOCK', 50):
      two = calibration.fit_temperature(logits, labels)
    np.testing.assert_allclose(two, one, rtol=1e-12)

  def test_bounds(self):
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    spread = np.sqrt((1 + 2.25) / 2 / 2 + 1 / 2)
    # All are right: the loss falls for ever.
    np.testing.assert_allclose(
      calibration.fit_temperature(logits, [0, 1, 0]), spread / 1000, rtol=1e-6
    )
    np.testing.assert_allclose(
      calibration.fit_temperature(logits, [1, 0, 1]), spread * 1000, rtol=1e-6
    )
    # One wrong row of many, however sure, is within them.
    labels = [0, 1, 0] * 300 + [1]
    rows = np.concatenate([np.tile(logits, (300, 1)), [[9.0, 0.0]]])
    found = calibration.fit_temperature(rows, labels, weighting='rows')
    weights = np.full(901, 1 / 901)
    np.testing.assert_allclose(found, _golden(rows, labels, weights), rtol=1e-6)

  def test_equal_logits(self):
    self.assertEqual(
      calibration.fit_temperature(np.full([4, 3], 7.0), [0, 1, 2, 2]), 1.0
    )
    self.assertEqual(calibration.fit_temperature([[5.0]], [0]), 1.0)

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_refused_logits(self, value):
    logits, labels = _set()
    logits[17, 2] = value
    with self.assertRaisesRegex(ValueError, '`logits` must be finite'):
      calibration.fit_temperature(logits, labels)

  def test_refused(self):
    logits, labels = _set()
    for arguments, options, message in (
      ((logits, labels[1:]), {}, 'got 199 for 200'),
      ((logits, labels + 1), {}, 'labels'),
      ((logits[:0], labels[:0]), {}, 'labels'),
      ((logits[0], labels), {}, 'shape'),
      ((logits, labels), {'weighting': 'banana'}, "'class' or 'rows'"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        calibration.fit_temperature(*arguments, **options)
    with self.assertRaisesRegex(TypeError, 'traced'):
      jax.jit(lambda z: calibration.fit_temperature(z, labels))(logits)
    with self.assertRaisesRegex(TypeError, 'floating'):
      calibration.fit_temperature(logits.astype(int), labels)


if __name__ == '__main__':
  absltest.main()
