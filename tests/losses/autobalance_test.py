# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The learned class terms of AutoBalance: their gradients, and their groups."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from tests.losses import witness

NUM_EXAMPLES, NUM_CLASSES = 16, 6
GROUP_SIZES = (1, 2, 3, 6)


def _problem():
  rng = np.random.default_rng(0)
  logits = 2.0 * rng.standard_normal((NUM_EXAMPLES, NUM_CLASSES))
  labels = rng.integers(NUM_CLASSES, size=NUM_EXAMPLES)
  d, iota = rng.standard_normal((2, NUM_CLASSES))
  return (
    logits.astype(np.float32),
    labels.astype(np.int32),
    d.astype(np.float32),
    iota.astype(np.float32),
  )


@jax.jit
def _program(logits, labels, d, iota):
  """Losses, and gradients in logits, multipliers and offsets, by size."""
  results = {}
  for size in GROUP_SIZES:
    num_groups = NUM_CLASSES // size

    def loss(z, d, iota, size=size):
      return losses.autobalance_loss(z, labels, d, iota, group_size=size)

    values, pullback = jax.vjp(loss, logits, d[:num_groups], iota[:num_groups])
    results[size] = values, *pullback(jnp.ones_like(values))
  return results


class AutobalanceLossTest(parameterized.TestCase):
  @parameterized.parameters(*GROUP_SIZES)
  def test_values_and_gradients(self, group_size):
    logits, labels, d, iota = _problem()
    values, *gradients = _program(logits, labels, d, iota)[group_size]
    num_groups = NUM_CLASSES // group_size
    exact = [x.astype(np.float64) for x in (logits, d, iota)]
    exact[1:] = [x[None, :num_groups] for x in exact[1:]]

    def loss(z, d, iota):
      return witness.autobalance_loss(
        z, labels, d[0], iota[0], group_size=group_size
      )

    self.assertEqual(values.dtype, jnp.float32)
    np.testing.assert_allclose(values, loss(*exact), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
      gradients[0],
      witness.gradient(lambda z: loss(z, *exact[1:]), exact[0]),
      rtol=1e-5,
      atol=1e-6,
    )
    for i in (1, 2):
      slopes = []
      for group in range(num_groups):
        step = np.zeros((1, num_groups))
        step[0, group] = 1e-5
        above, below = (
          loss(*(x + sign * step * (i == j) if j else x
                 for j, x in enumerate(exact))).sum()
          for sign in (1, -1)
        )  # fmt: skip
        slopes.append((above - below) / 2e-5)
      np.testing.assert_allclose(gradients[i], slopes, rtol=2e-5, atol=1e-5)

  def test_is_others_at_some_terms(self):
    logits, labels, _, _ = _problem()
    exact = logits.astype(np.float64)
    counts = np.array([90, 50, 30, 10, 4, 1])
    zeros, ones = np.zeros(NUM_CLASSES), np.ones(NUM_CLASSES)
    shares = (counts / 90) ** 0.2
    for d, iota, expected in (
      (60 * ones, zeros, witness.cross_entropy(exact, labels)),
      (
        60 * ones,
        np.log(counts),
        witness.balanced_softmax(exact, labels, counts),
      ),
      (
        np.log(shares / (1 + 1e-9 - shares)),
        np.log(counts / counts.sum()),
        witness.vs_loss(exact, labels, counts, gamma=0.2),
      ),
      # Where the authors begin: a temperature of 1.368.
      (ones, zeros, witness.cross_entropy(exact / 1.3678794, labels)),
    ):
      values, *_ = _program(logits, labels, np.float32(d), np.float32(iota))[1]
      np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)

  def test_permutation_of_the_classes(self):
    logits, labels, d, iota = _problem()
    before = _program(logits, labels, d, iota)[1]
    order = np.array([3, 0, 4, 1, 2, 5])
    after = _program(
      logits[:, order],
      np.argsort(order)[labels].astype(np.int32),
      d[order],
      iota[order],
    )[1]
    np.testing.assert_allclose(after[0], before[0], rtol=1e-5, atol=1e-6)
    for i in (1, 2, 3):
      np.testing.assert_allclose(
        after[i], before[i][..., order], rtol=1e-5, atol=1e-6
      )

  def test_class_without_a_share(self):
    logits, labels, d, iota = _problem()
    iota[2] = -np.inf
    labels = np.where(labels == 2, 0, labels)
    results = _program(logits, labels, d, iota)[1]
    self.assertTrue(all(np.isfinite(x).all() for x in results))
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(
      results[0],
      witness.autobalance_loss(
        logits[:, kept].astype(np.float64),
        labels - (labels > 2),
        d[kept],
        iota[kept],
      ),
      rtol=1e-5,
      atol=1e-6,
    )

  def test_misuse(self):
    logits, labels, d, iota = _problem()
    call = functools.partial(losses.autobalance_loss, logits, labels)
    with self.assertRaisesRegex(ValueError, '`group_size` must divide .* 6,'):
      call(d, iota, group_size=4)
    with self.assertRaisesRegex(ValueError, '`group_size` must divide .* 6,'):
      call(d, iota, group_size=12)
    with self.assertRaisesRegex(ValueError, '`group_size` must be at least 1'):
      call(d, iota, group_size=0)
    with self.assertRaisesRegex(TypeError, '`group_size` must be an integer'):
      call(d, iota, group_size=2.0)
    with self.assertRaisesRegex(
      ValueError, r'`multiplier_logits` .*\[3\].* 2 '
    ):
      call(d, iota[:3], group_size=2)
    with self.assertRaisesRegex(ValueError, r'`offsets` .*\[6\].*\(3,\)'):
      call(d, iota[:3])
    with self.assertRaisesRegex(ValueError, '`offsets`'):
      call(d, 0.0)
    with self.assertRaisesRegex(TypeError, '`multiplier_logits`'):
      call(d > 0, iota)


def _interpolated(values, num_classes):
  """Inside by NumPy, outside on the first and the last line."""
  size = num_classes // len(values)
  centers = size // 2 + size * np.arange(len(values))
  classes = np.arange(num_classes)
  expected = np.interp(classes, centers, values)
  for end, other, outside in (
    (0, 1, classes < centers[0]),
    (-1, -2, classes > centers[-1]),
  ):
    slope = (values[end] - values[other]) / (centers[end] - centers[other])
    line = values[end] + slope * (classes - centers[end])
    expected = np.where(outside, line, expected)
  return expected


@functools.partial(jax.jit, static_argnames='num_classes')
def _interpolate(values, *, num_classes):
  return losses.interpolate_groups(values, num_classes=num_classes)


class InterpolateGroupsTest(parameterized.TestCase):
  @parameterized.parameters((2, 2), (4, 2), (6, 2), (100, 10), (1000, 50))
  def test_values(self, num_classes, num_groups):
    values = np.random.default_rng(0).standard_normal(num_groups)
    values = values.astype(np.float32)
    found = _interpolate(values, num_classes=num_classes)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(
      found, _interpolated(values, num_classes), rtol=1e-5, atol=1e-6
    )

  def test_cifar100(self):
    # Centers 5, 15, ..., 95.
    values = np.float32(1.0 - 0.1 * np.arange(10))
    found = _interpolate(values, num_classes=100)
    np.testing.assert_allclose(found, 1.05 - 0.01 * np.arange(100), atol=1e-6)

  @parameterized.parameters(1, 2, 7)
  def test_one_class_each_is_the_identity(self, num_classes):
    values = np.float32([1e8, 1.0, -3.3, 0.1, 7.0, -1e-8, 1e-8])[:num_classes]
    np.testing.assert_array_equal(
      _interpolate(values, num_classes=num_classes), values
    )

  def test_one_group(self):
    np.testing.assert_array_equal(
      _interpolate(np.float32([0.1]), num_classes=5), np.full(5, 0.1, 'f')
    )

  def test_forms_of_values(self):
    for values in ([1, 3], np.array([1.0, 3.0]), jnp.array([1, 3])):
      np.testing.assert_array_equal(
        losses.interpolate_groups(values, num_classes=4), [0, 1, 2, 3]
      )

  def test_misuse(self):
    call = losses.interpolate_groups
    with self.assertRaisesRegex(ValueError, 'multiple of .* 3, got 10'):
      call([1.0, 2.0, 3.0], num_classes=10)
    with self.assertRaisesRegex(ValueError, 'multiple of .* 3, got 2'):
      call([1.0, 2.0, 3.0], num_classes=2)
    for values in ([], [[1.0]], 1.0):
      with self.assertRaisesRegex(ValueError, r'\[num_groups\]'):
        call(values, num_classes=2)
    with self.assertRaisesRegex(TypeError, '`values` must be real numbers'):
      call([True], num_classes=2)
    with self.assertRaisesRegex(TypeError, '`num_classes` must be an integer'):
      call([1.0], num_classes=2.0)


if __name__ == '__main__':
  absltest.main()
