# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""F3 and F4: SIGTERM and SIGINT at any moment lose nothing."""

import json
import os
import pathlib
import signal
import threading
import time

import pytest

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import signals
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment.recipes import digits_lt
from tests import programs
from tests.experiment import runs

_ROOT = pathlib.Path(__file__).parents[2]

pytestmark = [
  pytest.mark.faults,
  pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(),
    reason='signals go to the main thread',
  ),
]


@pytest.fixture(scope='module')
def experiment(tfds_dir):
  changes = {
    'model.name': 'mlp',
    'epochs': 2.0,
    'save_every': 1.0,
    'data.batch_size': 32,
    'data.data_dir': tfds_dir,
    'data.validation_per_class': 20,
  }
  config = experiment_lib.replace(digits_lt.get_config('imbsam'), changes)
  return experiment_lib.build(config)


@pytest.fixture(scope='module')
def whole(experiment, tmp_path_factory):
  """An uninterrupted run: its folder and its summary."""
  folder = tmp_path_factory.mktemp('whole')
  return folder, experiment_lib.run(experiment, seed=3, workdir=folder).summary


def _assert_ends_alike(experiment, folder, whole):
  """Goes on, and compares with the uninterrupted run."""
  whole_folder, expected = whole
  runs.assert_same_summary(
    experiment_lib.run(experiment, seed=3, workdir=folder).summary, expected
  )
  runs.assert_same_files(folder, whole_folder)


@pytest.mark.parametrize(
  'number',
  [
    signal.SIGTERM,
    pytest.param(signal.SIGINT, marks=pytest.mark.extended),
  ],
)
def test_f3_signal_after_a_step(
  number, experiment, whole, tmp_path, monkeypatch, capfd
):
  fit = training.fit

  def signalled_fit(state, train_step, batches, **arguments):
    class Batches:
      def __getitem__(self, step):
        if step == 5:
          os.kill(os.getpid(), number)
        return batches[step]

    return fit(state, train_step, Batches(), **arguments)

  monkeypatch.setattr(training, 'fit', signalled_fit)
  with pytest.raises(training.PreemptedError, match=r'after step \d+ of 21'):
    experiment_lib.run(experiment, seed=3, workdir=tmp_path)
  monkeypatch.undo()
  assert f'{signal.Signals(number).name}: finishing' in capfd.readouterr().err
  with training.Checkpoints(
    tmp_path / 'checkpoints', read_only=True
  ) as checkpoints:
    # Batches may be made ahead of their step.
    assert checkpoints.latest_step in (5, 6)
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert len(lines) == len({json.loads(line)['step'] for line in lines})
  assert not (tmp_path / 'summary.json').exists()
  _assert_ends_alike(experiment, tmp_path, whole)


@pytest.mark.extended
def test_f4_signal_while_evaluating(experiment, whole, tmp_path, monkeypatch):
  evaluate = experiment_lib.evaluate

  def signalled_evaluate(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    return evaluate(*arguments)

  monkeypatch.setattr(_evaluate, 'evaluate', signalled_evaluate)
  with pytest.raises(training.PreemptedError):
    experiment_lib.run(experiment, seed=3, workdir=tmp_path)
  monkeypatch.undo()
  _assert_ends_alike(experiment, tmp_path, whole)


def test_f4_signal_while_saving(experiment, whole, tmp_path, monkeypatch):
  saved = []
  save = training.Checkpoints.save

  def signalled_save(self, state, **arguments):
    if not saved:
      os.kill(os.getpid(), signal.SIGTERM)
    saved.append(int(state.step))
    save(self, state, **arguments)

  monkeypatch.setattr(training.Checkpoints, 'save', signalled_save)
  with pytest.raises(training.PreemptedError):
    experiment_lib.run(experiment, seed=3, workdir=tmp_path)
  monkeypatch.undo()
  assert saved == sorted(set(saved)), 'a step was saved twice'
  _assert_ends_alike(experiment, tmp_path, whole)


@pytest.mark.extended
def test_f4_signal_in_the_last_step(experiment, whole, tmp_path, monkeypatch):
  save = training.Checkpoints.save

  def signalled_save(self, state, **arguments):
    save(self, state, **arguments)
    if int(state.step) == experiment.num_steps:
      os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(training.Checkpoints, 'save', signalled_save)
  with pytest.raises(training.PreemptedError, match='last step'):
    experiment_lib.run(experiment, seed=3, workdir=tmp_path)
  monkeypatch.undo()
  assert not (tmp_path / 'summary.json').exists()
  _assert_ends_alike(experiment, tmp_path, whole)


def test_f3_second_signal_leaves_at_once(monkeypatch, capfd):
  left = []
  monkeypatch.setattr(os, '_exit', left.append)
  with signals.deferred() as stop:
    assert not stop()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop()
    assert not left
    os.kill(os.getpid(), signal.SIGINT)
  assert left == [1]
  assert 'SIGINT again: leaving at once' in capfd.readouterr().err


def test_f3_handlers_are_put_back():
  before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  with signals.leaving('text'), signals.deferred():
    pass
  after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  assert after == before


def _start(workdir, tfds_dir):
  return programs.start(
    'experiments.train',
    f'--workdir={workdir}',
    '--config=experiments/configs/digits_lt.py:imbsam',
    '--config.model.name=mlp',
    '--config.epochs=4000',
    f'--config.data.data_dir={tfds_dir}',
  )


@pytest.mark.extended
def test_f3_program_exits_143_and_says_how_to_go_on(whole, tfds_dir, tmp_path):
  del whole  # It has prepared the digits.
  # While it sets up: nothing to save.
  process = _start(tmp_path, tfds_dir)
  assert process.stdout is not None
  while not process.stdout.readline().startswith('run'):
    pass
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=120)
  assert process.returncode == signals.EXIT_CODE, errors
  assert 'SIGTERM: stopped before the first step; nothing new was' in errors
  # While it trains.
  process = _start(tmp_path, tfds_dir)
  history = tmp_path / 'metrics.jsonl'
  deadline = time.monotonic() + 120
  while not history.exists() or not history.stat().st_size:
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=120)
  assert process.returncode == signals.EXIT_CODE, errors
  assert 'stopped after step' in errors
  assert 'The same command again goes on' in errors
  assert 'Traceback' not in errors
  with training.Checkpoints(
    tmp_path / 'checkpoints', read_only=True
  ) as checkpoints:
    step = checkpoints.latest_step
  assert step == len(history.read_text().splitlines())
