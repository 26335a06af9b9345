# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Points of the curves over class frequency, by number."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax.metrics import _frequency_curves


def _sizes(counts):
  return [len(g) for g in _frequency_curves.count_groups(np.array(counts))]


class CountGroupsTest(parameterized.TestCase):
  # Up to 24 distinct counts each is a point; beyond there are 12.
  @parameterized.parameters((1, 1), (23, 23), (24, 24), (25, 12), (200, 12))
  def test_number_of_points(self, distinct, points):
    counts = np.repeat(np.arange(distinct), 2)
    self.assertLen(_sizes(counts), points)
    # Equal counts are one, however many classes have them.
    self.assertEqual(sum(_sizes(counts)), 2 * distinct)

  def test_bins_by_the_middle_class_of_each_count(self):
    counts = np.repeat(
      np.arange(30, 0, -1), np.where(np.arange(30) == 15, 9, 1)
    )
    self.assertEqual(_sizes(counts), [3, 3, 3, 4, 2, 9, 1, 3, 4, 3, 3])

  def test_frequent_first_whatever_the_order_of_classes(self):
    groups = _frequency_curves.count_groups(np.array([5, 0, 70, 5, 70, 6]))
    self.assertEqual([g.tolist() for g in groups], [[2, 4], [5], [0, 3], [1]])
    order = np.random.RandomState(0).permutation(25)
    groups = _frequency_curves.count_groups(25 - order)
    # The class of rank r, counted from 0, is in bin (r + 1/2) 12 / 25.
    self.assertEqual(
      [sorted(order[group].tolist()) for group in groups],
      [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13, 14]]
      + [[15, 16], [17, 18], [19, 20], [21, 22], [23, 24]],
    )


class CurveTest(absltest.TestCase):
  def test_a_bin_is_at_the_geometric_mean_of_its_counts(self):
    curve = _frequency_curves.curve_of(
      np.array([100, 4, 1, 0]),
      np.array([[0.9, 0.4, 0.2, 0.0]]),
      [np.array([0, 1]), np.array([2, 3])],
    )
    # Unseen classes are at 1/2.
    np.testing.assert_allclose(curve.positions, [20, math.sqrt(0.5)])
    np.testing.assert_allclose(curve.mean, [0.65, 0.1])
    self.assertIsNone(curve.std)

  def test_positions(self):
    np.testing.assert_array_equal(
      _frequency_curves.positions_of(np.array([0, 1, 2, 500])),
      [0.5, 1, 2, 500],
    )

  def test_deviation_is_that_of_a_sample(self):
    values = np.array(
      [[0.2, 0.5, 0.7], [0.6, np.nan, 0.9], [np.nan, np.nan, 0.8]]
    )
    curve = _frequency_curves.curve_of(
      np.array([9, 3, 1]), values, [np.array([k]) for k in range(3)]
    )
    np.testing.assert_allclose(curve.mean, [0.4, 0.5, 0.8])
    # Over the runs that know it, less one; a single one has none.
    np.testing.assert_allclose(
      curve.std, [math.sqrt(0.08), 0, math.sqrt(0.02 / 2)], atol=1e-12
    )

  def test_what_no_run_knows_is_no_point(self):
    values = np.array([[0.2, np.nan, 0.7], [0.6, np.nan, 0.7]])
    curve = _frequency_curves.curve_of(
      np.array([9, 3, 1]), values, [np.array([k]) for k in range(3)]
    )
    np.testing.assert_allclose(curve.positions, [9, 1])
    np.testing.assert_allclose(curve.mean, [0.4, 0.7])
    np.testing.assert_allclose(curve.std, [0.4 / math.sqrt(2), 0], atol=1e-12)

  def test_mean_known(self):
    values = np.array([[0.0, np.nan, 0.3], [0.4, np.nan, np.nan]])
    np.testing.assert_allclose(
      _frequency_curves.mean_known(values, axis=0), [0.2, np.nan, 0.3]
    )
    np.testing.assert_allclose(
      _frequency_curves.mean_known(values, axis=1), [0.15, 0.4]
    )


class RunsTest(parameterized.TestCase):
  def test_one_run_and_several(self):
    runs = _frequency_curves.as_runs(
      {'a': [0, None, 1], 'b': [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]},
      num_classes=3,
    )
    self.assertEqual(list(runs), ['a', 'b'])
    np.testing.assert_array_equal(runs['a'], [[0, np.nan, 1]])
    np.testing.assert_array_equal(runs['b'], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])

  @parameterized.parameters((-0.01, 1), (0, 1.01))
  def test_beyond_the_ends(self, low, high):
    with self.assertRaisesRegex(ValueError, f'from {low:g} to {high:g}'):
      _frequency_curves.as_runs({'a': [low, high]}, num_classes=2)


if __name__ == '__main__':
  absltest.main()
