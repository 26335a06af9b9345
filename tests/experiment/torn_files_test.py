# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every file of a run, damaged in every way, read by every program.

Each of these is mended from what is intact, or ends in a named error whose
advice works when it is followed to the letter. `python -m
tests.experiment.torn_files_test` prints what happens, as a table of all files,
damages and programs; it takes a few minutes.
"""

import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import tempfile
from unittest import mock
import warnings

from flax import linen as nn
import jax
import numpy as np
import pytest

from imbsam_jax import data as data_lib
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._doors import door
from imbsam_jax._runs import compilation
from imbsam_jax._runs import console
from imbsam_jax._runs import origin
from imbsam_jax.experiment import _base_run
from imbsam_jax.experiment import _build
from tests import programs
from tests.experiment import small_sources

_LAST = 6
_FILES = (
  'config.json',
  'data.json',
  'own.json',
  'model.json',
  'metrics.jsonl',
  'summary.json',
  'per_class.csv',
  'calibration.json',
  'lock',
  'manifest',
  'array',
  'metadata',
)


_OF_CHECKPOINT = ('manifest', 'array', 'metadata')


class _Net(nn.Module):
  """A network of one's own, so that there is an ``own.json``."""

  @nn.compact
  def __call__(self, x):
    return nn.Dense(3)(x.reshape(len(x), -1))


class _Run:
  """A small run: whole, and stopped before its last step."""

  def __init__(self, folder):
    self.whole, self.stopped = folder / 'whole', folder / 'stopped'
    config = experiment_lib.config(
      'own',
      'sgd',
      {
        'epochs': 2,
        'save_every': 1.0,
        'data.batch_size': 16,
        'optimizer.learning_rate': 0.02,
      },
    )
    self.experiment = experiment_lib.build(
      config, data=small_sources.SOURCES, model=_Net()
    )
    assert self.experiment.num_steps == _LAST
    train(self, self.whole)
    with mock.patch.object(
      training, 'fit', _stopping(training.fit, after=_LAST - 2)
    ):
      with contextlib.suppress(training.PreemptedError):
        train(self, self.stopped)
    self.expected = {
      name: program(self, self.whole) for name, program in PROGRAMS.items()
    }
    for place in (self.whole, self.stopped):
      calibrate(self, place)
      (place / 'lock').write_text('{"pid": 1, "host": "far", "start": "then"}')


def _stopping(fit, after):
  def stopping_fit(*arguments, **options):
    asked = iter(range(1, 99))
    return fit(*arguments, **options | {'stop': lambda: next(asked) == after})

  return stopping_fit


# --------------------------------------------------------------- programs


def train(run, workdir):
  """The command that trained the run, once more."""
  summary = experiment_lib.run(run.experiment, workdir=workdir).summary
  files = [
    (workdir / name).read_bytes()
    for name in ('metrics.jsonl', 'per_class.csv', 'config.json', 'data.json')
  ]
  json.loads((workdir / 'model.json').read_text())
  return summary['params_sha256'], summary['top1'], *files


def _restored(run, workdir):
  with mock.patch.object(_build, 'build_again', return_value=run.experiment):
    return experiment_lib.restore(workdir, model=_Net())[1]


def evaluate(run, workdir):
  """The scores of the last checkpoint."""
  state = _restored(run, workdir)
  return experiment_lib.evaluate(run.experiment, state).scores


def calibrate(run, workdir):
  """The metrics of the checkpoint itself."""
  with mock.patch.object(_build, 'build_again', return_value=run.experiment):
    calibrated = experiment_lib.calibrate_runs(
      workdir, ['none'], model=_Net(), data=small_sources.SOURCES
    )
  json.loads((workdir / 'calibration.json').read_text())
  return calibrated.runs[workdir].methods['none']['test']


def predict(run, workdir):
  """Probabilities of the test images."""
  del run
  classifier = experiment_lib.load_run(workdir, module=_Net(), batch_size=30)
  return np.asarray(classifier(small_sources.SOURCES.test[0])).tolist()


def compare(run, workdir):
  """A comparison that has the run, collected."""
  with tempfile.TemporaryDirectory(dir=workdir.parent) as name:
    folder = pathlib.Path(name)
    (folder / 'word').mkdir()
    there = folder / 'word' / 'seed_0'
    os.rename(workdir, there)
    try:
      with (
        mock.patch.object(compilation, 'compile_ahead'),
        mock.patch.object(jax, 'clear_caches'),
        # Which asks git.
        mock.patch.object(origin, 'origin', return_value=''),
      ):
        compared = experiment_lib.compare(
          {'word': run.experiment}, seeds=1, workdir=folder
        )
    finally:
      os.rename(there, workdir)
  metrics = compared.content['methods']['word']
  return {name: metrics[name]['mean'] for name in ('top1', 'tail', 'steps')}


def checkpoint(run, workdir):
  """The program that verifies checkpoints."""
  del run
  done = programs.call('checkpoint', 'verify', str(workdir))
  if done.returncode:
    raise training.CheckpointError(done.stderr)
  return done.returncode


def init_from(run, workdir):
  """The parameters that another run begins with."""
  config = experiment_lib.replace(
    run.experiment.config, {'init_from': str(workdir)}
  )
  bases = _base_run.BaseRuns(config, run.experiment.data)
  return bases.of_seed(0).sha256


PROGRAMS = {
  'train': train,
  'evaluate': evaluate,
  'calibrate': calibrate,
  'compare': compare,
  'predict': predict,
  'checkpoint': checkpoint,
  'init_from': init_from,
}

# ---------------------------------------------------------------- damages


def _replace(content):
  return lambda path: path.write_bytes(content)


def _cut(path):
  content = path.read_bytes()
  draw = random.Random(len(content))
  path.write_bytes(content[: draw.randrange(1, len(content) - 1)])


def _cut_tail(path):
  path.write_bytes(path.read_bytes()[:-3])


def _huge(path):
  os.truncate(path, 2**33)  # Without a block on the disk.


def _folder(path):
  path.unlink()
  path.mkdir()
  (path / 'inner').write_text('')


def _unreadable(path):
  del path  # See `_damaged`; the rights do not keep root out.


DAMAGES = {
  'empty': _replace(b''),
  'cut': _cut,
  'tail cut': _cut_tail,
  'list': _replace(b'[1, 2]\n'),
  'number': _replace(b'7\n'),
  'object': _replace(b'{"a": 1}\n'),
  'nested': _replace(b'[' * 10_000 + b']' * 10_000),
  'nested objects': _replace(b'{"a":' * 10_000 + b'1' + b'}' * 10_000),
  'NaN': _replace(b'{"step": 1, "loss": NaN, "top1": NaN}\n'),
  'long number': _replace(b'{"step": ' + b'9' * 5000 + b'}\n'),
  'huge': _huge,
  'not UTF-8': _replace(b'{"\xff\xfe": 1}\n'),
  'folder': _folder,
  'unreadable': _unreadable,
  'missing': pathlib.Path.unlink,
}


def _path(workdir, name):
  """A file of the run by its name here."""
  checkpoints = workdir / 'checkpoints'
  if name not in _OF_CHECKPOINT:
    return workdir / name
  newest = max(int(p.name) for p in checkpoints.iterdir() if p.name.isdecimal())
  if name == 'manifest':
    return checkpoints / f'{newest}.manifest.json'
  if name == 'metadata':
    return checkpoints / f'{newest}' / '_CHECKPOINT_METADATA'
  files = [p for p in (checkpoints / f'{newest}').rglob('*') if p.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


@contextlib.contextmanager
def _damaged(path, damage):
  """Damages a file; no rights to it are as long as this lasts."""
  if damage == 'huge' and path.name.startswith('_'):
    damage = 'cut'  # All of it would be read for its checksum.
  DAMAGES[damage](path)
  if damage != 'unreadable':
    yield
    return
  opened, os_open = pathlib.Path.open, os.open

  def signature(place):
    stat = os.stat(place)
    return stat.st_ino, stat.st_mtime_ns

  there = signature(path)

  def check(place):
    # Wherever the folder is moved, until another file has the name.
    if os.path.basename(place) == path.name and os.path.exists(place):
      if signature(place) == there:
        raise PermissionError(13, 'Permission denied', str(place))

  def opening(self, *arguments, **options):
    check(self)
    return opened(self, *arguments, **options)

  def os_opening(place, *arguments, **options):
    check(place)
    return os_open(place, *arguments, **options)

  with (
    mock.patch.object(pathlib.Path, 'open', opening),
    mock.patch.object(os, 'open', os_opening),
  ):
    yield


# --------------------------------------------------------------- outcomes


def _attempt(run, program, workdir):
  """What comes out, or the error, and what was warned of."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    try:
      outcome = PROGRAMS[program](run, workdir)
    except (experiment_lib.ConfigError, training.CheckpointError) as error:
      outcome = error
    except data_lib.DataError as error:
      outcome = error
  return outcome, [str(w.message) for w in caught]


def _follow(run, text, workdir, path):
  """Does what a message says, to the letter."""
  if re.search('(?i)call the command that trained', text) or re.search(
    'Finish it first, with the command', text
  ):
    _attempt(run, 'train', workdir)
    return 'train again'
  if 'or calibrate this one' in text:
    _attempt(run, 'calibrate', workdir)
    older, _ = _attempt(run, 'predict', workdir)
    assert not isinstance(older, Exception), older
    # The newest step comes back with the command that trained the run.
    _attempt(run, 'train', workdir)
    _attempt(run, 'calibrate', workdir)
    return 'calibrate again'
  if re.search('same, remove the file|into .*, remove it', text):
    assert str(path) in text
    if path.is_dir():
      shutil.rmtree(path)
    else:
      path.unlink()
    return 'remove the file'
  if re.search('remove (this folder|.* and start again)|removing this', text):
    shutil.rmtree(workdir)
    _attempt(run, 'train', workdir)
    return 'start again'
  if 'Training goes on from the newest good one' in text:
    # As it is: what is damaged is named, and nothing is to be done.
    _attempt(run, 'train', workdir)
    return 'train again'
  raise AssertionError(f'no advice in: {text}')


def _cell(run, folder, name, damage, program, *, stopped=False):
  """Damages a copy of the run, and calls a program; a word for what it did."""
  workdir = folder / f'{name} {damage} {program}'
  shutil.copytree(run.stopped if stopped else run.whole, workdir)
  path = _path(workdir, name)
  with _damaged(path, damage):
    outcome, told = _attempt(run, program, workdir)
  if (
    not isinstance(outcome, Exception)
    and outcome != run.expected[program]
    and name in _OF_CHECKPOINT
  ):
    # Of a step that is not named, the newest good one is taken.
    assert any('It goes on from step 3' in text for text in told) or (
      name == 'manifest' and damage == 'missing'
    )
    _attempt(run, 'train', workdir)
    assert _attempt(run, program, workdir)[0] == run.expected[program]
    return 'older step'
  if not isinstance(outcome, Exception):
    assert outcome == run.expected[program], (name, damage, program)
    if told:
      writes = program in ('train', 'compare')
      return 'mended' if writes else 'copy taken'
    return 'as ever'
  code = door._exit_code(outcome)
  text = str(outcome)
  assert code in (2, 3, 5), outcome
  assert str(workdir) in text or program == 'checkpoint', text
  assert len(text) < 2000
  advice = _follow(run, text, workdir, path)
  again, _ = _attempt(run, program, workdir)
  assert again == run.expected[program], (text, again)
  return f'{code}, {advice}'


def _row(run, folder, name, program, damages, **options):
  """The damages by outcome."""
  outcomes = collections.defaultdict(list)
  for damage in damages:
    outcome = _cell(run, folder, name, damage, program, **options)
    outcomes[outcome].append(damage)
  return outcomes


@pytest.fixture(scope='module', name='run')
def _run(tmp_path_factory):
  return _Run(tmp_path_factory.mktemp('run'))


_EXTENDED = pytest.mark.extended
_FEW = ('cut', 'folder', 'missing')
_SOME = (
  'empty', 'cut', 'object', 'nested objects', 'folder', 'unreadable', 'missing'
)  # fmt: skip


# What they look at; the table has all files.
_READ = {
  'evaluate': ('config.json', 'data.json', 'own.json', *_OF_CHECKPOINT),
  'calibrate': ('calibration.json', 'manifest'),
  'compare': ('config.json', 'data.json', 'summary.json', 'per_class.csv'),
  'predict': ('config.json', 'own.json', 'model.json', 'array'),
  'checkpoint': _OF_CHECKPOINT,
  'init_from': ('config.json', 'data.json', 'summary.json', 'metadata'),
}


@pytest.mark.parametrize(
  'damages', [_FEW, pytest.param(DAMAGES, marks=_EXTENDED)]
)
@pytest.mark.parametrize('name', _FILES)
def test_the_same_command_again(run, tmp_path, name, damages):
  _row(run, tmp_path, name, 'train', damages)


@pytest.mark.extended
@pytest.mark.parametrize(
  ('program', 'name'),
  [(program, name) for program, names in _READ.items() for name in names],
)
def test_other_programs(run, tmp_path, program, name):
  _row(run, tmp_path, name, program, _SOME)


# One of each kind of reader.
@pytest.mark.parametrize(
  ('program', 'name'),
  [
    ('evaluate', 'config.json'),
    ('evaluate', 'array'),
    ('compare', 'summary.json'),
    ('predict', 'model.json'),
    ('init_from', 'data.json'),
  ],
)
def test_a_file_that_is_cut(run, tmp_path, program, name):
  _cell(run, tmp_path, name, 'cut', program)


@pytest.mark.parametrize(
  ('name', 'damages'),
  [
    ('metrics.jsonl', _FEW),
    *(pytest.param(name, _SOME, marks=_EXTENDED) for name in _FILES),
  ],
)
def test_stopped_run_goes_on(run, tmp_path, name, damages):
  if not _path(run.stopped, name).exists():
    pytest.skip('a stopped run has none')
  _row(run, tmp_path, name, 'train', damages, stopped=True)


def main():
  """Prints the table."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    run = _Run(folder / 'run')
    rows = []
    for name in _FILES:
      cells = []
      for program in PROGRAMS:
        outcomes = _row(run, folder, name, program, DAMAGES)
        most = max(outcomes, key=lambda o: len(outcomes[o]))
        others = [
          f'{o}: {", ".join(d)}' for o, d in outcomes.items() if o != most
        ]
        cells.append('; '.join([most, *others]))
      rows.append((name, *cells))
    print(console.markdown_table(('file', *PROGRAMS), rows))


if __name__ == '__main__':
  main()
