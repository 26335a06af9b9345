# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints after what can happen to them: kills, damage, full disks.

The numbers are those of the list of faults that the project goes by.
"""

import contextlib
import errno
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp
import pytest

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax.experiment.recipes import digits_lt
from imbsam_jax.training import _checkpoint
from imbsam_jax.training import _lock
from imbsam_jax.training import _manifest
from tests import programs
from tests.training import tiny_training as tiny

_ROOT = pathlib.Path(__file__).parents[2]
_SCORES = {3: 0.9, 6: 0.5, 9: 0.7}


def _state(step):
  """A state of a run, without a network."""
  # Random: what compresses well hides a file that is cut short.
  rng = np.random.RandomState(step)
  params = {'w': jnp.asarray(rng.randn(16, 4).astype(np.float32))}
  return training.TrainState(
    step=jnp.asarray(step, jnp.int32),
    params=params,
    model_state={'batch_stats': {'mean': jnp.asarray(rng.randn(4))}},
    opt_state=(params, jnp.asarray(step, jnp.int32)),
    ema_params=params,
    key_data=jnp.asarray([1, 2], jnp.uint32),
  )


def _open(folder, **options):
  return training.Checkpoints(folder, best_metric='score', **options)


def _save(checkpoints, step, score=None):
  score = _SCORES[step] if score is None else score
  checkpoints.save(_state(step), metrics={'score': score}, seconds=step / 2)


def _on_disk(folder):
  """Names of steps and of their manifests."""
  return sorted(path.name for path in pathlib.Path(folder).iterdir())


def _names(*steps):
  return sorted([f'{s}' for s in steps] + [f'{s}.manifest.json' for s in steps])


def _files(folder, step):
  found = [p for p in (folder / f'{step}').rglob('*') if p.is_file()]
  return [folder / f'{step}.manifest.json', *sorted(found)]


def _largest(folder, step):
  return max(_files(folder, step)[1:], key=lambda path: path.stat().st_size)


def _flip(path, bit):
  content = bytearray(path.read_bytes())
  content[bit // 8] ^= 1 << bit % 8
  path.write_bytes(content)


class _KilledError(BaseException):
  """Stands for the end of the process."""


@contextlib.contextmanager
def _killed_at(number, names=('rename', 'replace', 'unlink', 'rmdir', 'fsync')):
  """Lets `number` file operations happen, and nothing after them."""
  calls = []

  def counted(operation):
    def call(*args, **kwargs):
      calls.append(operation)
      if len(calls) > number:
        raise _KilledError
      return operation(*args, **kwargs)

    return call

  with contextlib.ExitStack() as stack:
    for name in names:
      operation = _no_fsync if name == 'fsync' else getattr(os, name)
      stack.enter_context(mock.patch.object(os, name, counted(operation)))
    yield calls


def _no_fsync(descriptor):
  """Waits for no disk: what dies here is the process, not the machine."""
  del descriptor


class _CopiedSave:
  """Saving as Orbax does it, of what it has written before: no waiting."""

  def __init__(self, source):
    self._source = source

  def __call__(self, path, state, custom_metadata):
    del state, custom_metadata
    self._path = pathlib.Path(path)
    return self

  def result(self):
    temporary = self._path.with_name(self._path.name + '.orbax-checkpoint-tmp')
    shutil.copytree(self._source / self._path.name, temporary)
    os.rename(temporary, self._path)


class _WithSteps(parameterized.TestCase):
  """Copies of a folder with the checkpoints 3, the best, 6 and 9."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.template = pathlib.Path(
      cls.enterClassContext(tempfile.TemporaryDirectory())
    )
    with _open(cls.template, keep_last=3) as checkpoints:
      for step in _SCORES:
        _save(checkpoints, step)

  def copy(self, *steps):
    folder = pathlib.Path(tiny.folder(self)) / 'checkpoints'
    folder.mkdir()
    for step in steps:
      shutil.copytree(self.template / f'{step}', folder / f'{step}')
      shutil.copy(self.template / f'{step}.manifest.json', folder)
    return folder

  def fast(self):
    """Makes saving cheap; what is saved is of the template."""
    self.enter_context(
      mock.patch.object(_checkpoint, '_save_async', _CopiedSave(self.template))
    )
    self.enter_context(mock.patch.object(os, 'fsync', _no_fsync))

  def assert_restores(self, folder, step):
    with _open(folder, read_only=True) as checkpoints:
      state, seconds = checkpoints.restore(_state(0))
    chex.assert_trees_all_equal(state, _state(step))
    self.assertEqual(seconds, step / 2)


class ManifestTest(_WithSteps):
  def test_names_every_file(self):
    manifest = json.loads((self.template / '9.manifest.json').read_text())
    self.assertEqual(manifest['format'], 1)
    self.assertEqual(manifest['step'], 9)
    self.assertEqual(manifest['metrics'], {'score': 0.7})
    listed = {self.template / '9' / name for name in manifest['files']}
    self.assertEqual(listed, set(_files(self.template, 9)[1:]))
    for name, entry in manifest['files'].items():
      path = self.template / '9' / name
      self.assertEqual(entry['size'], path.stat().st_size)
      self.assertLen(entry['sha256'], 64)

  def test_orbax_overlooks_it(self):
    with ocp.training.Checkpointer(str(self.copy(3, 9))) as checkpointer:
      self.assertEqual([c.step for c in checkpointer.checkpoints], [3, 9])

  def test_round_trip(self):
    self.assert_restores(self.template, 9)
    with _open(self.template, read_only=True) as checkpoints:
      self.assertEqual(checkpoints.latest_step, 9)
      self.assertEqual(checkpoints.best_step, 3)
      for report in training.inspect_checkpoints(self.template, contents=True):
        self.assertEqual(report.status, 'good')
        self.assertGreater(report.size, 1000)

  def test_opening_reads_no_contents(self):
    folder = self.copy(3, 9)
    with mock.patch.object(_manifest, '_sha256', side_effect=AssertionError):
      with _open(folder):
        reports = training.inspect_checkpoints(folder)
    self.assertEqual([r.status for r in reports], ['good', 'good'])

  def test_contents_are_read_once(self):
    with _open(self.copy(3, 9), read_only=True) as checkpoints:
      with mock.patch.object(
        _manifest, '_sha256', side_effect=_manifest._sha256
      ) as sha256:
        self.assertEqual(checkpoints.latest_step, 9)
        checkpoints.restore(_state(0))
    self.assertEqual(sha256.call_count, len(_files(self.template, 9)) - 1)

  def test_newer_format(self):
    folder = self.copy(9)
    path = folder / '9.manifest.json'
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    [report] = training.inspect_checkpoints(folder)
    self.assertEqual(report.status, 'damaged')
    self.assertIn('newer version', report.problem)

  def test_equal_scores_keep_the_earliest(self):
    self.fast()
    folder = self.copy(3)
    with _open(folder) as checkpoints:
      _save(checkpoints, 6, score=0.9)
      self.assertEqual(checkpoints.best_step, 3)
      _save(checkpoints, 9, score=float('nan'))
      self.assertEqual(checkpoints.best_step, 3)
    self.assertEqual(_on_disk(folder), _names(3, 9))


@pytest.mark.faults
class F2KillTest(_WithSteps):
  """Killed while a checkpoint is written."""

  def _go_on(self, folder, killed):
    """As the next process does: look, then save the same step again."""
    reports = training.inspect_checkpoints(folder, contents=True)
    self.assertNotIn('damaged', [r.status for r in reports], killed)
    with _open(folder) as checkpoints:
      latest, best = checkpoints.latest_step, checkpoints.best_step
      _save(checkpoints, 9)
    self.assertEqual(_on_disk(folder), _names(3, 9), killed)
    return latest, best

  def test_f2_what_orbax_leaves(self):
    for left in (0, 1, 5):
      folder = self.copy(3, 6)
      temporary = folder / '9.orbax-checkpoint-tmp'
      shutil.copytree(self.template / '9', temporary)
      files = [path for path in temporary.rglob('*') if path.is_file()]
      for path in sorted(files)[left:]:
        path.unlink()
      self.assertEqual(self._go_on(folder, left), (6, 3))

  def test_f2_between_any_two_file_operations(self):
    self.fast()
    number, seen = 0, set()
    while True:
      folder = self.copy(3, 6)
      with _killed_at(number) as calls:
        with contextlib.suppress(_KilledError), _open(folder) as checkpoints:
          _save(checkpoints, 9)
      if len(calls) <= number:
        break
      complete = '9.manifest.json' in _on_disk(folder)
      latest, best = self._go_on(folder, calls[-1])
      self.assertEqual(latest, 9 if complete else 6)
      self.assertEqual(best, 3)
      seen.add((complete, calls[-1].__name__))
      number += 1
    self.assertGreater(number, 35)
    # Before the commit, before the manifest, after it, and in the deletion.
    for moment in (
      (False, 'rename'), (False, '_no_fsync'), (False, 'replace'),
      (True, '_no_fsync'), (True, 'unlink'), (True, 'rename'), (True, 'rmdir'),
    ):  # fmt: skip
      self.assertIn(moment, seen)

  def test_f2_the_first_save(self):
    self.fast()
    for number in range(100):
      folder = self.copy()
      with _killed_at(number) as calls:
        with contextlib.suppress(_KilledError), _open(folder) as checkpoints:
          _save(checkpoints, 9)
      with _open(folder) as checkpoints:
        latest = checkpoints.latest_step
        # Orbax's commit is atomic: it is accepted, and said to be unchecked.
        self.assertEqual(latest, 9 if '9' in _on_disk(folder) else None)
        _save(checkpoints, 9)
      self.assertEqual(_on_disk(folder), _names(9))
      if len(calls) <= number:
        break
    self.assertGreater(number, 10)

  def test_f2_in_the_deletion_of_an_old_best(self):
    self.fast()
    for number in range(100):
      folder = self.copy(3)
      with _killed_at(number) as calls:
        with contextlib.suppress(_KilledError), _open(folder) as checkpoints:
          _save(checkpoints, 9, score=1.0)
      with _open(folder) as checkpoints:
        latest = checkpoints.latest_step
        self.assertEqual(checkpoints.best_step, latest)
        if latest == 3:
          _save(checkpoints, 9, score=1.0)
          self.assertEqual(checkpoints.best_step, 9)
      if len(calls) <= number:
        break
    self.assertEqual(_on_disk(folder), _names(9))

  def test_f2_while_damaged_ones_are_renamed(self):
    for number in range(10):
      folder = self.copy(3, 6, 9)
      for step in (6, 9):
        _flip(_largest(folder, step), 1000)
      with _killed_at(number) as calls:
        with warnings.catch_warnings(), _open(folder) as checkpoints:
          warnings.simplefilter('ignore')
          with contextlib.suppress(_KilledError):
            checkpoints.restore(_state(0))
      with _open(folder) as checkpoints:
        self.assertEqual(checkpoints.latest_step, 3)
      if len(calls) <= number:
        break
    self.assertEqual(number, 6)
    self.assertEqual(
      _on_disk(folder), sorted([*_names(3), '6.damaged', '9.damaged'])
    )

  def test_f2_while_the_only_damaged_one_is_replaced(self):
    self.fast()
    size = _largest(self.template, 9).stat().st_size
    for number in range(100):
      folder = self.copy(9)
      os.truncate(_largest(folder, 9), size // 2)
      with _killed_at(number) as calls:
        with contextlib.suppress(_KilledError), _open(folder) as checkpoints:
          _save(checkpoints, 9)
      for report in training.inspect_checkpoints(folder, contents=True):
        if report.status in ('good', 'unchecked'):
          self.assertEqual(_largest(folder, 9).stat().st_size, size, calls[-1])
      if len(calls) <= number:
        break
    self.assertGreater(number, 10)

  @parameterized.parameters(
    ('mkdir', 'array_metadatas', [6, 3]),
    ('replace', 'manifest.json', [6, 3]),
    ('rmdir', 'deleted', [9, 3]),
  )
  def test_f2_kill_9(self, operation, name, expected):
    """A true one, while the folder is locked (F16)."""
    folder = self.copy(3, 6)
    workdir = folder.parent
    child = subprocess.Popen(
      [sys.executable, __file__, str(workdir), operation, name],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=_ROOT,
      env=os.environ | {'PYTHONPATH': str(_ROOT)},
    )
    self.assertEqual(child.stdout.readline(), 'locked\n')
    with self.assertRaisesRegex(
      training.CheckpointError,
      f'in use by process {child.pid} on {socket.gethostname()}, since 20.*'
      'pass another `workdir`',
    ):
      with training.WorkdirLock(workdir):
        pass
    _, errors = child.communicate('go on\n')
    self.assertEqual(child.returncode, -signal.SIGKILL, errors)
    self.assertTrue((workdir / 'lock').exists())
    with training.WorkdirLock(workdir), _open(folder) as checkpoints:
      self.assertEqual(
        [checkpoints.latest_step, checkpoints.best_step], expected
      )
      self.assertEqual(
        json.loads((workdir / 'lock').read_text())['pid'], os.getpid()
      )
      state, _ = checkpoints.restore(_state(0))
      chex.assert_trees_all_equal(state, _state(expected[0]))
    self.assertFalse((workdir / 'lock').exists())


def _child(workdir, operation, name):
  """Saves step 9, and kills itself in it."""
  original = getattr(os, operation)

  def kill(*args, **kwargs):
    if any(name in str(argument) for argument in (*args, *folder.iterdir())):
      os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

  folder = workdir / 'checkpoints'
  with training.WorkdirLock(workdir):
    print('locked', flush=True)
    sys.stdin.readline()
    with _open(folder) as checkpoints:
      with mock.patch.object(os, operation, kill):
        _save(checkpoints, 9)
        checkpoints.close()


@pytest.mark.faults
class F5DamagedFileTest(_WithSteps):
  def _damage(self, kind, folder):
    path = _largest(folder, 9)
    name = path.relative_to(folder / '9').as_posix()
    size = path.stat().st_size
    if kind == 'truncated':
      os.truncate(path, size // 2)
      return f'{name} is truncated \\({size // 2} of {size} bytes\\)'
    if kind == 'empty':
      os.truncate(path, 0)
      return f'{name} is truncated \\(0 of {size} bytes\\)'
    if kind == 'missing':
      path.unlink()
      return f'{name} is missing'
    if kind == 'longer':
      (folder / '9' / 'orbax.checkpoint').write_text('x')
      return 'orbax.checkpoint is longer than it was'
    if kind == 'changed':
      _flip(path, 8 * (size // 2))
      return f'{name} is changed'
    if kind == 'folder':
      shutil.rmtree(folder / '9')
      return '9/ is missing'
    (folder / '9.manifest.json').write_text('{"step": 9, ')
    return '9.manifest.json is changed'

  @parameterized.parameters(
    'truncated', 'empty', 'missing', 'longer', 'changed', 'folder', 'manifest'
  )
  def test_f5_falls_back_and_goes_on(self, kind):
    self.fast()
    folder = self.copy(3, 6, 9)
    message = self._damage(kind, folder)
    before = _on_disk(folder)
    with _open(folder, read_only=True) as checkpoints:
      self.assertEqual(checkpoints.latest_step, 6)
      with self.assertWarnsRegex(
        UserWarning, f'step 9: {message}.*goes on from step 6'
      ):
        state, seconds = checkpoints.restore(_state(0))
      with self.assertRaisesRegex(
        training.CheckpointError, f'step 9 in .* is damaged: {message}'
      ):
        checkpoints.restore(_state(0), 9)
    chex.assert_trees_all_equal(state, _state(6))
    self.assertEqual(seconds, 3.0)
    # Who only reads leaves everything as it is.
    self.assertEqual(_on_disk(folder), before)
    with _open(folder, keep_last=2) as checkpoints:
      with self.assertWarnsRegex(UserWarning, f'{message}.*renamed to STEP'):
        checkpoints.restore(_state(0))
      _save(checkpoints, 9)
    aside = [] if kind == 'folder' else ['9.damaged']
    self.assertEqual(_on_disk(folder), sorted(_names(3, 6, 9) + aside))
    self.assert_restores(folder, 9)

  def test_f5_none_is_good(self):
    folder = self.copy(3, 9)
    self._damage('truncated', folder)
    _flip(_largest(folder, 3), 77)
    shutil.copytree(self.template / '6', folder / '6')
    for read_only in (True, False):
      with _open(folder, read_only=read_only) as checkpoints:
        for use in (
          lambda c: c.restore(_state(0)),
          # Nobody begins again by accident.
          lambda c: c.latest_step,
        ):
          with self.assertRaisesRegex(
            training.CheckpointError,
            r'(?s)step 3: .* is changed.*step 6: it has no manifest.*'
            r'step 9: .* is truncated.*another `workdir`',
          ):
            use(checkpoints)
    self.assertNotIn('9.damaged', _on_disk(folder))

  def test_f5_best_is_damaged(self):
    folder = self.copy(3, 6, 9)
    self._flip_best(folder)
    with _open(folder) as checkpoints:
      with self.assertWarnsRegex(UserWarning, 'step 3: .*others is.*step 9'):
        self.assertEqual(checkpoints.best_step, 9)
    for step in (6, 9):
      os.truncate(_largest(folder, step), 1)
    with _open(folder) as checkpoints:
      with self.assertRaisesRegex(
        training.CheckpointError, "`checkpoint='last'`"
      ):
        self.fail(checkpoints.best_step)

  def _flip_best(self, folder):
    _flip(_largest(folder, 3), 12345)

  def test_f5_saved_again_without_restoring(self):
    self.fast()
    folder = self.copy(6, 9)
    self._damage('truncated', folder)
    with _open(folder) as checkpoints:
      _save(checkpoints, 9)
    self.assertEqual(_on_disk(folder), sorted([*_names(9), '9.damaged']))

  def test_f5_without_manifest_is_not_offered(self):
    folder = self.copy(3, 9)
    (folder / '9.manifest.json').unlink()
    with _open(folder) as checkpoints:
      self.assertEqual(checkpoints.latest_step, 3)
      with self.assertRaisesRegex(training.CheckpointError, 'is incomplete'):
        checkpoints.restore(_state(0), 9)
    self.assertEqual(
      training.inspect_checkpoints(folder)[1].status, 'incomplete'
    )

  def test_f5_deleted_while_it_is_read(self):
    folder = self.copy(3, 6)
    digest = _manifest._sha256

    def replaced(path, **options):
      # As the process that trains does it: 9 is complete, so 6 and 3 go.
      if (folder / '6').exists():
        shutil.copytree(self.template / '9', folder / '9')
        shutil.copy(self.template / '9.manifest.json', folder)
        for step in (6, 3):
          _manifest.remove(folder, step)
      return digest(path, **options)

    with mock.patch.object(_manifest, '_sha256', replaced):
      with _open(folder, read_only=True) as checkpoints:
        self.assertEqual(checkpoints.latest_step, 9)

  def test_f5_another_model_is_not_damage(self):
    # F7: refused, and nothing is renamed.
    folder = self.copy(6, 9)
    with _open(folder) as checkpoints:
      with self.assertRaisesRegex(
        training.CheckpointError, '9 .*cannot be read'
      ):
        checkpoints.restore(_state(0).replace(ema_params=None))
    self.assertEqual(_on_disk(folder), _names(6, 9))


@pytest.mark.faults
class F6FlippedBitTest(_WithSteps):
  def test_f6_every_flip_is_found(self):
    folder = self.copy(6, 9)
    random_bits = random.Random(6)
    files = [path for path in _files(folder, 9) if path.stat().st_size]
    flips = 0
    for path in files:
      for _ in range(max(5, 150 // len(files))):
        bit = random_bits.randrange(8 * path.stat().st_size)
        _flip(path, bit)
        with _open(folder, read_only=True) as checkpoints:
          self.assertEqual(checkpoints.latest_step, 6, (path, bit))
        reports = training.inspect_checkpoints(folder, contents=True)
        self.assertEqual([r.status for r in reports], ['good', 'damaged'])
        self.assertIn(path.name, reports[1].problem)
        _flip(path, bit)
        flips += 1
    self.assertGreater(flips, 120)
    self.assert_restores(folder, 9)

  def test_f6_flip_between_two_looks(self):
    folder = self.copy(6, 9)
    with _open(folder, read_only=True) as checkpoints:
      self.assertEqual(checkpoints.latest_step, 9)
      _flip(_largest(folder, 9), 4000)
      self.assertEqual(checkpoints.latest_step, 6)


@pytest.mark.faults
class F14FailedSaveTest(_WithSteps):
  def test_f14_no_place_for_the_files(self):
    # The kernel refuses, as with a quota.
    folder = self.copy(3, 6)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints = _open(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
    try:
      _save(checkpoints, 9)
      with self.assertRaisesRegex(
        training.CheckpointError,
        'step 9 could not be saved in .*: .*too large.*start the same command',
      ) as caught:
        checkpoints.close()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    self.assertNotIn('\n', str(caught.exception))
    self.assertEqual(_on_disk(folder), _names(3, 6))
    self.assert_restores(folder, 6)
    with _open(folder) as checkpoints:
      _save(checkpoints, 9)
    self.assert_restores(folder, 9)

  @parameterized.parameters('save', 'latest_step', 'best_step', 'close')
  def test_f14_surfaces_once_at_the_next_call(self, name):
    self.fast()
    folder = self.copy(3, 6)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    checkpoints = _open(folder)
    with mock.patch.object(os, 'fsync', side_effect=full):
      _save(checkpoints, 9)
      with contextlib.suppress(training.CheckpointError):
        checkpoints._pending.result()
    with self.assertRaisesRegex(
      training.CheckpointError, 'step 9 could not.*No space left on device'
    ):
      if name == 'save':
        _save(checkpoints, 9)
      elif name == 'close':
        checkpoints.close()
      else:
        getattr(checkpoints, name)
    self.assertEqual(checkpoints.latest_step, 6)
    if name != 'close':
      _save(checkpoints, 9)
    checkpoints.close()
    self.assertEqual(
      _on_disk(folder)[-1:], ['9.manifest.json'] if name != 'close' else ['9']
    )

  def test_f14_folder_cannot_be_made(self):
    path = pathlib.Path(tiny.folder(self)) / 'file'
    path.write_text('')
    with self.assertRaisesRegex(
      training.CheckpointError, 'cannot be made: Not a directory'
    ):
      training.Checkpoints(path / 'checkpoints')

  def test_f14_folder_is_gone(self):
    folder = self.copy(3)
    with _open(folder) as checkpoints:
      shutil.rmtree(folder)
      folder.write_text('')
      with self.assertRaisesRegex(
        training.CheckpointError, 'could not be saved in .*: Not a directory'
      ):
        _save(checkpoints, 9)

  def test_f14_read_only_folder(self):
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS))
    folder = self.copy(3)
    with _open(folder) as checkpoints:
      with mock.patch.object(os, 'mkdir', side_effect=refused):
        with self.assertRaisesRegex(training.CheckpointError, 'Read-only'):
          _save(checkpoints, 9)
      self.assertEqual(checkpoints.latest_step, 3)
    self.assertEqual(_on_disk(folder), _names(3))

  def test_f14_old_ones_cannot_be_deleted(self):
    self.fast()
    folder = self.copy(3, 6)
    refused = OSError(errno.EACCES, os.strerror(errno.EACCES))
    with mock.patch.object(_manifest, 'remove', side_effect=refused):
      with self.assertRaisesRegex(
        training.CheckpointError, 'be deleted: Permission denied. .*9 is saved'
      ):
        with _open(folder) as checkpoints:
          _save(checkpoints, 9)
    self.assertEqual(_on_disk(folder), _names(3, 6, 9))

  def _ends_with(self, error):
    self.fast()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch.object(os, 'fsync', side_effect=full):
      with _open(self.copy(3, 6)) as checkpoints:
        _save(checkpoints, 9)
        raise error

  def test_f14_the_error_that_ends_a_run_stays(self):
    with self.assertRaises(training.DivergedError):
      with self.assertWarnsRegex(UserWarning, 'No space left'):
        self._ends_with(training.DivergedError('too many'))

  def test_f14_who_was_stopped_is_told(self):
    with self.assertRaisesRegex(training.CheckpointError, 'No space left'):
      self._ends_with(training.PreemptedError('at step 9'))

  def test_f14_not_finite_leaves_all_as_it_is(self):
    folder = self.copy(3, 6)
    state = _state(9)
    state = state.replace(ema_params={'w': jnp.array([1.0, jnp.nan])})
    with _open(folder) as checkpoints:
      with self.assertRaisesRegex(training.CheckpointError, 'not finite'):
        checkpoints.save(state)
    self.assertEqual(_on_disk(folder), _names(3, 6))


@pytest.mark.faults
class F15RetentionTest(_WithSteps):
  """For kills in it see `F2KillTest`."""

  @parameterized.parameters(
    (1, 'score', [3, 9]),
    (2, 'score', [3, 6, 9]),
    (1, None, [9]),
    (2, None, [6, 9]),
    (1, 'another', [9]),
  )
  def test_f15_what_stays(self, keep_last, metric, expected):
    self.fast()
    folder = self.copy()
    with training.Checkpoints(
      folder, best_metric=metric, keep_last=keep_last
    ) as checkpoints:
      for step in _SCORES:
        _save(checkpoints, step)
    self.assertEqual(_on_disk(folder), _names(*expected))

  def test_f15_older_ones_outlive_a_newer_without_manifest(self):
    self.fast()
    folder = self.copy(3, 6)
    write = _manifest.write

    def seen(directory, step, **notes):
      self.assertEqual(_on_disk(directory), sorted([*_names(3, 6), '9']))
      write(directory, step, **notes)

    with mock.patch.object(_manifest, 'write', seen):
      with _open(folder) as checkpoints:
        _save(checkpoints, 9)

  def test_f15_older_than_the_newest_is_refused(self):
    self.fast()
    folder = self.copy(9)
    with _open(folder) as checkpoints:
      with self.assertRaisesRegex(training.CheckpointError, 'newer.*step 9'):
        _save(checkpoints, 6)
      _save(checkpoints, 9)
    self.assertEqual(_on_disk(folder), _names(9))

  def test_f15_leftovers_are_removed_by_who_writes(self):
    folder = self.copy(9)
    left = ['3.deleted', '12.orbax-checkpoint-tmp', '12.manifest.json.tmp']
    others = ['notes.txt', 'old.deleted', '6.damaged']
    for name in left[:2] + others[1:]:
      (folder / name / 'x').mkdir(parents=True)
    for name in left[2:] + others[:1]:
      (folder / name).write_text('')
    with _open(folder, read_only=True):
      self.assertLen(_on_disk(folder), 8)
    with _open(folder):
      self.assertEqual(_on_disk(folder), sorted(_names(9) + others))

  def test_f15_going_back(self):
    self.fast()
    folder = self.copy(3, 6, 9)
    with _open(folder) as checkpoints:
      self.assertFalse(checkpoints.go_back(2))
      self.assertTrue(checkpoints.go_back(9))
      self.assertEqual(_on_disk(folder), _names(3, 6, 9))
      self.assertTrue(checkpoints.go_back(8))
      self.assertEqual(checkpoints.latest_step, 6)
      self.assertEqual(_on_disk(folder), sorted([*_names(3, 6), '9.later']))
      # It is made again.
      _save(checkpoints, 9)
    self.assert_restores(folder, 9)

  def test_f15_going_back_to_none_that_is_good(self):
    folder = self.copy(6, 9)
    _flip(_largest(folder, 6), 1000)
    with _open(folder) as checkpoints:
      self.assertFalse(checkpoints.go_back(8))
      self.assertEqual(checkpoints.latest_step, 9)

  def test_f15_what_a_run_is_of_is_kept(self):
    self.fast()
    folder = self.copy(3)
    about = {'config': {'a': 1, 'b': ['c', None]}}
    with _open(folder, about=about) as checkpoints:
      _save(checkpoints, 9)
    reports = training.inspect_checkpoints(folder, contents=True)
    self.assertEqual([r.status for r in reports], ['good', 'good'])
    self.assertEqual([r.about for r in reports], [{}, about])
    # Also where the files of the checkpoint are damaged.
    _flip(_largest(folder, 9), 1000)
    _, report = training.inspect_checkpoints(folder, contents=True)
    self.assertEqual((report.status, report.about), ('damaged', about))

  def test_f15_no_number(self):
    with self.assertRaisesRegex(ValueError, 'at least 1, got 0'):
      training.Checkpoints(self.template, keep_last=0)


class WithoutManifestsTest(absltest.TestCase):
  """Folders as earlier versions left them."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.folder(self))
    with ocp.training.Checkpointer(str(self.folder)) as checkpointer:
      for step in (3, 6):
        checkpointer.save(
          step,
          _checkpoint._saved(_state(step)),
          force=True,
          metrics={'score': _SCORES[step]},
          custom_metadata={'seconds': step / 2},
        )

  def test_accepted_with_a_warning(self):
    with _open(self.folder, read_only=True) as checkpoints:
      self.assertEqual(checkpoints.latest_step, 6)
      self.assertEqual(checkpoints.best_step, 3)
      with self.assertWarnsRegex(UserWarning, 'step 6 is restored unchecked'):
        state, seconds = checkpoints.restore(_state(0))
    chex.assert_trees_all_equal(state, _state(6))
    self.assertEqual(seconds, 3.0)
    self.assertEqual(_on_disk(self.folder), ['3', '6'])
    reports = training.inspect_checkpoints(self.folder)
    self.assertEqual([r.status for r in reports], ['unchecked', 'unchecked'])

  def test_checked_from_then_on(self):
    with _open(self.folder) as checkpoints:
      with self.assertWarns(UserWarning):
        checkpoints.restore(_state(0))
      self.assertEqual(_on_disk(self.folder), _names(3, 6))
      _save(checkpoints, 9)
      self.assertEqual(checkpoints.best_step, 3)
    self.assertEqual(_on_disk(self.folder), _names(3, 9))
    with _open(self.folder, read_only=True) as checkpoints:
      self.assertEqual(checkpoints.restore(_state(0), 3)[1], 1.5)

  def test_a_save_keeps_the_best(self):
    with _open(self.folder) as checkpoints:
      _save(checkpoints, 9)
    self.assertEqual(_on_disk(self.folder), _names(3, 9))

  def test_killed_while_manifests_are_written(self):
    original = self.folder
    for number in range(100):
      folder = pathlib.Path(tiny.folder(self)) / 'copy'
      shutil.copytree(original, folder)
      with _killed_at(number) as calls, _open(folder) as checkpoints:
        with contextlib.suppress(_KilledError):
          checkpoints._folder.adopt()
      with _open(folder, read_only=True) as checkpoints:
        self.assertEqual(checkpoints.latest_step, 6)
      if len(calls) <= number:
        break
    self.assertGreater(number, 20)


@pytest.mark.faults
class F16LockTest(absltest.TestCase):
  """For two processes see `F2KillTest.test_f2_kill_9`."""

  def test_f16_second_is_refused(self):
    folder = pathlib.Path(tiny.folder(self)) / 'new' / 'run'
    with training.WorkdirLock(folder):
      owner = json.loads((folder / 'lock').read_text())
      self.assertEqual(owner['pid'], os.getpid())
      for _ in range(2):
        with self.assertRaisesRegex(
          training.CheckpointError, f'in use by process {os.getpid()} on'
        ):
          with training.WorkdirLock(folder):
            self.fail('two owners')
    self.assertEqual(list(folder.iterdir()), [])
    with training.WorkdirLock(folder):
      pass

  def test_f16_given_back_after_an_error(self):
    folder = tiny.folder(self)
    lock = training.WorkdirLock(folder)
    with self.assertRaises(ZeroDivisionError), lock:
      raise ZeroDivisionError
    with lock:
      self.assertTrue(os.path.exists(f'{folder}/lock'))

  def test_f16_file_of_a_dead_process(self):
    folder = pathlib.Path(tiny.folder(self))
    (folder / 'lock').write_text('{"pid": 1, "host": "far' + 'away' * 99)
    with training.WorkdirLock(folder):
      owner = json.loads((folder / 'lock').read_text())
    self.assertEqual(owner['host'], socket.gethostname())

  def test_f16_owner_is_not_known_yet(self):
    folder = pathlib.Path(tiny.folder(self))
    with training.WorkdirLock(folder):
      (folder / 'lock').write_text('')
      with self.assertRaisesRegex(
        training.CheckpointError, 'by another process'
      ):
        with training.WorkdirLock(folder):
          pass

  def test_f16_removed_between_opening_and_locking(self):
    folder = pathlib.Path(tiny.folder(self))
    flock, calls = _lock.fcntl.flock, []

    def late(file, operation):
      if not calls:
        (folder / 'lock').unlink()
      calls.append(operation)
      flock(file, operation)

    with mock.patch.object(_lock.fcntl, 'flock', late):
      with training.WorkdirLock(folder):
        self.assertTrue((folder / 'lock').exists())
    self.assertLen(calls, 2)

  def test_f16_without_locks(self):
    folder = pathlib.Path(tiny.folder(self))
    with mock.patch.object(_lock, 'fcntl', None):
      with training.WorkdirLock(folder), training.WorkdirLock(folder):
        self.assertEqual(list(folder.iterdir()), [])
    none = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    with mock.patch.object(_lock.fcntl, 'flock', side_effect=none):
      with self.assertWarnsRegex(UserWarning, 'no other process'):
        with training.WorkdirLock(folder):
          pass


@pytest.mark.extended
@pytest.mark.faults
class ProgramsTest(absltest.TestCase):
  def test_f5_f16_run_falls_back_locks_and_ends_the_same(self):
    folder = pathlib.Path(tiny.folder(self))
    config = experiment_lib.replace(
      digits_lt.get_config('sgd'),
      {
        'model.name': 'mlp',
        'epochs': 3.0,
        'save_every': 1.0,
        'data.batch_size': 112,
        'data.data_dir': str(folder / 'data'),
      },
    )
    experiment = experiment_lib.build(config)
    workdir = folder / 'run'
    whole = experiment_lib.run(experiment, seed=0, workdir=workdir).summary
    history = (workdir / 'metrics.jsonl').read_text()
    steps = sorted(
      int(p.name) for p in (workdir / 'checkpoints').iterdir() if p.is_dir()
    )
    self.assertLen(steps, 2)
    os.truncate(_largest(workdir / 'checkpoints', steps[1]), 9)
    begun = []
    fit = training.fit

    def locked_fit(state, *args, **kwargs):
      begun.append(int(state.step))
      with self.assertRaises(training.CheckpointError):
        with training.WorkdirLock(workdir):
          pass
      return fit(state, *args, **kwargs)

    with mock.patch.object(training, 'fit', locked_fit):
      with self.assertWarnsRegex(UserWarning, f'goes on from step {steps[0]}'):
        again = experiment_lib.run(experiment, seed=0, workdir=workdir).summary
    self.assertEqual(begun, steps[:1])
    self.assertEqual(again['params_sha256'], whole['params_sha256'])
    self.assertEqual((workdir / 'metrics.jsonl').read_text(), history)
    self.assertFalse((workdir / 'lock').exists())

    code, out, _ = self._program('list', str(workdir))
    self.assertEqual(code, 0)
    self.assertIn(f'| {steps[1]}', out)
    _flip(_largest(workdir / 'checkpoints', steps[1]), 555)
    code, out, errors = self._program('verify', str(workdir))
    self.assertEqual(code, 5)
    self.assertRegex(out, rf'\| {steps[0]} .*good')
    self.assertRegex(out, rf'\| {steps[1]} .*damaged.*is changed')
    self.assertIn('error: 1 of 2 checkpoints are damaged', errors)
    code, _, errors = self._program('verify')
    self.assertEqual(code, 2)
    self.assertIn('verify WORKDIR', errors)

  def _program(self, *arguments):
    done = programs.run('experiments.checkpoint', *arguments)
    self.assertNotIn('Traceback', done.stderr)
    return done.returncode, done.stdout, done.stderr


if __name__ == '__main__':
  if len(sys.argv) == 4:
    _child(pathlib.Path(sys.argv[1]), *sys.argv[2:])
  else:
    absltest.main()
