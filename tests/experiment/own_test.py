# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data, networks and losses of one's own beside the words."""

import signal

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
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _own

_COUNTS = (40, 16, 8)


class _Net(nn.Module):
  """Called alike in training and evaluation."""

  @nn.compact
  def __call__(self, x):
    return nn.Dense(3)(nn.relu(nn.Dense(8)(x)))


class _NormedNet(nn.Module):
  """With statistics of the batch."""

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
    return nn.Dense(3)(nn.relu(x))


class _NnxNet(nnx.Module):
  """With statistics, noise, and a list of layers."""

  def __init__(self, rngs, rate=0.0):
    self.layers = nnx.List(
      [nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)]
    )
    self.norm = nnx.BatchNorm(8, rngs=rngs)
    self.dropout = nnx.Dropout(rate, rngs=rngs)

  def __call__(self, x):
    return self.layers[1](self.dropout(self.norm(self.layers[0](x))))


def _arrays(counts, seed):
  rng = np.random.RandomState(seed)
  labels = np.repeat(np.arange(len(counts)), counts)
  rows = rng.randn(len(labels), 6).astype(np.float32)
  return rows + 2 * np.eye(3, 6, dtype=np.float32)[labels], labels


@pytest.fixture(scope='module')
def sources():
  return experiment.Sources(
    train=_arrays(_COUNTS, 0), test=_arrays((20, 20, 20), 1)
  )


def _config(words='imbsam', **changes):
  small = {
    'epochs': 2,
    'data.batch_size': 16,
    'model.name': 'mlp',
    'model.norm': 'none',
    'few_below': 10,
  }
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment.config('own', words, small | changes)


def _cross_entropy(logits, labels):
  return -jnp.take_along_axis(
    jax.nn.log_softmax(logits), labels[:, None], axis=1
  )[:, 0]


def test_own_loss_is_the_loss_of_that_word(sources):
  states = [
    experiment.run(
      experiment.build(_config(), data=sources, model=_Net(), loss=loss)
    ).state
    for loss in (None, _cross_entropy)
  ]
  for one, other in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_what_is_own_is_named_so_and_is_passed_again(sources, tmp_path):
  own = {'data': sources, 'model': _Net(), 'loss': _cross_entropy}
  exp = experiment.build(experiment.config('digits_lt', 'sam', {
    'epochs': 1, 'data.batch_size': 16, 'data.validation_per_class': 2,
    'data.max_count': None, 'data.profile': 'natural', 'data.stratify': False,
  }), **own)  # fmt: skip
  config = exp.config
  assert (config.data.name, config.model.name) == ('own', 'own')
  assert config.objective.loss == 'own'
  assert 'data    own, 3 classes, 58 training images' in str(exp)
  result = experiment.run(exp, workdir=tmp_path)
  with pytest.raises(experiment.ConfigError, match='model=module'):
    experiment.restore(tmp_path)
  with pytest.raises(experiment.ConfigError, match=r'data=experiment.Sources'):
    experiment.restore(tmp_path, model=own['model'])
  again, state = experiment.restore(tmp_path, **own)
  assert training.params_sha256(state.params) == result.summary['params_sha256']
  found = experiment.evaluate(again, state).scores
  assert found['top1'] == result.summary['top1']
  # Logits alone are enough for some methods, and for others not.
  table = experiment.calibrate(again, state, ['lws', 'ncm', 'marc']).methods
  assert table['lws'] is not None
  assert table['ncm'] is table['marc'] is None


def test_rows_of_a_network_with_batch_norm_stay_together(sources):
  split = experiment.build(_config(), data=sources, model=_Net())
  joint = experiment.build(_config(), data=sources, model=_NormedNet())
  assert (split.layout, joint.layout) == ('split', 'joint')
  assert joint.config.model.norm == 'batch'
  result = experiment.run(joint)
  assert np.isfinite(result.summary['train_loss'])
  before = joint.init(0).model_state['batch_stats']
  after = result.state.model_state['batch_stats']
  for one, other in zip(*map(jax.tree.leaves, (before, after)), strict=True):
    assert (np.asarray(one) != np.asarray(other)).all()


def test_nnx_module_computes_what_nnx_computes(sources):
  model = models.from_nnx(lambda rngs: _NnxNet(rngs))
  module = _NnxNet(nnx.Rngs(jax.random.key(3)))
  images = sources.train[0][:5]
  variables = model.init(jax.random.key(3), images, train=False)
  module.eval()
  np.testing.assert_allclose(
    model.apply(variables, images, train=False), module(images), rtol=1e-6
  )
  module.train()
  outputs, changed = model.apply(
    variables, images, train=True, mutable=['batch_stats']
  )
  np.testing.assert_allclose(outputs, module(images), rtol=1e-5)
  np.testing.assert_allclose(
    changed['batch_stats']['norm']['mean'], module.norm.mean[...], rtol=1e-6
  )


def test_noise_of_an_nnx_module_is_that_of_the_key():
  model = models.from_nnx(lambda rngs: _NnxNet(rngs, rate=0.5))
  images = np.random.RandomState(0).randn(4, 6).astype(np.float32)
  variables = model.init(jax.random.key(0), images, train=False)

  def output(key, train=True):
    rngs = {'dropout': jax.random.key(key)}
    return np.asarray(model.apply(variables, images, train=train, rngs=rngs))

  np.testing.assert_array_equal(output(0), output(0))
  assert (output(0) != output(1)).any()
  np.testing.assert_array_equal(output(0, train=False), output(1, train=False))


def test_nnx_module_trains_and_resumes(sources, tmp_path):
  model = models.from_nnx(lambda rngs: _NnxNet(rngs, rate=0.2))
  exp = experiment.build(_config('imbsam', epochs=4), data=sources, model=model)
  result = experiment.run(exp, workdir=tmp_path)
  assert result.summary['balanced'] > 0.5
  _, state = experiment.restore(tmp_path, data=sources, model=model)
  assert training.params_sha256(state.params) == result.summary['params_sha256']


def test_other_variables_of_nnx_are_refused():
  class Counting(nnx.Module):
    def __init__(self):
      self.calls = nnx.Variable(jnp.zeros(()))

  with pytest.raises(ValueError, match='nnx.BatchStat.*others: .*calls'):
    models.from_nnx(lambda rngs: Counting())


def test_compares_experiments_of_ones_own(sources):
  exps = {
    words: experiment.build(_config(words), data=sources, model=_Net())
    for words in ('sgd', 'imbsam')
  }
  said = []
  found = experiment.compare(exps, seeds=2, say=said.append)
  assert found.methods['imbsam']['top1']['runs'] == 2
  # States and a step of each method are compiled.
  assert len(said) == 1 + 1 + 4 and said[1] == 'compiling 4 programs ...'
  for text in (found.table(), found.finding(), str(found)):
    assert 'sgd' in text
  assert found.plot().axes[0].get_title(loc='left').startswith('own: accuracy')


def test_own_networks_are_not_stacked_for_their_like_names(sources, tmp_path):
  exps = {
    name: experiment.build(_config('sgd'), data=sources, model=model)
    for name, model in (('small', _Net()), ('normed', _NormedNet()))
  }
  found = experiment.compare(exps, seeds=2, workdir=tmp_path, stacked=True)
  shas = {
    summary['params_sha256']
    for summaries in found.summaries.values()
    for summary in summaries
  }
  assert len(shas) == 4
  assert found.summaries['small'][0]['side_by_side'] == 2


def test_validation_of_ones_own_is_taken(sources):
  own = sources._replace(validation=_arrays((4, 4, 4), 2))
  exp = experiment.build(
    _config('sgd', final_split='validation'), data=own, model=_Net()
  )
  assert len(exp.data.validation.labels) == 12
  assert exp.config.data.splits == ('train', 'validation', 'test')


def test_tables_need_a_network_for_tables(sources):
  config = experiment.config('own', 'sgd')
  with pytest.raises(
    experiment.ConfigError,
    match='rows of a table, 6 numbers each.*small_conv_net.*`model.name=mlp` '
    'and `model.norm=none`',
  ):
    experiment.build(config, data=sources)
  experiment.build(config, data=sources, model=_Net())


def test_rows_to_evaluate_are_like_those_of_training(sources):
  images, labels = sources.test
  wrong = images[:, :5], labels
  expected = r'float32 \[6\] each, test images float32 \[5\]'
  with pytest.raises(data.DataError, match=expected):
    experiment.build(_config(), data=sources._replace(test=wrong))
  cut = data.LongTailedData(
    data.Examples(*sources.train),
    None,
    data.Examples(*wrong),
    np.array(_COUNTS),
    ('a', 'b', 'c'),
  )
  with pytest.raises(data.DataError, match=expected):
    experiment.build(_config(), data=cut)


def test_calibration_without_validation_says_how_to_pass_some(sources):
  exp = experiment.build(_config(), data=sources)
  with pytest.raises(
    experiment.ConfigError, match=r'Or pass Sources\(\.\.\., validation='
  ):
    experiment.calibrate(exp, exp.init(0), ['none'])


def test_data_that_are_cut_already_are_taken_as_they_are(sources):
  cut = data.long_tailed(
    data.ArraySource(*sources.train),
    data.ArraySource(*sources.test),
    class_counts=(30, 10, 5),
  )
  exp = experiment.build(experiment.config('digits_lt', fields={
    'epochs': 1, 'data.batch_size': 16, 'model.name': 'mlp',
    'data.validation_per_class': 0, 'data.stratify': False,
  }), data=cut)  # fmt: skip
  assert exp.num_train == 45
  # Or they would be compared with digits, and restored as these.
  assert exp.config.data.name == 'own'
  digits = experiment.config('digits_lt', 'imbsam')
  assert not _data_sets.same_examples(exp.config.data, digits.data)


def test_few_test_examples_of_many_classes(sources):
  images, labels = _arrays((0, 1, 1), 3)
  exp = experiment.build(
    _config('sgd'), data=sources._replace(test=(images, labels))
  )
  np.testing.assert_array_equal(exp.data.test.labels, [1, 2])


class _DroppingNet(nn.Module):
  """Called as many Linen modules are."""

  @nn.compact
  def __call__(self, x, deterministic=True):
    x = nn.Dropout(0.5, deterministic=deterministic)(nn.Dense(8)(x))
    return nn.Dense(3)(x)


def test_modules_that_call_training_otherwise_are_told(sources):
  images = sources.train[0][:5]
  model = _own.as_model(_DroppingNet())
  variables = model.init(jax.random.key(0), images, train=False)

  def output(key, train):
    rngs = {'dropout': jax.random.key(key)}
    return np.asarray(model.apply(variables, images, train=train, rngs=rngs))

  assert (output(0, True) != output(1, True)).any()
  np.testing.assert_array_equal(output(0, False), output(1, False))


def test_other_data_are_refused(sources, tmp_path):
  def build(factor):
    images, labels = sources.train
    return experiment.build(
      _config('sgd'), data=sources._replace(train=(factor * images, labels))
    )

  experiment.compare({'one': build(1)}, seeds=1, workdir=tmp_path)
  with pytest.raises(data.DataError, match='holds a run of another data set'):
    experiment.compare({'one': build(2)}, seeds=1, workdir=tmp_path)
  changed = sources._replace(train=build(2).data.train)
  with pytest.raises(data.DataError, match='train: .* there, .* now'):
    experiment.restore(tmp_path / 'one/seed_0', data=changed)
  experiment.restore(tmp_path / 'one/seed_0', data=sources)


def test_what_leaves_no_files_is_interrupted_at_once(sources):
  # A process that was started in the background ignores it.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  exp = experiment.build(_config('sgd'), data=sources)

  def interrupt(records):
    del records
    signal.raise_signal(signal.SIGINT)

  try:
    with pytest.raises(KeyboardInterrupt):
      experiment.run(exp, progress=interrupt)
  finally:
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('name', ['', '..', 'a/b'])
def test_names_that_are_no_folders(name):
  with pytest.raises(experiment.ConfigError, match='by the folder of its runs'):
    experiment.compare({name: _config()})


@pytest.mark.parametrize(
  ('call', 'expected'),
  [
    (lambda: experiment.build('digits_lt'), 'must be a configuration'),
    (lambda: experiment.config('digits_lt', {'epochs': 1}), 'must be text'),
    (lambda: experiment.compare([_config()]), 'must be a mapping'),
    (lambda: experiment.compare({'a': _config()}, seeds=0), 'at least 1'),
  ],
)
def test_arguments_in_the_wrong_place(call, expected):
  with pytest.raises(experiment.ConfigError, match=expected):
    call()


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    ({}, r"data of this configuration is 'own'.*data=experiment.Sources"),
    ({'data': _arrays(_COUNTS, 0)}, r'experiment.Sources\(train=\(images'),
    ({'loss': lambda z, y: _cross_entropy(z, y).mean()}, 'one number for each'),
    ({'loss': lambda z, y: z.argmax(1)}, 'one number for each'),
    ({'loss': lambda z, y, counts: z[:, 0]}, r'the loss cannot be applied to'),
    ({'loss': 'ldam'}, r'Losses by name are words'),
    ({'model': _Net}, r'made, such as Net\(\)'),
    ({'model': _NnxNet(nnx.Rngs(0))}, r'models.from_nnx\(lambda rngs'),
    ({'model': nn.Dense(4)}, r'logits \[B, 3\], one for each class.*\(1, 4\)'),
    ({'model': nn.Conv(3, (3, 3, 3))}, r'applied to images \[1, 6\]'),
  ],
)
def test_what_cannot_be_used(arguments, expected, sources):
  arguments = {'data': sources} | arguments if arguments else {}
  with pytest.raises(experiment.ConfigError, match=expected):
    experiment.build(_config(), **arguments)


def test_linen_sequential_hands_train_to_its_first_layer():
  for first, expected in ((nn.Dense(8), False), (_NormedNet(), True)):
    model = nn.Sequential([first, nn.relu, nn.Dense(3)])
    called = _own.as_model(model)
    assert (called is model) == expected
    variables = jax.eval_shape(
      lambda key, called=called: called.init(
        key, jnp.zeros((1, 6)), train=False
      ),
      jax.random.key(0),
    )
    assert 'params' in variables


def test_own_network_decides_its_dtype(sources):
  config = _config(model__dtype='bfloat16')
  with pytest.raises(
    experiment.ConfigError, match='network of your own decides its own dtype'
  ):
    experiment.build(config, data=sources, model=_Net())
  exp = experiment.build(config, data=sources)
  assert exp.config.model.dtype == 'bfloat16'


def test_own_data_have_one_step_to_compile():
  sources = experiment.Sources(
    train=_arrays((300, 100, 15), 0), test=_arrays((20, 20, 20), 1)
  )
  small = {'model.name': 'mlp', 'model.norm': 'none'}

  def number(**fields):
    config = experiment.config('own', 'imbsam', small | fields)
    return len(experiment.build(config, data=sources).programs())

  assert number() == 1
  assert number(**{'data.stratify': False}) > 1
  # Which decides itself how many tail rows a batch has.
  config = experiment.config('own', 'class_aware_sampling', small)
  experiment.build(config, data=sources)


def test_losses_on_cosines_need_a_network_that_says_so(sources):
  with pytest.raises(
    experiment.ConfigError,
    match="`ldam`.*declare it with {'model.head': 'cosine'}",
  ):
    experiment.build(_config('ldam'), data=sources, model=_Net())
  exp = experiment.build(
    _config('ldam', model__head='cosine'), data=sources, model=_Net()
  )
  assert exp.objective.logit_scale == 30.0
  with pytest.raises(experiment.ConfigError, match='of your own has not'):
    experiment.build(
      _config('zero_centroid', model__head='cosine'), data=sources, model=_Net()
    )
