# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps of CC-SAM against NumPy, with a head that is moved class by class."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.methods import _cc_sam
from tests.experiment import small_sources
from tests.losses import witness

RATE, PHI, NOISE_RATIO = 0.1, 0.4, 0.3
# The last class has one image, so some batches are without it.
COUNTS = np.array([30, 12, 1])


def build(words, network=None, phi=PHI, noise_ratio=NOISE_RATIO, **fields):
  scheme = f'cc_sam(phi={phi}, noise_ratio={noise_ratio})'
  if 'cc_sam' in words:
    fields = {'objective.scheme': scheme, **fields}
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 1,
      'data.batch_size': 16,
      'data.stratify': False,
      'model.norm': 'none',
      'optimizer.learning_rate': RATE,
      'optimizer.schedule': 'constant',
      'optimizer.momentum': 0.0,
      'optimizer.weight_decay': 0.0,
      **fields,
    },
  )
  images, labels = small_sources.SOURCES.train
  keep = np.r_[: COUNTS.sum()]
  sources = small_sources.SOURCES._replace(train=(images[keep], labels[keep]))
  if 'model.name' not in fields and network is None:
    network = models.MLP(num_classes=3, widths=(7,))
  return experiment.build(config, data=sources, model=network)


def _step(exp, number):
  """A step from the initial state; parameters before and after, the loss."""
  state, batch = exp.init(0), exp.batches(0)[number]
  before = jax.tree.map(np.asarray, state.params)
  after, metrics = exp.train_step(number)(state, exp.put(batch))
  return before, jax.tree.map(np.asarray, after.params), metrics['loss']


def _batches(exp):
  """The first batch with the class of one image, and the first without."""
  labels = [exp.batches(0)[n].rows['label'] for n in range(8)]
  has = [2 in rows for rows in labels]
  return has.index(True), has.index(False)


def _cross_entropy(logits, label):
  """Of a row, and its derivatives by the logits."""
  loss = witness.log_sum_exp(logits) - logits[label]
  slopes = np.exp(logits - witness.log_sum_exp(logits))
  slopes[label] -= 1
  return loss, slopes


def _expected(params, inputs, labels, *, phi=PHI, noise_ratio=NOISE_RATIO):
  """The loss of an MLP with one layer, and its gradient, a row at a time."""
  params = jax.tree.map(np.float64, params)
  dense, head = params['dense1'], params['classifier']
  kernel, bias = head['kernel'], head['bias']
  features = np.maximum(inputs @ dense['kernel'] + dense['bias'], 0)
  slopes = np.array(
    [
      _cross_entropy(features[i] @ kernel + bias, labels[i])[1]
      for i in range(len(labels))
    ]
  )
  heads = witness.cc_sam_heads(
    features, slopes, labels, kernel, bias, COUNTS, noise_ratio
  )
  total = 0.0
  gradient = jax.tree.map(np.zeros_like, params)
  for i, label in enumerate(labels):
    for share, (w, b) in ((1 - phi, (kernel, bias)), (phi, heads[label])):
      share = share / len(labels)
      loss, slope = _cross_entropy(features[i] @ w + b, label)
      total += share * loss
      gradient['classifier']['kernel'] += share * np.outer(features[i], slope)
      gradient['classifier']['bias'] += share * slope
      back = share * (w @ slope) * (features[i] > 0)
      gradient['dense1']['kernel'] += np.outer(inputs[i], back)
      gradient['dense1']['bias'] += back
  return total, gradient


def _inputs(exp, images):
  train = np.asarray(exp.data.train.images, np.float64) / 255
  inputs = (np.asarray(images, np.float64) / 255 - train.mean()) / train.std()
  return inputs.reshape(len(inputs), -1)


@pytest.fixture(scope='module')
def exp():
  return build('cc_sam')


@pytest.mark.parametrize('which', [0, 1])
def test_a_step(exp, which):
  """With a class of one image (0), and with a class that is not there (1)."""
  assert exp.objective.coupled
  number = _batches(exp)[which]
  rows = exp.batches(0)[number].rows
  assert len(set(rows['label'].tolist())) == 3 - which
  np.testing.assert_array_equal(exp.data.class_counts, COUNTS)
  before, after, loss = _step(exp, number)
  inputs = _inputs(exp, np.asarray(exp.data.train.images)[rows['image']])
  expected, gradient = _expected(before, inputs, rows['label'])
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  jax.tree.map(
    lambda p, q, g: np.testing.assert_allclose(
      (p - q) / RATE, g, rtol=1e-4, atol=1e-5
    ),
    before,
    after,
    gradient,
  )
  # It is far from that of SGD, in every leaf.
  _, plain = _expected(before, inputs, rows['label'], phi=0.0)
  for one, other in zip(*map(jax.tree.leaves, (gradient, plain)), strict=True):
    assert np.abs(one - other).max() > 1e-2


@pytest.mark.parametrize('numbers', [{'phi': 0.0}, {'noise_ratio': 0.0}])
def test_without_a_perturbation_it_is_sgd(numbers):
  found, expected = (
    _step(build(words, **numbers), 0) for words in ('cc_sam', 'sgd')
  )
  jax.tree.map(
    lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-6, atol=1e-7),
    found,
    expected,
  )


class _Fixed(training.Apply):
  """A model whose features are given, at a head."""

  def __init__(self, features, head):
    self.params, self.changed = {'classifier': head}, {}
    self._features = features

  def __call__(self, *inputs, **options):
    assert options == {'method': 'features_and_logits'}
    head = self.params['classifier']
    logits = self._features @ head['kernel'] + head['bias'][None]
    return self._features, logits


def test_mixed_rows_are_of_their_own_class_and_have_both_labels():
  rng = np.random.default_rng(0)
  features, kernel = rng.standard_normal((6, 4)), rng.standard_normal((4, 3))
  bias = rng.standard_normal(3)
  first, second = np.array([0, 1, 0, 2, 1, 0]), np.array([1, 1, 2, 0, 0, 0])
  lam = rng.uniform(size=6)
  supervised = training.Supervised(
    losses.cross_entropy, mix=lambda *unused: unused, penalty=lambda p: 5.0
  )
  objective = _cc_sam.ClassConditional(
    supervised, COUNTS, phi=PHI, noise_ratio=NOISE_RATIO
  )

  @jax.jit
  def outcome(features, kernel, bias, lam):
    mixed = losses.MixedLabels(first, second, lam)
    rows = {'image': None, 'label': np.r_[first, second], 'mixed': mixed}
    return objective(
      training.Context(0, jax.random.key(0), (), {}, None),
      _Fixed(features, {'kernel': kernel, 'bias': bias}),
      rows,
    )

  found = outcome(*map(jnp.float32, (features, kernel, bias, lam)))
  assert found.shared == 5.0

  def both(i, w, b):
    logits = features[i] @ w + b
    one, other = (_cross_entropy(logits, y[i]) for y in (first, second))
    slope = lam[i] * one[1] + (1 - lam[i]) * other[1]
    return np.array([lam[i] * one[0], (1 - lam[i]) * other[0]]), slope

  slopes = np.array([both(i, kernel, bias)[1] for i in range(6)])
  heads = witness.cc_sam_heads(
    features, slopes, first, kernel, bias, COUNTS, NOISE_RATIO
  )
  expected = [
    (1 - PHI) * both(i, kernel, bias)[0] + PHI * both(i, *heads[first[i]])[0]
    for i in range(6)
  ]
  np.testing.assert_allclose(np.stack(found.losses, 1), expected, rtol=1e-5)


def test_costs_what_sgd_does():
  fields = {'model.name': 'small_conv_net', 'model.norm': 'group'}
  flops = []
  for words in ('cc_sam', 'sgd'):
    exp = build(words, **fields)
    ((program, step),) = exp.programs().items()
    lowered = exp.train_steps[program.kind].lower(
      exp.abstract_state, exp.put(exp.batches(0)[step])
    )
    flops.append(lowered.compile().cost_analysis()['flops'])
  assert 1.0 < flops[0] / flops[1] < 1.03
  assert 'expected cost 1.00 SGD steps' in str(build('cc_sam', **fields))


class _Stopped(Exception):
  pass


def test_goes_on_where_it_stopped(tmp_path):
  exp = build('cc_sam', epochs=2, save_every=1.0)
  whole = experiment.run(exp)

  def stop(records):
    if records[-1]['step'] == exp.num_steps:
      raise _Stopped

  with pytest.raises(_Stopped):
    experiment.run(exp, workdir=tmp_path, progress=stop)
  steps = []
  again = experiment.run(exp, workdir=tmp_path, progress=steps.extend)
  assert 0 < len(steps) < exp.num_steps
  assert whole.summary['params_sha256'] == again.summary['params_sha256']


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    ('sam,cc_sam', '`sam` and `cc_sam` both perturb .* of `cc_sam` is sgd'),
    ('cc_sam,crt', 'both choose'),
    ('cc_sam,etf', '`cc_sam` is made for a linear head, and the etf head'),
    ('cc_sam,normface', '`cc_sam` is made for a linear head, and the cosine'),
  ],
)
def test_words_that_do_not_go_with_it(words, message):
  with pytest.raises(ValueError, match=message):
    experiment.check_config(experiment.config('digits_lt', words))


def test_every_update_rule_but_sgd_perturbs():
  rules = methods.AXES['update rule'].words
  assert len(rules) > 8
  for rule in rules:
    config = experiment.config('digits_lt', f'{rule},cc_sam')
    if rule == 'sgd':
      experiment.check_config(config)
      continue
    with pytest.raises(ValueError, match='both perturb'):
      experiment.check_config(config)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'optimizer.num_microbatches': 2}, 'looks at the whole batch'),
    ({'phi': 1.5}, 'phi'),
    ({'noise_ratio': -1.0}, 'noise_ratio'),
  ],
)
def test_refuses(fields, message):
  with pytest.raises(experiment.ConfigError, match=message):
    build('cc_sam', **fields)


class _Plain(nn.Module):
  @nn.compact
  def __call__(self, x, *, train):
    del train
    return nn.Dense(3)(x.reshape(len(x), -1))


def test_refuses_networks_of_another_kind():
  with pytest.raises(ValueError, match='only a models.Classifier tells'):
    build('cc_sam', _Plain())
  cosine = models.MLP(num_classes=3, widths=(7,), head='cosine')
  with pytest.raises(ValueError, match="linear head, got one of head='cosine'"):
    build('cc_sam', cosine)
  with pytest.raises(ValueError, match='a linear head, with kernel and bias'):
    _cc_sam._linear({'classifier': {'kernel': np.ones((2, 3))}})
