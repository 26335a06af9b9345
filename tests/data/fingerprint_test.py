# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checksums of data: what changes them, and that they stay what they were."""

import hashlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data

_IMAGES = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1)
_LABELS = np.array([0, 1, 1, 0, 2, 0], np.int32)


def _encoded(names, *, size=4):
  return data.EncodedImages(
    lambda i: b'unread', lambda i: names[i], size=size, indices=np.arange(6)
  )


def _examples(images=_IMAGES, labels=_LABELS):
  return data.Examples(images, labels)


def _fingerprint(
  train=None, validation=None, test=None, class_names=('ant', 'bee', 'cat')
):
  return data.fingerprint(
    data.LongTailedData(
      train=train or _examples(),
      validation=validation,
      test=test or _examples(),
      class_counts=np.array([3, 2, 1]),
      class_names=class_names,
    )
  )


def _sha(*parts):
  return hashlib.sha256(b''.join(parts)).hexdigest()


class FingerprintTest(parameterized.TestCase):
  # Folders of runs have these checksums: other ones would not go on.
  def test_by_value(self):
    found = _fingerprint()
    self.assertEqual(list(found), ['classes', 'train', 'test'])
    self.assertEqual(found['classes'], _sha(b'ant\nbee\ncat'))
    rows = _sha(_LABELS.tobytes(), b'uint8 (6, 2, 2, 1)', _IMAGES.tobytes())
    self.assertEqual(found['train'], rows)
    self.assertEqual(found['test'], rows)

  def test_encoded_images_by_value(self):
    names = list('abcdef')
    found = _fingerprint(train=_examples(_encoded(names)))
    self.assertEqual(
      found['train'],
      _sha(_LABELS.tobytes(), b'uint8 (6, 4, 4, 3)', b'a\nb\nc\nd\ne\nf\n'),
    )

  def test_order_of_the_names_counts(self):
    base = _fingerprint()
    for names in (('cat', 'bee', 'ant'), ('an', 'tbee', 'cat')):
      found = _fingerprint(class_names=names)
      self.assertNotEqual(found['classes'], base['classes'])
      self.assertEqual(found['train'], base['train'])

  @parameterized.named_parameters(
    ('labels', _examples(labels=_LABELS[::-1])),
    ('pixel', _examples(np.where(_IMAGES == 23, 0, _IMAGES))),
    ('order_of_images', _examples(_IMAGES[::-1])),
    ('shape', _examples(_IMAGES.reshape(6, 4, 1, 1))),
    ('dtype', _examples(_IMAGES.view(np.int8))),
    ('fewer', _examples(_IMAGES[:5], _LABELS[:5])),
  )
  def test_only_the_changed_part_differs(self, changed):
    base = _fingerprint(validation=_examples())
    self.assertEqual(list(base), ['classes', 'train', 'validation', 'test'])
    for part in ('train', 'validation', 'test'):
      found = _fingerprint(**{'validation': _examples(), part: changed})
      self.assertEqual([p for p in base if found[p] != base[p]], [part])

  def test_names_of_encoded_images_and_their_order_count(self):
    base = _fingerprint(train=_examples(_encoded(list('abcdef'))))
    for images in (
      _encoded(list('fedcba')),
      _encoded(['ab', '', *'cdef']),
      _encoded(list('abcdef'), size=5),
      _encoded(list('abcdef')).subset([0, 1, 2, 3, 5, 4]),
    ):
      found = _fingerprint(train=_examples(images))
      self.assertNotEqual(found['train'], base['train'])
      self.assertEqual(found['test'], base['test'])

  def test_layout_in_memory_does_not_count(self):
    images = np.asfortranarray(_IMAGES)
    labels = np.repeat(_LABELS, 2)[::2]
    self.assertEqual(_fingerprint(_examples(images, labels)), _fingerprint())


if __name__ == '__main__':
  absltest.main()
