# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rows become training, validation and test examples, row by row."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data

_LABELS = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], 20))


def _source(labels=_LABELS, *, first=0, class_names=None):
  """Each image is its own number, so that rows are known by it."""
  images = first + np.arange(len(labels), dtype=np.float32)[:, None]
  return data.ArraySource(images, labels, class_names=class_names)


def _rows(examples):
  return examples.images[:, 0].astype(int)


def _first_of_shuffled(labels, counts, seed):
  rng = np.random.RandomState(seed)
  kept = []
  for label, count in enumerate(counts):
    rows = np.flatnonzero(labels == label)
    rng.shuffle(rows)
    kept.extend(rows[:count])
  return np.array(kept)


class SameRowsTest(parameterized.TestCase):
  @parameterized.parameters('validation', 'test')
  def test_another_shape_or_kind_is_refused(self, name):
    images = np.zeros((60, 4, 4, 1), np.uint8)
    train = data.ArraySource(images, _LABELS)
    for other, shown in (
      (images[:, :3], r'uint8 \[3, 4, 1\]'),
      (images / 2, r'float32 \[4, 4, 1\]'),
    ):
      sources = {'test': train, name: data.ArraySource(other, _LABELS)}
      with self.assertRaisesRegex(
        data.DataError,
        rf'training images are uint8 \[4, 4, 1\] each, {name} images {shown}',
      ):
        data.long_tailed(train, **sources)

  def test_floats_of_another_size_are_alike(self):
    images = np.zeros((3, 2), np.float32)
    examples = data.Examples(images, np.arange(3))
    other = examples._replace(images=images.astype(np.float16))
    data.check_same_rows(
      data.LongTailedData(examples, None, other, np.ones(3, int), 'abc')
    )


class RowsTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2, None)
  def test_validation_does_not_depend_on_the_seed(self, seed):
    found = data.long_tailed(
      _source(),
      _source(),
      imbalance_factor=5,
      validation_per_class=5,
      seed=seed,
    )
    held_out = _first_of_shuffled(_LABELS, [5, 5, 5], 0)
    np.testing.assert_array_equal(_rows(found.validation), held_out)
    np.testing.assert_array_equal(found.validation.labels, _LABELS[held_out])
    # The training examples are chosen from the others, by the seed.
    others = np.setdiff1d(np.arange(60), held_out)
    counts = [15, 6, 3]
    np.testing.assert_array_equal(found.class_counts, counts)
    if seed is None:
      kept = np.concatenate(
        [np.flatnonzero(_LABELS[others] == c)[:n] for c, n in enumerate(counts)]
      )
    else:
      kept = _first_of_shuffled(_LABELS[others], counts, seed)
    np.testing.assert_array_equal(_rows(found.train), others[kept])

  def test_the_default_is_seed_0(self):
    found = data.long_tailed(_source(), _source(), class_counts=[9, 4, 2])
    np.testing.assert_array_equal(
      _rows(found.train), _first_of_shuffled(_LABELS, [9, 4, 2], 0)
    )
    self.assertIsNone(found.validation)

  def test_a_validation_source_and_the_test_set_are_kept_whole(self):
    validation = _source(np.array([2, 0, 1, 1]), first=100)
    test = _source(np.array([1, 0, 2]), first=200)
    found = data.long_tailed(
      _source(), test, validation=validation, imbalance_factor=4
    )
    np.testing.assert_array_equal(_rows(found.validation), [100, 101, 102, 103])
    np.testing.assert_array_equal(found.validation.labels, [2, 0, 1, 1])
    np.testing.assert_array_equal(_rows(found.test), [200, 201, 202])
    np.testing.assert_array_equal(found.test.labels, [1, 0, 2])
    # All of the source remains to be trained on.
    np.testing.assert_array_equal(found.class_counts, [20, 10, 5])

  def test_natural_counts_are_those_that_validation_leaves(self):
    found = data.long_tailed(_source(), _source(), validation_per_class=3)
    np.testing.assert_array_equal(found.class_counts, [17, 17, 17])
    self.assertLen(found.train.labels, 51)


class CountsTest(parameterized.TestCase):
  def test_profile_and_max_count(self):
    for arguments, expected in (
      (dict(), [20, 8, 4]),  # 20 / 5 ** (i / 2), truncated.
      (dict(max_count=15), [15, 6, 3]),
      (dict(profile='step'), [20, 4, 4]),
      (dict(profile='step', max_count=10), [10, 2, 2]),
    ):
      found = data.long_tailed(
        _source(), _source(), imbalance_factor=5, **arguments
      )
      np.testing.assert_array_equal(found.class_counts, expected)
      np.testing.assert_array_equal(np.bincount(found.train.labels), expected)

  def test_no_imbalance_is_a_factor_of_1(self):
    labels = np.repeat([0, 1], [9, 4])
    found = data.long_tailed(
      _source(labels), _source(labels), imbalance_factor=1
    )
    np.testing.assert_array_equal(found.class_counts, [4, 4])

  def test_the_largest_that_fits(self):
    # 29 would need 14 of class 1; 27 / 2 is 13.
    labels = np.repeat([0, 1], [30, 13])
    found = data.long_tailed(
      _source(labels), _source(labels), imbalance_factor=2
    )
    np.testing.assert_array_equal(found.class_counts, [27, 13])

  def test_as_many_as_the_factor_leave_one(self):
    labels = np.repeat([0, 1], [10, 3])
    found = data.long_tailed(
      _source(labels), _source(labels), imbalance_factor=10
    )
    np.testing.assert_array_equal(found.class_counts, [10, 1])
    with self.assertRaisesRegex(
      data.DataError, r'imbalance factor 11 .* are, \[10, 3\]'
    ):
      data.long_tailed(_source(labels), _source(labels), imbalance_factor=11)


class ClassesTest(absltest.TestCase):
  def test_names_are_those_of_the_training_set(self):
    names = ['ant', 'bee', 'cat']
    found = data.long_tailed(
      _source(class_names=names), _source(), class_counts=[1, 1, 1]
    )
    self.assertEqual(found.class_names, names)

  def test_one_name_in_common_and_another_number(self):
    train = _source(class_names=['ant', 'bee', 'cat'])
    for names, message in (
      (['ant', 'cat', 'dog'], "class 1 is 'bee' in train and 'cat' in test"),
      (['bee', 'ant', 'cat'], "class 0 is 'ant' in train and 'bee' in test"),
    ):
      with self.assertRaisesRegex(data.DataError, message):
        data.long_tailed(train, _source(class_names=names))
    # No name in common: other names for the same.
    data.long_tailed(train, _source(class_names=['x', 'y', 'z']))

  def test_neither_test_nor_validation_has_more_classes(self):
    more = _source(np.array([0, 1, 2, 3]))
    with self.assertRaisesRegex(data.DataError, 'train has 3 .* test 4'):
      data.long_tailed(_source(), more)
    with self.assertRaisesRegex(data.DataError, 'train has 3 .* validation 4'):
      data.long_tailed(_source(), _source(), validation=more)

  def test_the_first_class_without_examples_is_named(self):
    train = _source(
      np.array([0, 3, 0, 3]), class_names=['ant', 'bee', 'cat', 'dog']
    )
    with self.assertRaisesRegex(
      data.DataError, r"class 1 \('bee'\) has no .* \(2 such classes\)"
    ):
      data.long_tailed(train, train)

  def test_two_validation_sets(self):
    with self.assertRaisesRegex(ValueError, '`validation_per_class`, got both'):
      data.long_tailed(
        _source(), _source(), validation=_source(), validation_per_class=1
      )


if __name__ == '__main__':
  absltest.main()
