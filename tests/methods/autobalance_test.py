# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A step of AutoBalance's search against finite differences in NumPy."""

import jax
import numpy as np
import pytest

from imbsam_jax import experiment
from imbsam_jax import models
from tests.experiment import small_sources

_STEP_SIZE, _RATE, _DECAY = 0.05, 2.0, 0.01


def build(**fields):
  config = experiment.config(
    'own',
    'sgd',
    {
      'epochs': 1,
      'data.batch_size': 16,
      'model.norm': 'none',
      'optimizer.learning_rate': 0.1,
      'objective.scheme': 'autobalance_search(every=1, start=0.0, batches=1, '
      f'num_terms=1, step_size={_STEP_SIZE}, outer_learning_rate={_RATE}, '
      f'outer_weight_decay={_DECAY})',
      **fields,
    },
  )
  # Softmax regression, whose gradients fit on a page.
  network = models.MLP(num_classes=3, widths=())
  return experiment.build(config, data=small_sources.SOURCES, model=network)


def _softmax(logits):
  powers = np.exp(logits - logits.max(axis=1, keepdims=True))
  return powers / powers.sum(axis=1, keepdims=True)


def _gradient(theta, inputs, labels, weights, multipliers, offsets):
  """Of sum_i w_i CE(multipliers z + offsets) by theta, [features + 1, C]."""
  logits = inputs @ theta
  probabilities = _softmax(multipliers * logits + offsets)
  change = weights[:, None] * (probabilities - np.eye(3)[labels])
  return inputs.T @ (change * multipliers)


def _inputs(exp, images):
  train = np.asarray(exp.data.train.images, np.float64) / 255
  inputs = (np.asarray(images, np.float64) / 255 - train.mean()) / train.std()
  flat = inputs.reshape(len(inputs), -1)
  return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)


def test_the_outer_step():
  exp = build()
  state, batch = exp.init(0), exp.batches(0)[0]
  before = jax.tree.map(np.asarray, (state.params, state.loss_state))
  after, _ = exp.train_step(0)(state, exp.put(batch))
  head, outer = before
  theta = np.concatenate(
    [head['classifier']['kernel'], head['classifier']['bias'][None]]
  ).astype(np.float64)
  train, held_out = batch.streams['train'], batch.streams['validation']
  x = _inputs(exp, np.asarray(exp.data.train.images)[train['image']])
  y = train['label']
  rows = np.full(len(y), 1 / len(y))
  # All classes have as many validation images, and so the same weight.
  x_val, y_val = _inputs(exp, held_out['image']), held_out['label']
  v = _gradient(
    theta, x_val, y_val, np.full(len(y_val), 1 / len(y_val)), np.ones(3), 0.0
  )
  alpha = np.concatenate([outer['multiplier_logits'], outer['offsets']])
  np.testing.assert_array_equal(alpha, [1, 1, 1, 0, 0, 0])

  def train_gradient(theta, alpha):
    sigma = 1 / (1 + np.exp(-alpha[:3]))
    return _gradient(theta, x, y, rows, sigma, alpha[3:])

  def derivative(function, direction, eps=1e-5):
    return (function(eps * direction) - function(-eps * direction)) / (2 * eps)

  product = derivative(lambda move: train_gradient(theta + move, alpha), v)
  p = _STEP_SIZE * (v + (v - _STEP_SIZE * product))
  slopes = np.array(
    [
      derivative(
        lambda move: np.sum(train_gradient(theta, alpha + move) * p), unit
      )
      for unit in np.eye(6)
    ]
  )
  expected = alpha - _RATE * (-slopes + _DECAY * alpha)
  loss_state = after.loss_state
  np.testing.assert_allclose(
    np.concatenate([loss_state['multiplier_logits'], loss_state['offsets']]),
    expected,
    rtol=1e-4,
    atol=1e-6,
  )
  assert np.abs(slopes).max() > 1e-3


def test_classes_are_neighbors_by_frequency():
  """However they are numbered: a permutation of the classes changes nothing."""
  exp = build()
  objective = exp.objective
  rng = np.random.RandomState(0)
  logits = rng.randn(5, 3).astype(np.float32)
  labels = np.array([0, 1, 2, 1, 0])
  state = {
    'multiplier_logits': np.array([1.0, -1.0, 0.5], np.float32),
    'offsets': np.array([0.0, 1.0, -1.0], np.float32),
  }
  losses = objective.losses(state, logits, labels)
  order = np.array([2, 0, 1])  # New class k was class order[k].
  other = type(objective).__mro__[1](
    objective.base, np.array(small_sources.COUNTS)[order]
  )
  again = other.losses(state, logits[:, order], np.argsort(order)[labels])
  np.testing.assert_allclose(losses, again, rtol=1e-6)


def test_search_is_refused_where_it_has_no_meaning():
  with pytest.raises(experiment.ConfigError, match='both correct'):
    build(**{'data.sampler': 'class_balanced'})
  with pytest.raises(experiment.ConfigError, match='looks at the whole batch'):
    build(**{'optimizer.num_microbatches': 2})
  config = experiment.config('digits_lt', 'autobalance')
  with pytest.raises(experiment.ConfigError, match='cannot be combined'):
    experiment.config('digits_lt', 'autobalance,focal')
  for scheme in ('autobalance(epochs=0)', 'autobalance_search(step_size=0)'):
    with pytest.raises(experiment.ConfigError):
      experiment.build(experiment.replace(config, {'objective.scheme': scheme}))


def test_the_rate_falls_late_in_the_search():
  exp = build(
    **{
      'epochs': 30,
      'objective.scheme': 'autobalance_search(every=3, start=0.4, batches=1)',
    }
  )
  search = exp.objective
  assert exp.num_steps == 90
  # Steps 36, 39, ...; of 90 steps the rate falls at 66 and 78.
  rates = [float(search.rate(count)) for count in (0, 9, 10, 13, 14, 17)]
  np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_validation_classes_are_alike_however_many_images_they_have():
  images, labels = small_sources.SOURCES.validation
  kept = np.concatenate(
    [np.flatnonzero(labels == c)[: 8 >> c] for c in range(3)]
  )
  sources = small_sources.SOURCES._replace(
    validation=(images[kept], labels[kept])
  )
  exp = experiment.build(
    build().config, data=sources, model=models.MLP(num_classes=3, widths=())
  )
  weights = np.asarray(exp.objective.class_weights)
  np.testing.assert_allclose(
    weights * [8, 4, 2], [weights[0] * 8] * 3, rtol=1e-5
  )
