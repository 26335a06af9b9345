# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class-group weights against the NumPy witness."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

import imbsam_jax
from tests import numpy_witness
from tests import problems

COUNTS = problems.CLASS_COUNTS


class HeadTailWeightsTest(parameterized.TestCase):
  @parameterized.product(threshold=(6, 12, 20, 21, 100), tail_weight=(1.0, 2.0))
  def test_equal_the_witness(self, threshold, tail_weight):
    labels = np.random.default_rng(0).integers(4, size=37)
    found = imbsam_jax.head_tail_weights(
      labels, COUNTS, threshold=threshold, tail_weight=tail_weight
    )
    expected = numpy_witness.head_tail_weights(
      labels, COUNTS, threshold=threshold, tail_weight=tail_weight
    )
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-6)

  def test_tail_weight_zero_drops_the_tail(self):
    found = imbsam_jax.head_tail_weights(
      [0, 3], COUNTS, threshold=20, tail_weight=0.0
    )
    np.testing.assert_array_equal(found, [[0.5, 0.0], [0.0, 0.0]])


class FocalWeightsTest(parameterized.TestCase):
  @parameterized.parameters((0.0, 1.0), (3.2, 0.8), (2.0, 1.1), (0.5, 0.0))
  def test_equal_the_witness(self, gamma, lam):
    labels = np.random.default_rng(0).integers(4, size=37)
    found = imbsam_jax.focal_weights(labels, COUNTS, gamma=gamma, lam=lam)
    expected = numpy_witness.focal_weights(labels, COUNTS, gamma=gamma, lam=lam)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)

  def test_lam_above_1_gives_rare_classes_negative_clean_weights(self):
    found = imbsam_jax.focal_weights([0, 3], COUNTS, gamma=1.0, lam=1.1)
    self.assertGreater(found[0, 0], 0.0)
    self.assertLess(found[0, 1], 0.0)
    np.testing.assert_allclose(found.sum(axis=0), 0.5, rtol=1e-6)


def _head_tail(labels, counts=COUNTS):
  return imbsam_jax.head_tail_weights(labels, counts, threshold=20)


def _focal(labels, counts=COUNTS):
  return imbsam_jax.focal_weights(labels, counts, gamma=2.0, lam=0.5)


class BothTest(parameterized.TestCase):
  @parameterized.parameters(_head_tail, _focal)
  def test_inputs_of_every_kind(self, weights):
    labels = [0, 3, 2, 1]
    expected = weights(labels)
    for given in (
      np.array(labels, np.int64),
      np.array(labels, np.uint8),
      jnp.array(labels, jnp.int8),
    ):
      np.testing.assert_array_equal(weights(given), expected)
    for counts in (list(COUNTS), np.array(COUNTS), jnp.array(COUNTS)):
      np.testing.assert_array_equal(weights(labels, counts), expected)
    traced = jax.jit(weights)(jnp.array(labels), jnp.array(COUNTS))
    np.testing.assert_allclose(traced, expected, rtol=1e-6)

  @parameterized.parameters(_head_tail, _focal)
  def test_float32_also_with_x64(self, weights):
    expected = weights([0, 3, 2])
    with jax.enable_x64(True):
      found = weights([0, 3, 2])
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-6)

  @parameterized.parameters(_head_tail, _focal)
  def test_uint8_labels_and_more_classes_than_they_can_name(self, weights):
    counts = np.arange(300, 0, -1)
    labels = np.array([0, 44, 45, 255], np.uint8)
    for found in (
      weights(labels, counts),
      jax.jit(lambda x: weights(x, counts))(labels),
    ):
      np.testing.assert_allclose(found.sum(axis=0), 0.25, rtol=1e-6)

  @parameterized.parameters(_head_tail, _focal)
  def test_traced_labels_out_of_range_get_nan(self, weights):
    found = jax.jit(weights)(jnp.array([0, 4, 2, -1]))
    np.testing.assert_array_equal(
      np.isnan(found), [[False, True, False, True]] * 2
    )

  @parameterized.parameters(_head_tail, _focal)
  def test_no_rows(self, weights):
    self.assertEqual(weights(np.zeros(0, int)).shape, (2, 0))


if __name__ == '__main__':
  absltest.main()
