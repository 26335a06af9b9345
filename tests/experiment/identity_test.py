# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of runs of another network or loss of one's own."""

import functools
import json
from typing import Any

from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax._runs import own as own_lib


class _Net(nn.Module):
  width: int = 8
  act: Any = nn.relu

  @nn.compact
  def __call__(self, x):
    return nn.Dense(3, name='out')(self.act(nn.Dense(self.width)(x)))


class _Renamed(nn.Module):
  """The same parameters, by other names."""

  @nn.compact
  def __call__(self, x):
    return nn.Dense(3, name='head')(nn.relu(nn.Dense(8)(x)))


class _Normed(nn.Module):
  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))


def _make_loss(scale=1.0, *, prior=(0.5, 0.3, 0.2)):
  """A closure over a number and over an array."""
  prior = jnp.log(jnp.array([prior]))

  def loss(logits, labels):
    logits = jax.nn.log_softmax(scale * logits + prior)
    return -(jax.nn.one_hot(labels, 3) * logits).sum(axis=1)

  return loss


def _make_act():
  """What is computed with it names a function, which has an address."""
  return lambda x: jax.pure_callback(lambda y: 3 * y, x, x)


def _sources(num_features=6, factor=1.0):
  labels = np.repeat([0, 1, 2], [40, 16, 8])
  rows = np.random.RandomState(0).randn(len(labels), num_features)
  rows = (factor * rows).astype(np.float32)
  return experiment.Sources(train=(rows, labels), test=(rows, labels))


def _build(sources=None, **own):
  config = experiment.config('own', 'sgd', {
    'epochs': 1, 'data.batch_size': 16, 'model.name': 'mlp',
    'model.norm': 'none',
  })  # fmt: skip
  return experiment.build(config, data=sources or _sources(), **own)


def _begin(folder, exp):
  """A folder as a run leaves it that was stopped."""
  folder_lib.claim(folder, exp.config, exp.fingerprint, exp.own)
  (folder / 'summary.json').write_text('{}')


@pytest.mark.parametrize(
  ('there', 'now', 'expected'),
  [
    (_Net(), _Renamed(), r'network \(_Net\(width=8, act=.*\) there, _Renamed'),
    (_Net(), _Net(width=9), r'network \(_Net\(width=8.* there, _Net\(width=9'),
    (
      _Net(act=nn.relu),
      _Net(act=nn.tanh),
      r'act=relu\) there, .*act=tanh\) now',
    ),
    (_Net(), _Normed(), r'network \(_Net.* there, _Normed\(\) now\); pass ano'),
    (
      models.from_nnx(lambda rngs: nnx.Linear(6, 3, rngs=rngs)),
      models.from_nnx(lambda rngs: nnx.Linear(6, 3, use_bias=False, rngs=rngs)),
      r'network \(from_nnx\(Linear\) had params/bias float32\[3\] there, and '
      'has it not now',
    ),
    (
      _Net(act=lambda x: x),
      _Net(act=lambda x: 2 * x),
      r'_Net.*lambda.* computes something else now',
    ),
  ],
)
def test_another_network_is_refused(there, now, expected, tmp_path):
  _begin(tmp_path, _build(model=there))
  with pytest.raises(experiment.ConfigError, match=expected):
    experiment.run(_build(model=now), workdir=tmp_path)
  with pytest.raises(
    experiment.ConfigError, match='pass what that run was trained with'
  ):
    experiment.restore(tmp_path, data=_sources(), model=now)


@pytest.mark.parametrize(
  ('there', 'now', 'expected'),
  [
    (_make_loss(1.0), _make_loss(2.0), r'loss \(.*computes something else now'),
    (
      _make_loss(),
      lambda z, y: z[:, 0],
      r'loss \(loss there, <lambda> now',
    ),
  ],
)
def test_another_loss_is_refused(there, now, expected, tmp_path):
  exp = _build(loss=there)
  _begin(tmp_path / 'word' / 'seed_0', exp)
  with pytest.raises(experiment.ConfigError, match=expected):
    experiment.run(_build(loss=now), workdir=tmp_path / 'word' / 'seed_0')
  # Of a run that is complete, too.
  (tmp_path / 'word' / 'seed_0' / 'summary.json').write_text('{}')
  with pytest.raises(experiment.ConfigError, match=expected):
    experiment.compare({'word': _build(loss=now)}, seeds=1, workdir=tmp_path)


@pytest.mark.parametrize(
  'make',
  [
    lambda: {'loss': _make_loss()},
    lambda: {'loss': lambda z, y: z[:, 0]},
    lambda: {'loss': functools.partial(lambda z, y, k: k * z[:, 0], k=2.0)},
    lambda: {'loss': jax.jit(_make_loss())},
    lambda: {'model': _Net(act=lambda x: jax.nn.gelu(x))},
    lambda: {'model': _Net(act=jax.checkpoint(lambda x: 3 * x))},
    lambda: {'model': _Net(act=_make_act())},
    lambda: {'model': _Normed()},
    lambda: {'model': models.from_nnx(lambda r: nnx.Linear(6, 3, rngs=r))},
  ],
)
def test_the_same_made_again_is_accepted(make, tmp_path):
  one, other = _build(**make()), _build(**make())
  assert one.own == other.own
  assert ' at 0x' not in json.dumps(dict(one.own))
  _begin(tmp_path, one)
  assert (tmp_path / 'own.json').exists()
  _begin_again(tmp_path, other)


def _begin_again(folder, exp):
  folder_lib.claim(folder, exp.config, exp.fingerprint, exp.own)


def test_arrays_that_a_loss_holds_are_not_compared(tmp_path):
  _begin(tmp_path, _build(loss=_make_loss(prior=(0.5, 0.3, 0.2))))
  _begin_again(tmp_path, _build(loss=_make_loss(prior=(0.6, 0.3, 0.1))))


def test_another_version_of_jax_compares_names_and_shapes(tmp_path):
  exp = _build(model=_Net(), loss=_make_loss())
  _begin(tmp_path, exp)
  older = {
    part: dict(known, jax='0.1', computes='other')
    for part, known in exp.own.items()
  }
  own_lib.write(tmp_path, older)
  _begin_again(tmp_path, exp)
  with pytest.raises(experiment.ConfigError, match='another network'):
    _begin_again(tmp_path, _build(model=_Net(width=9), loss=_make_loss()))


def test_folders_of_earlier_versions_are_accepted(tmp_path):
  _begin(tmp_path, _build(model=_Net()))
  (tmp_path / 'own.json').unlink()
  _begin_again(tmp_path, _build(model=_Net(width=9)))
  assert not (tmp_path / 'own.json').exists()


def test_folder_of_a_run_that_never_began_is_taken(tmp_path):
  exp = _build(model=_Net())
  folder_lib.claim(tmp_path, exp.config, exp.fingerprint, exp.own)
  _begin_again(tmp_path, _build())
  assert not (tmp_path / 'own.json').exists()


def test_checkpoints_that_there_are_are_listed(tmp_path, monkeypatch):
  _begin(tmp_path, _build(model=_Net()))
  for steps, listed in (([11, 21], '11, 21'), ([], 'none')):
    monkeypatch.setattr(
      training,
      'inspect_checkpoints',
      lambda folder, s=steps: [training.StepReport(n, 'good') for n in s],
    )
    with pytest.raises(
      training.CheckpointError,
      match=f'no checkpoint of step 100 .* steps with one are: {listed}',
    ):
      experiment.restore(tmp_path, 100)


def test_folders_of_runs_are_found_beneath(tmp_path):
  _begin(tmp_path / 'sgd' / 'seed_0', _build(model=_Net()))
  with pytest.raises(
    experiment.ConfigError, match='no run in .* There is one in .*sgd/seed_0'
  ):
    experiment.restore(tmp_path)


def test_other_data_are_named_as_such_and_not_as_a_network(tmp_path):
  _begin(tmp_path, _build(model=_Net()))
  for sources in (_sources(factor=2.0), _sources(num_features=5)):
    with pytest.raises(data.DataError, match='another data set'):
      _begin_again(tmp_path, _build(sources, model=_Net()))
