# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run whose folder is elsewhere, when it goes on."""

import os
import pathlib
import re
import shutil
import tempfile
from unittest import mock

import numpy as np
import pytest

from imbsam_jax import data as data_lib
from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax._runs import folder as folder_lib
from tests.experiment import runs
from tests.experiment import small_sources

_MEMORY = pathlib.Path('/dev/shm')


@pytest.fixture(scope='module', name='experiment')
def _experiment():
  config = experiment_lib.config(
    'own',
    'sgd',
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'model.name': 'mlp',
      'model.norm': 'none',
      'optimizer.learning_rate': 0.02,
    },
  )
  return experiment_lib.build(config, data=small_sources.SOURCES)


@pytest.fixture(scope='module', name='whole')
def _whole(experiment, tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  return folder, experiment_lib.run(experiment, workdir=folder)


@pytest.fixture(scope='module', name='stopped')
def _stopped(experiment, tmp_path_factory):
  folder = tmp_path_factory.mktemp('stopped')
  _run_until(4, experiment, folder)
  return folder


def _run_until(step, experiment, folder):
  fit = training.fit

  def stopping_fit(*arguments, **options):
    asked = iter(range(1, 99))
    return fit(*arguments, **options | {'stop': lambda: next(asked) == step})

  with mock.patch.object(training, 'fit', stopping_fit):
    with pytest.raises(training.PreemptedError):
      experiment_lib.run(experiment, workdir=folder)


def _moved(how, stopped, tmp_path, monkeypatch):
  """The run in another place, and what is typed for it."""
  there = tmp_path / 'there'
  shutil.copytree(stopped, there)
  if how == 'copy':
    return there
  if how == 'other name':
    return there.rename(tmp_path / 'a b, ünïcode (1)*')
  if how == 'link':
    link = tmp_path / 'link'
    link.symlink_to(there, target_is_directory=True)
    return link
  if how == 'home':
    monkeypatch.setenv('HOME', str(tmp_path))
    return '~/there'
  if how == 'relative':
    monkeypatch.chdir(there)
    return '.'
  assert how == 'other disk'
  if not os.access(_MEMORY, os.W_OK):
    pytest.skip('there is no other disk')
  disk = pathlib.Path(tempfile.mkdtemp(dir=_MEMORY))
  shutil.move(there, disk / 'run')
  return disk / 'run'


@pytest.mark.parametrize(
  'how',
  ['copy', 'other name', 'link', 'home', 'relative', 'other disk'],
)
def test_goes_on_in_another_place(
  how, experiment, whole, stopped, tmp_path, monkeypatch
):
  typed = _moved(how, stopped, tmp_path, monkeypatch)
  workdir = pathlib.Path(typed).expanduser()
  begun = []
  fit = training.fit

  def watched_fit(state, *arguments, **options):
    begun.append(int(state.step))
    return fit(state, *arguments, **options)

  try:
    with mock.patch.object(training, 'fit', watched_fit):
      summary = experiment_lib.run(experiment, workdir=typed).summary
    assert begun == [4]
    runs.assert_same_summary(summary, whole[1].summary)
    runs.assert_same_files(workdir, whole[0])
    # And it is read from there.
    state = experiment_lib.restore(typed, data=small_sources.SOURCES)[1]
    assert training.params_sha256(state.params) == summary['params_sha256']
    images = small_sources.SOURCES.test[0]
    np.testing.assert_array_equal(
      experiment_lib.load_run(typed)(images),
      experiment_lib.load_run(whole[0])(images),
    )
  finally:
    if how == 'other disk':
      shutil.rmtree(workdir.parent)


@pytest.mark.parametrize(
  ('name', 'what'),
  [
    (b'run [1]', "'[1]'"),
    (b'a\\b', repr('\\')),
    (b'\xff\xfe', 'what is not UTF-8'),
  ],
)
def test_places_that_cannot_be_read_again(
  name, what, experiment, whole, stopped, tmp_path
):
  there = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b'/' + name))
  expected = f'reads no path with {re.escape(what)}. Rename that folder'
  for _ in range(2):
    with mock.patch.object(training, 'fit', side_effect=AssertionError):
      with pytest.raises(experiment_lib.ConfigError, match=expected) as caught:
        experiment_lib.run(experiment, workdir=there)
    str(caught.value).encode()
    shutil.rmtree(there)
    shutil.copytree(stopped, there)
  with pytest.raises(experiment_lib.ConfigError, match=expected):
    experiment_lib.load_run(there)
  place = there.rename(tmp_path / 'renamed')
  summary = experiment_lib.run(experiment, workdir=place).summary
  runs.assert_same_summary(summary, whole[1].summary)


def test_moved_between_all_its_parts(experiment, whole, tmp_path):
  place = tmp_path / '0'
  for step in range(1, 6):
    _run_until(1, experiment, place)
    place = place.rename(tmp_path / f'{step}')
  summary = experiment_lib.run(experiment, workdir=place).summary
  runs.assert_same_summary(summary, whole[1].summary)
  runs.assert_same_files(place, whole[0])


def test_before_a_step_was_made_other_data_are_no_other_run(
  experiment, whole, tmp_path
):
  # As where a broken image was removed, and the same command called again.
  fingerprint = data_lib.fingerprint(experiment.data) | {'train': 'another'}
  folder_lib.claim(tmp_path, experiment.config, fingerprint)
  (tmp_path / 'checkpoints' / '3.orbax-checkpoint-tmp').mkdir(parents=True)
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 9.0}\n')
  summary = experiment_lib.run(experiment, workdir=tmp_path).summary
  runs.assert_same_summary(summary, whole[1].summary)
  runs.assert_same_files(tmp_path, whole[0])


def test_after_a_step_they_are(experiment, stopped, tmp_path):
  shutil.copytree(stopped, tmp_path / 'run')
  fingerprint = data_lib.fingerprint(experiment.data) | {'train': 'another'}
  with pytest.raises(data_lib.DataError, match='another data set'):
    folder_lib.claim(tmp_path / 'run', experiment.config, fingerprint)
