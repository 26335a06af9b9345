# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Words that fine-tune a finished run: steps against NumPy."""

import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import models
from imbsam_jax import weights as weights_lib
from imbsam_jax.methods import _ot
from tests.experiment import small_sources

RATE = 0.1


def build(words, base=None, network=None, **fields):
  config = experiment.config(
    'own',
    words,
    {
      'epochs': 1,
      'data.batch_size': 16,
      'model.norm': 'none',
      'optimizer.learning_rate': RATE,
      'optimizer.schedule': 'constant',
      'optimizer.momentum': 0.0,
      'optimizer.weight_decay': 0.0,
      'init_from': base and str(base),
      **fields,
    },
  )
  network = network or models.MLP(num_classes=3, widths=(7,))
  return experiment.build(config, data=small_sources.SOURCES, model=network)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """A run of an MLP with one layer of 7 units."""
  folder = tmp_path_factory.mktemp('base')
  # It leaves some images wrong.
  experiment.run(build('sgd', epochs=0.5), workdir=folder)
  return folder


def _step(exp):
  """A step; the state before and after, its rows, metrics."""
  state = exp.init(0)
  batch = exp.batches(0)[0]
  before = jax.tree.map(np.asarray, state)
  after, metrics = exp.train_step(0)(state, exp.put(batch))
  return before, jax.tree.map(np.asarray, after), batch, metrics


def _inputs(exp, images):
  """Standardized by the channel of all training images, in float64."""
  train = np.asarray(exp.data.train.images, np.float64) / 255
  return (np.asarray(images, np.float64) / 255 - train.mean()) / train.std()


def _features(variables, inputs):
  dense = variables['params']['dense1']
  flat = inputs.reshape(len(inputs), -1)
  return np.maximum(flat @ dense['kernel'] + dense['bias'], 0)


def _log_softmax(logits):
  shifted = logits - logits.max(axis=1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _head_gradient(features, labels, weights, head):
  """Of sum_i w_i CE_i by the kernel and the bias, and the sum itself."""
  logits = features @ head['kernel'] + head['bias']
  log_p = _log_softmax(logits)
  onehot = np.eye(3)[labels]
  change = weights[:, None] * (np.exp(log_p) - onehot)
  loss = -np.sum(weights * log_p[np.arange(len(labels)), labels])
  return features.T @ change, change.sum(axis=0), loss


@pytest.mark.parametrize('meta', ['prototype', 'whole'])
def test_ot_weighs_rows_and_trains_the_head(base, meta):
  exp = build(
    'ot',
    base,
    **{
      'objective.scheme': f"ot(meta='{meta}', per_class=2, meta_weight=3.0, "
      'weight_learning_rate=0.5, num_iterations=30)'
    },
  )
  before, after, batch, metrics = _step(exp)
  head = before.params['classifier']
  rows = batch.rows
  images = np.asarray(exp.data.train.images)
  variables = {'params': {**before.frozen, **before.params}}
  features = _features(variables, _inputs(exp, images[rows['image']]))
  chosen = _ot.balanced_set(exp.data.train, 3, 2, mean=meta == 'prototype')
  meta_features = _features(variables, _inputs(exp, chosen.images))
  old = before.loss_state[rows['example']]
  # Itself tested against NumPy.
  new = weights_lib.ot_weight_step(
    old,
    np.float32(features),
    rows['label'],
    np.float32(meta_features),
    chosen.labels,
    num_classes=3,
    epsilon=0.1,
    num_iterations=30,
    learning_rate=0.5,
    weight_decay=5e-4,
  )
  expected = np.array(before.loss_state)
  new = np.asarray(new, np.float64)
  expected[rows['example']] = new
  np.testing.assert_allclose(after.loss_state, expected, rtol=2e-4, atol=1e-5)
  assert np.abs(new - old).max() > 1e-3
  num_rows, num_meta = 16, len(chosen.labels)
  parts = [
    _head_gradient(features, rows['label'], new / num_rows, head),
    _head_gradient(
      meta_features,
      chosen.labels,
      np.full(num_meta, 3.0 / num_rows / num_meta),
      head,
    ),
  ]
  kernel, bias, loss = (sum(x) for x in zip(*parts, strict=True))
  np.testing.assert_allclose(metrics['loss'], loss, rtol=2e-4)
  for name, gradient in (('kernel', kernel), ('bias', bias)):
    np.testing.assert_allclose(
      after.params['classifier'][name],
      head[name] - RATE * gradient,
      rtol=1e-4,
      atol=2e-5,
    )


def test_ot_begins_with_class_balanced_weights(base):
  exp = build('ot', base)
  effective = (1 - 0.9999 ** np.array(small_sources.COUNTS)) / (1 - 0.9999)
  by_class = (1 / effective) / np.sum(1 / effective) * 3
  np.testing.assert_allclose(
    exp.init(0).loss_state, by_class[exp.data.train.labels], rtol=1e-5
  )


def test_the_balanced_set():
  exp = build('sgd')
  train = exp.data.train
  chosen = _ot.balanced_set(train, 3, 6, mean=False)
  np.testing.assert_array_equal(np.bincount(chosen.labels), [6, 6, 6])
  for label in range(3):
    own, all_of_it = (
      x.images[x.labels == label].reshape(-1, 36) for x in (chosen, train)
    )
    assert len(np.unique(own, axis=0)) == 6
    known = {row.tobytes() for row in all_of_it}
    assert {row.tobytes() for row in own} <= known
  means = _ot.balanced_set(train, 3, 6, mean=True)
  assert means.images.dtype == np.uint8
  first = np.mean(chosen.images[chosen.labels == 1], axis=0)
  np.testing.assert_array_equal(means.images[1], np.rint(first))


def test_an_example_that_comes_twice_has_the_mean():
  objective = build('sgd').objective
  ctx = type('Context', (), {'state': np.zeros(4, np.float32)})
  after = _ot.OptimalTransport.after(
    objective,
    ctx,
    (np.array([1, 3, 1]), np.array([2.0, 5.0, 4.0], np.float32)),
  )
  np.testing.assert_array_equal(after, [0, 3, 0, 5])


def test_gae_without_a_radius_adds_what_is_wrong(base):
  """Kept are then the rarer rows that w gets wrong, as they are."""
  exp = build(
    'gae', base, **{'objective.scheme': 'gae(epsilon=0.0, share=0.7)'}
  )
  before, _, batch, metrics = _step(exp)
  rows = batch.rows
  images = np.asarray(exp.data.train.images)[rows['image']]
  variables = {'params': before.params}
  features = _features(variables, _inputs(exp, images))
  head = before.params['classifier']
  logits = features @ head['kernel'] + head['bias']
  labels = rows['label']
  wrong = (logits.argmax(axis=1) != labels) & (labels > 0)
  assert 0 < wrong.sum() < 16
  losses = -_log_softmax(logits)[np.arange(16), labels]
  np.testing.assert_allclose(
    metrics['loss'], losses.mean() + losses[wrong].mean(), rtol=1e-5
  )


def test_gae_keeps_adversaries_close_and_of_rare_rows(base):
  exp = build('gae', base, **{'objective.scheme': 'gae(epsilon=0.1)'})
  state, batch = exp.init(0), exp.put(exp.batches(0)[0])
  seen = {}

  class Sees(type(exp.objective)):
    def __call__(self, ctx, apply, rows):
      seen.update(rows)
      return super().__call__(ctx, apply, rows)

  exp.objective.__class__ = Sees
  with jax.disable_jit():
    exp.train_step(0)(state, batch)
  labels = np.asarray(seen['label'])
  std = (np.asarray(exp.data.train.images, np.float64) / 255).std()
  apart = np.abs(np.asarray(seen['adversary']) - np.asarray(seen['image']))
  far = apart.reshape(16, -1).max(axis=1) * std
  # The rarest third of the classes is class 2.
  assert np.all(far[labels != 2] < 1e-5)
  assert np.all(far <= 0.1 + 1e-5) and far[labels == 2].max() > 0.05
  share = np.asarray(seen['kept_share'])
  assert np.all(share[labels != 2] == 0)


def test_gae_is_for_bytes():
  images, labels = small_sources.SOURCES.train
  floats = small_sources.SOURCES._replace(
    train=(images / 255, labels),
    validation=None,
    test=(images / 255, labels),
  )
  config = experiment.config('own', 'gae', {'init_from': 'x'})
  with pytest.raises(experiment.ConfigError, match='moves pixels of bytes'):
    experiment.build(
      config, data=floats, model=models.MLP(num_classes=3, widths=(7,))
    )


@pytest.mark.parametrize(
  ('words', 'fields', 'message'),
  [
    ('gae,mixup', {}, '`gae` needs images of one example each, and `mixup`'),
    ('ot,cmo', {}, '`ot` needs images of one example each, and `cmo`'),
    ('ot,drw', {}, '`drw` and `ot` both correct for the class counts'),
    ('gae,crt', {}, 'both choose objective.scheme'),
    (
      'ot',
      {'objective.weights': 'absgd(beta=0)'},
      '`absgd.beta=0.` and `ot` cannot be combined: each remembers',
    ),
    ('ot', {'optimizer.rows': 'split'}, 'looks at the whole batch'),
    (
      'ot',
      {'objective.scheme': 'ot(per_class=7)'},
      'the rarest class has 6 training images',
    ),
  ],
)
def test_what_does_not_go_together(base, words, fields, message):
  with pytest.raises(experiment.ConfigError, match=message):
    build(words, base, **fields)


@pytest.mark.parametrize('words', ['sam,gae', 'imbsam,ot', 'imbsam,mixup,crt'])
def test_what_goes_together_takes_a_step(base, words):
  exp = build(words, base, **{'optimizer.threshold': 20})
  _, _, _, metrics = _step(exp)
  assert np.isfinite(metrics['loss']) and not metrics['skipped']
