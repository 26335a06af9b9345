# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of two arrays, against a comparison of all pairs."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax.data import _duplicates


def _witness(one, two):
  """The first equal row for each, by all pairs."""
  pairs = []
  for j, theirs in enumerate(two):
    equal = [i for i, ours in enumerate(one) if np.array_equal(ours, theirs)]
    if equal:
      pairs.append((equal[0], j))
  return [i for i, _ in pairs], [j for _, j in pairs]


class SharedRowsTest(parameterized.TestCase):
  @parameterized.product(
    dtype=['uint8', 'float32', 'float64', 'int16'],
    # Rows of whole words, of none, and single numbers.
    shape=[(2, 4), (3,), ()],
  )
  def test_all_pairs(self, dtype, shape):
    rng = np.random.RandomState(0)
    one, two = (
      rng.randint(0, 2, (size, *shape)).astype(dtype) for size in (40, 23)
    )
    found = _duplicates.shared_rows(one, two)
    expected = _witness(one, two)
    self.assertNotEmpty(expected[0])
    self.assertEqual([rows.tolist() for rows in found], [*expected])
    self.assertEqual(found[0].dtype, np.int64)

  def test_equal_sums_are_no_equal_rows(self):
    one = np.array([[1, 2], [5, 5]], np.uint64)
    two = np.array([[2, 1], [4, 6], [5, 5]], np.uint64)
    found = _duplicates.shared_rows(one, two)
    self.assertEqual([rows.tolist() for rows in found], [[1], [2]])

  def test_views_and_pieces(self):
    rng = np.random.RandomState(1)
    one = rng.randint(0, 256, (5000, 3, 8, 8), np.uint8).transpose(0, 2, 3, 1)
    two = np.asfortranarray(one[[4999, 7]])
    found = _duplicates.shared_rows(one, two)
    self.assertEqual([rows.tolist() for rows in found], [[4999, 7], [0, 1]])

  @parameterized.parameters(
    ((0, 3), (2, 3), 'uint8'), ((2, 3), (2, 4), 'uint8'),
    ((2, 3), (2, 3), 'int32'), ((2, 0), (0, 0), 'uint8'),
  )  # fmt: skip
  def test_none(self, one, two, dtype):
    found = _duplicates.shared_rows(np.zeros(one, dtype), np.zeros(two, 'u1'))
    self.assertEqual([rows.tolist() for rows in found], [[], []])


if __name__ == '__main__':
  absltest.main()
