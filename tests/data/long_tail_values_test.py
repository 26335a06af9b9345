# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class counts and subsets by number, where rounding and rules decide."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data


class CountsTest(parameterized.TestCase):
  # Half of the classes, rounded down, are frequent; a single class is.
  @parameterized.parameters(
    (1, [100]),
    (2, [100, 10]),
    (3, [100, 10, 10]),
    (4, [100, 100, 10, 10]),
    (5, [100, 100, 10, 10, 10]),
    (7, [100, 100, 100, 10, 10, 10, 10]),
  )
  def test_step(self, num_classes, expected):
    counts = data.long_tail_class_counts(num_classes, 100, 10, profile='step')
    np.testing.assert_array_equal(counts, expected)
    self.assertEqual(counts.dtype, np.int64)

  def test_step_truncates(self):
    # 109 / 10 and 7 / 2.5.
    for max_count, factor, rare in ((109, 10, 10), (7, 2.5, 2)):
      np.testing.assert_array_equal(
        data.long_tail_class_counts(2, max_count, factor, profile='step'),
        [max_count, rare],
      )

  def test_exp(self):
    # 100 / 10 ** (i / 4): 100, 56.2, 31.6, 17.8, 10.
    counts = data.long_tail_class_counts(5, 100, 10)
    np.testing.assert_array_equal(counts, [100, 56, 31, 17, 10])
    self.assertEqual(counts.dtype, np.int64)
    # 7, 4.43, 2.8.
    counts = data.long_tail_class_counts(3, 7, 2.5)
    np.testing.assert_array_equal(counts, [7, 4, 2])

  @parameterized.parameters('exp', 'step')
  def test_one_image_of_the_rarest_is_enough(self, profile):
    counts = data.long_tail_class_counts(4, 50, 50, profile=profile)
    self.assertEqual((counts[0], counts[-1]), (50, 1))
    with self.assertRaisesRegex(ValueError, 'has 50. Pass at most 50'):
      data.long_tail_class_counts(4, 50, 50.01, profile=profile)

  def test_only_rounding_is_forgiven(self):
    # Powers of 49 fall short of 98 / 49 in floating point.
    counts = data.long_tail_class_counts(7, 98, 49)
    np.testing.assert_array_equal(counts, [98, 51, 26, 14, 7, 3, 2])
    # A millionth below 10 is not 10.
    counts = data.long_tail_class_counts(2, 100, 100 / (10 - 1e-6))
    np.testing.assert_array_equal(counts, [100, 9])

  def test_smallest_arguments(self):
    np.testing.assert_array_equal(data.long_tail_class_counts(1, 1, 1), [1])
    for name, arguments in (('num_classes', (0, 1)), ('max_count', (1, 0))):
      with self.assertRaisesRegex(
        ValueError, f'`{name}` must be at least 1, got 0'
      ):
        data.long_tail_class_counts(*arguments, 1)

  def test_hint_for_the_inverse_of_the_factor(self):
    with self.assertRaisesRegex(
      ValueError, 'Pass 50 for a smallest count of 0.02 times the largest'
    ):
      data.long_tail_class_counts(10, 100, 0.02)
    for factor in (0, -2, math.nan):
      with self.assertRaisesRegex(ValueError, 'over the smallest.$'):
        data.long_tail_class_counts(10, 100, factor)


class IndicesTest(absltest.TestCase):
  def test_by_the_class_and_its_shuffle(self):
    labels = np.array([1, 0, 1, 0, 1, 0, 1, 0])
    rng = np.random.RandomState(5)
    zeros, ones = np.array([1, 3, 5, 7]), np.array([0, 2, 4, 6])
    # One generator for all classes, class 0 first.
    rng.shuffle(zeros)
    rng.shuffle(ones)
    np.testing.assert_array_equal(
      data.long_tail_indices(labels, [3, 2], seed=5), [*zeros[:3], *ones[:2]]
    )
    np.testing.assert_array_equal(
      data.long_tail_indices(labels, [3, 2], seed=None), [1, 3, 5, 0, 2]
    )

  def test_all_there_are_can_be_asked_for(self):
    labels = np.array([1, 0, 0, 1, 1])
    np.testing.assert_array_equal(
      data.long_tail_indices(labels, [2, 3], seed=None), [1, 2, 0, 3, 4]
    )
    with self.assertRaisesRegex(
      data.DataError, 'class 1 has 3 examples, .* needs 4'
    ):
      data.long_tail_indices(labels, [2, 4], seed=None)

  def test_the_first_wrong_row_is_named_and_all_are_counted(self):
    with self.assertRaisesRegex(
      data.DataError, r'in \[0, 2\), got 2 at row 1 \(3 such rows\)'
    ):
      data.long_tail_indices([1, 2, 0, -1, 5], [1, 1], seed=0)
    with self.assertRaisesRegex(data.DataError, 'got 0 for class 1'):
      data.long_tail_indices([0, 1, 2], [1, 0, 0], seed=0)


if __name__ == '__main__':
  absltest.main()
