# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Facts that are read once: when they are read again, and what may go wrong."""

from concurrent import futures
import os
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax.data import _facts_cache

_CIFAR = pathlib.Path(__file__).parents[3] / 'shared' / 'tfds' / 'cifar10'


class _FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.cache = self.folder / 'cache'
    patch = mock.patch.object(_facts_cache, 'FOLDER', str(self.cache))
    patch.start()
    self.addCleanup(patch.stop)


class GetTest(_FolderTest):
  def setUp(self):
    super().setUp()
    self.file = self.folder / 'records'
    self.file.write_bytes(b'abc')
    self.calls = 0

  def _get(self, name='labels', value=(1, 2, 300)):
    def compute():
      self.calls += 1
      return {'labels': np.array(value)}

    return _facts_cache.get([self.file], name, compute)['labels'].tolist()

  def _only(self):
    (path,) = self.cache.iterdir()
    return path

  def test_once(self):
    self.assertEqual(self._get(), [1, 2, 300])
    self.assertEqual(self._get(value=[7]), [1, 2, 300])
    self.assertEqual(self.calls, 1)

  def test_other_names_are_other_facts(self):
    self._get()
    self.assertEqual(self._get('sizes', [7]), [7])
    self.assertEqual(self._get('sizes', [8]), [7])

  @parameterized.parameters('size', 'time', 'path', 'more')
  def test_another_file(self, what):
    self._get()
    files = [self.file]
    if what == 'size':
      stat = self.file.stat()
      self.file.write_bytes(b'abcd')
      os.utime(self.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif what == 'time':
      os.utime(self.file, ns=(1, 1))
    elif what == 'path':
      self.file = self.file.rename(self.folder / 'others')
      files = [self.file]
    else:
      files.append(shutil.copy(self.file, self.folder / 'second'))
    facts = _facts_cache.get(files, 'labels', lambda: {'labels': np.arange(2)})
    self.assertEqual(facts['labels'].tolist(), [0, 1])

  @parameterized.parameters('cut', 'flipped', 'empty', 'other', 'folder')
  def test_a_broken_cache_is_made_anew(self, how):
    self._get()
    path = self._only()
    content = bytearray(path.read_bytes())
    if how == 'cut':
      path.write_bytes(content[:-30])
    elif how == 'flipped':
      place = content.index(b'labels.npy') + 60
      content[place] ^= 0xFF
      path.write_bytes(content)
    elif how == 'empty':
      path.write_bytes(b'')
    elif how == 'other':  # Another key in a file of this name.
      np.savez(path, key=np.array('labels'), labels=np.array([0]))
    else:
      path.unlink()
      path.mkdir()
    self.assertEqual(self._get(value=[5]), [5])
    if how != 'folder':
      self.assertEqual(self._get(value=[6]), [5])

  def test_a_cache_that_cannot_be_written(self):
    self.cache.write_text('a file')
    self.assertEqual([self._get(value=[5]), self._get(value=[6])], [[5], [6]])

  def test_a_missing_file_is_for_the_reader(self):
    self.file.unlink()
    self.assertEqual([self._get(value=[5]), self._get(value=[6])], [[5], [6]])

  def test_an_error_leaves_nothing(self):
    def fails():
      raise data.DataError('broken')

    with self.assertRaisesRegex(data.DataError, 'broken'):
      _facts_cache.get([self.file], 'labels', fails)
    self.assertFalse(self.cache.exists())

  def test_size_and_number_are_bounded(self):
    with mock.patch.object(_facts_cache, '_MAX_BYTES', 100):
      self._get('large', list(range(40)))
      self.assertFalse(self.cache.exists())
    with mock.patch.object(_facts_cache, '_MAX_FILES', 3):
      for i in range(5):
        self._get(str(i), [i])
        os.utime(max(self.cache.iterdir(), key=os.path.getmtime), (i, i))
    self.assertLen([*self.cache.iterdir()], 3)

  def test_several_at_once(self):
    with futures.ThreadPoolExecutor(8) as pool:
      results = [*pool.map(lambda _: self._get(), range(40))]
    self.assertEqual(results, [[1, 2, 300]] * 40)
    self._only()


class TfdsTest(_FolderTest):
  """Data sets of TFDS whose files are missing or broken."""

  def _digits(self):
    return data.TfdsSource('digits', 'test', data_dir=str(self.folder / 'tfds'))

  def test_a_second_start_reads_no_record(self):
    labels = self._digits().labels
    with mock.patch.object(
      data.TfdsSource, '_read', side_effect=AssertionError
    ):
      np.testing.assert_array_equal(self._digits().labels, labels)

  def test_labels_of_another_number_are_read_again(self):
    labels = self._digits().labels
    wrong = {'labels': labels[1:]}
    with mock.patch.object(_facts_cache, 'get', lambda *_: wrong):
      np.testing.assert_array_equal(self._digits().labels, labels)

  @parameterized.parameters('cut', 'empty', 'flipped', 'missing')
  def test_broken_records(self, how):
    self._digits()
    (path,) = (self.folder / 'tfds').rglob('*test.array_record*')
    content = bytearray(path.read_bytes())
    if how == 'missing':
      path.unlink()
    elif how == 'flipped':
      content[len(content) // 2] ^= 0xFF
      path.write_bytes(content)
    else:
      path.write_bytes(content[: len(content) // 2 if how == 'cut' else 0])
    shown = r'example \d+ of digits test' if how == 'flipped' else str(path)
    with self.assertRaisesRegex(data.DataError, shown):
      self._digits()

  @pytest.mark.skipif(not _CIFAR.exists(), reason='no prepared CIFAR-10')
  def test_folders(self):
    (version,) = [p.name for p in _CIFAR.iterdir()]

    def message(data_dir):
      with self.assertRaises(data.DataError) as caught:
        data.TfdsSource('cifar10', 'test', data_dir=str(data_dir))
      return str(caught.exception)

    there = self.folder / 'tfds'
    there.mkdir()
    self.assertIn('holds no data set of TFDS', message(there))
    for inner in (_CIFAR, _CIFAR / version):
      advice = f"pass data_dir='{_CIFAR.parent}'"
      self.assertIn(advice, message(inner))
    for name in ('mnist', 'svhn'):
      (there / name / '1.0.0').mkdir(parents=True)
      (there / name / '1.0.0' / 'dataset_info.json').write_text('{}')
    self.assertIn('holds mnist, svhn.', message(there))
    folder = there / 'cifar10' / version
    folder.mkdir(parents=True)
    self.assertIn('no dataset_info.json: copy it anew', message(there))
    shutil.copy(_CIFAR / version / 'dataset_info.json', folder)
    os.truncate(folder / 'dataset_info.json', 60)
    self.assertIn("'cifar10' cannot be opened", message(there))
    folder.rename(folder.with_name('9.0.0'))
    self.assertIn('There is version 9.0.0 of it', message(there))


if __name__ == '__main__':
  absltest.main()
