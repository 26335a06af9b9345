# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the program `train` says, of runs that are made up."""

import importlib
import json
import os
import re
import signal
import threading
from unittest import mock

import pytest

from imbsam_jax import experiment
from imbsam_jax import methods
from imbsam_jax._runs import compilation
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder
from imbsam_jax._runs import signals
from imbsam_jax.anomaly import study
from imbsam_jax.experiment import _build
from imbsam_jax.experiment import _scores
from imbsam_jax.experiment import used_fields
from imbsam_jax.experiment.benchmarks import _ratios
from tests import programs

pytestmark = pytest.mark.skipif(
  threading.current_thread() is not threading.main_thread(),
  reason='signals go to the main thread',
)

_SUMMARY = {
  **dict.fromkeys(_scores.COLUMNS, 0.5),
  'seconds': 12.34,
  'images_per_second': 5678.9,
  'cost_sgd_steps': 1.16,
  'skipped_steps': 0,
  'step_programs': 1,
  'step_programs_after_first_epoch': 0,
  'reporting': 'last step',
}


def _train(workdir, plot=None, **summary):
  """The program with a run that gives a summary, and what was compiled."""
  result = experiment.Result(None, _SUMMARY | summary, [], [], workdir)
  with (
    mock.patch.object(experiment, 'build', return_value='about the run'),
    mock.patch.object(experiment, 'run', return_value=result),
    mock.patch.object(experiment, 'plot', plot or mock.Mock()),
    mock.patch.object(experiment, 'cache_compilations'),
    mock.patch.object(compilation, 'compile_ahead') as compiled,
  ):
    done = programs.call('train', '--config=digits_lt', f'--workdir={workdir}')
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines(), compiled.called


@pytest.mark.parametrize(
  ('summary', 'expected'),
  [
    ({}, '12.3 s, 5679 images/s, 1.16 SGD steps per step'),
    (
      {'skipped_steps': 1},
      '12.3 s, 5679 images/s, 1.16 SGD steps per step, 1 step skipped',
    ),
    (
      {'skipped_steps': 2, 'step_programs_after_first_epoch': 3},
      '12.3 s, 5679 images/s, 1.16 SGD steps per step, 2 steps skipped, 3 '
      'steps compiled after the first epoch',
    ),
  ],
)
def test_last_lines_tell_what_is_unusual(summary, expected, tmp_path):
  lines, compiled = _train(tmp_path, **summary)
  assert lines[0] == 'about the run'
  assert lines[-2] == expected
  assert compiled


def test_complete_run_says_that_nothing_was_trained(tmp_path):
  (tmp_path / 'summary.json').write_text('{}')
  lines, compiled = _train(tmp_path, step_programs=0)
  assert lines[-2] == 'complete before; nothing was trained'
  assert not compiled


def test_what_is_compiled_is_said(tmp_path):
  with mock.patch.object(compilation, 'compile_ahead') as compile_ahead:
    with (
      mock.patch.object(experiment, 'build', return_value='about the run'),
      mock.patch.object(experiment, 'run', side_effect=OSError('so far')),
      mock.patch.object(experiment, 'cache_compilations'),
    ):
      compile_ahead.side_effect = lambda experiments, *, say: say('compiling')
      done = programs.call(
        'train', '--config=digits_lt', f'--workdir={tmp_path}'
      )
  assert done.stdout == 'about the run\ncompiling\n'
  assert done.stderr == 'error: so far\n'


@pytest.mark.parametrize(
  ('program', 'flags'),
  [
    ('train', '--config=digits_lt'),
    ('compare', '--config=digits_lt'),
    ('anomaly', '--config=anomaly'),
    ('compare_anomaly', '--config=anomaly --tables=cardio'),
    ('calibrate', ''),
  ],
)
def test_folder_that_cannot_be_written_is_said_first(program, flags, tmp_path):
  (tmp_path / 'file').touch()
  workdir = tmp_path / 'file'
  if program != 'calibrate':  # Which needs one that there is.
    workdir = workdir / 'of' / 'runs'
  before = sorted(tmp_path.rglob('*'))
  with (
    mock.patch.object(_build, 'build', side_effect=AssertionError),
    mock.patch.object(experiment, 'build', side_effect=AssertionError),
    mock.patch.object(experiment, 'calibrate_runs', side_effect=AssertionError),
    mock.patch.object(study, 'read', side_effect=AssertionError),
    mock.patch.object(study, 'compare', side_effect=AssertionError),
    mock.patch.object(experiment, 'cache_compilations'),
  ):
    done = programs.call(program, *flags.split(), f'--workdir={workdir}')
  assert done.returncode == 2 and done.stdout == ''
  if program == 'calibrate':
    told = f'{workdir} cannot be written, and calibration.json goes there.'
  else:
    told = (
      f'--workdir={workdir} cannot be written: {tmp_path / "file"}: Not a '
      'directory. Pass another --workdir.\n'
    )
  assert done.stderr.startswith(f'error: {told}')
  assert sorted(tmp_path.rglob('*')) == before


def test_folder_is_not_made_to_see_whether_it_can_be(tmp_path):
  folder.check_writable(tmp_path / 'a' / 'b')
  folder.check_writable(tmp_path)
  assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
  ('words', 'given', 'expected'),
  [
    ('sgd', 'rho=0.3', 'effect on sgd. Leave it out, or choose a method that'),
    ('sgd', 'rho=0.05', 'it is for: focal_sam, friendly_sam, gsam, imbsam, lo'),
    ('sgd', 'rho_schedule=linear', 'for: focal_sam, friendly_sam, gsam, imb'),
    ('imbsam', 'head_rho=0.1', 'no effect on imbsam. Leave it out, or choose '),
    ('imbsam', 'switch=0.5', 'a method that it is for: rsam, sse_sam.'),
    ('rsam', 'adaptive', 'look_sam, momentum_imbsam, sam, sse_sam.'),
    ('sam', 'tail_weight=2', 'for: imbsam, momentum_imbsam, sse_sam.'),
    ('sse_sam', 'focal_gamma=2', 'for: focal_sam.'),
    # Whose word sets a radius of its own.
    ('imbsam', 'rho=0.3', ''),
    ('rsam', 'switch=0.5', ''),
    ('sse_sam', 'head_rho=0.1', ''),
    # Not for the rule alone.
    ('sgd', 'threshold=30', ''),
    ('sgd', 'momentum=0.5', ''),
    ('sgd', 'rows=joint', ''),
  ],
)
def test_fields_that_have_no_effect(words, given, expected, tmp_path):
  with (
    mock.patch.object(experiment, 'build', side_effect=OSError('is built')),
    mock.patch.object(experiment, 'cache_compilations'),
  ):
    done = programs.call(
      'train',
      f'--config=digits_lt:{words}',
      f'--workdir={tmp_path}',
      f'--config.optimizer.{given}',
    )
  assert done.returncode == 2
  if not expected:
    assert done.stderr == 'error: is built\n'
    return
  field = given.split('=')[0]
  assert done.stderr.startswith(f'error: --config.optimizer.{field} has no eff')
  assert expected in done.stderr


def test_fields_of_a_file_are_not_typed(tmp_path):
  config = experiment.config('digits_lt', 'sgd', {'optimizer.rho': 0.3})
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(fields.to_json(config)))
  arguments = [f'--config=from_json:{path}', f'--workdir={tmp_path}']
  with (
    mock.patch.object(experiment, 'build', side_effect=OSError('is built')),
    mock.patch.object(experiment, 'cache_compilations'),
  ):
    done = programs.call('train', *arguments)
    assert done.stderr == 'error: is built\n'
    done = programs.call('train', *arguments, '--config.optimizer.rho=0.2')
    assert 'no effect on sgd' in done.stderr
    # With the method typed too.
    done = programs.call(
      'train',
      *arguments,
      '--config.optimizer.rho=0.2',
      '--config.optimizer.method=sam',
    )
    assert done.stderr == 'error: is built\n'


@pytest.mark.parametrize(
  ('flags', 'expected'),
  [
    ('--methods=sgd,sam --config.optimizer.rho=0.1', ''),
    ('--methods=vs --links=sgd,rsam --config.optimizer.switch=0.5', ''),
    ('--methods=sgd,vs --config.optimizer.rho=0.1', 'has no effect on sgd. '),
    (
      '--methods=sgd,rsam --config.optimizer.adaptive',
      'has no effect on any of sgd, rsam. Leave it out',
    ),
    ('--methods=sgd,sam --rhos=0.1', ''),
    ('--methods=sgd,vs --rhos=0.1', '--rhos=0.1 has no effect on sgd, vs'),
    (
      '--methods=sam --rhos=0.1 --config.optimizer.rho=0.2',
      '--config.optimizer.rho is set by --rhos here',
    ),
  ],
)
def test_fields_that_no_method_of_a_comparison_uses(flags, expected, tmp_path):
  with (
    mock.patch.object(experiment, 'compare', side_effect=OSError('compared')),
    mock.patch.object(experiment, 'cache_compilations'),
  ):
    done = programs.call(
      'compare', '--config=digits_lt', f'--workdir={tmp_path}', *flags.split()
    )
  assert done.returncode == 2
  if expected:
    assert expected in done.stderr
  else:
    assert done.stderr == 'error: compared\n'


def test_a_rule_of_ones_own_may_use_its_setup(monkeypatch):
  choices = dict(methods.AXES['update rule'].choices)
  monkeypatch.setitem(
    methods.AXES,
    'update rule',
    methods.AXES['update rule']._replace(choices=choices),
  )

  @methods.choice('mine', axis='update rule')
  def mine(setup, *, head_rho):
    del setup, head_rho

  assert used_fields.uses('mine', 'head_rho')
  assert used_fields.uses('mine', 'switch')
  assert not used_fields.uses('mine', 'rho')


@pytest.fixture(name='left')
def _left(monkeypatch):
  """Texts and exit codes with which a signal would have left."""
  left = []
  monkeypatch.setattr(os, '_exit', left.append)
  # A program that is called in this process has no standard error of its own.
  monkeypatch.setattr(signals, '_say', left.append)
  return left


@pytest.mark.parametrize(
  ('program', 'expected'),
  [
    ('train', 'stopped before the first step; nothing new was saved.'),
    (
      'compare',
      'stopped outside of a run; the same command again goes on, and does not '
      'repeat those that are complete.',
    ),
    ('evaluate', 'stopped.'),
    (
      'benchmark',
      'stopped; no file was written, and the same command begins anew.',
    ),
  ],
)
def test_signal_where_nothing_is_saved(program, expected, left, monkeypatch):
  module = importlib.import_module(f'imbsam_jax._doors.{program}')
  monkeypatch.setattr(
    module, 'main', lambda call: os.kill(os.getpid(), signal.SIGINT)
  )
  config = ['--config=digits_lt'] if hasattr(module, 'RECIPES') else []
  programs.call(program, *config)
  assert left == [f'SIGINT: {expected}', signals.EXIT_CODE]


def test_signal_in_a_dry_run(left):
  def stopped(*arguments):
    del arguments
    os.kill(os.getpid(), signal.SIGTERM)

  for part in ('build', 'dry_run'):
    with (
      mock.patch.object(experiment, 'build', return_value='about the run'),
      mock.patch.object(experiment, 'dry_run', return_value='went well'),
      mock.patch.object(experiment, 'cache_compilations'),
      mock.patch.object(experiment, part, stopped),
    ):
      done = programs.call('train', '--config=digits_lt', '--dry_run')
    assert 'compiling, then two steps ...\n' in done.stdout
    assert left == [
      'SIGTERM: stopped; a dry run saves nothing, and begins anew with the '
      'same command.',
      signals.EXIT_CODE,
    ]
    left.clear()


def test_benchmark_says_what_it_does_first(monkeypatch):
  monkeypatch.setattr(_ratios, '_workload', mock.MagicMock())
  monkeypatch.setattr(_ratios, 'training', mock.MagicMock())
  monkeypatch.setattr(
    _ratios, '_epoch_of_rare_tails', lambda *_: ({'few': 0, 'more': 1}, {})
  )
  monkeypatch.setattr(
    _ratios.futures, 'ThreadPoolExecutor', mock.Mock(side_effect=OSError('up'))
  )
  with mock.patch.object(experiment, 'cache_compilations'):
    done = programs.call('benchmark', '--rows=steps', '--pairs=2')
  # One of each of eight kinds, and of two sizes.
  assert re.fullmatch(
    r'resnet32 on \d x cpu, 2 pairs of 3 steps; each program is compiled '
    r'first\nmeasuring steps ...\ncompiling 10 programs ...\n',
    done.stdout,
  )


def test_signal_after_the_run(left, tmp_path):
  def plot(*arguments):
    del arguments
    os.kill(os.getpid(), signal.SIGTERM)

  _train(tmp_path, plot)
  assert left == [
    'SIGTERM: stopped after the run, which is saved.',
    signals.EXIT_CODE,
  ]
