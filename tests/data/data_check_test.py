# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The facts on data sets: counts, copies and headers against what was made."""

import pathlib
from unittest import mock

import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax.data import _image_facts
from tests.data import bad_folders


def _folder(root: pathlib.Path, number: int = 6) -> data.FolderContent:
  """Bitmaps, which have one length and one beginning."""
  (root / 'one').mkdir(parents=True)
  for i in range(number):
    bad_folders.picture(i).save(root / 'one' / f'{i}.bmp')
  return data.FolderContent(root)


def test_copies_are_those_of_equal_ends(tmp_path):
  content = _folder(tmp_path)
  with (
    mock.patch.object(_image_facts, '_HEAD_BYTES', 26),
    mock.patch.object(_image_facts.zlib, 'crc32', return_value=0),
  ):
    for whole in (True, False):
      assert not data.check(content, whole=whole).same
    (tmp_path / 'one/x.bmp').write_bytes((tmp_path / 'one/3.bmp').read_bytes())
    content = data.FolderContent(tmp_path)
    for whole in (True, False):
      (copies,) = data.check(content, whole=whole).same
      assert [copy.row for copy in copies] == [3, 6]


def test_sources_of_files_and_contents_agree(tmp_path):
  root = bad_folders.clean(tmp_path / 'clean')
  for name in ('leak', 'conflict', 'same pixels', 'exif'):
    bad_folders.BAD[name].spoil(root)
  facts = [
    data.check(kind(root / 'train'), kind(root / 'test'))
    for kind in (data.FolderContent, data.FolderSource)
  ]
  assert facts[0].same == facts[1].same
  assert len(facts[0].same) == 5
  for split in ('train', 'test'):
    one, two = (fact.splits[split] for fact in facts)
    assert one.names == two.names
    assert one.files == two.files
    np.testing.assert_array_equal(one.counts, two.counts)


def test_array_rows(tmp_path):
  del tmp_path
  rng = np.random.RandomState(0)
  images = rng.rand(30, 5).astype(np.float32)
  images[7] = images[20] = images[29]
  labels = np.arange(30) % 3
  facts = data.check(
    data.ArraySource(images, labels), data.ArraySource(images[7:9], labels[:2])
  )
  train = facts.splits['train']
  assert train.array == data.ArrayFacts(
    'float32', (5,), float(images.min()), float(images.max())
  )
  assert train.counts.tolist() == [10, 10, 10]
  assert [
    [(copy.split, copy.row) for copy in copies] for copies in facts.same
  ] == [
    [('train', 7), ('train', 20), ('train', 29), ('test', 0)],
    [('train', 8), ('test', 1)],
  ]


@pytest.mark.parametrize('whole', [True, False])
def test_tfds(tfds_dir, whole):
  sources = [
    data.TfdsSource('digits', split, data_dir=tfds_dir, image_size=32)
    for split in ('train', 'test')
  ]
  facts = data.check(*sources, whole=whole)
  train = facts.splits['train']
  np.testing.assert_array_equal(train.counts, np.bincount(sources[0].labels))
  assert train.tally(lambda image: (image.format, image.mode)) == {
    ('PNG', 'L'): 1297
  }
  assert not facts.same and not train.problems


def test_classes_of_other_names():
  images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
  train = data.ArraySource(images, np.arange(3), class_names=['a', 'b', 'c'])
  numbered = data.ArraySource(images, np.array([2, 1, 0]))
  counts = data.check(train, numbered).splits['test'].counts
  assert counts.tolist() == [1, 1, 1]
  others = data.ArraySource(images, np.arange(3), class_names=['b', 'x', 'a'])
  facts = data.check(train, others)
  assert list(facts.class_names) == ['a', 'b', 'c', 'x']
  assert facts.splits['test'].counts.tolist() == [1, 1, 0, 1]
