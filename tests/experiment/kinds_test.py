# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each kind of method goes through `build` and `run`: see kinds.py."""

import linecache
import re
from typing import Any
from typing import NamedTuple
from unittest import mock

import chex
import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax._runs import recipes
from tests import own_words
from tests.experiment import small_sources
from tests.experiment import trunks

# By word the cost of a step in SGD steps, of both kinds of step if two.
COSTS = {
  'class_queue': [1.0],
  'second_look': [2.0],
  'two_views': [2.0],
  'adversaries': [1 + 2 / 3],
  'outer_offsets': [1.0, 1 + 5 / 3],
  'frozen_trunk': [1.0],
}


FILES = ('tests/experiment/kinds.py', 'docs/examples/my_methods.py')


@pytest.fixture(autouse=True, scope='module')
def _words():
  with own_words.registered(*FILES):
    yield


def build(words, num_devices, **fields):
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
      **fields,
    },
  )
  mesh = training.data_mesh(jax.devices()[:num_devices])
  with mock.patch.object(training, 'data_mesh', lambda: mesh):
    return experiment.build(config, data=small_sources.SOURCES)


class _Stopped(Exception):
  pass


class Kind(NamedTuple):
  """A word, its experiment on two devices, and a run of it."""

  word: str
  costs: list[float]
  fields: dict[str, Any]
  exp: Any
  result: Any


def trained(word, costs, folder, **fields):
  exp = build(word, 2, **fields)
  return Kind(word, costs, fields, exp, experiment.run(exp, workdir=folder))


def _what_is_trained(state):
  return state.params, state.opt_state, state.loss_state


@pytest.fixture(scope='module', params=COSTS)
def kind(request, tmp_path_factory):
  """See `Kind`."""
  folder = tmp_path_factory.mktemp(request.param)
  return trained(request.param, COSTS[request.param], folder)


def test_trains_and_learns(kind):
  exp, result = kind.exp, kind.result
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


def test_header_and_cost(kind):
  exp, result = kind.exp, kind.result
  header = rf'method +sgd (\S+ )*{kind.word}\b.*, all rows joint'
  assert re.search(header, str(exp))
  assert exp.mesh.size == 2
  costs = [r['cost'] for r in result.history if 'cost' in r]
  assert sorted(set(costs)) == pytest.approx(kind.costs)
  assert f'expected cost {np.mean(costs):.2f} SGD steps' in str(exp)


def test_goes_on_where_it_stopped(kind, tmp_path):
  exp, whole = kind.exp, kind.result

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


def test_two_devices_are_one(kind):
  one = experiment.run(build(kind.word, 1, **kind.fields))
  chex.assert_trees_all_close(
    *(_what_is_trained(r.state) for r in (one, kind.result)),
    rtol=1e-5,
    atol=1e-6,
  )


def test_several_steps_in_a_call(kind):
  """Only where no outer step comes between them."""
  several = _with_several_steps(kind.word, **kind.fields)
  assert several.steps_per_call == 2
  found = experiment.run(several)
  chex.assert_trees_all_close(
    *(_what_is_trained(r.state) for r in (kind.result, found)),
    rtol=1e-5,
    atol=1e-6,
  )


def _with_several_steps(word, **fields):
  with mock.patch(
    'imbsam_jax.experiment._run_parts.steps_per_call',
    lambda *unused, **also_unused: 2,
  ):
    return build(word, 2, **fields)


def test_programs_are_known_before(kind):
  number = len(kind.costs)
  assert len(kind.exp.programs()) == number
  assert kind.result.summary['step_programs'] == number
  assert kind.result.summary['step_programs_after_first_epoch'] == 0


def test_cost_is_that_of_the_compiled_step(kind):
  """In FLOPs, to a tenth of an SGD step and what a net of this size adds."""
  if kind.word == 'frozen_trunk':
    return  # Its SGD step is another: see below.
  sgd = flops(build('sgd', 2))[0]
  found = [number / sgd for number in flops(kind.exp)]
  np.testing.assert_allclose(found, kind.costs, atol=0.25)


def flops(exp):
  """Of the compiled steps, the cheapest first."""
  found = []
  for program, step in exp.programs().items():
    batch = exp.put(exp.batches(0)[step])
    lowered = exp.train_steps[program.kind].lower(exp.abstract_state, batch)
    found.append(lowered.compile().cost_analysis()['flops'])
  return sorted(found)


def test_queue_holds_the_last_features_of_each_class():
  exp = build('class_queue', 1)
  state, step = exp.init(0), 0
  queue = np.zeros(state.loss_state.shape, np.float32)
  for step in range(2):
    batch = exp.batches(0)[step]
    images = np.asarray(exp.data.train.images)[batch.rows['image']]
    features = exp.feature_step(state.variables, images)
    new, _ = exp.train_steps[exp.kind(step)](
      jax.tree.map(lambda x: x.copy(), state), exp.put(batch)
    )
    # Without augmentation the features would be these: labels tell the order.
    for label in np.asarray(batch.rows['label']):
      queue[label] = np.roll(queue[label], 1, axis=0)
    changed = np.any(np.asarray(new.loss_state) != queue, axis=(1, 2))
    seen = np.isin(np.arange(3), batch.rows['label'])
    np.testing.assert_array_equal(changed, seen)
    assert features[0].shape[1] == queue.shape[2]
    queue, state = np.array(new.loss_state), new


def test_frozen_parameters_are_loaded_and_not_in_a_checkpoint(tmp_path):
  exp = build('frozen_trunk', 1)
  result = experiment.run(exp, workdir=tmp_path)
  assert set(result.state.params) == {'classifier'}
  frozen = result.state.frozen
  assert 'classifier' not in frozen and frozen
  names = sorted([*frozen, 'classifier'])
  for number, name in enumerate(names):
    for leaf in jax.tree.leaves(frozen.get(name, {})):
      np.testing.assert_array_equal(leaf, trunks.leaf(number, leaf.shape))
  saved = sum(
    path.stat().st_size
    for path in (tmp_path / 'checkpoints').rglob('*')
    if path.is_file()
  )
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(frozen))
  # Two checkpoints with momentum would be four times that.
  assert saved < 2 * size
  with mock.patch.object(training, 'data_mesh', lambda: exp.mesh):
    again, state = experiment.restore(tmp_path, data=small_sources.SOURCES)
  chex.assert_trees_all_equal(state.variables, result.state.variables)
  assert 'of them trained' in str(again)
  with (
    mock.patch.object(trunks, 'leaf', lambda number, shape: np.ones(shape)),
    pytest.raises(experiment.ConfigError, match='another loaded parameters'),
  ):
    experiment.restore(tmp_path, data=small_sources.SOURCES)


def test_no_gradient_of_a_frozen_trunk_is_computed():
  batch, dims = 16, (36, 128, 128, 3)
  frozen, full = (flops(build(word, 1))[0] for word in ('frozen_trunk', 'sgd'))
  forward = 2 * batch * sum(np.multiply(dims[:-1], dims[1:]))
  # Forward, and the weight gradient of the classifier alone.
  head = 2 * batch * dims[-2] * dims[-1]
  assert frozen < 1.2 * (forward + head)
  # All weight gradients, and gradients of all inputs but the first.
  assert full > forward + forward + forward - 2 * batch * dims[0] * dims[1]


@pytest.mark.parametrize('words', ['rarity_loss', 'halves', 'second_look'])
def test_words_of_a_file_of_ones_own_train(words):
  exp = build(f'imbsam,{words}', 1)
  assert words in str(exp)
  found = [r['loss'] for r in experiment.run(exp).history if 'loss' in r]
  assert np.isfinite(found).all() and found[-1] < found[0]


def test_words_of_ones_own_are_like_the_others():
  assert re.search(r'second_look +adds the loss', methods.help_text())
  with pytest.raises(ValueError, match='`rarity_loss` and `drw` both correct'):
    build('rarity_loss,drw', 1)
  with pytest.raises(ValueError, match='It has power=0.5'):
    build('sgd', 1, **{'objective.loss': 'rarity_loss(pwer=1)'})
  with pytest.raises(ValueError, match="'xyz'. A method of your own is known"):
    build('sgd', 1, **{'objective.scheme': 'xyz'})
  with pytest.raises(ValueError, match="Did you mean 'second_look'"):
    build('second_lok', 1)
  with pytest.raises(ValueError, match='`second_look` looks at the whole'):
    build('imbsam,second_look', 1, **{'optimizer.rows': 'split'})


def test_a_name_that_is_taken_is_refused():
  with pytest.raises(ValueError, match='there is a choice .ldam. already'):
    methods.word('ldam', axis='loss', about='another')(lambda z, y: z)
  with pytest.raises(ValueError, match='there is a word .drw. already'):
    methods.alias('drw', 'cosface(margin=0.1)', axis='loss', about='another')
  # The same file again, as notebooks do.
  module = own_words.run(FILES[1])
  choice = methods.AXES['loss'].choices['rarity_loss']
  assert choice.function is module.rarity_loss


def _register(axis, name, function, **traits):
  methods.word(name, axis=axis, about='a test', **traits)(function)


@pytest.mark.parametrize(
  ('axis', 'function', 'message'),
  [
    ('scheme', lambda setup: None, 'must return a methods.Part, got None'),
    ('scheme', lambda setup: setup.nothing, 'wrong .*kinds_test.py:[0-9]+'),
    (
      'mixing',
      lambda setup: methods.Part(
        mix=lambda key, step, one, two: (one[0][:1], one[1]),
        partners=methods.batch_partners,
      ),
      'must give .images, losses.MixedLabels',
    ),
    (
      'mixing',
      lambda setup: methods.Part(
        mix=lambda key, step, one, two: (
          one[0][:1],
          losses.MixedLabels(one[1], two[1], 0.5),
        ),
        partners=methods.batch_partners,
      ),
      'an image and labels for each pair',
    ),
    ('loss', lambda z, y: (z.sum(), y.sum())[0], 'one number for each row'),
  ],
)
def test_mistakes_are_told_when_it_is_built(axis, function, message):
  with own_words.registered():
    _register(axis, 'wrong', function)
    with pytest.raises(experiment.ConfigError, match=message):
      build('wrong', 1)


def test_one_partner_for_a_row():
  with own_words.registered():
    _register('scheme', 'in_twos', lambda setup: methods.Part(), pairs=True)
    with pytest.raises(ValueError, match='`halves` and `in_twos` both give'):
      build('halves,in_twos', 1)


def test_two_that_bring_the_same_are_refused():
  with own_words.registered():
    _register(
      'scheme', 'orders', lambda setup: methods.Part(order=lambda *unused: None)
    )
    with pytest.raises(ValueError, match='`drs` and `orders` .* both bring'):
      build('orders,drs', 1)


def test_traits_are_checked():
  with pytest.raises(ValueError, match="Did you mean 'corrects_prior'"):
    _register('loss', 'wrong', lambda z, y: z, correct_prior=True)
  with pytest.raises(ValueError, match='`head` of wrong must be one of any'):
    _register('loss', 'wrong', lambda z, y: z, head='cosines')


def test_validation_images_are_asked_for():
  sources = experiment.Sources(
    train=small_sources.SOURCES.train, test=small_sources.SOURCES.test
  )
  fields = {'model.name': 'mlp', 'model.norm': 'none'}
  config = experiment.config('own', 'outer_offsets', fields)
  with pytest.raises(experiment.ConfigError, match='needs validation images'):
    experiment.build(config, data=sources)


def test_a_word_that_is_refused_is_not_known():
  with pytest.raises(ValueError, match='there is a word .drw. already'):
    _register('loss', 'drw', lambda z, y: z)
  assert 'drw' not in methods.AXES['loss'].choices
  with pytest.raises(ValueError, match='there is a word .ldam_drw. already'):
    methods.combination('ldam_drw', 'ldam', 'drs', about='another')


def test_rows_that_are_to_be_mixed_are_mixed():
  """A scheme that prepares rows begins with what its base prepares."""
  exp = build('adversaries,halves', 1)
  assert exp.objective.coupled
  found = [r['loss'] for r in experiment.run(exp).history if 'loss' in r]
  assert np.isfinite(found).all()

  class Forgetful(training.WrappedObjective):
    def prepare(self, ctx, rows):
      return rows

  with own_words.registered():
    _register(
      'scheme', 'forgetful', lambda setup: methods.Part(objective=Forgetful)
    )
    exp = build('forgetful,halves', 1)
    batch = exp.put(exp.batches(0)[0])
    with pytest.raises(ValueError, match='self.base.prepare'):
      exp.train_step(0).lower(exp.abstract_state, batch)


def test_expected_cost_counts_stages_that_take_turns():
  # More steps than are looked at, in a rhythm that divides them.
  exp = build(
    'look_sam', 1, epochs=40.0, **{'optimizer.method': 'look_sam(every=4)'}
  )
  assert exp.expected_cost() == pytest.approx(1.25)
  costs = [exp.cost(step, exp.batches(0)[step]) for step in range(5)]
  assert costs == [2.0, 1.0, 1.0, 1.0, 2.0]


def test_expected_cost_counts_every_outer_step():
  exp = build('outer_offsets', 1, epochs=50)
  every = np.mean([exp.objective.outer.at(step) for step in range(150)])
  assert exp.expected_cost() == pytest.approx(1 + every * 5 / 3)


def test_streams_of_outer_steps_are_theirs_alone():
  batches = build('outer_offsets', 1).batches(0)
  assert ['validation' in batches[step].streams for step in range(6)] == [
    False, True, False, False, True, False
  ]  # fmt: skip


def test_parameters_are_no_part_of_a_word():
  with pytest.raises(ValueError, match='Set the field of its axis'):
    build('imbsam,rarity_loss(power=1.0)', 1)


class _Faulty(training.WrappedObjective):
  def __init__(self, base, change):
    super().__init__(base)
    self.change = change

  def __call__(self, ctx, apply, rows):
    return self.change(ctx, self.base(ctx, apply, rows))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda ctx, found: found._replace(losses=found.losses.mean()),
      r'a loss for each row, float \[16\]',
    ),
    (
      lambda ctx, found: found._replace(losses=found.losses[:, None]),
      r'got \(16, 1\)',
    ),
    (lambda ctx, found: found.plus(found.losses), 'must be a scalar'),
    (lambda ctx, found: ctx.streams['balancd'], "no stream 'balancd'.*none"),
  ],
)
def test_mistakes_are_told_when_a_step_is_traced(change, message):
  with own_words.registered():
    _register(
      'scheme',
      'faulty',
      lambda setup: methods.Part(objective=lambda base: _Faulty(base, change)),
    )
    exp = build('faulty', 1)
    batch = exp.put(exp.batches(0)[0])
    with pytest.raises(ValueError, match=message):
      exp.train_step(0).lower(exp.abstract_state, batch)


def test_terms_of_no_row_add_up():
  """The scheme of the example keeps the penalty of another word."""
  words = 'normface,second_look'
  sums = [
    sum(abs(np.asarray(x)).sum() for x in jax.tree.leaves(run.state.params))
    for run in (
      experiment.run(build(text, 1))
      for text in (words, f'{words},zero_centroid')
    )
  ]
  assert sums[0] != sums[1]


def test_a_changed_method_is_refused(tmp_path):
  source = (own_words.ROOT / FILES[1]).read_text()
  path = tmp_path / 'mine.py'

  def run(text):
    path.write_text(text)
    linecache.clearcache()
    with own_words.registered():
      # Those of the example would be in the way of their copies.
      for name in ('rarity_loss', 'halves', 'second_look'):
        for axis in methods.AXES.values():
          axis.choices.pop(name, None)
      recipes.run_file(path)
      return experiment.run(build('second_look', 1), workdir=tmp_path / 'run')

  run(source)
  run(source.replace('# A mixing:', '# Another comment:'))
  with pytest.raises(
    experiment.ConfigError, match='another method second_look'
  ):
    run(source.replace('self.weight * loss', '2 * self.weight * loss'))
