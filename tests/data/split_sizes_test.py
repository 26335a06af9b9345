# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How batches are cut: sizes, rows once more, several batches as one."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import pytest

from imbsam_jax import data

_LABELS = np.repeat([0, 1, 2, 3], (40, 20, 7, 4)).astype(np.int32)
_EXAMPLES = data.Examples(np.arange(71, dtype=np.float32)[:, None] + 1, _LABELS)
_HEAD_TAIL = np.array([[1, 1, 0, 0], [0, 0, 2, 2]], np.float32)


def _mean_cost(num_tail, sizes, batch_size, row_multiple=1):
  """Of an ImbSAM step in SGD steps, written out."""
  total = 0
  for number in num_tail:
    head, tail = data.split_sizes(
      number,
      batch_size=batch_size,
      tail_sizes=sizes,
      row_multiple=row_multiple,
    )
    total += (head + 2 * tail) / batch_size
  return total / len(num_tail)


class SplitSizesTest(parameterized.TestCase):
  @parameterized.product(
    tail_sizes=[None, (0,), (3,), (0, 2, 9), (11, 12)], row_multiple=[1, 4]
  )
  def test_every_number_of_tail_rows_fits(self, tail_sizes, row_multiple):
    for num_tail in range(17):
      head, tail = data.split_sizes(
        num_tail,
        batch_size=16,
        tail_sizes=tail_sizes,
        row_multiple=row_multiple,
      )
      self.assertGreaterEqual(tail, num_tail)
      self.assertGreaterEqual(head, 16 - num_tail)
      self.assertEqual((head % row_multiple, tail % row_multiple), (0, 0))

  @pytest.mark.faults
  def test_f13_beyond_the_last_size_is_the_whole_batch(self):
    sizes = data.split_sizes(10, batch_size=64, tail_sizes=(2, 9))
    self.assertEqual(sizes, (54, 64))

  @parameterized.product(
    batch_size=[64, 128], share=[0.0003, 0.003, 0.028, 0.124, 0.5, 0.9]
  )
  def test_one_size_holds_for_a_whole_run(self, batch_size, share):
    rng = np.random.RandomState(0)
    sample = rng.binomial(batch_size, share, 500)
    sizes = data.one_tail_size(sample, batch_size=batch_size)
    shapes = {
      data.split_sizes(int(n), batch_size=batch_size, tail_sizes=sizes)
      for n in rng.binomial(batch_size, share, 100_000)
    }
    self.assertLen(shapes, 1)
    head, tail = shapes.pop()
    self.assertLessEqual(head + tail, 1.7 * batch_size)

  @parameterized.product(
    num_sizes=[1, 2, 3, 4], row_multiple=[1, 2], seed=[0, 1, 2]
  )
  def test_no_other_choice_costs_less(self, num_sizes, row_multiple, seed):
    rng = np.random.RandomState(seed)
    num_tail = rng.binomial(16, 0.2, 40) + seed
    chosen = data.choose_tail_sizes(
      num_tail, batch_size=24, num_sizes=num_sizes, row_multiple=row_multiple
    )
    ours = _mean_cost(num_tail, chosen, 24, row_multiple)
    values = np.unique(num_tail).tolist()
    below = () if values[0] == 0 else (values[0] - 1,)
    others = [
      _mean_cost(num_tail, (*below, *subset, values[-1]), 24, row_multiple)
      for number in range(min(num_sizes, len(values)))
      for subset in itertools.combinations(values[:-1], number)
    ]
    self.assertAlmostEqual(ours, min(others), places=12)
    self.assertLessEqual(len(chosen), num_sizes + len(below))

  def test_constant_number_is_not_filled_up(self):
    sizes = data.choose_tail_sizes([12] * 5, batch_size=64)
    found = data.split_sizes(12, batch_size=64, tail_sizes=sizes)
    self.assertEqual(found, (52, 12))

  @parameterized.parameters((0.0281, 1.05), (0.1865, 1.24))
  def test_near_the_bound(self, share, most):
    # CIFAR-100-LT, thresholds 20 and 100; other batches than those it saw.
    rng = np.random.RandomState(0)
    seen, new = rng.binomial(64, share, (2, 4000))
    sizes = data.choose_tail_sizes(seen, batch_size=64)
    self.assertBetween(_mean_cost(new, sizes, 64), 1 + share - 0.01, most)


class TailOnlyBatchesTest(parameterized.TestCase):
  @parameterized.parameters([None], [(2, 5)])
  def test_all_rows_and_those_of_the_tail(self, tail_sizes):
    order = data.shuffled_order(71, batch_size=16, seed=0)
    joint = data.joint_batches(order, _EXAMPLES, _HEAD_TAIL)
    both = data.tail_only_batches(
      order, _EXAMPLES, _HEAD_TAIL, tail_sizes=tail_sizes
    )
    for step in range(12):
      batch, expected = both[step], joint[step]
      self.assertEqual(batch.layout, 'tail_only')
      jax.tree.map(np.testing.assert_array_equal, batch.rows[0], expected.rows)
      np.testing.assert_array_equal(batch.weights[0], expected.weights)
      is_tail = expected.weights[1] != 0
      counted = batch.weights[1] != 0
      for name, rows in batch.rows[1].items():
        np.testing.assert_array_equal(
          rows[counted], expected.rows[name][is_tail]
        )
      np.testing.assert_array_equal(
        batch.weights[1][counted], expected.weights[1, is_tail]
      )


class PlacesTest(parameterized.TestCase):
  def test_a_row_has_one_place_in_every_layout(self):
    order = data.shuffled_order(71, batch_size=16, seed=0)
    arguments = (order, _EXAMPLES, _HEAD_TAIL)
    joint = data.joint_batches(*arguments)[3].rows
    split = data.split_batches(*arguments)[3]
    places = {
      int(image[0]): place
      for image, place in zip(joint['image'], joint['place'], strict=True)
    }
    self.assertEqual(sorted(places.values()), list(range(16)))
    for rows, weights in zip(split.rows, split.weights, strict=True):
      for image, place, weight in zip(
        rows['image'], rows['place'], weights, strict=True
      ):
        if weight:
          self.assertEqual(places[int(image[0])], place)

  def test_partners_have_places_of_their_own(self):
    order = data.shuffled_order(71, batch_size=16, seed=0)
    partners = data.permuted_order(order, seed=1)
    rows = data.paired_batches(
      order, partners, _EXAMPLES, np.ones((1, 4), np.float32)
    )[0].rows
    self.assertEqual(sorted(rows['place'].tolist()), list(range(32)))


class StackTest(parameterized.TestCase):
  @parameterized.parameters('joint', 'split', 'tail_only')
  def test_entries_are_the_batches_filled_up(self, layout):
    make = getattr(data, f'{layout}_batches')
    order = data.shuffled_order(71, batch_size=16, seed=0)
    batches = make(order, _EXAMPLES, _HEAD_TAIL)
    parts = [batches[step] for step in range(8)]
    if layout != 'joint':
      self.assertGreater(len({len(p.weights[1]) for p in parts}), 1)
    stacked = data.stack_batches(parts)
    for k, part in enumerate(parts):
      entry = jax.tree.map(lambda x, k=k: x[k], stacked)
      self.assertEqual(entry.layout, layout)
      pairs = zip(jax.tree.leaves(entry), jax.tree.leaves(part), strict=True)
      for found, expected in pairs:
        inside = tuple(slice(size) for size in expected.shape)
        np.testing.assert_array_equal(found[inside], expected)
        self.assertEqual(found.dtype, expected.dtype)
        outside = np.ones(found.shape, bool)
        outside[inside] = False
        self.assertFalse(found[outside].any())


class PrefetchTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 5)
  def test_order_and_content_do_not_depend_on_threads(self, num_threads):
    order = data.shuffled_order(71, batch_size=16, seed=0)
    batches = data.split_batches(order, _EXAMPLES, _HEAD_TAIL)
    stream = list(
      data.prefetch(batches, start=3, stop=20, num_threads=num_threads)
    )
    self.assertLen(stream, 17)
    for step, batch in enumerate(stream, start=3):
      jax.tree.map(np.testing.assert_array_equal, batch, batches[step])

  def test_errors_come_through(self):
    import grain

    def fail(number):
      if number == 3:
        raise data.DataError('image 3 is broken')
      return number

    batches = grain.MapDataset.range(9).map(fail)
    stream = data.prefetch(batches, start=0, stop=9, num_threads=2)
    self.assertEqual([next(stream) for _ in range(3)], [0, 1, 2])
    with self.assertRaisesRegex(data.DataError, 'image 3 is broken'):
      next(stream)


if __name__ == '__main__':
  absltest.main()
