# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Schemes of the library go through `build` and `run`, as kinds_test has it."""

import json

import chex
import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import methods
from tests.experiment import kinds_test

# Multiplications for a row of the MLP with layers 36, 128, 128 and 3.
_MLP = 36 * 128 + 128 * 128 + 128 * 3
# Two last layers, and a classifier twice as wide.
_TWO_BRANCHES = 36 * 128 + 2 * (128 * 128 + 128 * 3)
# A projector, and the similarities with 32 views and 3 times 8 keys.
_PROJECTED = _MLP + 2 * 128 * 128 + (32 + 3 * 8) * 128

# By word the cost of a step in SGD steps, of both kinds of step if two, and
# further fields.
WORDS = {
  'bbn': ([2.0], {}),
  'dbn_mix': ([_TWO_BRANCHES / _MLP], {}),
  'open_sampling': ([2.0], {}),
  'pure_noise': (
    [1.0],
    {
      # In an MLP two rows of noise are +-1 after the norm, and their gradients
      # lose digits.
      'model.name': 'small_conv_net',
      'model.norm': 'dar_batch',
      'objective.scheme': 'pure_noise(delta=0.5, start=0.5)',
      'data.sampler': 'drs(start=0.5)',
    },
  ),
  'rescom': ([2 * _PROJECTED / _MLP], {}),
}


@pytest.fixture(scope='module', params=WORDS)
def kind(request, tmp_path_factory):
  """See `kinds_test.Kind`."""
  costs, fields = WORDS[request.param]
  folder = tmp_path_factory.mktemp(request.param)
  return kinds_test.trained(request.param, costs, folder, **fields)


test_header_and_cost = kinds_test.test_header_and_cost
test_goes_on_where_it_stopped = kinds_test.test_goes_on_where_it_stopped
test_two_devices_are_one = kinds_test.test_two_devices_are_one
test_several_steps_in_a_call = kinds_test.test_several_steps_in_a_call
test_programs_are_known_before = kinds_test.test_programs_are_known_before


def test_learns_and_trains_all(kind):
  if 'model.norm' in kind.fields:
    # Running averages of six steps are not those of the images.
    found = [r['loss'] for r in kind.result.history if 'loss' in r]
    assert found[-1] < found[0]
  else:
    # By chance a third; the losses of mixed rows and of queues tell little.
    assert kind.result.summary['balanced'] > 0.8
  for one, other in zip(
    *(
      jax.tree.leaves(state.params)
      for state in (kind.exp.init(0), kind.result.state)
    ),
    strict=True,
  ):
    assert not np.array_equal(one, other)


def test_cost_is_that_of_the_compiled_step(kind):
  """In FLOPs: none are for gradients of images and of what is remembered."""
  network = {k: v for k, v in kind.fields.items() if k.startswith('model.')}
  sgd, own = (
    # On one device: on two, both update all parameters.
    kinds_test.flops(kinds_test.build(word, 1, **fields))
    for word, fields in (('sgd', network), (kind.word, kind.fields))
  )
  found = [number / sgd[0] for number in own]
  np.testing.assert_allclose(found, kind.costs, rtol=0.1)


def _others(word):
  return [
    other
    for axis in methods.AXES.values()
    for other in sorted(axis.words)
    if other != word
  ]


@pytest.mark.parametrize('word', ['open_sampling', 'pure_noise'])
def test_other_words_go_with_it_or_are_refused(word):
  """In a sentence that says what to do."""
  refused = []
  for other in _others(word):
    try:
      experiment.check(experiment.config('own', f'{word},{other}'))
    except experiment.ConfigError as error:
      assert str(error).endswith(('.', ')'))
      refused.append(other)
  assert {'ce', 'imbsam', 'ldam', 'etf'}.isdisjoint(refused)
  assert {'cb', 'balanced_softmax', 'bbn', 'rescom'} <= {*refused}


@pytest.mark.extended
@pytest.mark.parametrize('word', ['open_sampling', 'pure_noise'])
def test_words_that_go_with_it_are_traced(word):
  """Of those that need no run before."""
  _, fields = WORDS[word]
  traced = []
  for other in _others(word):
    try:
      exp = kinds_test.build(f'{word},{other}', 1, **fields)
    except experiment.ConfigError:
      continue
    batch = exp.put(exp.batches(0)[0])
    after, _ = jax.eval_shape(exp.train_step(0), exp.abstract_state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, exp.abstract_state)
    traced.append(other)
  assert {'imbsam', 'sam', 'rsam', 'ldam', 'etf', 'mm', 'gcl'} <= {*traced}


@pytest.mark.parametrize('kind', ['bbn'], indirect=True)
def test_is_calibrated_as_any_network(kind):
  names = ['crt', 'ncm', 'tau_normalization']
  found = experiment.calibrate(kind.exp, kind.result.state, names)
  assert not found.needs
  for name in names:
    assert found.methods[name]['test']['balanced'] > 0.8


def test_a_run_of_the_old_mixing_goes_on(tmp_path):
  """Its configuration says dbn_mix, which is the word of a system now."""
  exp = kinds_test.build('cdt,bilateral_mix', 1)
  whole = experiment.run(exp)

  class Stopped(Exception):
    pass

  def stop(records):
    if records[-1]['step'] == 6:
      raise Stopped

  with pytest.raises(Stopped):
    experiment.run(exp, workdir=tmp_path, progress=stop)
  path = tmp_path / 'config.json'
  text = path.read_text()
  assert text.count('bilateral_mix') == 1
  path.write_text(text.replace('bilateral_mix', 'dbn_mix'))
  assert json.loads(path.read_text())['objective']['mixing'] == 'dbn_mix'
  assert experiment.config('from_json', str(path)) == exp.config
  steps = []
  again = experiment.run(exp, workdir=tmp_path, progress=steps.extend)
  assert [record['step'] for record in steps] == [4, 5, 6]
  chex.assert_trees_all_equal(again.state.params, whole.state.params)


@pytest.mark.extended
@pytest.mark.parametrize('word', WORDS)
def test_trains_a_convolutional_network(word):
  fields = {
    'model.name': 'small_conv_net',
    'model.norm': 'batch',
    **WORDS[word][1],
    'epochs': 12,
  }
  exp = kinds_test.build(word, 2, **fields)
  result = experiment.run(exp)
  assert result.summary['skipped_steps'] == 0
  assert result.summary['balanced'] > 0.6


@pytest.mark.extended
@pytest.mark.parametrize('word', [*WORDS, 'imbsam,bbn'])
def test_a_step_of_resnet20(word):
  fields = {'model.norm': 'batch', **WORDS[word.rpartition(',')[2]][1]}
  exp = kinds_test.build(word, 1, **{**fields, 'model.name': 'resnet20'})
  state = exp.init(0)
  before = jax.device_get(state.params)
  after, metrics = exp.train_step(0)(state, exp.put(exp.batches(0)[0]))
  assert np.isfinite(metrics['loss']) and not metrics['skipped']
  # The share of the second branch of BBN is 0 in the first epoch.
  moved = jax.tree.map(
    lambda p, q: np.any(p != q), before, jax.device_get(after.params)
  )
  trunk = moved.get('network', moved)  # Two branches are around one.
  assert moved['classifier']['kernel'] and trunk['stem']['kernel']
