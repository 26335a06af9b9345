# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs on image files as people have them: moved, broken, oddly named."""

import csv
import io
import json
import os
import pathlib
import shutil
import tempfile
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from imbsam_jax import data as data_lib
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax.experiment import _trunk_features
from imbsam_jax.experiment.recipes import image_folder
from tests import programs

_COUNTS = {'train': (8, 5, 3), 'test': (2, 2, 2)}
_FIELDS = (
  '--config=image_folder:sgd',
  '--config.data.image_size=6',
  '--config.data.batch_size=8',
  '--config.data.workers=1',
  '--config.model.name=mlp',
  '--config.model.norm=none',
  '--config.optimizer.warmup_epochs=0',
  '--config.epochs=1',
  '--config.optimizer.threshold=4',
  '--config.few_below=4',
)
_ODD = os.fsdecode(b'k\xe91')


def _jpeg(seed, value=1):
  rng = np.random.RandomState(seed)
  exif = Image.Exif()
  exif[0x0112] = value
  file = io.BytesIO()
  Image.fromarray(rng.randint(0, 250, (9, 12, 3)).astype(np.uint8)).save(
    file, 'JPEG', exif=exif
  )
  return file.getvalue()


def _write(folder, names=('k0', 'k1', 'k2'), value=1):
  for part, counts in _COUNTS.items():
    for name, count in zip(names, counts, strict=True):
      (folder / part / name).mkdir(parents=True)
      for i in range(count):
        path = folder / part / name / f'{i}.jpg'
        path.write_bytes(_jpeg(100 * count + i, value))


class _Folders(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.images = self.folder / 'images'

  def _train(self, *more, place=None, workdir='run'):
    return programs.call(
      'train',
      *_FIELDS,
      f'--config.data.data_dir={place or self.images}',
      f'--workdir={self.folder / workdir}',
      *more,
    )

  def _config(self, place=None, **changes):
    small = dict(
      part.removeprefix('--config.').split('=') for part in _FIELDS[1:]
    )
    values = {
      name: value if value.isalpha() else int(value)
      for name, value in small.items()
    } | {'data.data_dir': str(place or self.images)}
    return experiment_lib.replace(
      image_folder.get_config(),
      values | {name.replace('__', '.'): x for name, x in changes.items()},
    )


class BrokenImagesTest(_Folders):
  def test_are_found_before_training_and_the_advice_works(self):
    _write(self.images)
    for path in ('train/k0/3.jpg', 'test/k2/1.jpg'):
      path = self.images / path
      path.write_bytes(path.read_bytes()[:300])
    (self.images / 'train' / 'k1' / '0.jpg').write_bytes(b'<html>404')
    done = self._train()
    self.assertEqual(done.returncode, 3, done.stderr)
    self.assertIn('3 image files cannot be used:', done.stderr)
    for path in ('test/k2/1.jpg', 'train/k0/3.jpg'):
      self.assertRegex(done.stderr, f'{path} cannot be decoded: .*runcated')
    self.assertIn("k1/0.jpg no image: begins with b'<html>404'", done.stderr)
    self.assertFalse((self.folder / 'run').exists())
    # One of the two that the message tells of.
    done = self._train('--config.data.bad_images=skip', workdir='skip')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn('14 training images', done.stdout)
    self.assertIn('5 test', done.stdout)
    self.assertRegex(done.stdout, r'skipped +3 files \(2 cannot be decoded')
    report = json.loads((self.folder / 'skip' / 'files.json').read_text())
    self.assertEqual(
      [path[len(str(self.images)) + 1 :] for path in report['skipped']],
      ['train/k1/0.jpg', 'train/k0/3.jpg', 'test/k2/1.jpg'],
    )
    # And the other one.
    for path in report['skipped']:
      os.remove(path)
    done = self._train()
    self.assertEqual(done.returncode, 0, done.stderr)
    # It is the same run: these images are the data of both.
    done = self._train(workdir='skip')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn('nothing was trained', done.stdout)

  def test_a_screenful_is_listed(self):
    _write(self.images)
    inside = self.images / 'train' / 'k0'
    for i in range(10, 40):
      (inside / f'{i}.jpg').write_bytes(b'')
    with self.assertRaisesRegex(
      data_lib.DataError, r'(?s)^30 image files.*29.jpg empty.*and 10 more'
    ) as caught:
      experiment_lib.build(self._config())
    self.assertLen(str(caught.exception).splitlines(), 23)
    for i in range(8):
      (inside / f'{i}.jpg').unlink()
    with self.assertRaisesRegex(
      data_lib.DataError, 'k0 has no image.*30 files .30 empty'
    ):
      experiment_lib.build(self._config(data__bad_images='skip'))

  def test_no_image_of_a_class_is_left(self):
    _write(self.images)
    for i in range(3):
      path = self.images / 'train' / 'k2' / f'{i}.jpg'
      path.write_bytes(path.read_bytes()[:300])
    with self.assertRaisesRegex(
      data_lib.DataError, "of 3 train images of class 'k2' none can be"
    ):
      experiment_lib.build(self._config(data__bad_images='skip'))

  def test_unchecked(self):
    _write(self.images)
    (self.images / 'test' / 'k0' / '0.jpg').write_bytes(b'\xff\xd8\xff')
    experiment = experiment_lib.build(
      self._config(data__bad_images='unchecked')
    )
    self.assertIn('not checked before the run', str(experiment))

  def test_a_run_without_a_step_begins_anew(self):
    _write(self.images)
    workdir = self.folder / 'run'
    (workdir / 'checkpoints').mkdir(parents=True)
    experiment = experiment_lib.build(self._config())
    folder_lib.claim(workdir, experiment.config, experiment.fingerprint)
    (self.images / 'train' / 'k0' / '0.jpg').unlink()
    experiment = experiment_lib.build(self._config())
    folder_lib.claim(workdir, experiment.config, experiment.fingerprint)
    self.assertEqual(
      folder_lib.read_fingerprint(workdir), experiment.fingerprint
    )
    (workdir / 'summary.json').write_text('{}')
    (self.images / 'train' / 'k0' / '1.jpg').unlink()
    experiment = experiment_lib.build(self._config())
    with self.assertRaisesRegex(
      data_lib.DataError, '(?s)another data set.*  train: .*Pass another'
    ):
      folder_lib.claim(workdir, experiment.config, experiment.fingerprint)


class MovedDataTest(_Folders):
  def test_a_run_goes_on(self):
    _write(self.images)
    self.assertEqual(self._train().returncode, 0)
    workdir, other = self.folder / 'run', self.folder / 'elsewhere'
    (workdir / 'summary.json').rename(self.folder / 'summary.json')
    self.images.rename(other)
    with warnings.catch_warnings(action='default'):
      done = self._train(place=other)
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn(f'were in {self.images} and are now read from', done.stderr)
    ours, theirs = (
      json.loads((f / 'summary.json').read_text())
      for f in (workdir, self.folder)
    )
    self.assertEqual(ours['top1'], theirs['top1'])
    # It is written down: no place has to be told.
    evaluated = programs.call('evaluate', f'--workdir={workdir}')
    self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
    self.images.parent.joinpath('moved').mkdir()
    again = shutil.move(other, self.folder / 'moved')
    moved = shutil.move(workdir, self.folder / 'moved' / 'run')
    evaluated = programs.call('evaluate', f'--workdir={moved}')
    self.assertEqual(evaluated.returncode, 3)
    self.assertIn('Pass the folder with --data_dir=PATH', evaluated.stderr)
    evaluated = programs.call(
      'evaluate', f'--workdir={moved}', f'--data_dir={again}'
    )
    self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
    # Other data are other data, wherever they lie.
    (pathlib.Path(again) / 'test' / 'k0' / '0.jpg').write_bytes(_jpeg(7, 6) * 2)
    evaluated = programs.call(
      'evaluate', f'--workdir={moved}', f'--data_dir={again}'
    )
    self.assertEqual(evaluated.returncode, 3)
    self.assertIn('another data set', evaluated.stderr)

  def test_what_makes_other_data(self):
    _write(self.images)
    first = experiment_lib.build(self._config()).fingerprint
    copy = self.folder / 'copy'
    shutil.copytree(self.images, copy)
    self.assertEqual(
      experiment_lib.build(self._config(copy)).fingerprint, first
    )
    path = copy / 'train' / 'k1' / '0.jpg'
    for change in (
      lambda: path.write_bytes(path.read_bytes() + b'\0'),
      lambda: path.rename(path.with_name('00.jpg')),
      lambda: path.with_name('00.jpg').rename(copy / 'train' / 'k2' / '9.jpg'),
    ):
      change()
      found = experiment_lib.build(self._config(copy)).fingerprint
      self.assertNotEqual(found['train'], first['train'])
      self.assertEqual(found['test'], first['test'])

  def test_runs_of_earlier_versions(self):
    _write(self.images)
    experiment = experiment_lib.build(
      self._config(data__exif_orientation=False)
    )
    workdir = self.folder / 'run'
    workdir.mkdir()
    (workdir / 'summary.json').write_text('{}')
    # As an earlier version wrote them: with whole paths, and fewer fields.
    content = fields.to_json(experiment.config)
    for name in ('exif_orientation', 'bad_images', 'test_share', 'split_seed'):
      del content['data'][name]
    training.write_json(workdir / 'config.json', content)
    earlier = experiment.fingerprint.as_written(
      dict.fromkeys(experiment.fingerprint, '0')
    )
    names = experiment.data.train.images.names()
    self.assertIn(str(self.images / 'train' / 'k0' / '0.jpg'), set(names))
    training.write_json(workdir / 'data.json', earlier)

    asked = self._config()
    self.assertTrue(asked.data.exif_orientation)
    config = folder_lib.as_begun(workdir, asked, ())
    self.assertEqual(config, experiment.config)
    given = ('data.exif_orientation',)
    self.assertEqual(folder_lib.as_begun(workdir, asked, given), asked)
    with self.assertRaisesRegex(
      experiment_lib.ConfigError,
      '(?s)pass `data.exif_orientation=False`, as runs of an earlier version',
    ):
      folder_lib.claim(workdir, asked, experiment.fingerprint)
    moved = self.images.rename(self.folder / 'moved')
    other = experiment_lib.build(
      self._config(moved, data__exif_orientation=False)
    )
    with self.assertRaisesRegex(
      data_lib.DataError, f'knew files by the folder .*{self.images}'
    ):
      folder_lib.claim(workdir, other.config, other.fingerprint)
    moved.rename(self.images)
    folder_lib.check_data(workdir, experiment.fingerprint)
    folder_lib.claim(workdir, config, experiment.fingerprint)
    # From now on it may be moved.
    self.images.rename(moved)
    with self.assertWarnsRegex(UserWarning, 'are now read from .*moved'):
      folder_lib.claim(workdir, other.config, other.fingerprint)
    # And it goes on as it was begun, whoever asks.
    config = folder_lib.as_begun(workdir, self._config(moved), ())
    self.assertEqual(config, other.config)
    folder_lib.claim(workdir, config, other.fingerprint)


class NamesTest(_Folders):
  def test_names_that_are_no_utf8(self):
    try:
      _write(self.images, ('k0', _ODD, 'k2'))
    except OSError:
      self.skipTest('names of this disk are UTF-8')
    for part in ('train', 'test'):
      inside = self.images / part / 'k2'
      (inside / '0.jpg').rename(inside / os.fsdecode(b'\xff\xe9.jpg'))
    for about in ('', 'nothing was trained'):
      done = self._train()
      self.assertEqual(done.returncode, 0, done.stderr)
      self.assertIn(about, done.stdout)
    workdir = self.folder / 'run'
    shown = sorted([r'k\xe91', 'k0', 'k2'], key=lambda x: x.replace('\\', '~'))
    with open(workdir / 'per_class.csv', encoding='utf-8', newline='') as file:
      self.assertEqual([row['name'] for row in csv.DictReader(file)], shown)
    model = json.loads((workdir / 'model.json').read_text(encoding='utf-8'))
    self.assertEqual(model['class_names'], shown)
    done = programs.call('evaluate', f'--workdir={workdir}')
    self.assertEqual(done.returncode, 0, done.stderr)
    output = self.folder / 'out.csv'
    done = programs.call(
      'predict',
      f'--workdir={workdir}',
      f'--source={self.images}/test/k2',
      f'--output={output}',
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn(b'/\xff\xe9.jpg,', output.read_bytes())
    # As a list too, and in an error.
    source = self.folder / 'list.txt'
    path = self.images / 'test' / 'k2' / os.fsdecode(b'\xff\xe9.jpg')
    source.write_bytes(os.fsencode(path))
    done = programs.call(
      'predict',
      f'--workdir={workdir}',
      f'--source={source}',
      f'--output={output}',
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    path.write_bytes(b'\xff\xd8\xff')
    done = programs.call(
      'predict',
      f'--workdir={workdir}',
      f'--source={source}',
      f'--output={output}',
    )
    self.assertEqual(done.returncode, 3)
    self.assertIn(r'\xff\xe9.jpg', done.stderr)


class OrientationTest(_Folders):
  def test_predictions_are_those_of_evaluation(self):
    _write(self.images, value=6)
    for switch in (True, False):
      workdir = f'run{switch}'
      done = self._train(
        f'--config.data.exif_orientation={switch}', workdir=workdir
      )
      self.assertEqual(done.returncode, 0, done.stderr)
      config = folder_lib.read_config(
        self.folder / workdir, experiment_lib.Config
      )
      self.assertEqual(config.data.exif_orientation, switch)
      classifier = experiment_lib.load_run(self.folder / workdir)
      paths = sorted((self.images / 'test').rglob('*.jpg'))
      rows = np.stack([classifier.stored(path) for path in paths])
      test = experiment_lib.build(config).data.test.images
      np.testing.assert_array_equal(rows, test[:])

  def test_features_of_turned_images_are_others(self):
    _write(self.images)
    sums = [
      _trunk_features._fingerprint(
        experiment_lib.load(self._config(data__exif_orientation=switch).data)
      )
      for switch in (True, False, True)
    ]
    self.assertEqual(sums[0], sums[2])
    for part in ('train', 'test'):
      self.assertNotEqual(sums[0][part], sums[1][part])


class HeaderTest(_Folders):
  def test_what_is_left_out_is_said(self):
    _write(self.images)
    (self.images / 'train' / '__MACOSX').mkdir()
    (self.images / 'train' / 'k0' / 'Thumbs.db').write_bytes(b'x')
    (self.images / 'test' / 'k0' / 'read.me').write_bytes(b'x')
    text = str(experiment_lib.build(self._config()))
    self.assertRegex(
      text,
      r'left out +3 files \(2 thumbnails of a system, 1 no image\), such as '
      f'{self.images}/test/k0/read.me',
    )
    self.assertRegex(text, 'EXIF +images are turned as it says')
    text = str(experiment_lib.build(self._config(data__exif_orientation=False)))
    self.assertRegex(text, 'EXIF +orientation not heeded')

  def test_one_folder(self):
    _write(self.images)
    folder = self.images / 'train'
    experiment = experiment_lib.build(self._config(folder))
    # 1.6, 1 and .6 of 8, 5 and 3.
    self.assertEqual(experiment.data.class_counts.tolist(), [6, 4, 2])
    self.assertRegex(
      str(experiment), r'split +no folders train and test: 20% .*4 images'
    )
    train, test = (
      set(x.images.names())
      for x in (experiment.data.train, experiment.data.test)
    )
    self.assertEmpty(train & test)
    self.assertLen(train | test, 16)
    other = experiment_lib.build(
      self._config(folder, data__test_share=0.5, data__split_seed=1)
    )
    self.assertEqual(other.data.class_counts.tolist(), [4, 3, 1])
    # A class may be called train.
    (folder / 'k0').rename(folder / 'train')
    experiment = experiment_lib.build(self._config(folder))
    self.assertEqual(experiment.data.class_names, ['k1', 'k2', 'train'])

  def test_a_folder_without_its_test_images(self):
    _write(self.images)
    (self.images / 'test').rename(self.images / 'val')
    with self.assertRaisesRegex(
      data_lib.DataError, r"Pass `data.splits=\('train', None, 'val'\)`"
    ):
      experiment_lib.build(self._config())
    experiment_lib.build(self._config(data__splits=('train', None, 'val')))
    (self.images / 'val').rename(self.images / 'more')
    with self.assertRaisesRegex(
      data_lib.DataError, '(?s)no folder .*test. There are .* more, train'
    ):
      experiment_lib.build(self._config())

  def test_the_same_images_twice(self):
    _write(self.images)
    text = str(
      experiment_lib.build(
        self._config(data__splits=('train', None, './train'))
      )
    )
    self.assertRegex(text, 'warning +training and test images are the same')

  def test_home(self):
    _write(self.images)
    with mock.patch.dict(os.environ, {'HOME': str(self.folder)}):
      done = self._train(place='~/images', workdir='run')
    self.assertEqual(done.returncode, 0, done.stderr)


class ListsTest(_Folders):
  def test_names_in_one_list_and_numbers_in_another(self):
    _write(self.images)
    lists = {}
    for part, label in (('train', 'k{}'), ('test', '{}')):
      path = self.folder / f'{part}.csv'
      lines = ['path,label']
      for c in range(3):
        lines += [f'{part}\\k{c}\\{i}.jpg,{label.format(c)}' for i in range(2)]
      path.write_text('\r\n'.join(lines))
      lists[part] = str(path)
    how = {
      'data__name': 'image_list',
      'data__splits': (lists['train'], None, lists['test']),
    }
    with self.assertRaisesRegex(
      data_lib.DataError, r'names of classes \(train\), numbers \(test\)'
    ):
      experiment_lib.build(self._config(**how))
    how['data__splits'] = (lists['train'], None, lists['train'])
    experiment = experiment_lib.build(self._config(**how))
    self.assertEqual(experiment.data.class_names, ['k0', 'k1', 'k2'])
    self.assertIn('are the same', str(experiment))
    # A list is known by what it says.
    other = shutil.copy(lists['train'], self.folder / 'other.csv')
    workdir = self.folder / 'run'
    workdir.mkdir()
    (workdir / 'summary.json').write_text('{}')
    training.write_json(
      workdir / 'config.json', fields.to_json(experiment.config)
    )
    training.write_json(workdir / 'data.json', dict(experiment.fingerprint))
    how['data__splits'] = (str(other), None, str(other))
    again = experiment_lib.build(self._config(**how))
    with self.assertWarnsRegex(UserWarning, 'are now read from'):
      folder_lib.claim(workdir, again.config, again.fingerprint)


if __name__ == '__main__':
  absltest.main()
