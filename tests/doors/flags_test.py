# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Flags that do not fit are told before any work."""

import sys
from unittest import mock

import pytest

from imbsam_jax import experiment
from imbsam_jax import training
from imbsam_jax.experiment.benchmarks import _workload
from tests import programs


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    ('benchmark --pairs=-1', '--pairs=-1'),
    ('benchmark --steps=0', '--steps=0'),
    ('benchmark --rows=stepz', "got 'stepz'. Did you mean 'steps'?"),
    ('benchmark --rows=', '--rows knows steps, optax'),
    ('benchmark --model=resnet33', "Did you mean 'resnet3"),
    ('benchmark --json=/nowhere/x.json', 'must be a file in a folder'),
    ('benchmark --json=/tmp', 'must be a file in a folder'),
    ('benchmark steps', "unexpected argument 'steps'"),
    ('benchmark --rows=optax --torch_python=x', 'Add images to --rows'),
    ('benchmark --rows=images --torch_python=/no', 'does not start: No such'),
    (
      f'benchmark --rows=images --torch_python={sys.executable}',
      "No module named 'torch'",
    ),
    (
      'evaluate --workdir=/x --checkpoint=banana',
      '--checkpoint=banana: it mus',
    ),
    ('evaluate --workdir=/x --checkpoint=-1', "it must be 'last', 'best' or a"),
    ('evaluate --workdir=/x --checkpoint=', "it must be 'last', 'best' or a"),
    (
      'calibrate --workdir=/x --checkpoint=banana',
      '--checkpoint=banana: it mu',
    ),
    ('calibrate --workdir=/x --methods=', 'unknown method'),
    ('calibrate --workdir=/x --seed=-1', '--seed=-1'),
    ('checkpoint', 'got nothing'),
    ('checkpoint list', 'got list'),
    ('checkpoint lst /x', 'got lst /x'),
    ('checkpoint verify /nowhere', 'there is no folder /nowhere/checkpoints'),
  ],
)
def test_mistakes_are_told_before_any_work(arguments, expected):
  with (
    mock.patch.object(experiment, 'restore', side_effect=AssertionError),
    mock.patch.object(experiment, 'cache_compilations'),
    mock.patch.object(_workload, 'Workload', side_effect=AssertionError),
    mock.patch.object(
      training, 'inspect_checkpoints', side_effect=AssertionError
    ),
  ):
    done = programs.call(*arguments.split())
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith('error: ') and expected in done.stderr
  assert done.stdout == ''


@pytest.mark.parametrize(
  ('metrics', 'expected'),
  [({'balanced': 0.5, 'top1': 0.5}, 'they have balanced, top1'), ({}, 'none')],
)
def test_metric_that_no_checkpoint_has(metrics, expected, tmp_path):
  (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
  read = []

  def inspect(folder, *, contents=False):
    del folder
    read.append(contents)
    return [training.StepReport(7, 'good', metrics=metrics)]

  with mock.patch.object(training, 'inspect_checkpoints', inspect):
    done = programs.call(
      'checkpoint', 'verify', str(tmp_path), '--metric=banana'
    )
    assert done.returncode == 2 and expected in done.stderr
    assert "no checkpoint has a metric 'banana'" in done.stderr
    # Reading all files takes a while.
    assert read == [False]
    # Whether there is one or not, without the flag nothing is asked for.
    assert programs.call('checkpoint', 'list', str(tmp_path)).returncode == 0
    done = programs.call('checkpoint', 'verify', str(tmp_path))
  assert done.returncode == 0 and read[-1]
  assert '| 7    |  good |' in done.stdout
