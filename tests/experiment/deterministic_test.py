# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The field `deterministic`: a flag of XLA, which is read once."""

import json
import os
from typing import Any

import jax
import pytest

from imbsam_jax import experiment
from imbsam_jax._doors import processes
from imbsam_jax._runs import compilation
from imbsam_jax._runs import fields as experiment_fields
from imbsam_jax.experiment import _build
from tests import programs

_FLAG = '--xla_gpu_deterministic_ops=true'


@pytest.fixture
def build(monkeypatch):
  """Builds as far as the flag."""
  jax.devices()  # JAX has begun.
  monkeypatch.setenv('XLA_FLAGS', '--xla_some=1')

  def stop(*arguments):
    raise InterruptedError

  monkeypatch.setattr(experiment._data_sets, 'load', stop)

  def build(deterministic=True):
    config = experiment.config(
      'digits_lt', fields={'deterministic': deterministic}
    )
    with pytest.raises(InterruptedError):
      experiment.build(config)
    return os.environ['XLA_FLAGS']

  return build


def test_too_late_on_gpus(build, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  with pytest.raises(experiment.ConfigError, match=f'XLA_FLAGS={_FLAG}'):
    build()
  assert build(deterministic=False) == '--xla_some=1'
  # Whoever starts Python with it.
  monkeypatch.setenv('XLA_FLAGS', f'--xla_some=1 {_FLAG}')
  build()


def test_methods_of_a_comparison_are_asked_too(build, monkeypatch):
  del build
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  config = experiment.config('digits_lt', fields={'deterministic': True})
  data: Any = None
  with pytest.raises(experiment.ConfigError, match='comes too late'):
    _build.build_on(config, data)


@pytest.mark.parametrize('backend', ['cpu', 'tpu'])
def test_nothing_to_do_elsewhere(backend, build, monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  assert build() == '--xla_some=1'


def test_in_time(build, monkeypatch):
  monkeypatch.setattr(compilation, '_has_begun', lambda: False)
  monkeypatch.setattr(jax, 'default_backend', lambda: pytest.fail('begins'))
  assert build(deterministic=False) == '--xla_some=1'
  assert build() == f'--xla_some=1 {_FLAG}'
  # Once is enough.
  assert build() == f'--xla_some=1 {_FLAG}'


def test_whether_jax_has_begun():
  before = jax.config.jax_num_cpu_devices
  jax.devices()
  assert compilation._has_begun()
  assert jax.config.jax_num_cpu_devices == before


@pytest.mark.parametrize('name', ['train', 'evaluate'])
def test_before_processes_join(name, monkeypatch, tmp_path):
  """That is where JAX begins."""
  config = experiment.config('digits_lt', fields={'deterministic': True})
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(experiment_fields.to_json(config)))
  seen = []

  def join(values):
    del values
    seen.append(os.environ.get('XLA_FLAGS'))
    raise InterruptedError

  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.setattr(compilation, '_has_begun', lambda: False)
  monkeypatch.setattr(processes, 'join', join)
  given = [f'--config=from_json:{path}'] if name == 'train' else []
  programs.call(name, f'--workdir={tmp_path}', *given)
  assert seen == [_FLAG]
