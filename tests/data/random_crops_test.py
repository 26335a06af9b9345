# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Crops of training batches: by seed, step and place, in every layout."""

import io

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from imbsam_jax import data

_LABELS = np.repeat([0, 1], [9, 3]).astype(np.int32)
_HEAD_TAIL = np.array([[1, 0], [0, 1]], np.float32)
_SEED = 7


def _content(seed):
  pixels = np.random.RandomState(seed).randint(256, size=(12, 14, 3))
  file = io.BytesIO()
  Image.fromarray(pixels.astype(np.uint8)).save(file, 'PNG')
  return file.getvalue()


_CONTENTS = [_content(i) for i in range(12)]
_IMAGES = data.EncodedImages(
  lambda i: _CONTENTS[i], str, size=6, indices=np.arange(12)
)
_EXAMPLES = data.Examples(data.RandomCrops(_IMAGES, _SEED), _LABELS)


def _crop(index, step, place, seed=_SEED):
  return _IMAGES.random_crops([index], np.array([[seed, step, place]]))[0]


class RowsTest(absltest.TestCase):
  def test_rows_are_crops_by_seed_step_and_place(self):
    indices, places = np.array([3, 3, 0]), np.array([2, 0, 9])
    found = []
    for seed, step in ((0, 0), (0, 1), (1, 0), (2**32 - 1, 5)):
      rows = data.RandomCrops(_IMAGES, seed).rows(
        indices, step=step, places=places
      )
      for row, index, place in zip(rows, indices, places, strict=True):
        np.testing.assert_array_equal(row, _crop(index, step, place, seed))
      found.append(rows)
    # Neither the same at every step or seed, nor at every place.
    for k, rows in enumerate(found):
      self.assertFalse(np.array_equal(rows[0], rows[1]))
      for other in found[:k]:
        for row, one in zip(rows, other, strict=True):
          self.assertFalse(np.array_equal(row, one))

  def test_shape_and_dtype_are_those_of_the_images(self):
    crops = data.RandomCrops(_IMAGES, 0)
    self.assertEqual((crops.shape, crops.dtype), ((12, 6, 6, 3), np.uint8))


class BatchesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.order = data.shuffled_order(12, batch_size=8, seed=0)

  def _check(self, rows, indices, step, counted):
    """Each counted row is the crop of its image by its place in the batch."""
    for k in np.flatnonzero(counted):
      place = rows['place'][k]
      np.testing.assert_array_equal(
        rows['image'][k], _crop(indices[place], step, place)
      )
      self.assertEqual(rows['label'][k], _LABELS[indices[place]])
    self.assertEqual(rows['place'].dtype, np.int32)

  def test_joint(self):
    batches = data.joint_batches(self.order, _EXAMPLES, _HEAD_TAIL)
    for step in (0, 3):
      rows = batches[step].rows
      np.testing.assert_array_equal(rows['place'], np.arange(8))
      self._check(rows, self.order[step].indices, step, np.ones(8))

  @parameterized.parameters('split', 'tail_only')
  def test_head_and_tail_apart(self, layout):
    make = getattr(data, f'{layout}_batches')
    batches = make(self.order, _EXAMPLES, _HEAD_TAIL)
    seen = 0
    for step in range(3):
      batch, indices = batches[step], self.order[step].indices
      tail_places = np.flatnonzero(_LABELS[indices])
      seen += len(tail_places)
      head, tail = batch.rows
      head_weights, tail_weights = batch.weights
      self.assertEqual(batch.layout, layout)
      counted = tail_weights != 0
      np.testing.assert_array_equal(tail['place'][counted], tail_places)
      self._check(tail, indices, step, counted)
      self._check(head, indices, step, np.atleast_2d(head_weights).any(axis=0))
    self.assertGreater(seen, 0)

  def test_partners_are_cropped_by_places_after_the_rows(self):
    partners = data.permuted_order(self.order, seed=1)
    batches = data.paired_batches(
      self.order, partners, _EXAMPLES, np.ones((1, 2), np.float32)
    )
    rows = batches[2].rows
    np.testing.assert_array_equal(
      rows['place'].reshape(8, 2), np.arange(16).reshape(2, 8).T
    )
    indices = np.concatenate([self.order[2].indices, partners[2].indices])
    self._check(rows, indices, 2, np.ones(16))

  def test_a_process_crops_its_own_rows_alike(self):
    whole = data.joint_batches(self.order, _EXAMPLES, _HEAD_TAIL)[1].rows
    for index in range(2):
      part = data.joint_batches(
        self.order, _EXAMPLES, _HEAD_TAIL, host_share=data.HostShare(index, 2)
      )[1].rows
      own = np.arange(4) + 4 * index
      expected = np.zeros_like(whole['image'])
      expected[own] = whole['image'][own]
      np.testing.assert_array_equal(part['image'], expected)
      for name in ('label', 'place'):
        np.testing.assert_array_equal(part[name], whole[name])


if __name__ == '__main__':
  absltest.main()
