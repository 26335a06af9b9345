# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Words of the library that are more than a loss, through `build` and `run`."""

from typing import Any
from typing import NamedTuple
from unittest import mock

import chex
import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import methods
from imbsam_jax import training

_COUNTS = (30, 12, 6)


class _System(NamedTuple):
  """What is expected of a word.

  Attributes:
    costs: Cost of a step in SGD steps, of both kinds of step if two.
    fields: Fields that it is tried with.
    header: Texts of its header.
  """

  costs: tuple[float, ...]
  fields: dict[str, Any] = {}
  header: tuple[str, ...] = ()


# By words of a run.
SYSTEMS = {
  'open_sampling': _System(
    (2.0,),
    header=(
      'auxiliary  2,048 textures',
      'method     sgd open_sampling, all rows joint',
    ),
  ),
  'pure_noise': _System(
    (1.0,),
    {
      # In an MLP two rows of noise are +-1 after the norm, and their gradients
      # lose digits.
      'model.name': 'small_conv_net',
      'model.norm': 'dar_batch',
      'objective.scheme': 'pure_noise(delta=0.5, start=0.5)',
      'data.sampler': 'drs(start=0.5)',
    },
    (
      'method  sgd drs(start=0.5) pure_noise(delta=0.5, start=0.5), all rows '
      'joint',
    ),
  ),
}


def _images(counts, seed):
  rng = np.random.RandomState(seed)
  labels = np.repeat(np.arange(3), counts)
  images = rng.randint(0, 120, (len(labels), 6, 6, 1))
  for label in range(3):
    images[labels == label, 2 * label : 2 * label + 2] += 100
  return images.astype(np.uint8), labels


_SOURCES = experiment.Sources(
  train=_images(_COUNTS, 0),
  validation=_images((8, 8, 8), 1),
  test=_images((10, 10, 10), 2),
)


def _build(words, num_devices, **fields):
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 2,
      'save_every': 1.0,
      'data.batch_size': 16,
      'data.augment': 'pad_crop(padding=1)',
      'model.name': 'mlp',
      'model.norm': 'none',
      'optimizer.momentum': 0.5,
      **(SYSTEMS[words].fields if words in SYSTEMS else {}),
      **fields,
    },
  )
  mesh = training.data_mesh(jax.devices()[:num_devices])
  with mock.patch.object(training, 'data_mesh', lambda: mesh):
    return experiment.build(config, data=_SOURCES)


class _Stopped(Exception):
  pass


def _what_is_trained(state):
  return state.variables, state.opt_state, state.loss_state


@pytest.fixture(scope='module', params=SYSTEMS)
def system(request, tmp_path_factory):
  """Words, their experiment on two devices, and a run of it."""
  exp = _build(request.param, 2)
  folder = tmp_path_factory.mktemp('run')
  return request.param, exp, experiment.run(exp, workdir=folder)


def test_trains_and_learns(system):
  _, exp, result = system
  found = [r['loss'] for r in result.history if 'loss' in r]
  assert len(found) == exp.num_steps == 6
  assert found[-1] < found[0]
  begin = exp.init(0)
  changed = [
    not np.array_equal(one, other)
    for one, other in zip(
      *(jax.tree.leaves(s.params) for s in (begin, result.state)), strict=True
    )
  ]
  assert all(changed)


def test_header_and_cost(system):
  words, exp, result = system
  for text in SYSTEMS[words].header:
    assert text in str(exp)
  costs = [r['cost'] for r in result.history if 'cost' in r]
  assert sorted(set(costs)) == pytest.approx(SYSTEMS[words].costs)
  assert f'expected cost {np.mean(costs):.2f} SGD steps' in str(exp)


def test_goes_on_where_it_stopped(system, tmp_path):
  _, exp, whole = system

  def stop(records):
    if records[-1]['step'] == 6:
      raise _Stopped

  # The checkpoint of step 3 is there then, that of step 6 is not.
  with pytest.raises(_Stopped):
    experiment.run(exp, workdir=tmp_path, progress=stop)
  steps = []
  again = experiment.run(exp, workdir=tmp_path, progress=steps.extend)
  assert [record['step'] for record in steps] == [4, 5, 6]
  chex.assert_trees_all_equal(
    *(_what_is_trained(r.state) for r in (whole, again))
  )
  assert whole.summary['params_sha256'] == again.summary['params_sha256']
  assert [r['loss'] for r in whole.history if 'loss' in r] == [
    r['loss'] for r in again.history if 'loss' in r
  ]


def test_two_devices_are_one(system):
  words, _, two = system
  one = experiment.run(_build(words, 1))
  chex.assert_trees_all_close(
    *(_what_is_trained(r.state) for r in (one, two)), rtol=1e-5, atol=1e-6
  )


def test_several_steps_in_a_call(system):
  words, _, whole = system
  with mock.patch(
    'imbsam_jax.experiment._build._steps_per_call', lambda *unused: 2
  ):
    several = _build(words, 2)
  assert several.steps_per_call == 2
  found = experiment.run(several)
  chex.assert_trees_all_close(
    *(_what_is_trained(r.state) for r in (whole, found)),
    rtol=1e-5,
    atol=1e-6,
  )


def test_programs_are_known_before(system):
  words, exp, result = system
  number = len(SYSTEMS[words].costs)
  assert len(exp.programs()) == number
  assert result.summary['step_programs'] == number
  assert result.summary['step_programs_after_first_epoch'] == 0


def test_cost_is_that_of_the_compiled_step(system):
  """In FLOPs; of a large batch, beside which that of the update is little."""
  words, _, _ = system
  large = {'data.batch_size': 128}
  model = {
    name: value
    for name, value in SYSTEMS[words].fields.items()
    if name.startswith('model.')
  }
  sgd = _flops(_build('sgd', 2, **large, **model))[0]
  found = [flops / sgd for flops in _flops(_build(words, 2, **large))]
  np.testing.assert_allclose(found, SYSTEMS[words].costs, rtol=0.1)


def _flops(exp):
  found = []
  for program, step in exp.programs().items():
    batch = exp.put(exp.batches(0)[step])
    lowered = exp.train_steps[program.kind].lower(exp.abstract_state, batch)
    found.append(lowered.compile().cost_analysis()['flops'])
  return sorted(found)


def _others(words):
  return [
    other
    for axis in methods.AXES.values()
    for other in sorted(axis.words)
    if other != words
  ]


@pytest.mark.parametrize('words', SYSTEMS)
def test_other_words_go_with_it_or_are_refused(words):
  """In a sentence that says what to do."""
  refused = []
  for other in _others(words):
    try:
      experiment.check(experiment.config('own', f'{words},{other}'))
    except experiment.ConfigError as error:
      assert str(error).endswith('.') and '`' in str(error) or "'" in str(error)
      refused.append(other)
  assert 'ce' not in refused and 'imbsam' not in refused
  assert len(refused) > 10


@pytest.mark.extended
@pytest.mark.parametrize('words', SYSTEMS)
def test_words_that_go_with_it_are_traced(words):
  """Of those that need no run before."""
  traced = []
  for other in _others(words):
    try:
      exp = _build(f'{words},{other}', 1)
    except experiment.ConfigError:
      continue
    batch = exp.put(exp.batches(0)[0])
    after, _ = jax.eval_shape(exp.train_step(0), exp.abstract_state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, exp.abstract_state)
    traced.append(other)
  assert {'imbsam', 'sam', 'rsam', 'ldam', 'etf', 'mm', 'gcl'} <= {*traced}


@pytest.mark.extended
@pytest.mark.parametrize('words', SYSTEMS)
def test_convolutions_learn(words):
  fields = {'model.name': 'small_conv_net', 'epochs': 8}
  result = experiment.run(_build(f'imbsam,{words}', 1, **fields))
  assert result.summary['balanced_accuracy'] > 0.8
