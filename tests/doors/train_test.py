# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the program `train` says, of runs that are made up."""

import importlib
import os
import signal
import threading
from unittest import mock

import pytest

from imbsam_jax import experiment
from imbsam_jax._runs import compilation
from imbsam_jax._runs import signals
from imbsam_jax.experiment import _scores
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


def _train(folder, plot=None, **summary):
  """The program with a run that gives a summary, and what was compiled."""
  result = experiment.Result(None, _SUMMARY | summary, [], [], folder)
  with (
    mock.patch.object(experiment, 'build', return_value='about the run'),
    mock.patch.object(experiment, 'run', return_value=result),
    mock.patch.object(experiment, 'plot', plot or mock.Mock()),
    mock.patch.object(experiment, 'cache_compilations'),
    mock.patch.object(compilation, 'compile_ahead') as compiled,
  ):
    done = programs.call('train', '--config=digits_lt', f'--workdir={folder}')
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


def test_signal_after_the_run(left, tmp_path):
  def plot(*arguments):
    del arguments
    os.kill(os.getpid(), signal.SIGTERM)

  _train(tmp_path, plot)
  assert left == [
    'SIGTERM: stopped after the run, which is saved.',
    signals.EXIT_CODE,
  ]
