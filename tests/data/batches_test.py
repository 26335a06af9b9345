# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Order and batches: pure functions of (seed, step); no row lost or doubled."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from imbsam_jax import data


def _examples(counts=(40, 20, 7, 4)):
  labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
  images = np.arange(len(labels), dtype=np.float32)[:, None]
  return data.Examples(images, labels)


_EXAMPLES = _examples()
_IS_TAIL = _EXAMPLES.labels >= 2
_HEAD_TAIL = np.array([[1, 1, 0, 0], [0, 0, 2, 2]], np.float32)


def _orders(batch_size=16, seed=3):
  return {
    'shuffled': data.shuffled_order(71, batch_size=batch_size, seed=seed),
    'stratified': data.stratified_order(
      _IS_TAIL, batch_size=batch_size, seed=seed
    ),
  }


def _weight_by_image(rows, weights):
  """Total weight of each image of a batch; padding has none."""
  total = collections.Counter()
  for image, weight in zip(rows['image'][:, 0], weights, strict=True):
    if weight:
      total[int(image)] += float(weight)
  return total


class OrderTest(parameterized.TestCase):
  def test_every_epoch_is_a_permutation(self):
    order = data.shuffled_order(71, batch_size=16, seed=0)
    stream = np.concatenate([order[step].indices for step in range(71)])
    epochs = stream.reshape(16, 71)
    for epoch in epochs:
      np.testing.assert_array_equal(np.sort(epoch), np.arange(71))
    self.assertFalse(np.array_equal(epochs[0], epochs[1]))

  @parameterized.parameters('shuffled', 'stratified')
  def test_pure_function_of_seed_and_step(self, kind):
    forwards, backwards = _orders()[kind], _orders()[kind]
    first = [forwards[step].indices for step in range(30)]
    for step in reversed(range(30)):
      np.testing.assert_array_equal(backwards[step].indices, first[step])
    other = _orders(seed=4)[kind]
    self.assertFalse(np.array_equal(other[0].indices, first[0]))

  @parameterized.parameters('shuffled', 'stratified')
  def test_prefetching_does_not_change_it(self, kind):
    import grain

    order = _orders()[kind]
    stream = iter(
      order[:20].to_iter_dataset(
        grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
      )
    )
    for step in range(20):
      np.testing.assert_array_equal(next(stream).indices, order[step].indices)

  def test_batch_larger_than_the_set(self):
    order = data.shuffled_order(3, batch_size=8, seed=0)
    counts = np.bincount(np.concatenate([order[s].indices for s in range(3)]))
    np.testing.assert_array_equal(counts, [8, 8, 8])

  def test_stratified_tail_is_constant(self):
    order = _orders()['stratified']
    for step in range(50):
      is_tail = _IS_TAIL[order[step].indices]
      # round(16 * 11 / 71) = 2, after the head.
      np.testing.assert_array_equal(is_tail, [False] * 14 + [True] * 2)

  def test_stratified_expected_weight_is_uniform(self):
    # 14 and 2 divide lcm(60, 14) and lcm(11, 2): whole epochs of both.
    order = _orders()['stratified']
    total = np.zeros(71)
    steps = 30 * 11
    for step in range(steps):
      np.add.at(total, order[step].indices, order[step].scale)
    np.testing.assert_allclose(total, steps * 16 / 71, rtol=1e-6)

  def test_stratified_without_tail_is_shuffled(self):
    order = data.stratified_order(np.zeros(71, bool), batch_size=16, seed=3)
    np.testing.assert_array_equal(
      order[5].indices, _orders()['shuffled'][5].indices
    )

  def test_stratified_has_no_room(self):
    with self.assertRaisesRegex(ValueError, 'needs head and tail rows, got 1'):
      data.stratified_order(_IS_TAIL, batch_size=1, seed=0)


class BatchesTest(parameterized.TestCase):
  @parameterized.parameters('shuffled', 'stratified')
  def test_joint_weights(self, kind):
    order = _orders()[kind]
    batch = data.joint_batches(order, _EXAMPLES, _HEAD_TAIL)[4]
    choice = order[4]
    np.testing.assert_array_equal(batch.rows['image'][:, 0], choice.indices)
    for i, label in enumerate(batch.rows['label']):
      for group in range(2):
        self.assertAlmostEqual(
          batch.weights[group, i],
          _HEAD_TAIL[group, label] * choice.scale[i] / 16,
          places=6,
        )

  @parameterized.product(
    kind=['shuffled', 'stratified'],
    tail_sizes=[None, (2, 5), (0,)],
    row_multiple=[1, 4],
  )
  def test_split_is_joint_apart(self, kind, tail_sizes, row_multiple):
    order = _orders()[kind]
    joint = data.joint_batches(order, _EXAMPLES, _HEAD_TAIL)
    split = data.split_batches(
      order,
      _EXAMPLES,
      _HEAD_TAIL,
      tail_sizes=tail_sizes,
      row_multiple=row_multiple,
    )
    for step in range(20):
      for group in range(2):
        self.assertEqual(
          _weight_by_image(split[step].rows[group], split[step].weights[group]),
          _weight_by_image(joint[step].rows, joint[step].weights[group]),
        )
        self.assertEqual(len(split[step].weights[group]) % row_multiple, 0)

  def test_few_sizes(self):
    split = data.split_batches(
      data.shuffled_order(71, batch_size=64, seed=0), _EXAMPLES, _HEAD_TAIL
    )
    sizes = {tuple(map(len, split[step].weights)) for step in range(200)}
    self.assertLessEqual(len(sizes), 6)

  def test_no_tail_rows_is_an_empty_tail(self):
    rare = data.Examples(_EXAMPLES.images[:61], _EXAMPLES.labels[:61])
    split = data.split_batches(
      data.shuffled_order(61, batch_size=8, seed=0), rare, _HEAD_TAIL
    )
    without = [
      batch
      for batch in (split[step] for step in range(20))
      if not len(batch.weights[1])
    ]
    self.assertNotEmpty(without)
    self.assertLen(without[0].weights[0], 8)

  def test_every_number_of_tail_rows_fits(self):
    for batch_size in (1, 5, 16, 64, 100):
      for num_tail in range(batch_size + 1):
        head, tail = data.split_sizes(num_tail, batch_size=batch_size)
        self.assertGreaterEqual(tail, num_tail)
        self.assertGreaterEqual(head, batch_size - num_tail)
        self.assertLessEqual(tail - num_tail, max(batch_size / 16, 1))

  def test_groups_must_exclude_each_other(self):
    soft = np.array([[0.5] * 4, [0.5] * 4])
    with self.assertRaisesRegex(ValueError, 'every class in one of them'):
      data.split_batches(_orders()['shuffled'], _EXAMPLES, soft)

  def test_dtypes(self):
    batch = data.split_batches(_orders()['shuffled'], _EXAMPLES, _HEAD_TAIL)[0]
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(batch)}
    self.assertEqual(kinds, {'float32', 'int32'})


if __name__ == '__main__':
  absltest.main()
