# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of rows and sizes of their groups, by number."""

from absl.testing import absltest
from absl.testing import parameterized
import grain
import numpy as np

from imbsam_jax import data

_LABELS = np.array([0, 0, 1, 2], np.int32)
_EXAMPLES = data.Examples(np.arange(4, dtype=np.float32)[:, None], _LABELS)
_CLASS_WEIGHTS = np.array([[1, 0.5, 0], [0, 0, 3]], np.float32)


def _order(*choices):
  """Batches of chosen rows and their factors."""
  choices = [
    data.RowChoice(np.array(indices), np.array(scale, np.float32))
    for indices, scale in choices
  ]
  return grain.MapDataset.range(len(choices)).map(lambda step: choices[step])


_ORDER = _order(([3, 0, 2, 1], [1, 1, 1, 1]), ([2, 3, 3, 0], [2, 0.5, 1, 1]))


class WeightsTest(parameterized.TestCase):
  def test_class_weight_times_factor_over_the_batch(self):
    batches = data.joint_batches(_ORDER, _EXAMPLES, _CLASS_WEIGHTS)
    np.testing.assert_allclose(
      batches[0].weights, [[0, 0.25, 0.125, 0.25], [0.75, 0, 0, 0]]
    )
    np.testing.assert_allclose(
      batches[1].weights, [[0.25, 0, 0, 0.25], [0, 0.375, 0.75, 0]]
    )
    for step in range(2):
      self.assertEqual(batches[step].weights.dtype, np.float32)

  # Weights of rows at step 1: [2, 5, 5, 1] times the factors: 4, 2.5, 5, 1.
  @parameterized.parameters(
    ('mean', np.array([4, 2.5, 5, 1]) / 4),
    ('weighted_mean', np.array([4, 2.5, 5, 1]) / 12.5),
  )
  def test_reweighting(self, reduction, shares):
    reweighting = data.Reweighting(
      lambda step: np.array([1, 1 + step, 5]), reduction
    )
    arguments = (_ORDER, _EXAMPLES, _CLASS_WEIGHTS)
    joint = data.joint_batches(*arguments, reweighting=reweighting)[1]
    expected = _CLASS_WEIGHTS[:, [1, 2, 2, 0]] * shares
    np.testing.assert_allclose(joint.weights, expected, rtol=1e-6)
    self.assertEqual(joint.weights.dtype, np.float32)
    # The same numbers where the groups are apart.
    split = data.split_batches(*arguments, reweighting=reweighting)[1]
    np.testing.assert_allclose(
      split.weights[0][:2], expected[0, [0, 3]], rtol=1e-6
    )
    np.testing.assert_allclose(
      split.weights[1][:2], expected[1, [1, 2]], rtol=1e-6
    )
    both = data.tail_only_batches(*arguments, reweighting=reweighting)[1]
    np.testing.assert_allclose(both.weights[0], expected, rtol=1e-6)
    np.testing.assert_allclose(
      both.weights[1][:2], expected[1, [1, 2]], rtol=1e-6
    )

  def test_partners_have_the_weights_of_a_batch_of_their_own(self):
    partners = _order(([0, 1, 2, 3], [1, 2, 3, 4]))
    batch = data.paired_batches(_ORDER, partners, _EXAMPLES, _CLASS_WEIGHTS)[0]
    np.testing.assert_array_equal(
      batch.rows['image'][:, 0], [3, 0, 0, 1, 2, 2, 1, 3]
    )
    np.testing.assert_array_equal(batch.rows['label'], [2, 0, 0, 0, 1, 1, 0, 2])
    np.testing.assert_array_equal(batch.rows['place'], [0, 4, 1, 5, 2, 6, 3, 7])
    np.testing.assert_allclose(
      batch.weights,
      [
        [0, 0.25, 0.25, 0.5, 0.125, 0.375, 0.25, 0],
        [0.75, 0, 0, 0, 0, 0, 0, 3],
      ],
    )

  def test_reweighting_errors(self):
    for weights, reduction, message in (
      (np.ones(3), 'sum', "'weighted_mean', got 'sum'"),
      (np.ones(4), 'mean', r'each of the 3 classes, got shape \(4,\)'),
    ):
      reweighting = data.Reweighting(lambda step, w=weights: w, reduction)
      for make in (data.joint_batches, data.split_batches):
        with self.assertRaisesRegex(ValueError, message):
          make(_ORDER, _EXAMPLES, _CLASS_WEIGHTS, reweighting=reweighting)


class SplitTest(parameterized.TestCase):
  def test_rows_apart_and_filled_up(self):
    split = data.split_batches(
      _ORDER, _EXAMPLES, _CLASS_WEIGHTS, tail_sizes=(0, 3)
    )
    self.assertEqual(split[1].layout, 'split')
    head, tail = split[1].rows
    head_weights, tail_weights = split[1].weights
    # Two tail rows are filled up to 3; the head to what a tail of 1 leaves.
    np.testing.assert_array_equal(tail['image'][:, 0], [3, 3, 0])
    np.testing.assert_array_equal(tail['label'], [2, 2, 0])
    np.testing.assert_array_equal(tail['place'], [1, 2, 0])
    np.testing.assert_allclose(tail_weights, [0.375, 0.75, 0])
    np.testing.assert_array_equal(head['image'][:, 0], [2, 0, 0])
    np.testing.assert_array_equal(head['place'], [0, 3, 0])
    np.testing.assert_allclose(head_weights, [0.25, 0.25, 0])

  def test_tail_once_more(self):
    both = data.tail_only_batches(
      _ORDER, _EXAMPLES, _CLASS_WEIGHTS, tail_sizes=(0, 3)
    )
    self.assertEqual(both[1].layout, 'tail_only')
    rows, tail = both[1].rows
    weights, tail_weights = both[1].weights
    np.testing.assert_array_equal(rows['image'][:, 0], [2, 3, 3, 0])
    np.testing.assert_array_equal(rows['place'], [0, 1, 2, 3])
    np.testing.assert_allclose(
      weights, [[0.25, 0, 0, 0.25], [0, 0.375, 0.75, 0]]
    )
    np.testing.assert_array_equal(tail['image'][:, 0], [3, 3, 0])
    np.testing.assert_array_equal(tail['place'], [1, 2, 0])
    np.testing.assert_allclose(tail_weights, [0.375, 0.75, 0])

  def test_a_process_has_its_rows_and_those_of_the_tail(self):
    # Of 4 rows and of 2 tail rows, the second half each.
    batch = data.tail_only_batches(
      _ORDER,
      _EXAMPLES._replace(images=_EXAMPLES.images + 1),
      _CLASS_WEIGHTS,
      tail_sizes=(0, 2),
      host_share=data.HostShare(1, 2),
    )[1]
    rows, tail = batch.rows
    np.testing.assert_array_equal(rows['image'][:, 0], [0, 0, 4, 1])
    np.testing.assert_array_equal(tail['image'][:, 0], [0, 4])

  def test_a_process_has_its_part_of_each_group(self):
    examples = _EXAMPLES._replace(images=_EXAMPLES.images + 1)
    # Of 4 head rows, two of them fillers, and of 2 tail rows.
    for index, head_images, tail_images in (
      (0, [3, 1, 0, 0], [4, 0]),
      (1, [0, 0, 0, 0], [0, 4]),
    ):
      batch = data.split_batches(
        _ORDER,
        examples,
        _CLASS_WEIGHTS,
        tail_sizes=(0, 2),
        row_multiple=2,
        host_share=data.HostShare(index, 2),
      )[1]
      head, tail = batch.rows
      np.testing.assert_array_equal(head['image'][:, 0], head_images)
      np.testing.assert_array_equal(tail['image'][:, 0], tail_images)

  def test_a_process_has_whole_pairs(self):
    batch = data.paired_batches(
      _ORDER,
      _order(([0, 1, 2, 3], [1] * 4)),
      _EXAMPLES._replace(images=_EXAMPLES.images + 1),
      _CLASS_WEIGHTS,
      host_share=data.HostShare(1, 2),
    )[0]
    np.testing.assert_array_equal(
      batch.rows['image'][:, 0], [0, 0, 0, 0, 3, 3, 2, 4]
    )

  def test_no_class_is_in_both_groups(self):
    for weights in (
      np.ones((1, 3)),
      np.ones((3, 3)),
      np.array([[1, 1, 1], [0, 0, 1]]),
      np.array([[1, 0, 0], [1, 0, 1]]),
    ):
      for make in (data.split_batches, data.tail_only_batches):
        with self.assertRaisesRegex(ValueError, 'two groups head and tail'):
          make(_ORDER, _EXAMPLES, weights)
    # A class may have no weight, and a group no class.
    for weights in ([[1, 0, 0], [0, 0, 1]], [[1, 1, 1], [0, 0, 0]]):
      data.split_batches(_ORDER, _EXAMPLES, np.array(weights))


class SizesTest(parameterized.TestCase):
  @parameterized.parameters(
    # Multiples of ceil(B / 16).
    (dict(num_tail=0, batch_size=16), (16, 0)),
    (dict(num_tail=1, batch_size=16), (15, 1)),
    (dict(num_tail=16, batch_size=16), (0, 16)),
    (dict(num_tail=1, batch_size=17), (16, 2)),
    (dict(num_tail=3, batch_size=17), (14, 4)),
    (dict(num_tail=17, batch_size=17), (0, 17)),
    (dict(num_tail=32, batch_size=32), (1, 32)),
    (dict(num_tail=1, batch_size=1), (0, 1)),
    (dict(num_tail=1, batch_size=64, row_multiple=8), (64, 8)),
    (dict(num_tail=9, batch_size=64, row_multiple=8), (56, 16)),
    (dict(num_tail=0, batch_size=10, row_multiple=4), (12, 0)),
    (dict(num_tail=2, batch_size=64, tail_sizes=(2, 9)), (64, 2)),
    (dict(num_tail=9, batch_size=64, tail_sizes=(2, 9)), (61, 9)),
    (dict(num_tail=10, batch_size=64, tail_sizes=(2, 9)), (54, 64)),
  )
  def test_split_sizes(self, arguments, expected):
    num_tail = arguments.pop('num_tail')
    self.assertEqual(data.split_sizes(num_tail, **arguments), expected)

  @parameterized.parameters(
    (dict(num_tail=[3, 1, 2], num_sizes=3), (0, 1, 2, 3)),
    # 5 is met most often: not to be filled up, 1 to 5 and 6 to 9 are.
    (dict(num_tail=[0] + [5] * 9 + [9], num_sizes=2), (5, 9)),
    (dict(num_tail=[0] * 9 + [5] + [9], num_sizes=2), (0, 9)),
    (dict(num_tail=[0] * 9 + [5] + [9], num_sizes=1), (9,)),
    (dict(num_tail=[4], num_sizes=1), (3, 4)),
    (dict(num_tail=[0], num_sizes=5), (0,)),
    # Seven values: the cheapest six are the default.
    (dict(num_tail=[0, 1, 2, 3, 4, 5, 9, 9]), (0, 1, 2, 3, 5, 9)),
    # Tail rows cost two passes: at one it were 4 and 9, at three 2, 3 and 7.
    (dict(num_tail=[0, 0, 1, 4, 5, 6, 9], num_sizes=2), (1, 9)),
    (dict(num_tail=[3, 6, 7, 7], num_sizes=2), (2, 6, 7)),
    # 1 and 4 are filled up to 4 anyway.
    (dict(num_tail=[1, 4, 8], num_sizes=2, row_multiple=4), (0, 4, 8)),
  )
  def test_choose_tail_sizes(self, arguments, expected):
    self.assertEqual(
      data.choose_tail_sizes(batch_size=16, **arguments), expected
    )

  def test_stacked_groups_are_filled_up_to_the_largest(self):
    split = data.split_batches(
      _ORDER, _EXAMPLES, _CLASS_WEIGHTS, tail_sizes=(1, 2)
    )
    stacked = data.stack_batches([split[0], split[1]])
    self.assertEqual(stacked.layout, 'split')
    head, tail = stacked.rows
    head_weights, tail_weights = stacked.weights
    np.testing.assert_array_equal(tail['image'][..., 0], [[3, 0], [3, 3]])
    np.testing.assert_allclose(tail_weights, [[0.75, 0], [0.375, 0.75]])
    np.testing.assert_array_equal(
      head['image'][..., 0], [[0, 2, 1, 0], [2, 0, 0, 0]]
    )
    np.testing.assert_allclose(
      head_weights, [[0.25, 0.125, 0.25, 0], [0.25, 0.25, 0, 0]]
    )
    joint = data.joint_batches(_ORDER, _EXAMPLES, _CLASS_WEIGHTS)
    stacked = data.stack_batches([joint[1], joint[0]])
    np.testing.assert_array_equal(
      stacked.weights, [joint[1].weights, joint[0].weights]
    )


if __name__ == '__main__':
  absltest.main()
