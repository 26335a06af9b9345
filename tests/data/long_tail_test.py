# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class counts and subsets against the literature's numbers and rules."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from imbsam_jax import data


def _ldam_subset(labels, class_counts):
  """The rule of LDAM-DRW, with NumPy's global generator, as it stands there."""
  state = np.random.get_state()
  np.random.seed(0)
  kept = []
  for label, count in enumerate(class_counts):
    indices = np.where(labels == label)[0]
    np.random.shuffle(indices)
    kept.extend(indices[:count])
  np.random.set_state(state)
  return kept


class ClassCountsTest(parameterized.TestCase):
  # Totals, smallest counts and band sizes of the literature's protocols.
  @parameterized.parameters(
    (10, 5000, 10, 20431, 500),
    (10, 5000, 20, 17023, 250),
    (10, 5000, 50, 13996, 100),
    (10, 5000, 100, 12406, 50),
    (10, 5000, 200, 11203, 25),
    (100, 500, 10, 19573, 50),
    (100, 500, 20, 15907, 25),
    (100, 500, 50, 12608, 10),
    (100, 500, 100, 10847, 5),
    (100, 500, 200, 9502, 2),
  )
  def test_cifar_lt(self, num_classes, max_count, factor, total, smallest):
    counts = data.long_tail_class_counts(num_classes, max_count, factor)
    self.assertEqual(counts.sum(), total)
    self.assertEqual(counts.min(), smallest)
    self.assertEqual(counts[0], max_count)

  def test_cifar100_bands(self):
    counts = data.long_tail_class_counts(100, 500, 100)
    self.assertEqual(counts[[34, 35, 69, 70]].tolist(), [102, 98, 20, 19])
    self.assertEqual(((counts > 100).sum(), (counts < 20).sum()), (35, 30))

  def test_step_profile(self):
    counts = data.long_tail_class_counts(10, 5000, 100, profile='step')
    self.assertEqual(counts.tolist(), [5000] * 5 + [50] * 5)

  def test_exact_quotients_do_not_truncate(self):
    for smallest in range(1, 60):
      for factor in (3, 7, 49, 100):
        counts = data.long_tail_class_counts(7, smallest * factor, factor)
        self.assertEqual(counts[-1], smallest)

  def test_one_class_and_balanced(self):
    self.assertEqual(data.long_tail_class_counts(1, 7, 5).tolist(), [7])
    self.assertEqual(data.long_tail_class_counts(3, 7, 1).tolist(), [7] * 3)

  @parameterized.parameters(
    ((10, 100, 0.01), 'at least 1, got 0.01.*Pass 100'),
    ((10, 100, -1), 'at least 1, got -1'),
    ((10, 100, float('nan')), 'at least 1, got nan'),
    ((10, 100, 200), 'leaves no image.*at most 100'),
    ((0, 100, 2), '`num_classes` must be at least 1, got 0'),
  )
  def test_errors(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      data.long_tail_class_counts(*arguments)

  def test_unknown_profile(self):
    with self.assertRaisesRegex(ValueError, "'exp' or 'step', got 'pareto'"):
      data.long_tail_class_counts(10, 100, 10, profile='pareto')


class IndicesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.labels = np.random.RandomState(1).randint(5, size=300)
    self.counts = data.long_tail_class_counts(5, 40, 20)

  def test_seed_0_is_the_subset_of_ldam(self):
    np.testing.assert_array_equal(
      data.long_tail_indices(self.labels, self.counts, seed=0),
      _ldam_subset(self.labels, self.counts),
    )

  def test_no_seed_keeps_the_first(self):
    indices = data.long_tail_indices(self.labels, self.counts, seed=None)
    start = 0
    for label, count in enumerate(self.counts):
      part = indices[start : start + count]
      np.testing.assert_array_equal(
        part, np.flatnonzero(self.labels == label)[:count]
      )
      start += count
    self.assertLen(indices, start)

  def test_seeds_differ_and_repeat(self):
    one = data.long_tail_indices(self.labels, self.counts, seed=1)
    two = data.long_tail_indices(self.labels, self.counts, seed=2)
    again = data.long_tail_indices(self.labels, self.counts, seed=1)
    np.testing.assert_array_equal(one, again)
    self.assertFalse(np.array_equal(one, two))

  def test_errors(self):
    for labels, counts, message in (
      (self.labels, [400, 1, 1, 1, 1], 'class 0 has .* needs 400'),
      (self.labels, [4, 0, 1, 1, 1], 'positive, got 0 for class 1'),
      (self.labels, [4, 1], r'in \[0, 2\), got . at row'),
      (self.labels.astype(float), self.counts, 'integers.*float64'),
      (np.eye(5, dtype=int), self.counts, r'shape \[N\].*argmax'),
      (self.labels - 1, self.counts, 'got -1 at row'),
      (self.labels, np.ones(5), '`class_counts` must be integers'),
      (self.labels[:0], self.counts, 'at least one example'),
    ):
      with self.assertRaisesRegex(data.DataError, message):
        data.long_tail_indices(labels, counts, seed=0)


def _source(num_classes=4, per_class=30, seed=0):
  labels = np.repeat(np.arange(num_classes), per_class)
  labels = np.random.RandomState(seed).permutation(labels)
  # Each image is its own index, so that mixing up rows shows.
  images = np.arange(len(labels), dtype=np.float32)[:, None]
  return data.ArraySource(images, labels)


class SplitsTest(absltest.TestCase):
  def test_validation_is_balanced_and_apart(self):
    lt = data.long_tailed(
      _source(), _source(seed=1), imbalance_factor=5, validation_per_class=6
    )
    self.assertEqual(np.bincount(lt.validation.labels).tolist(), [6] * 4)
    self.assertEmpty(
      set(lt.train.images[:, 0]) & set(lt.validation.images[:, 0])
    )
    self.assertEqual(lt.class_counts.tolist(), [24, 14, 8, 4])
    self.assertEqual(np.bincount(lt.train.labels).tolist(), [24, 14, 8, 4])
    self.assertLen(lt.test.labels, 120)

  def test_images_stay_with_their_labels(self):
    source = _source()
    lt = data.long_tailed(source, source, imbalance_factor=5)
    rows = lt.train.images[:, 0].astype(int)
    np.testing.assert_array_equal(source.labels[rows], lt.train.labels)

  def test_validation_does_not_depend_on_the_imbalance(self):
    one, two = (
      data.long_tailed(
        _source(), _source(), imbalance_factor=f, validation_per_class=5
      )
      for f in (2, 10)
    )
    np.testing.assert_array_equal(one.validation.images, two.validation.images)

  def test_counts_of_ones_own_and_natural(self):
    lt = data.long_tailed(_source(), _source(), class_counts=(9, 3, 3, 1))
    self.assertEqual(np.bincount(lt.train.labels).tolist(), [9, 3, 3, 1])
    lt = data.long_tailed(_source(), _source())
    self.assertEqual(lt.class_counts.tolist(), [30] * 4)

  def test_test_set_can_lack_a_class(self):
    lt = data.long_tailed(_source(), _source(num_classes=3))
    self.assertEqual(lt.test.labels.max(), 2)

  def test_max_count_fits_what_there_is(self):
    labels = np.repeat([0, 1, 2], [50, 20, 20])
    source = data.ArraySource(np.zeros((90, 1), np.uint8), labels)
    lt = data.long_tailed(source, source, imbalance_factor=4)
    # 50, 25, 12 would ask for more than the 20 of class 1.
    self.assertEqual(lt.class_counts.tolist(), [41, 20, 10])

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, 'either .* got both'):
      data.long_tailed(
        _source(), _source(), imbalance_factor=2, class_counts=(1, 1, 1, 1)
      )
    with self.assertRaisesRegex(data.DataError, 'train has 3 .* test 4'):
      data.long_tailed(_source(num_classes=3), _source())
    gap = data.ArraySource(np.zeros((3, 1)), np.array([0, 2, 2]))
    with self.assertRaisesRegex(data.DataError, "class 1 .'1'. has no train"):
      data.long_tailed(gap, gap)
    rare_first = data.ArraySource(
      np.zeros((110, 1)), np.repeat([0, 1], [10, 100])
    )
    with self.assertRaisesRegex(data.DataError, 'class 0 is to have the most'):
      data.long_tailed(rare_first, rare_first, imbalance_factor=20)
    with self.assertRaisesRegex(data.DataError, 'each of 4 classes, got 2'):
      data.long_tailed(_source(), _source(), class_counts=(5, 2))
    with self.assertRaisesRegex(data.DataError, 'class 0 .* leaves none'):
      data.long_tailed(_source(), _source(), validation_per_class=31)


class ArraySourceTest(parameterized.TestCase):
  @parameterized.parameters(
    (np.zeros((3, 2)), [0, 1], 'got 3 and 2 rows'),
    (np.zeros((2, 2)), [0, 2], r'in \[0, 2\), got 2 at row 1'),
    (np.zeros((2, 2)), [0, -1], 'got -1 at row 1'),
    (np.zeros((2, 2)), [0.0, 0.5], 'class indices, got 0.5 in row 1'),
    (np.array([[0.0], [np.nan]]), [0, 1], 'NaN or infinity in row 1'),
    (np.zeros((2, 2), 'c8'), [0, 1], 'uint8 or floating point, got complex64'),
    (np.zeros((0, 2)), np.zeros(0, int), 'at least one example'),
  )
  @pytest.mark.faults
  def test_f19_errors(self, images, labels, message):
    with self.assertRaisesRegex(data.DataError, message):
      data.ArraySource(images, np.asarray(labels))

  def test_names(self):
    source = data.ArraySource(
      np.zeros((2, 1)), np.array([0, 1]), class_names=['cat', 'dog']
    )
    self.assertEqual(source.class_names, ['cat', 'dog'])
    self.assertEqual(source.examples(np.array([1])).images.dtype, np.float32)


if __name__ == '__main__':
  absltest.main()
