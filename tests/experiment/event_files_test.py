# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Event files of TensorBoard, read back by its own reader."""

import collections
import importlib.util
import math
import os
import shutil
from unittest import mock

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax.experiment import _build
from imbsam_jax.experiment import _event_files
from tests.experiment import small_sources

_NUM_STEPS = 6
_RATE = 0.02


def _built(log='tensorboard', **changes):
  config = experiment_lib.config(
    'own',
    'sgd',
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      'optimizer.learning_rate': _RATE,
      'optimizer.warmup_epochs': 0.0,
      'optimizer.schedule': 'cosine',
      'log': log,
      **changes,
    },
  )
  return experiment_lib.build(config, data=small_sources.SOURCES)


@pytest.fixture(scope='module', name='experiment')
def _experiment():
  return _built()


@pytest.fixture(scope='module', name='whole')
def _whole(experiment, tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  return folder, experiment_lib.run(experiment, workdir=folder)


def _read(workdir):
  """All points of all files: steps and values by tag, none of them left out."""
  reader = event_accumulator.EventAccumulator(
    str(workdir / 'tensorboard'),
    size_guidance={'scalars': 0, 'tensors': 0},
    purge_orphaned_data=False,
  )
  reader.Reload()
  points = {
    tag: [(event.step, event.value) for event in reader.Scalars(tag)]
    for tag in reader.Tags()['scalars']
  }
  (text,) = reader.Tensors('config')
  return points, text.tensor_proto.string_val[0].decode()


def _expected(workdir, summary):
  """The same from ``metrics.jsonl`` and ``summary.json``."""
  points = collections.defaultdict(list)
  for record in training.read_history(workdir / 'metrics.jsonl'):
    step = record['step']
    if 'validation' in record:
      values = {
        f'validation/{name}': value
        for name, value in record['validation'].items()
      }
    else:
      values = {
        'train/loss': record['loss'],
        'train/accuracy': record['train_accuracy'],
        'train/cost': record['cost'],
        'train/learning_rate': _RATE
        * (1 + math.cos(math.pi * (step - 1) / _NUM_STEPS))
        / 2,
      }
    for tag, value in values.items():
      if value is not None:
        points[tag].append((step, value))
  for name in ('top1', 'balanced', 'many', 'medium', 'few', 'head', 'tail'):
    if summary[name] is not None:
      points[f'final_test/{name}'] = [(_NUM_STEPS, summary[name])]
  for name in ('worst_class', 'g_mean', 'macro_f1', 'ece'):
    points[f'final_test/{name}'] = [(_NUM_STEPS, summary[name])]
  return dict(points)


def _assert_same_points(workdir, summary):
  points, text = _read(workdir)
  expected = _expected(workdir, summary)
  assert set(points) == set(expected)
  for tag, there in expected.items():
    assert [step for step, _ in points[tag]] == [step for step, _ in there], tag
    np.testing.assert_allclose(
      [value for _, value in points[tag]],
      np.array([value for _, value in there], np.float32),
      rtol=1e-6,
      atol=1e-9,
    )
  assert '| optimizer.learning_rate | `0.02` |' in text
  return points


def test_every_point_of_a_run(whole):
  workdir, result = whole
  points = _assert_same_points(workdir, result.summary)
  assert len(points['train/loss']) == _NUM_STEPS
  assert len(points['validation/balanced']) == 2
  assert len(os.listdir(workdir / 'tensorboard')) == 1


def test_resumed_run_has_every_point_once(experiment, whole, tmp_path):
  fit = training.fit

  def stopping_fit(*arguments, **options):
    asked = iter(range(1, 99))
    return fit(*arguments, **options | {'stop': lambda: next(asked) == 4})

  with mock.patch.object(training, 'fit', stopping_fit):
    with pytest.raises(training.PreemptedError):
      experiment_lib.run(experiment, workdir=tmp_path)
  points, _ = _read(tmp_path)
  assert [step for step, _ in points['train/loss']] == [1, 2, 3, 4]
  summary = experiment_lib.run(experiment, workdir=tmp_path).summary
  _assert_same_points(tmp_path, summary)
  # And once more, when nothing is left to do.
  experiment_lib.run(experiment, workdir=tmp_path)
  assert _read(tmp_path) == _read(whole[0])


def test_a_run_goes_on_with_or_without(experiment, whole, tmp_path):
  shutil.copytree(whole[0], tmp_path / 'run')
  workdir = tmp_path / 'run'
  shutil.rmtree(workdir / 'tensorboard')
  without = experiment_lib.build(
    experiment_lib.replace(experiment.config, {'log': 'none'}),
    data=small_sources.SOURCES,
  )
  experiment_lib.run(without, workdir=workdir)
  assert not (workdir / 'tensorboard').exists()
  summary = experiment_lib.run(experiment, workdir=workdir).summary
  _assert_same_points(workdir, summary)


def test_comparison_has_a_folder_for_each_run(experiment, tmp_path):
  with (
    mock.patch.object(_build, 'build', return_value=experiment),
    mock.patch.object(compilation, 'compile_ahead'),
    mock.patch.object(jax, 'clear_caches'),
  ):
    experiment_lib.compare({'sgd': experiment}, seeds=2, workdir=tmp_path)
  found = sorted(path.parent for path in tmp_path.rglob('events.*'))
  assert found == [
    tmp_path / 'sgd' / f'seed_{seed}' / 'tensorboard' for seed in range(2)
  ]
  losses = [_read(folder.parent)[0]['train/loss'] for folder in found]
  assert losses[0] != losses[1]


@pytest.mark.extended
def test_stacked_runs_have_theirs(experiment, tmp_path):
  experiment_lib.compare(
    {'sgd': experiment}, seeds=2, workdir=tmp_path, stacked=True
  )
  for seed in range(2):
    workdir = tmp_path / 'sgd' / f'seed_{seed}'
    history = training.read_history(workdir / 'metrics.jsonl')
    losses = [record['loss'] for record in history if 'loss' in record]
    points, _ = _read(workdir)
    np.testing.assert_allclose(
      [value for _, value in points['train/loss']], losses, rtol=1e-6
    )
    assert 'final_test/top1' in points


def test_steps_that_were_skipped(experiment, tmp_path):
  rates = np.arange(5, dtype=np.float32) + 1
  files = _event_files.EventFiles(tmp_path, experiment.config, rates)
  record = {'train_accuracy': 0.5, 'cost': 1.0}
  files.add([{'step': 1, 'loss': 2.0, **record}])
  files.add([{'step': 2, 'loss': None, 'skipped': True, **record}])
  files.add([{'step': 3, 'loss': 1.0, **record}])
  files.close()
  points, _ = _read(tmp_path)
  assert points['train/loss'] == [(1, 2.0), (3, 1.0)]
  # The optimizer counts the updates that it has made.
  assert points['train/learning_rate'] == [(1, 1.0), (2, 2.0), (3, 2.0)]


def test_disk_that_is_full_ends_no_run(experiment, whole, tmp_path):
  shutil.copytree(whole[0], tmp_path / 'run')
  full = OSError(28, 'No space left on device')
  with mock.patch.object(_event_files.EventFiles, '_write', side_effect=full):
    with pytest.warns(UserWarning, match='cannot be written .No space'):
      result = experiment_lib.run(experiment, workdir=tmp_path / 'run')
  assert result.summary['top1'] == whole[1].summary['top1']


def test_without_the_package(experiment, whole):
  find = importlib.util.find_spec
  with mock.patch.object(
    importlib.util,
    'find_spec',
    lambda name: None if name == 'tensorboard' else find(name),
  ):
    with pytest.raises(
      experiment_lib.ConfigError,
      match=r"`log=tensorboard` needs .*pip install 'imbsam_jax\[log\]'.*Missi",
    ):
      _built()
    # Whoever only reads a run needs nothing.
    restored, _ = experiment_lib.restore(whole[0], data=small_sources.SOURCES)
  assert restored.config.log == 'tensorboard'


def test_no_other_value():
  with pytest.raises(experiment_lib.ConfigError, match='`log` must be one of'):
    _built('wandb')
