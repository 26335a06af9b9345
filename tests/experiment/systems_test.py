# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Schemes of the library go through `build` and `run`, as kinds_test has it."""

import json

import chex
from flax import linen as nn
import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import methods
from tests.experiment import kinds_test
from tests.experiment import small_sources

# Multiplications for a row of the MLP with layers 36, 128, 128 and 3.
_MLP = 36 * 128 + 128 * 128 + 128 * 3
# Two last layers, and a classifier twice as wide.
_TWO_BRANCHES = 36 * 128 + 2 * (128 * 128 + 128 * 3)
# A projector, and the similarities with 32 views and 3 times 8 keys.
_PROJECTED = _MLP + 2 * 128 * 128 + (32 + 3 * 8) * 128

# By word the cost of a step in SGD steps, of both kinds of step if two, and
# further fields.
WORDS = {
  'autobalance': (
    [1.0],
    {'objective.scheme': 'autobalance(every=2, batches=1, epochs=1.0)'},
  ),
  'bbn': ([2.0], {}),
  'cc_sam': ([1.0], {}),
  'dbn_mix': ([_TWO_BRANCHES / _MLP], {}),
  'gae': ([2 + 8 * 2 / 3], {'objective.scheme': 'gae(epsilon=0.05)'}),
  'head_only': ([1 / 3], {}),
  'open_sampling': ([2.0], {}),
  'ot': ([(16 + 3) / 16 / 3], {'objective.scheme': 'ot(num_iterations=20)'}),
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


# Of a step as XLA counts it, where that is something else: loops count once,
# nothing is passed back to images, and the optimizer takes about 6 FLOPs for a
# parameter, where a multiplication of 16 rows is 32.
_SGD = 3 * _MLP - 36 * 128 + 6 / 32 * _MLP
FLOPS = {
  'gae': 2 + 2 / 3,
  'head_only': (_MLP + 128 * 3) / _SGD,
  'ot': (16 + 3) / 16 * (_MLP + 128 * 3) / _SGD,
}


# Fields of words whose cost on networks is counted: XLA counts a loop once.
_ON_NETWORKS = {
  'autobalance': WORDS['autobalance'][1],
  'bbn': {},
  'dbn_mix': {},
  'gae': {'objective.scheme': 'gae(epsilon=0.05, num_steps=1)'},
  'head_only': {},
  'open_sampling': {},
  'ot': {'objective.scheme': 'ot(num_iterations=1)'},
  'pure_noise': {},
  'rescom': {},
}


# Of which six steps do not tell three classes apart.
_GO_ON = ('autobalance', 'cc_sam', 'gae', 'head_only', 'ot', 'pure_noise')


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  """``first(words, fields)`` are fields with a run to begin with, if needed."""

  def of(words, fields):
    if not any(map(methods.fine_tunes, methods.split(words))):
      return fields
    network = {
      name: value
      for name, value in fields.items()
      if name.startswith('model.') or name == 'epochs'
    }
    folder = tmp_path_factory.mktemp('first')
    experiment.run(kinds_test.build('sgd', 1, **network), workdir=folder)
    return {**fields, 'init_from': str(folder)}

  return of


@pytest.fixture(scope='module', params=WORDS)
def kind(request, tmp_path_factory, first):
  """See `kinds_test.Kind`."""
  costs, fields = WORDS[request.param]
  folder = tmp_path_factory.mktemp(request.param)
  fields = first(request.param, fields)
  return kinds_test.trained(request.param, costs, folder, **fields)


test_header_and_cost = kinds_test.test_header_and_cost
test_goes_on_where_it_stopped = kinds_test.test_goes_on_where_it_stopped
test_two_devices_are_one = kinds_test.test_two_devices_are_one
test_several_steps_in_a_call = kinds_test.test_several_steps_in_a_call
test_programs_are_known_before = kinds_test.test_programs_are_known_before


def test_learns_and_trains_all(kind):
  if kind.word in _GO_ON:
    # Six steps of SGD give two of the three classes, these go on from there;
    # and running averages of six steps are not those of the images.
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
  expected = FLOPS.get(kind.word, kind.costs)
  np.testing.assert_allclose(found, expected, rtol=0.1)


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
      experiment.check_config(experiment.config('own', f'{word},{other}'))
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


@pytest.mark.parametrize(
  ('word', 'method'), [('bbn', 'branches'), ('rescom', 'features')]
)
def test_a_network_of_ones_own_is_a_classifier(word, method):
  class Net(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
      return nn.Dense(3)(images.reshape(len(images), -1))

  config = experiment.config('own', word)
  with pytest.raises(
    experiment.ConfigError, match=f'models.Classifier.*a method `{method}`'
  ):
    experiment.build(config, model=Net(), data=small_sources.SOURCES)


@pytest.mark.extended
@pytest.mark.parametrize('word', WORDS)
def test_trains_a_convolutional_network(word, first):
  fields = {
    'model.name': 'small_conv_net',
    'model.norm': 'batch',
    **WORDS[word][1],
    'epochs': 12,
  }
  exp = kinds_test.build(word, 2, **first(word, fields))
  result = experiment.run(exp)
  assert result.summary['skipped_steps'] == 0
  assert result.summary['balanced'] > 0.6


@pytest.mark.extended
@pytest.mark.parametrize('word', [*WORDS, 'imbsam,bbn'])
def test_a_step_of_resnet20(word, first):
  fields = {'model.norm': 'batch', **WORDS[word.rpartition(',')[2]][1]}
  fields = first(word, {**fields, 'model.name': 'resnet20'})
  exp = kinds_test.build(word, 1, **fields)
  state = exp.init(0)
  before = jax.device_get(state.params)
  after, metrics = exp.train_step(0)(state, exp.put(exp.batches(0)[0]))
  assert np.isfinite(metrics['loss']) and not metrics['skipped']
  # The share of the second branch of BBN is 0 in the first epoch.
  moved = jax.tree.map(
    lambda p, q: np.any(p != q), before, jax.device_get(after.params)
  )
  assert moved['classifier']['kernel']
  if set(moved) != {'classifier'}:
    trunk = moved.get('network', moved)  # Two branches are around one.
    assert trunk['stem']['kernel']


@pytest.mark.extended
@pytest.mark.parametrize('name', ['small_conv_net', 'resnet20'])
@pytest.mark.parametrize('word', _ON_NETWORKS)
def test_cost_on_networks(word, name, first):
  """What is stated is what is compiled, in FLOPs of a step of SGD."""
  network = {'model.name': name, 'model.norm': 'group'}
  fields = {**network, **_ON_NETWORKS[word]}
  exp = kinds_test.build(word, 1, **first(word, fields))
  (sgd,) = kinds_test.flops(kinds_test.build('sgd', 1, **network))
  (own,) = kinds_test.flops(exp)
  np.testing.assert_allclose(own / sgd, exp.expected_cost(), rtol=0.1)


@pytest.mark.extended
@pytest.mark.parametrize('name', ['small_conv_net', 'resnet20'])
def test_cost_of_the_search_on_networks(name):
  """An outer step costs what is stated, or up to a fifth less."""
  network = {'model.name': name, 'model.norm': 'group'}
  search = 'autobalance_search(every=2, batches=1, start=0.0, num_terms=1)'
  exp = kinds_test.build('sgd', 1, **network, **{'objective.scheme': search})
  (sgd,) = kinds_test.flops(kinds_test.build('sgd', 1, **network))
  plain, with_outer = kinds_test.flops(exp)
  np.testing.assert_allclose(plain / sgd, 1.0, rtol=0.02)
  # The last product is with the few parameters of the loss alone.
  stated = exp.objective.outer.cost
  assert 0.8 * stated <= (with_outer - plain) / sgd <= stated
