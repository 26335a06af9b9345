# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The check of data sets: every finding is on the page and in JSON."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax.experiment import _suggestion
from tests import programs
from tests.data import bad_folders


def _new_folder(test):
  folder = pathlib.Path(tempfile.mkdtemp())
  test.addCleanup(shutil.rmtree, folder)
  return folder


class BadFoldersTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.clean = bad_folders.clean(pathlib.Path(tempfile.mkdtemp()) / 'clean')
    cls.addClassCleanup(shutil.rmtree, cls.clean.parent)

  def _copy(self):
    folder = _new_folder(self) / 'data'
    shutil.copytree(self.clean, folder)
    return folder

  @parameterized.product(whole=[True, False])
  def test_clean(self, whole):
    report = experiment.check(self.clean, whole=whole)
    self.assertEqual(report.findings, [])
    self.assertFalse(report.forbids_training)
    self.assertIn('## Findings\n\nnone\n', str(report))
    content = json.loads(json.dumps(report.content, allow_nan=False))
    self.assertEqual(
      content['classes']['counts'],
      {'train': [24, 12, 6], 'test': [5, 5, 5]},
    )
    self.assertEqual(content['classes']['imbalance_factor'], 4.0)
    self.assertEqual(content['splits']['train']['sizes']['median'], '48x40')
    self.assertEqual(content['splits']['train']['modes'], {'RGB': 42})
    self.assertLess(len(str(report).splitlines()), 60)

  @parameterized.named_parameters(
    (name.replace(' ', '_'), bad) for name, bad in bad_folders.BAD.items()
  )
  def test_bad(self, bad):
    folder = self._copy()
    bad.spoil(folder)
    for whole in (True, False):
      report = experiment.check(folder, whole=whole)
      content = json.loads(json.dumps(report.content, allow_nan=False))
      ours = [f for f in content['findings'] if f['name'] == bad.finding]
      if not (whole or bad.by_headers):
        self.assertEqual(ours, [])
        continue
      self.assertLen(ours, 1, content['findings'])
      self.assertEqual(ours[0]['severity'], bad.severity)
      self.assertLen(ours[0]['items'], bad.number)
      self.assertIn(bad.shown, str(report))
      self.assertEqual(report.forbids_training, bad.severity == 'error')
      page, _, _ = str(report).partition('## To start with')
      # A name of a folder of tests in the first line.
      self.assertLessEqual(max(map(len, page.splitlines()[1:])), 80)

  def test_all_unreadable_are_listed(self):
    folder = self._copy()
    for i in range(20):
      (folder / f'train/k0/{i:03}.jpg').write_bytes(b'nothing')
    report = experiment.check(folder)
    (finding,) = [f for f in report.findings if f.name == 'unreadable']
    self.assertLen(finding.items, 20)
    self.assertLen(report.content['splits']['train']['unreadable'], 20)
    self.assertIn('and 17 more', str(report))

  def test_names_do_not_move_the_cursor(self):
    folder = self._copy()
    (folder / 'train/k2').rename(folder / 'train/k\x1b[2J\n\u202ex')
    bad = folder / 'train/k0/a\nb\x1b[31m.jpg'
    bad.write_text('no')
    page = str(experiment.check(folder))
    self.assertNotIn('\x1b', page)
    self.assertNotIn('\u202e', page)
    self.assertIn(r'k\x1b[2J\n\u202ex', page)
    self.assertIn(r'k0/a\nb\x1b[31m.jpg', page)

  def test_one_folder(self):
    folder = self.clean / 'train'
    report = experiment.check(folder)
    self.assertEqual(report.findings, [])
    counts = report.content['classes']['counts']
    # A fifth of each class.
    self.assertEqual(counts, {'train': [19, 10, 5], 'test': [5, 2, 1]})
    loaded = experiment.load(
      experiment.config(
        'image_folder', 'sgd', {'data.data_dir': str(folder)}
      ).data
    )
    np.testing.assert_array_equal(loaded.class_counts, counts['train'])

  def test_program(self):
    folder = self._copy()
    output = folder.parent / 'check.json'
    done = programs.call(
      'check', f'--source={folder}', '--headers', f'--output={output}'
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    content = json.loads(output.read_text())
    command = content['suggestion']['command']
    self.assertIn(command, done.stdout)
    program, *arguments = shlex.split(command.replace('\\\n', ''))[3:]
    self.assertEqual(program, 'train')
    self.assertIn(f'--config.data.data_dir={folder}', arguments)
    (folder / 'train/k0/000.jpg').write_bytes(b'')
    done = programs.call('check', f'--source={folder}', '--headers')
    self.assertEqual(done.returncode, 3)
    self.assertIn('train: k0/000.jpg: empty', done.stdout)
    done = programs.call(
      'check',
      '--config=image_folder:imbsam',
      f'--config.data.data_dir={folder}',
      '--headers',
    )
    self.assertEqual(done.returncode, 3)
    self.assertIn('train: k0/000.jpg: empty', done.stdout)

  def test_command_of_a_name_that_cannot_be_printed(self):
    folder = _new_folder(self) / 'it\'s \x1b\udcff "here"'
    shutil.copytree(self.clean, folder)
    done = programs.call('check', f'--source={folder}', '--headers')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue(done.stdout.replace('\n', '').isprintable())
    command = done.stdout.partition('## To start with\n\n')[2]
    command = command.partition('\n\n')[0]
    # A shell sees the name as it is.
    echoed = subprocess.run(
      ['bash', '-c', command.replace('python -m imbsam_jax', 'printf "%s\\n"')],
      capture_output=True,
      check=True,
    ).stdout
    self.assertIn(
      b'\n--config.data.data_dir=' + os.fsencode(folder) + b'\n', echoed
    )

  def test_suggestion_is_taken(self):
    report = experiment.check(self.clean)
    suggested = report.content['suggestion']
    config = experiment.config(
      suggested['recipe'], suggested['words'], suggested['fields']
    )
    experiment.check_config(config)
    loaded = experiment.load(config.data)
    self.assertEqual(loaded.class_counts.tolist(), [24, 12, 6])
    self.assertEqual(config.optimizer.threshold, 10)
    self.assertIn(f'experiment.config({"image_folder"!r}', report.command)
    namespace = {'experiment': experiment}
    exec(report.command.rpartition('\n')[0], namespace)  # noqa: S102
    self.assertEqual(namespace['config'], config)

  def test_lists(self):
    for split in ('train', 'test'):
      paths = sorted((self.clean / split).rglob('*.jpg'))
      lines = [
        f'{path.relative_to(self.clean)} {path.parent.name[1:]}'
        for path in paths
      ]
      if split == 'test':
        lines[0] = 'train/k1/000.jpg 0'
      (self.clean.parent / f'{split}.txt').write_text('\n'.join(lines))
    lists = ','.join(
      str(self.clean.parent / f'{split}.txt') for split in ('train', 'test')
    )
    for whole in (True, False):
      report = experiment.check(lists, data_dir=self.clean, whole=whole)
      self.assertEqual(
        [finding.name for finding in report.findings],
        ['training_images_in_test', 'same_image_in_several_classes'],
      )
    with self.assertRaisesRegex(experiment.ConfigError, 'TRAIN.txt,TEST.txt'):
      experiment.check(lists)

  def test_configuration(self):
    config = experiment.config(
      'image_folder',
      'imbsam',
      {
        'data.data_dir': str(self.clean),
        'data.class_counts': (10, 5, 2),
        'few_below': 5,
        'many_above': 7,
      },
    )
    content = experiment.check(config).content
    self.assertEqual(content['classes']['counts']['train'], [10, 5, 2])
    self.assertEqual(
      content['classes']['groups'],
      {'many': 1, 'medium': 1, 'few': 1, 'many_above': 7, 'few_below': 5},
    )
    refused = experiment.check(
      experiment.replace(config, {'data.class_counts': (100, 5, 2)})
    )
    self.assertEqual([f.name for f in refused.findings], ['refused'])

  def test_usage(self):
    done = programs.call('check')
    self.assertEqual(done.returncode, 2)
    self.assertIn('--source=DIR or --config=NAME', done.stderr)
    done = programs.call('check', '--source=/not/there')
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertIn('no such file or folder', done.stderr)
    empty = _new_folder(self)
    done = programs.call('check', f'--source={empty}')
    self.assertEqual(done.returncode, 3, done.stderr)
    self.assertIn('DIR/train/CLASS', done.stderr)


class ArraysTest(parameterized.TestCase):
  def _check(self, **changes):
    rng = np.random.RandomState(0)
    arrays = {
      'x_train': rng.randint(0, 256, (40, 12, 12, 3)).astype(np.uint8),
      'y_train': np.repeat([0, 1, 2], [25, 10, 5]),
      'x_test': rng.randint(0, 256, (9, 12, 12, 3)).astype(np.uint8),
      'y_test': np.repeat([0, 1, 2], 3),
    }
    arrays |= {name: change(arrays) for name, change in changes.items()}
    path = _new_folder(self) / 'data.npz'
    np.savez(path, **arrays)
    report = experiment.check(path)
    content = json.loads(json.dumps(report.content, allow_nan=False))
    for finding in content['findings']:
      self.assertIn(finding['text'][:40], str(report))
    return {f['name']: f['severity'] for f in content['findings']}

  def test_clean(self):
    self.assertEqual(self._check(), {})

  def test_channels_first(self):
    names = self._check(
      x_train=lambda a: a['x_train'].transpose(0, 3, 1, 2),
      x_test=lambda a: a['x_test'].transpose(0, 3, 1, 2),
    )
    self.assertEqual(names, {'channels_first': 'error'})

  def test_labels_from_1(self):
    names = self._check(
      y_train=lambda a: a['y_train'] + 1, y_test=lambda a: a['y_test'] + 1
    )
    self.assertEqual(names, {'labels_from_1': 'error'})

  def test_other_scale(self):
    names = self._check(
      x_train=lambda a: a['x_train'] / np.float32(255),
      x_test=lambda a: a['x_test'].astype(np.float32),
    )
    self.assertEqual(names, {'other_scales': 'error'})

  def test_leak_and_copies(self):
    def with_copies(a):
      x = a['x_train'].copy()
      x[3] = x[4]
      x[39] = x[0]
      return x

    names = self._check(
      x_train=with_copies,
      x_test=lambda a: np.concatenate([a['x_train'][:1], a['x_test'][1:]]),
    )
    self.assertEqual(
      names,
      dict.fromkeys(
        (
          'training_images_in_test',
          'same_image_in_several_classes',
          'copies',
        ),
        'warning',
      ),
    )


class ThresholdTest(parameterized.TestCase):
  @parameterized.parameters(
    ((100, 50, 10, 5), 20),
    ((500, 400, 60, 40), 100),
    ((100, 100, 100), None),
    ((24, 12, 6), 10),
    ((1000, 101), 200),
    ((10, 9, 3), 5),
  )
  def test_threshold(self, counts, expected):
    threshold, why = _suggestion.fitting_threshold(np.array(counts))
    self.assertEqual(threshold, expected, why)

  def test_there_is_always_a_tail_with_few_images(self):
    rng = np.random.RandomState(0)
    for _ in range(200):
      counts = np.sort(rng.geometric(0.01, rng.randint(2, 30)))[::-1]
      threshold, why = _suggestion.fitting_threshold(counts)
      if counts[0] < 1.5 * counts[-1]:
        self.assertIsNone(threshold)
        continue
      tail = counts < threshold
      self.assertTrue(0 < tail.sum() < len(counts), (counts, why))


@pytest.mark.extended
class EstimateTest(parameterized.TestCase):
  """The suggested command is run as it is printed."""

  def _run(self, source, folder):
    output = folder / 'check.json'
    done = programs.run(
      'imbsam_jax',
      'check',
      f'--source={source}',
      f'--output={output}',
      environment={'JAX_DISABLE_MOST_OPTIMIZATIONS': '0'},
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    content = json.loads(output.read_text())
    command = content['command'].replace('\\\n', '')
    arguments = [
      argument.replace('runs/first', str(folder / 'run'))
      for argument in shlex.split(command)[3:]
    ]
    begin = time.perf_counter()
    process = programs.start(
      'imbsam_jax',
      *arguments,
      environment={'JAX_DISABLE_MOST_OPTIMIZATIONS': '0'},
    )
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
      process.stdout.read()
      error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    self.assertEqual(process.returncode, 0, error)
    estimate = content['estimate']
    self.assertBetween(estimate['seconds'], seconds / 2, 2 * seconds)
    peak = usage.ru_maxrss * 1024
    self.assertBetween(estimate['memory_bytes'], peak / 2, 2 * peak)

  def test_folder(self):
    folder = _new_folder(self)
    self._run(bad_folders.clean(folder / 'images'), folder)

  def test_arrays(self):
    folder = _new_folder(self)
    rng = np.random.RandomState(0)
    np.savez(
      folder / 'arrays.npz',
      x_train=rng.randint(0, 256, (500, 16, 16, 3)).astype(np.uint8),
      y_train=np.repeat([0, 1, 2], [400, 80, 20]),
      x_test=rng.randint(0, 256, (90, 16, 16, 3)).astype(np.uint8),
      y_test=np.repeat([0, 1, 2], 30),
    )
    self._run(folder / 'arrays.npz', folder)


if __name__ == '__main__':
  absltest.main()
