# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Deep SAD, its detector and its metrics, against a float64 witness.

Tolerances: float32 has a unit roundoff of 6e-8. Sums here have at most some
tens of terms, so one pass is good to about 1e-6 of the largest entry, and a few
steps of training, which multiply errors by the curvature, to about 1e-5. What
is compared bit for bit is said to be so.
"""

import functools
import inspect
import os
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import base
from sklearn import exceptions
from sklearn import metrics as sklearn_metrics
from sklearn import pipeline
from sklearn import preprocessing

import imbsam_jax
from imbsam_jax import anomaly
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.anomaly import _recipe
from imbsam_jax.anomaly import _training
from tests.anomaly import witness

METHODS = ('sgd', 'sam', 'imbsam', 'sse_sam', 'rsam', 'momentum_imbsam')
# One set for all that is trained: what varies beside it is not compiled anew.
SETTINGS = {
  'hidden_sizes': (8,),
  'embedding_size': 2,
  'batch_size': 16,
  'epochs': 2,
  'pretrain_epochs': 2,
  'learning_rate': 0.05,
  'weight_decay': 1e-3,
  'pretrain_learning_rate': 0.01,
  'switch': 0.5,
}


def _detector(method='sgd', **changes):
  rho = {'rho': 0.005} if method == 'rsam' else {'rho': 0.05}
  return anomaly.DeepSAD(method=method, **{**SETTINGS, **rho, **changes})


def _table(seed=0, normal=66, anomalies=6, shift=5.0):
  """Rows, and labels 1 for anomalies, -1 for two normal rows, 0 for others."""
  rng = np.random.default_rng(seed)
  rows = rng.normal(size=(normal + anomalies, 3))
  rows[normal:] += shift
  labels = np.repeat([0, 1], [normal, anomalies])
  labels[:2] = -1
  return rows, labels


def _arrays(tree):
  """Leaves that are numbers: a `Fitted` has its network beside them."""
  leaves = jax.tree.leaves(tree)
  return [leaf for leaf in leaves if not isinstance(leaf, anomaly.Encoder)]


def _assert_close(found, expected, tolerance=1e-5):
  """Leaf by leaf, relative to the largest entry of the leaf."""
  found, expected = _arrays(found), _arrays(expected)
  assert len(found) == len(expected)
  for one, two in zip(found, expected, strict=True):
    one, two = np.asarray(one, np.float64), np.asarray(two, np.float64)
    assert one.shape == two.shape
    scale = np.abs(two).max(initial=0.0)
    np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * scale + 1e-30)


def _assert_equal(found, expected):
  """Bit for bit."""
  found, expected = jax.tree.leaves(found), jax.tree.leaves(expected)
  assert len(found) == len(expected)
  for one, two in zip(found, expected, strict=True):
    np.testing.assert_array_equal(one, two, strict=True)


def _assert_same_detector(one, two):
  """Bit for bit, what was fitted and what was recorded."""
  _assert_equal(one.fitted_, two.fitted_)
  for name in ('loss', 'skipped'):
    np.testing.assert_array_equal(one.history_[name], two.history_[name])


def _separate_rows(seed=9):
  rows, labels = _table(seed, normal=100, anomalies=30)
  return rows, (labels > 0).astype(int)


def _auroc(detector, rows, labels):
  return metrics.anomaly_metrics(detector.decision_function(rows), labels)[
    'auroc'
  ]


# The witness itself.


def _problem(seed=0, labels=(0, 1, 0, -1, 0, 1, 0, 0), sizes=(3, 5, 4, 2)):
  """Kernels, a batch and a center, all exact in float32."""
  kernels = witness.init_kernels(seed, sizes)
  rng = np.random.default_rng(seed + 100)
  batch = {
    'features': rng.random((len(labels), sizes[0]))
    .astype(np.float32)
    .astype(np.float64),
    'labels': np.array(labels, np.int32),
  }
  return kernels, batch, np.array([0.75, -0.5])


@pytest.mark.parametrize('batch_norm', [False, True])
def test_witness_gradients_are_central_differences(batch_norm):
  kernels, batch, center = _problem()
  rng = np.random.default_rng(5)
  weights = rng.random(8)
  decoder = witness.init_kernels(7, (2, 4, 5, 3))
  direction = [rng.standard_normal(k.shape) for k in kernels + decoder]

  def both(encoder, decoder):
    return witness.loss(
      encoder, batch, weights, center, batch_norm=batch_norm
    ) + witness.reconstruction_loss(
      encoder, decoder, batch['features'], batch_norm=batch_norm
    )

  gradient = (
    witness.add(
      witness.gradient(kernels, batch, weights, center, batch_norm=batch_norm),
      witness.reconstruction_gradient(
        kernels, decoder, batch['features'], batch_norm=batch_norm
      )[:3],
    )
    + witness.reconstruction_gradient(
      kernels, decoder, batch['features'], batch_norm=batch_norm
    )[3:]
  )
  ends = []
  for h in (1e-6, -1e-6):
    moved = witness.add(kernels + decoder, direction, h)
    ends.append(both(moved[:3], moved[3:]))
  found = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
  # h^2 and 2e-16 / h, times the derivatives.
  np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


# Losses, center, weights.


def test_distances_and_losses():
  rng = np.random.default_rng(0)
  embeddings = rng.normal(size=(30, 4)).astype(np.float32)
  center = rng.normal(size=4).astype(np.float32)
  labels = rng.choice([-1, 0, 1], 30)
  embeddings[3] = center
  distances = witness.squared_distances(embeddings, center)
  found = anomaly.squared_distances(embeddings, center)
  assert found.dtype == jnp.float32 and found.shape == (30,)
  # Few roundings, none of which cancels: some units of the last place.
  np.testing.assert_allclose(found, distances, rtol=1e-6)
  assert found[3] == 0
  for settings in ({}, {'eta': 3.0, 'eps': 0.25}):
    expected = witness.deep_sad_losses(distances, labels, **settings)
    found = anomaly.deep_sad_losses(embeddings, labels, center, **settings)
    assert found.dtype == jnp.float32 and found.shape == (30,)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_labels_pick_the_cases():
  found = anomaly.deep_sad_losses(
    [[2.0]] * 3, [0, -1, 1], [0.0], eta=3.0, eps=1.0
  )
  np.testing.assert_array_equal(found, np.float32([4.0, 15.0, 0.6]))


@pytest.mark.parametrize('dtype', [np.float64, np.int64, jnp.bfloat16, list])
def test_losses_are_float32_for_every_input(dtype):
  values = [[1.0, 2.0], [0.0, -1.0]]
  if dtype is list:
    given = values
  else:
    given = (
      jnp.asarray(values, dtype)
      if dtype is jnp.bfloat16
      else np.array(values, dtype)
    )
  found = anomaly.deep_sad_losses(given, [0, -1], [1.0, 0.0], eps=0.5)
  assert found.dtype == jnp.float32
  np.testing.assert_array_equal(found, np.float32([4.0, 2.5]))
  assert anomaly.center_of(given).dtype == jnp.float32


def test_gradient_at_the_center_is_zero():
  center = jnp.array([0.1, -2.0, 3.0])
  labels = jnp.array([0, 1, -1])

  def total(embeddings):
    return anomaly.deep_sad_losses(embeddings, labels, center).sum()

  value, gradient = jax.value_and_grad(total)(jnp.tile(center[None], (3, 1)))
  np.testing.assert_array_equal(gradient, np.zeros((3, 3), np.float32))
  np.testing.assert_allclose(value, 0.0 + 1e6 + 1e-6, rtol=1e-6)


@pytest.mark.parametrize(('eta', 'eps'), [(1.0, 1e-6), (3.0, 1e-4)])
def test_gradient_near_the_center_is_at_most_as_stated(eta, eps):
  # || d/dz eta / (r^2 + eps) || = 2 eta r / (r^2 + eps)^2 is largest at
  # r^2 = eps / 3: there it is 9 / 8 * 3^-1/2 = 0.6495 of eta eps^-3/2.
  radii = np.append(np.geomspace(1e-5, 1.0, 4001), np.sqrt(eps / 3))
  rows = np.zeros((len(radii), 2), np.float32)
  rows[:, 0] = 0.6 * radii
  rows[:, 1] = -0.8 * radii
  labels = np.ones(len(radii), np.int32)
  gradient = jax.grad(
    lambda z: anomaly.deep_sad_losses(
      z, labels, [0.0, 0.0], eta=eta, eps=eps
    ).sum()
  )(rows)
  norms = np.linalg.norm(np.asarray(gradient, np.float64), axis=1)
  bound = eta * eps**-1.5
  np.testing.assert_allclose(norms.max(), 9 / 8 / 3**0.5 * bound, rtol=1e-5)
  assert norms.max() <= 0.65 * bound
  slopes = witness.loss_slopes(radii**2, labels, eta=eta, eps=eps)
  np.testing.assert_allclose(norms, 2 * radii * -slopes, rtol=1e-5)


def test_center_keeps_off_zero():
  # Column means: beyond, on and inside both borders, and zero of both signs.
  means = np.float32(
    [0.5, -0.5, 0.125, -0.125, 0.0625, -0.0625, 0.0, -0.0, 1e-30, -1e-30]
  )
  embeddings = np.stack([means + 1, means - 1])
  embeddings[:, -4:] = means[-4:]
  found = anomaly.center_of(embeddings, min_abs=0.125)
  expected = [0.5, -0.5] + [0.125, -0.125] * 2 + [0.125] * 3 + [-0.125]
  np.testing.assert_array_equal(found, np.float32(expected))
  expected = witness.center_of(embeddings, 0.125)
  np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_center_default_and_none():
  embeddings = np.random.default_rng(0).normal(0.0, 0.3, (11, 40))
  expected = witness.center_of(np.float32(embeddings))
  assert (np.abs(expected) == 0.1).sum() > 5
  np.testing.assert_allclose(
    anomaly.center_of(embeddings), expected, rtol=1e-6, atol=1e-7
  )
  means = anomaly.center_of([[0.0, 0.25, -1e-3]], min_abs=0.0)
  np.testing.assert_array_equal(means, np.float32([0.0, 0.25, -1e-3]))


@pytest.mark.parametrize('normalization', ['group', 'batch'])
@pytest.mark.parametrize(
  'labels', [(0, 1, -1, 0, 1, 0), (0, 0, -1), (1, 1, 1), (1,), (0,)]
)
def test_anomaly_weights(normalization, labels):
  found = anomaly.anomaly_weights(labels, normalization=normalization)
  assert found.dtype == jnp.float32
  expected = witness.anomaly_weights(labels, normalization)
  np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_anomaly_weights_are_by_group_unless_told():
  labels = np.array([0, 1, 0, -1], np.int64)
  np.testing.assert_array_equal(
    anomaly.anomaly_weights(labels),
    anomaly.anomaly_weights(labels, normalization='group'),
  )
  traced = jax.jit(anomaly.anomaly_weights)(labels)
  np.testing.assert_array_equal(traced, anomaly.anomaly_weights(labels))


@pytest.mark.parametrize(
  ('call', 'words'),
  [
    (lambda: anomaly.squared_distances([1.0], [1.0]), r'\[B, E\]'),
    (lambda: anomaly.squared_distances([[1.0]], [1.0, 2.0]), r'\[B, E\]'),
    (lambda: anomaly.squared_distances([[1.0]], 1.0), r'\[B, E\]'),
    (lambda: anomaly.deep_sad_losses([[1.0]], [0, 0], [1.0]), '`labels`'),
    (lambda: anomaly.deep_sad_losses([[1.0]], 0, [1.0]), '`labels`'),
    (lambda: anomaly.deep_sad_losses([[1.0]], [0], [1.0], eta=0.0), '`eta`'),
    (lambda: anomaly.deep_sad_losses([[1.0]], [0], [1.0], eps=-1), '`eps`'),
    (lambda: anomaly.center_of(np.zeros((0, 2))), 'at least one row'),
    (lambda: anomaly.center_of([1.0, 2.0]), r'\[N, E\]'),
    (lambda: anomaly.anomaly_weights([[0, 1]]), r'\[B\]'),
    (
      lambda: anomaly.anomaly_weights([0], normalization='Group'),
      "'group' or 'batch'",
    ),
  ],
)
def test_misuse(call, words):
  with pytest.raises(ValueError, match=words):
    call()


# One step of the links.


def _to_params(kernels):
  """The tree of an `Encoder`."""
  hidden = {
    f'dense{i}': {'kernel': jnp.asarray(k, jnp.float32)}
    for i, k in enumerate(kernels[:-1], start=1)
  }
  embedding = {'kernel': jnp.asarray(kernels[-1], jnp.float32)}
  return {'hidden': hidden, 'embedding': embedding}


def _to_kernels(params):
  """The inverse."""
  hidden = params['hidden']
  kernels = [hidden[f'dense{i + 1}']['kernel'] for i in range(len(hidden))]
  return [np.asarray(k) for k in [*kernels, params['embedding']['kernel']]]


def _encoder(norm):
  return anomaly.Encoder(hidden_sizes=(5, 4), embedding_size=2, norm=norm)


def _stats(norm):
  if norm == 'none':
    return {}
  return {
    'hidden': {
      f'norm{i}': {'mean': jnp.zeros(n), 'var': jnp.ones(n)}
      for i, n in ((1, 5), (2, 4))
    }
  }


@functools.cache
def _links(method, rho):
  return {
    'sgd': lambda: imbsam_jax.group_sam((None,)),
    'sam': lambda: imbsam_jax.sam(rho),
    'imbsam': lambda: imbsam_jax.imbsam(rho),
    'sse_sam': lambda: imbsam_jax.sse_sam(rho / 2, rho),
  }[method]()


@functools.cache
def _compiled_update(method, norm, normalization, rho, split):
  link = _links(method, rho)
  tx = optax.chain(
    link, optax.clip_by_global_norm(1.0), optax.sgd(0.5, momentum=0.9)
  )

  def update(params, batch, state, center, groups):
    loss_fn = anomaly.deep_sad_loss_fn(_encoder(norm), _stats(norm), center)
    weights = anomaly.anomaly_weights(
      batch['labels'], normalization=normalization
    )
    if method in ('sgd', 'sam'):
      weights = weights.sum(axis=0, keepdims=True)
    if split:
      value, grads, grad_fn = imbsam_jax.split_gradient_oracle(
        loss_fn,
        params,
        [jax.tree.map(lambda x, rows=rows: x[rows], batch) for rows in groups],
        group_weights=[w[r] for w, r in zip(weights, groups, strict=True)],
      )
    else:
      value, grads, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn, params, batch, group_weights=weights
      )
    gradient, _ = link.update(grads, link.init(params), params, grad_fn=grad_fn)
    updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
    return value, gradient, optax.apply_updates(params, updates), state

  return jax.jit(update), tx


def _step(
  method,
  norm,
  kernels,
  batch,
  center,
  *,
  normalization='group',
  rho=0.3,
  state=None,
  split=False,
):
  """``(loss, statistics), gradient of the link, new parameters, state``."""
  update, tx = _compiled_update(method, norm, normalization, rho, split)
  params = _to_params(kernels)
  groups = ()
  if split:
    groups = tuple(
      np.flatnonzero((batch['labels'] > 0) == tail) for tail in (False, True)
    )
  batch = {
    'features': batch['features'].astype(np.float32),
    'labels': batch['labels'],
  }
  state = tx.init(params) if state is None else state
  return update(params, batch, state, np.float32(center), groups)


@pytest.mark.parametrize(
  ('method', 'norm', 'normalization'),
  [
    ('sgd', 'batch', 'group'),
    ('sam', 'none', 'group'),
    ('sam', 'batch', 'batch'),
    ('imbsam', 'none', 'group'),
    ('imbsam', 'batch', 'group'),
    ('sse_sam', 'none', 'batch'),
    ('sse_sam', 'batch', 'group'),
  ],
)
def test_two_steps_are_those_of_the_witness(method, norm, normalization):
  start, batch, center = _problem()
  model = {'batch_norm': norm == 'batch'}
  arguments = {
    'normalization': normalization, 'rho': 0.3, 'head_rho': 0.15, **model
  }  # fmt: skip
  expected = witness.train(
    method, start, [batch, batch], center, learning_rate=0.5, schedule=False,
    **arguments,
  )  # fmt: skip
  weights = witness.anomaly_weights(batch['labels'], normalization).sum(axis=0)
  state, kernels = None, start
  for after in expected:
    before = [np.asarray(k, np.float64) for k in kernels]
    (loss, stats), gradient, params, state = _step(
      method, norm, kernels, batch, center, normalization=normalization,
      state=state,
    )  # fmt: skip
    np.testing.assert_allclose(
      loss,
      witness.loss(before, batch, weights, center, **model),
      rtol=1e-5,
    )
    _assert_close(
      _to_kernels(gradient),
      witness.rule(method, before, batch, center, **arguments),
      # BatchNorm divides by small deviations, which multiplies errors.
      2e-4 if norm == 'batch' else 1e-5,
    )
    kernels = _to_kernels(params)
    _assert_close(kernels, after, 5e-5)
    if norm == 'batch':
      found = [
        (
          stats['hidden'][f'norm{i}']['mean'],
          stats['hidden'][f'norm{i}']['var'],
        )
        for i in (1, 2)
      ]
      initial = [(np.zeros(n), np.ones(n)) for n in (5, 4)]
      expected_stats = witness.running_statistics(
        initial, before, batch['features']
      )
      _assert_close(found, expected_stats)
    else:
      assert not stats


def test_clipping_and_rules_matter_here():
  # Else the test above would prove little.
  kernels, batch, center = _problem()
  found = {}
  for method in METHODS[:4]:
    found[method] = witness.rule(
      method, kernels, batch, center, normalization='group', rho=0.3,
      head_rho=0.15, batch_norm=True,
    )  # fmt: skip
    assert witness.global_norm(found[method]) > 1.5
  for one, two in zip(METHODS[:3], METHODS[1:4], strict=True):
    gap = witness.add(found[one], found[two], -1.0)
    assert witness.global_norm(gap) > 0.02 * witness.global_norm(found[one])


@pytest.mark.parametrize('norm', ['none', 'batch'])
def test_radius_zero_is_the_plain_gradient(norm):
  problem = _problem()
  found = _step('imbsam', norm, *problem, rho=0.0)[1]
  # Group by group the sums have another order.
  _assert_close(found, _step('sgd', norm, *problem)[1], 1e-6)


@pytest.mark.parametrize('norm', ['none', 'batch'])
def test_without_anomalies_imbsam_is_sgd(norm):
  problem = _problem(labels=(0, 0, -1, 0, 0, -1, 0, 0))
  found = _step('imbsam', norm, *problem)
  expected = _step('sgd', norm, *problem)
  _assert_equal(found[1:3], expected[1:3])
  _assert_equal(found[0], expected[0])


def test_with_anomalies_alone_imbsam_is_sam():
  problem = _problem(labels=(1,) * 8)
  for norm in ('none', 'batch'):
    found = _step('imbsam', norm, *problem)
    expected = _step('sam', norm, *problem)
    _assert_close(found[1:3], expected[1:3], 1e-6)


def test_without_labels_it_is_deep_svdd():
  kernels, batch, center = _problem(labels=(0,) * 8)
  embeddings, _ = witness.forward(kernels, batch['features'], batch_norm=False)
  mean = witness.squared_distances(embeddings, center).mean()
  for normalization in ('group', 'batch'):
    (loss, _), *_ = _step(
      'imbsam', 'none', kernels, batch, center, normalization=normalization
    )
    np.testing.assert_allclose(loss, mean, rtol=1e-6)


def test_split_oracle_is_the_oracle_without_batch_norm():
  problem = _problem()
  whole = _step('imbsam', 'none', *problem)
  split = _step('imbsam', 'none', *problem, split=True)
  np.testing.assert_allclose(split[0][0], whole[0][0], rtol=1e-6)
  _assert_close(split[1:3], whole[1:3], 1e-5)


def test_loss_fn_weighs_eta_and_eps():
  kernels, batch, center = _problem()
  weights = np.linspace(0.5, 2.0, 8)
  found, _ = anomaly.deep_sad_loss_fn(
    _encoder('none'), {}, center, eta=3.0, eps=0.1
  )(_to_params(kernels), batch, np.float32(weights))
  expected = witness.loss(
    kernels, batch, weights, center, batch_norm=False, eta=3.0, eps=0.1
  )
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_encoder_has_no_biases_and_keeps_its_statistics_in_scoring():
  kernels, batch, _ = _problem()
  encoder, rows = _encoder('batch'), np.float32(batch['features'])
  params = _to_params(kernels)
  shapes = jax.eval_shape(
    functools.partial(encoder.init, train=False), jax.random.key(0), rows
  )
  assert jax.tree.map(jnp.shape, shapes['params']) == jax.tree.map(
    jnp.shape, params
  )
  statistics = [(np.full(n, 0.25), np.full(n, 2.0)) for n in (5, 4)]
  stats = {
    f'norm{i}': {'mean': jnp.float32(mean), 'var': jnp.float32(variance)}
    for i, (mean, variance) in enumerate(statistics, start=1)
  }
  found = encoder.apply(
    {'params': params, 'batch_stats': {'hidden': stats}}, rows, train=False
  )
  expected, _ = witness.forward(
    kernels, rows, batch_norm=True, statistics=statistics
  )
  _assert_close(found, expected, 1e-6)


# The detector.


@pytest.fixture(scope='module')
def table():
  return _table()


class _Fitted(dict):
  """By method, fitted to a table when first asked for."""

  def __init__(self, table, **changes):
    super().__init__()
    self._table, self._changes = table, changes

  def __missing__(self, method):
    self[method] = _detector(method, **self._changes).fit(*self._table)
    return self[method]


@pytest.fixture(scope='module')
def fitted(table):
  return _Fitted(table)


@pytest.fixture(scope='module')
def long_fitted(table):
  return _Fitted(table, epochs=10, pretrain_epochs=5)


@pytest.fixture(scope='module')
def other_fitted(table):
  """With other choices than the shared ones, and no BatchNorm."""
  return _detector(
    'imbsam',
    norm='none',
    normalization='batch',
    eta=2.0,
    clip_norm=None,
    learning_rate=0.01,
    contamination=0.2,
    seed=3,
    epochs=1,
    pretrain_epochs=0,
  ).fit(*table)


def _scaled(rows, detector):
  """On [0, 1] as float32, as float64."""
  low, high = rows.min(axis=0), rows.max(axis=0)
  np.testing.assert_array_equal(detector.fitted_.minimum, low)
  np.testing.assert_array_equal(detector.fitted_.extent, high - low)
  return ((rows - low) / (high - low)).astype(np.float32).astype(np.float64)


def _statistics(batch_stats):
  """Pairs of mean and variance, by layer."""
  layers = batch_stats['hidden'] if batch_stats else {}
  return [
    (layers[f'norm{i + 1}']['mean'], layers[f'norm{i + 1}']['var'])
    for i in range(len(layers))
  ]


def _first(tree):
  return jax.tree.map(lambda x: np.float64(x[0]), tree)


def _check_against_witness(detector, rows, labels):
  """The center, training, scores and threshold, from the same encoder."""
  settings = detector.get_params()
  start = anomaly.pretrain_stacked([base.clone(detector)], [rows])
  kernels = [np.float64(k[0]) for k in _to_kernels(start.variables.params)]
  statistics = _statistics(_first(start.variables.batch_stats))
  batch_norm = settings['norm'] == 'batch'
  assert len(statistics) == batch_norm
  features = _scaled(rows, detector)
  embeddings, _ = witness.forward(
    kernels, features, batch_norm=batch_norm, statistics=statistics
  )
  center = witness.center_of(embeddings)
  _assert_close(detector.fitted_.center, center)
  batches = [
    {'features': features[part], 'labels': labels[part]}
    for epoch in range(settings['epochs'])
    for part in _training.row_order(
      len(rows), settings['batch_size'], settings['seed'], 1, epoch
    )
  ]
  names = ('learning_rate', 'weight_decay', 'clip_norm', 'switch', 'head_rho')
  names += ('normalization', 'rho', 'eta', 'average_decay')
  points = [kernels] + witness.train(
    detector.method,
    kernels,
    batches,
    center,
    batch_norm=batch_norm,
    **{name: settings[name] for name in names},
  )
  for point, batch in zip(points, batches, strict=False):
    if batch_norm:
      statistics = witness.running_statistics(
        statistics, point, batch['features']
      )
  # Some steps of float32: 1e-5 and less was found.
  _assert_close(
    _to_kernels(detector.fitted_.variables.params), points[-1], 1e-4
  )
  _assert_close(
    _statistics(detector.fitted_.variables.batch_stats), statistics, 1e-4
  )
  losses = [
    witness.loss(
      point,
      batch,
      witness.anomaly_weights(batch['labels'], settings['normalization']).sum(
        axis=0
      ),
      center,
      batch_norm=batch_norm,
      eta=settings['eta'],
    )
    for point, batch in zip(points, batches, strict=False)
  ]
  np.testing.assert_allclose(detector.history_['loss'], losses, rtol=1e-4)
  assert not detector.history_['skipped'].any()
  embeddings, _ = witness.forward(
    points[-1], features, batch_norm=batch_norm, statistics=statistics
  )
  scores = witness.squared_distances(embeddings, center)
  _assert_close(detector.decision_function(rows), scores, 1e-4)
  others = np.sort(scores[labels != 1])
  place = (1 - settings['contamination']) * (len(others) - 1)
  low = int(place)
  threshold = others[low] + (place - low) * (others[low + 1] - others[low])
  np.testing.assert_allclose(detector.fitted_.threshold, threshold, rtol=1e-4)
  np.testing.assert_array_equal(
    detector.predict(rows),
    (detector.decision_function(rows) > detector.fitted_.threshold),
  )


@pytest.mark.parametrize(
  'method', ['sgd', 'sam', 'imbsam', 'sse_sam', 'momentum_imbsam']
)
def test_fit_is_that_of_the_witness(method, table, fitted):
  _check_against_witness(fitted[method], *table)


def test_fit_is_that_of_the_witness_with_other_settings(table, other_fitted):
  _check_against_witness(other_fitted, *table)


def test_sse_sam_lets_go_of_the_head(table, fitted):
  # From the switch on it is imbsam; before it is not.
  whole = _detector('sse_sam', head_rho=0.0).fit(*table)
  _assert_close(whole.fitted_.variables, fitted['imbsam'].fitted_.variables)
  gap = np.abs(whole.history_['loss'] - fitted['sse_sam'].history_['loss'])
  assert gap[1] > 1e-5 * whole.history_['loss'][1]


def test_momentum_imbsam_of_radius_zero_is_sgd(table, fitted):
  found = _detector('momentum_imbsam', rho=0.0).fit(*table)
  _assert_close(found.fitted_.variables, fitted['sgd'].fitted_.variables, 1e-6)
  gap = fitted['momentum_imbsam'].history_['loss'] - found.history_['loss']
  assert np.abs(gap).max() > 1e-5


def test_momentum_imbsam_without_anomalies_is_sgd(table):
  rows, labels = table
  labels = np.minimum(labels, 0)
  found, expected = (
    _detector(method).fit(rows, labels) for method in ('momentum_imbsam', 'sgd')
  )
  _assert_close(found.fitted_.variables, expected.fitted_.variables, 1e-6)


def test_momentum_imbsam_of_the_last_step_is_that_of_the_witness(table):
  # Batches of 4 rows: some have no anomaly, and remember nothing new.
  detector = _detector(
    'momentum_imbsam', average_decay=0.0, batch_size=4, epochs=1, rho=0.2
  ).fit(*table)
  _check_against_witness(detector, *table)
  other = _detector(
    'momentum_imbsam', average_decay=0.6, batch_size=4, epochs=1, rho=0.2
  ).fit(*table)
  _check_against_witness(other, *table)
  gap = other.history_['loss'] - detector.history_['loss']
  assert np.abs(gap).max() > 1e-4


def test_rsam_of_radius_zero_is_sgd(table, fitted):
  found = _detector('rsam', rho=0.0).fit(*table)
  _assert_close(found.fitted_.variables, fitted['sgd'].fitted_.variables, 1e-6)
  gap = fitted['rsam'].history_['loss'] - fitted['sgd'].history_['loss']
  assert np.abs(gap).max() > 1e-5


def test_pretraining_is_that_of_the_witness(table):
  rows, _ = table
  detector = _detector()
  autoencoder = anomaly.Autoencoder(anomaly.Encoder((8,), 2), num_features=3)
  variables = autoencoder.init(
    jax.random.key(0), jnp.zeros((1, 3)), train=False
  )
  params = variables['params']
  encoder = [np.float64(k) for k in _to_kernels(params['encoder'])]
  decoder = [
    np.float64(params['decoder']['dense1']['kernel']),
    np.float64(params['reconstruction']['kernel']),
  ]
  found = anomaly.pretrain_stacked([detector], [rows]).variables
  low, high = rows.min(axis=0), rows.max(axis=0)
  features = ((rows - low) / (high - low)).astype(np.float32)
  batches = [
    np.float64(features[part])
    for epoch in range(2)
    for part in _training.row_order(len(rows), 16, 0, 0, epoch)
  ]
  statistics = [[(np.zeros(8), np.ones(8))]]

  def gradient_of(kernels, step):
    statistics.append(
      witness.running_statistics(statistics[-1], kernels[:2], batches[step])
    )
    return witness.reconstruction_gradient(
      kernels[:2], kernels[2:], batches[step], batch_norm=True
    )

  expected = witness.adam(
    encoder + decoder, gradient_of, len(batches), learning_rate=0.01,
    weight_decay=1e-3,
  )  # fmt: skip
  # Adam divides by gradients, small ones too: their errors count in full.
  _assert_close([k[0] for k in _to_kernels(found.params)], expected[:2], 1e-3)
  _assert_close(_statistics(_first(found.batch_stats)), statistics[-1], 1e-3)


def test_no_pretraining_leaves_the_initial_weights(table):
  autoencoder = anomaly.Autoencoder(anomaly.Encoder((8,), 2), num_features=3)
  expected = autoencoder.init(jax.random.key(5), jnp.zeros((1, 3)), train=False)
  found = anomaly.pretrain_stacked(
    [_detector(seed=5, pretrain_epochs=0)], [table[0]]
  )
  _assert_close(
    _first(found.variables.params), expected['params']['encoder'], 1e-6
  )


def test_adam_trains_too(table):
  found = _detector('sgd', optimizer='adam', learning_rate=0.02, epochs=10)
  assert _auroc(found.fit(*table), *_separate_rows()) > 0.99
  assert found.history_['loss'][-1] < found.history_['loss'][0]


@pytest.mark.parametrize('method', METHODS)
def test_stacked_is_one_after_the_other(method, table, fitted):
  tables = [table]
  for seed in (1, 2):
    rows, labels = _table(seed)
    tables.append((rows, np.roll(labels, -seed)))
  together = [_detector(method, seed=seed) for seed in range(3)]
  anomaly.fit_stacked(together, *zip(*tables, strict=True))
  _assert_close(together[0].fitted_, fitted[method].fitted_, 5e-5)
  for seed in (1, 2):
    rows, labels = tables[seed]
    alone = _detector(method, seed=seed).fit(rows, labels)
    _assert_close(together[seed].fitted_, alone.fitted_, 5e-5)
    np.testing.assert_allclose(
      together[seed].decision_function(rows),
      alone.decision_function(rows),
      rtol=5e-4,
      atol=1e-6,
    )
    np.testing.assert_allclose(
      together[seed].history_['loss'], alone.history_['loss'], rtol=1e-4
    )
  if method == 'imbsam':
    _check_pretrained_is_reused(together, tables)


def _check_pretrained_is_reused(expected, tables):
  detectors = [base.clone(d) for d in expected]
  rows, labels = zip(*tables, strict=True)
  # What belongs to the training alone may differ.
  pretrained = anomaly.pretrain_stacked(
    [_detector('sam', seed=seed, epochs=9) for seed in range(3)], rows
  )
  for _ in range(2):  # It can be used more than once.
    anomaly.fit_stacked(detectors, rows, labels, pretrained=pretrained)
    for one, two in zip(detectors, expected, strict=True):
      _assert_same_detector(one, two)


def test_pretrained_of_others_is_refused(table):
  rows, labels = table
  pretrained = anomaly.pretrain_stacked([_detector()], [rows])
  for changes in (
    {'seed': 1},
    {'norm': 'none'},
    {'hidden_sizes': (7,)},
    {'embedding_size': 3},
    {'weight_decay': 0.1},
    {'batch_size': 17},
    {'pretrain_epochs': 1},
    {'pretrain_learning_rate': 0.1},
  ):
    with pytest.raises(ValueError, match='pretrained'):
      anomaly.fit_stacked(
        [_detector(**changes)], [rows], [labels], pretrained=pretrained
      )
  with pytest.raises(ValueError, match='pretrained'):
    anomaly.fit_stacked(
      [_detector()], [rows[1:]], [labels[1:]], pretrained=pretrained
    )


def test_pretrained_of_other_rows_is_refused(table):
  # "Raises: encoders of other detectors or tables".
  rows, labels = table
  pretrained = anomaly.pretrain_stacked([_detector()], [rows])
  with pytest.raises(ValueError, match='pretrained'):
    anomaly.fit_stacked(
      [_detector()], [_table(4)[0]], [labels], pretrained=pretrained
    )


def test_detectors_that_differ_are_refused(table):
  rows, labels = table
  detectors = [_detector(), _detector(learning_rate=0.1, eta=2.0, seed=1)]
  with pytest.raises(ValueError, match='eta, learning_rate'):
    anomaly.fit_stacked(detectors, [rows] * 2, [labels] * 2)
  with pytest.raises(ValueError, match='pretrain_epochs'):
    anomaly.pretrain_stacked(
      [_detector(), _detector(pretrain_epochs=7)], [rows] * 2
    )


def test_numbers_of_tables_and_labels_must_fit(table):
  rows, labels = table
  pair = [_detector(), _detector(seed=1)]
  with pytest.raises(ValueError, match='tables'):
    anomaly.fit_stacked(pair, [rows], [labels])
  with pytest.raises(ValueError, match='labels'):
    anomaly.fit_stacked(pair, [rows] * 2, [labels])
  with pytest.raises(ValueError, match='shape'):
    anomaly.fit_stacked(pair, [rows, rows[1:]])
  with pytest.raises(ValueError, match='tables'):
    anomaly.pretrain_stacked(pair, [rows])


@pytest.mark.parametrize('method', METHODS)
def test_toy_anomalies_are_found(method, long_fitted):
  assert _auroc(long_fitted[method], *_separate_rows()) > 0.99


@pytest.mark.parametrize('method', METHODS)
def test_labels_help_where_anomalies_lie_within(method):
  # Normal rows are long in one direction; anomalies are not beyond their range
  # there, only aside.
  def draw(seed, normal, anomalies):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(normal + anomalies, 3)) * [3.0, 0.3, 0.3]
    rows[normal:] = rows[normal:] * [0.3, 0.3, 0.3] + [0.0, 1.5, 0.0]
    return rows, np.repeat([0, 1], [normal, anomalies])

  rows, labels = draw(0, 66, 6)
  test = draw(1, 100, 30)
  settings = {'epochs': 10, 'pretrain_epochs': 3}
  with_labels = _auroc(_detector(method, **settings).fit(rows, labels), *test)
  without = _auroc(_detector(method, **settings).fit(rows), *test)
  assert with_labels >= without
  assert with_labels > 0.95


def test_the_seed_decides(table, fitted):
  again = _detector('imbsam').fit(*table)
  _assert_same_detector(again, fitted['imbsam'])
  # A fitted detector forgets the first fit.
  again = again.fit(*_table(3)).fit(*table)
  _assert_same_detector(again, fitted['imbsam'])
  other = _detector('imbsam', seed=1).fit(*table)
  scores = [d.decision_function(table[0]) for d in (again, other)]
  assert np.abs(scores[0] - scores[1]).max() > 0.01


def test_the_seed_decides_the_noise_of_rsam(table, fitted):
  again = _detector('rsam').fit(*table)
  _assert_same_detector(again, fitted['rsam'])


@pytest.mark.parametrize('method', ['imbsam', 'rsam'])
def test_save_and_load(method, table, fitted, tmp_path):
  rows, labels = table
  detector = fitted[method]
  for path in (tmp_path / 'one.npz', str(tmp_path / 'no_suffix')):
    detector.save(path)
    assert os.path.exists(path)
    loaded = anomaly.DeepSAD.load(path)
    _assert_equal(loaded.fitted_, detector.fitted_)
    np.testing.assert_array_equal(
      loaded.decision_function(rows), detector.decision_function(rows)
    )
    np.testing.assert_array_equal(loaded.predict(rows), detector.predict(rows))
    assert loaded.n_features_in_ == 3
    assert isinstance(loaded.fitted_.threshold, float)
    found, expected = loaded.get_params(), detector.get_params()
    assert tuple(found.pop('hidden_sizes')) == expected.pop('hidden_sizes')
    assert found == expected
  # What was loaded can be fitted and saved again.
  loaded.save(tmp_path / 'two.npz')
  refitted = anomaly.DeepSAD.load(tmp_path / 'two.npz').fit(rows, labels)
  _assert_equal(refitted.fitted_, detector.fitted_)


def _train_again(method, seeds, features, **changes):
  """`_training.train` of one encoder for each seed, on 16 scaled rows."""
  recipe = _recipe.recipe_of(_detector(method, **changes).get_params(), 3)
  variables = anomaly.pretrain_stacked(
    [_detector(pretrain_epochs=0)], [_table()[0]]
  ).variables
  count = len(seeds)
  labels = np.array([0, 0, 1, 0] * (features.shape[0] // 4), np.int32)
  return _training.train(
    recipe,
    jax.tree.map(lambda x: jnp.concatenate([x] * count), variables),
    jnp.full((count, 2), 0.5),
    np.tile(features.astype(np.float32), (count, 1, 1)),
    np.tile(labels, (count, 1)),
    seeds=seeds,
    batch_size=16,
    epochs=2,
  )


def test_every_seed_has_noise_of_its_own():
  # One batch of all rows: but for the noise, seeds make no difference.
  features = np.random.default_rng(0).random((16, 3))
  for method, differ in (('sgd', False), ('rsam', True)):
    trained, _ = _train_again(method, [0, 1, 2], features)
    for leaf in jax.tree.leaves(trained.params):
      gaps = np.abs(leaf[0] - leaf[1]).max(), np.abs(leaf[1] - leaf[2]).max()
      assert min(gaps) > 1e-5 if differ else max(gaps) < 1e-6


def test_a_step_that_is_not_finite_is_skipped():
  # Two batches in an epoch; the bad row is in one of them.
  features = np.random.default_rng(0).random((32, 3))
  features[7, 1] = np.nan
  trained, history = _train_again('sgd', [0], features)
  np.testing.assert_array_equal(history['skipped'].sum(axis=1), [2])
  np.testing.assert_array_equal(history['skipped'], np.isnan(history['loss']))
  assert not history['exhausted'].any()
  chex.assert_tree_all_finite(trained)


def test_save_and_load_without_batch_norm(table, other_fitted, tmp_path):
  other_fitted.save(tmp_path / 'it.npz')
  loaded = anomaly.DeepSAD.load(tmp_path / 'it.npz')
  _assert_equal(loaded.fitted_, other_fitted.fitted_)
  np.testing.assert_array_equal(
    loaded.decision_function(table[0]),
    other_fitted.decision_function(table[0]),
  )


@pytest.mark.parametrize(
  'changes',
  [
    {'seed': np.int64(0), 'epochs': np.int32(2), 'hidden_sizes': [np.int64(8)]},
    {'rho': np.float64(0.05), 'learning_rate': np.float64(0.05)},
    {'contamination': np.float32(0.1)},
  ],
)
def test_numpy_hyperparameters(changes, table, fitted, tmp_path):
  # As a search over np.arange and np.geomspace gives them.
  detector = _detector('imbsam', **changes).fit(*table)
  _assert_close(detector.fitted_, fitted['imbsam'].fitted_, 1e-6)
  detector.save(tmp_path / 'it.npz')
  loaded = anomaly.DeepSAD.load(tmp_path / 'it.npz')
  np.testing.assert_array_equal(
    loaded.decision_function(table[0]), detector.decision_function(table[0])
  )


def test_settings_after_the_fit_do_not_change_it(table, fitted, tmp_path):
  detector = pickle.loads(pickle.dumps(fitted['imbsam']))
  scores = detector.decision_function(table[0])
  detector.set_params(norm='none', hidden_sizes=(3, 2), embedding_size=1)
  np.testing.assert_array_equal(detector.decision_function(table[0]), scores)
  detector.save(tmp_path / 'it.npz')
  loaded = anomaly.DeepSAD.load(tmp_path / 'it.npz')
  np.testing.assert_array_equal(loaded.decision_function(table[0]), scores)
  assert loaded.get_params() == detector.get_params()


def test_negative_least_center_is_refused():
  with pytest.raises(ValueError, match='min_abs'):
    anomaly.center_of(np.ones((3, 2)), min_abs=-0.1)


def test_a_failed_save_leaves_the_old_file(fitted, tmp_path, monkeypatch):
  detector = pickle.loads(pickle.dumps(fitted['imbsam']))
  path = tmp_path / 'it.npz'
  detector.save(path)
  before = path.read_bytes()

  def full_disk(file, **arrays):
    del arrays
    file.write(b'some')
    raise OSError('no space left')

  with monkeypatch.context() as patch:
    patch.setattr(np, 'savez', full_disk)
    with pytest.raises(OSError, match='no space'):
      detector.save(path)
  assert path.read_bytes() == before
  detector.set_params(method=object())
  with pytest.raises((TypeError, ValueError)):
    detector.save(path)
  assert path.read_bytes() == before


class _Trap:
  """Leaves a folder behind when unpickled."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.mark.parametrize(
  'name',
  ['text', 'empty', 'other', 'cut', 'object', 'pickle', 'missing', 'format'],
)
def test_other_files_are_refused(name, fitted, tmp_path):
  path, trap = tmp_path / 'it.npz', tmp_path / 'sprung'
  fitted['imbsam'].save(path)
  with np.load(path) as file:
    arrays = dict(file)
  if name == 'text':
    path.write_text('no zip file')
  elif name == 'empty':
    path.write_bytes(b'')
  elif name == 'other':
    np.savez(path, x=np.zeros(3))
  elif name == 'cut':
    path.write_bytes(path.read_bytes()[:-200])
  elif name == 'object':
    arrays['center'] = np.array([_Trap(trap)] * 2, dtype=object)
    np.savez(path, **arrays)
  elif name == 'pickle':
    path.write_bytes(pickle.dumps(_Trap(trap)))
  elif name == 'missing':
    path.unlink()
  elif name == 'format':
    header = str(arrays['header']).replace('"format": 1', '"format": 2')
    np.savez(path, **{**arrays, 'header': np.array(header)})
  with pytest.raises(ValueError, match='it.npz'):
    anomaly.DeepSAD.load(path)
  assert not trap.exists()


@pytest.mark.parametrize(
  'name', ['header', 'center', 'extent', 'variables/params/embedding/kernel']
)
def test_files_with_a_part_missing_or_wrong_are_refused(name, fitted, tmp_path):
  path = tmp_path / 'it.npz'
  fitted['imbsam'].save(path)
  with np.load(path) as file:
    arrays = dict(file)
  assert name in arrays
  for broken in (None, np.zeros((5, 5, 5), np.float32)):
    changed = {key: value for key, value in arrays.items() if key != name}
    if broken is not None:
      changed[name] = broken
    np.savez(path, **changed)
    with pytest.raises(ValueError, match='it.npz'):
      anomaly.DeepSAD.load(path)


def test_pickle(table, fitted):
  again = pickle.loads(pickle.dumps(fitted['imbsam']))
  np.testing.assert_array_equal(
    again.decision_function(table[0]),
    fitted['imbsam'].decision_function(table[0]),
  )


def test_scikit_learn_parameters(fitted):
  detector = fitted['sse_sam']
  copy = base.clone(detector)
  assert copy.get_params() == detector.get_params()
  assert not hasattr(copy, 'fitted_')
  assert copy.set_params(rho=0.5, hidden_sizes=None) is copy
  assert copy.rho == 0.5 and copy.get_params()['hidden_sizes'] is None
  assert detector.rho == 0.05
  with pytest.raises(ValueError, match='Invalid parameter'):
    copy.set_params(radius=0.5)
  assert 'rho=0.5' in repr(copy)


def test_in_a_pipeline(table):
  rows, labels = table
  chain = pipeline.make_pipeline(
    preprocessing.StandardScaler(), _detector('imbsam')
  )
  assert chain.fit(rows, labels) is chain
  scaled = preprocessing.StandardScaler().fit(rows).transform(rows)
  alone = _detector('imbsam').fit(scaled, labels)
  expected = alone.decision_function(scaled)
  np.testing.assert_array_equal(chain.decision_function(rows), expected)
  np.testing.assert_array_equal(chain.score(rows), expected)
  np.testing.assert_array_equal(chain.predict(rows), alone.predict(scaled))
  chain.set_params(deepsad__seed=1).fit(rows, labels)
  assert chain[-1].seed == 1
  assert not np.array_equal(chain.decision_function(rows), expected)


def test_rows_are_scored_each_for_itself(fitted):
  detector = fitted['imbsam']
  rows = np.random.default_rng(0).normal(size=(4096 + 37, 3))
  scores = detector.decision_function(rows)
  assert scores.shape == (4133,) and scores.dtype == np.float32
  # Other shapes may sum in another order: some units of the last place, and
  # small distances are differences.
  check = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  check(detector.decision_function(rows[:1]), scores[:1])
  check(detector.decision_function(rows[4090:4110]), scores[4090:4110])
  check(detector.decision_function(rows[:4096]), scores[:4096])
  check(detector.decision_function(rows[::-1]), scores[::-1])
  twice = np.concatenate([rows, rows])[:8192]
  check(detector.decision_function(twice), np.tile(scores, 2)[:8192])
  assert detector.predict(rows).shape == (4133,)
  assert detector.predict(rows).dtype == np.int64
  np.testing.assert_array_equal(detector.score(rows, np.zeros(4133)), scores)


def test_units_of_the_columns_do_not_matter(table, fitted):
  rows, labels = table
  expected = fitted['imbsam'].decision_function(rows)
  # Powers of two are exact.
  scales = np.array([2.0, 0.25, 2.0**40])
  found = _detector('imbsam').fit(rows * scales, labels)
  np.testing.assert_array_equal(
    found.decision_function(rows * scales), expected
  )
  # Else the scaled rows may be off by one unit of the last place of float32.
  moved = rows * [3.3, 0.17, 900.0] + [5.0, -3.0, 100.0]
  found = _detector('imbsam').fit(moved, labels)
  np.testing.assert_allclose(
    found.decision_function(moved), expected, rtol=1e-3, atol=1e-5
  )


@pytest.mark.parametrize(
  ('num_features', 'hidden', 'embedding', 'sizes'),
  [
    (274, None, None, (128, 64, 32)),
    (100, None, None, (128, 64, 32)),
    (99, None, None, (32, 16, 8)),
    (21, None, None, (32, 16, 8)),
    (6, None, None, (32, 16, 4)),
    (9, None, None, (32, 16, 8)),
    (2, None, None, (32, 16, 2)),
    (1, None, None, (32, 16, 1)),
    (5, (3,), None, (3, 1)),
    (5, (1,), None, (1, 1)),
    (5, [7, 6], 4, (7, 6, 4)),
    (5, None, 9, (32, 16, 9)),
  ],
)
def test_default_sizes(num_features, hidden, embedding, sizes):
  # Without pre-training nothing but the initialization is compiled.
  detector = anomaly.DeepSAD(
    hidden_sizes=hidden, embedding_size=embedding, pretrain_epochs=0
  )
  encoder = _recipe.recipe_of(detector.get_params(), num_features).encoder
  assert (*encoder.hidden_sizes, encoder.embedding_size) == sizes
  assert encoder.norm == 'batch'


def test_eps_is_that_of_the_released_code():
  for function in (anomaly.deep_sad_losses, anomaly.deep_sad_loss_fn):
    assert inspect.signature(function).parameters['eps'].default == 1e-6


def test_cost():
  costs = {method: _detector(method).cost for method in METHODS}
  assert costs['sgd'] == 1 and costs['rsam'] == 1 and costs['sam'] == 2
  np.testing.assert_allclose(costs['imbsam'], 8 / 3)
  np.testing.assert_allclose(costs['sse_sam'], (8 + 11) / 6)
  # All rows go through both passes; none at w is for the direction alone.
  assert costs['momentum_imbsam'] == 2
  assert _detector('momentum_imbsam', rho=0.0).cost == 1
  most = _detector('sse_sam', switch=0.75)
  np.testing.assert_allclose(most.cost, (8 + 3 * 11) / 12)
  # What the links leave out costs nothing.
  assert _detector('sam', rho=0.0).cost == 1
  np.testing.assert_allclose(_detector('sse_sam', head_rho=0).cost, 8 / 3)


# Edge cases.


@pytest.mark.parametrize(
  ('num_rows', 'batch_size'),
  [(10, 4), (12, 4), (3, 8), (1, 1), (1, 128), (7, 7), (9, 1), (5, 4)],
)
def test_every_row_comes_up(num_rows, batch_size):
  order = _training.row_order(num_rows, batch_size, 3, 1, 0)
  width = min(num_rows, batch_size)
  steps = -(-num_rows // width)
  assert order.shape == (steps, width)
  flat = order.ravel()
  assert sorted(flat[:num_rows]) == list(range(num_rows))
  # The filling are the first rows of the epoch; no batch has a row twice.
  np.testing.assert_array_equal(flat[num_rows:], flat[: flat.size - num_rows])
  assert all(len(set(batch)) == width for batch in order)
  np.testing.assert_array_equal(
    order, _training.row_order(num_rows, batch_size, 3, 1, 0)
  )


def test_orders_differ_by_every_word():
  orders = {
    tuple(_training.row_order(40, 8, *words).ravel())
    for words in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**31, 0, 0))
  }
  assert len(orders) == 5


def _assert_finite(detector, rows):
  chex.assert_tree_all_finite(_arrays(detector.fitted_))
  scores = detector.decision_function(rows)
  assert scores.shape == (len(rows),)
  assert np.isfinite(scores).all() and (scores >= 0).all()


def test_no_labels(table, fitted):
  rows, _ = table
  none = _detector('imbsam').fit(rows)
  zeros = _detector('imbsam').fit(rows, np.zeros(72, int))
  _assert_same_detector(none, zeros)
  # Nothing to ascend: SGD, up to what the compiler makes of either program.
  _assert_close(none.fitted_, _detector('sgd').fit(rows).fitted_)
  # A share of 0.1 of 72 rows scores above.
  assert none.predict(rows).sum() == 8
  gap = none.decision_function(rows) - fitted['imbsam'].decision_function(rows)
  assert np.abs(gap).max() > 1e-3


def test_contamination_counts_rows_that_are_not_labelled(table):
  rows, labels = table
  for contamination, count in ((0.0, 0), (0.5, 33), (1.0, 65)):
    detector = _detector('sgd', contamination=contamination).fit(rows, labels)
    assert detector.predict(rows)[labels <= 0].sum() == count


def test_labelled_normal_rows_weigh_eta(table):
  rows, labels = table
  some = _detector('sgd').fit(rows, np.minimum(labels, 0))
  none = _detector('sgd').fit(rows)
  # Their loss is d + eps instead of d.
  _assert_close(some.fitted_, none.fitted_, 1e-4)


@pytest.mark.parametrize('batch_size', [1, 1000])
def test_batches_of_one_and_of_all(batch_size, table):
  rows, labels = table[0][:16], np.array([0, 0, 1, 0, -1, 0, 0, 1] * 2)
  detector = _detector('imbsam', batch_size=batch_size, epochs=3)
  _assert_finite(detector.fit(rows, labels), table[0])
  steps = 3 * (16 if batch_size == 1 else 1)
  assert detector.history_['loss'].shape == (steps,)
  assert detector.history_['skipped'].shape == (steps,)


def test_more_steps_than_a_call_takes():
  # 70 steps of 1 row each; the last calls are not full.
  rows, labels = _table(normal=33, anomalies=2)
  detector = _detector('imbsam', batch_size=1).fit(rows, labels)
  assert detector.history_['loss'].shape == (70,)
  assert (detector.history_['loss'] > 0).all()


def test_one_row():
  detector = _detector('imbsam').fit([[1.0, 2.0, 3.0]])
  _assert_finite(detector, [[1.0, 2.0, 3.0], [5.0, -2.0, 0.0]])
  assert detector.predict([[1.0, 2.0, 3.0]]) == 0


def test_constant_features(table):
  rows, labels = table[0].copy(), table[1]
  rows[:, 1] = 7.0
  detector = _detector('imbsam').fit(rows, labels)
  assert detector.fitted_.extent[1] == 1.0
  other = rows.copy()
  other[:, 1] = -30.0
  _assert_finite(detector, rows)
  _assert_finite(detector, other)
  with pytest.warns(UserWarning, match='all columns are constant'):
    constant = _detector('imbsam').fit(np.full((72, 3), 2.0), labels)
  _assert_finite(constant, np.full((5, 3), 2.0))
  _assert_finite(constant, rows)


def test_kinds_of_input(fitted):
  rng = np.random.default_rng(0)
  rows = rng.integers(-9, 9, (40, 3))
  labels = rng.permutation([0] * 36 + [1] * 4)
  expected = _detector('imbsam').fit(rows.astype(np.float64), labels)
  scores = expected.decision_function(rows)
  for x, y in (
    (rows, labels.astype(bool)),
    (rows.astype(np.float32), labels.astype(np.int8)),
    (rows.tolist(), labels.tolist()),
    (rows.astype(np.int16), labels.astype(np.float64)),
    (np.asfortranarray(rows), labels),
    (jnp.asarray(rows, jnp.float32), jnp.asarray(labels)),
  ):
    found = _detector('imbsam').fit(x, y)
    np.testing.assert_array_equal(found.decision_function(x), scores)


def test_what_is_given_is_not_changed(table):
  rows, labels = table[0].copy(), table[1].copy()
  _detector('imbsam').fit(rows, labels)
  np.testing.assert_array_equal(rows, table[0])
  np.testing.assert_array_equal(labels, table[1])


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_rows_must_be_finite(value, table, fitted):
  rows = table[0].copy()
  rows[5, 2] = value
  for call in (
    _detector().fit,
    fitted['imbsam'].decision_function,
    fitted['imbsam'].predict,
  ):
    with pytest.raises(ValueError, match='row 5, column 2'):
      call(rows)


def test_rows_must_span_what_float64_holds():
  with pytest.raises(ValueError, match='column 1'):
    _detector().fit([[0.0, -1.7e308], [0.0, 1.7e308]])


@pytest.mark.parametrize(
  ('x', 'words'),
  [
    (np.zeros((4, 2)), '3 columns'),
    (np.zeros((4, 4)), '3 columns'),
    (np.zeros(3), r'\[N, D\]'),
    (np.zeros((0, 3)), r'\[N, D\]'),
    (np.zeros((2, 3, 1)), r'\[N, D\]'),
    ([['a', 'b', 'c']], 'real numbers'),
    ([[1.0, 2.0, 3.0], [1.0]], 'real numbers'),
    (np.ones((4, 3)) + 1j, 'real'),
  ],
)
def test_wrong_rows_are_refused(x, words, fitted):
  with pytest.raises(ValueError, match=words):
    fitted['imbsam'].decision_function(x)


@pytest.mark.parametrize(
  ('y', 'words'),
  [
    ([0, 1, 2], r'`y` must be 1 .* got .*2.* row 2'),
    ([0, 0.5, 1], r'`y` must be 1 .* row 1'),
    ([0, np.nan, 1], r'`y` must be 1 .* row 1'),
    (['0', '1', '0'], '`y` must be 1'),
    ([0, 1], r'`y` must have the shape \(3,\)'),
    ([[0, 1, 0]], r'`y` must have the shape \(3,\)'),
    (1, r'`y` must have the shape \(3,\)'),
    ([1, 1, 1], 'all 3 rows are labeled anomalies'),
  ],
)
def test_wrong_labels_are_refused(y, words):
  with pytest.raises(ValueError, match=words):
    _detector().fit(np.eye(3), y)


def test_not_fitted(tmp_path):
  detector = _detector()
  for call in (
    lambda: detector.decision_function(np.eye(3)),
    lambda: detector.predict(np.eye(3)),
    lambda: detector.score(np.eye(3)),
    lambda: detector.save(tmp_path / 'it.npz'),
  ):
    with pytest.raises(exceptions.NotFittedError):
      call()
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    (name, value)
    for name, values in (
      ('method', ('SAM', None, '', 3)),
      ('optimizer', ('rmsprop', None)),
      ('normalization', ('none', None)),
      ('norm', ('layer', None, True)),
      ('rho', (-0.1, np.nan, np.inf)),
      ('head_rho', (-0.1, np.nan, np.inf)),
      ('learning_rate', (-0.1, np.nan, np.inf)),
      ('pretrain_learning_rate', (-0.1, np.nan, np.inf)),
      ('weight_decay', (-0.1, np.nan, np.inf)),
      ('eta', (0.0, -1.0, np.nan, np.inf)),
      ('switch', (-0.1, 1.1, np.nan)),
      ('average_decay', (-0.1, 1.0, np.nan)),
      ('contamination', (-0.1, 1.1, np.nan)),
      ('clip_norm', (0.0, -1.0, np.nan)),
      ('batch_size', (0, -1, 1.5, None)),
      ('epochs', (0, -1, 1.5, None)),
      ('pretrain_epochs', (-1, 1.5, None)),
      ('seed', (-1, 0.5, None, 2**32)),
      ('hidden_sizes', ((0,), (8, -1), (1.5,), ('a',), (), 8)),
      ('embedding_size', (0, -1, 1.5)),
    )
    for value in values
  ],
)
def test_hyperparameters_out_of_range(name, value):
  # With nothing else to go by: () leaves no layer to take half of.
  detector = _detector(**{'embedding_size': None, name: value})
  with pytest.raises((TypeError, ValueError), match=f'{name}.* must '):
    detector.fit(np.eye(3))
  assert not hasattr(detector, 'fitted_')


@pytest.mark.parametrize(
  'name',
  [
    'rho',
    'head_rho',
    'learning_rate',
    'pretrain_learning_rate',
    'weight_decay',
    'eta',
    'switch',
    'average_decay',
    'contamination',
    'clip_norm',
  ],
)
def test_hyperparameters_of_another_type(name):
  with pytest.raises((TypeError, ValueError), match=f'`{name}` must '):
    _detector(**{name: '0.1'}).fit(np.eye(3))


def test_divergence_is_an_error(table):
  rows, labels = table
  detector = _detector(learning_rate=1e30, clip_norm=None, epochs=4)
  with pytest.raises(training.DivergedError, match='learning_rate'):
    detector.fit(rows, labels)
  assert not hasattr(detector, 'fitted_')


def test_a_run_without_one_step_is_an_error(table, monkeypatch):
  # All that is left is finite, but it is not trained.
  train = _training.train

  def train_on_nan(recipe, variables, centers, features, labels, **arguments):
    nan = np.full_like(features, np.nan)
    return train(recipe, variables, centers, nan, labels, **arguments)

  monkeypatch.setattr(_training, 'train', train_on_nan)
  detector = _detector(seed=6)
  with pytest.raises(training.DivergedError, match=r'five .* \[6\]'):
    detector.fit(*table)
  assert not hasattr(detector, 'fitted_')


def test_divergence_in_a_short_run_is_an_error_too(table):
  # Three steps: too few for a row of skipped updates.
  rows, labels = table[0][:16], table[1][:16]
  detector = _detector(learning_rate=1e30, clip_norm=None, epochs=3)
  with pytest.raises(training.DivergedError, match='`learning_rate`'):
    detector.fit(rows, labels)
  assert not hasattr(detector, 'fitted_')


@pytest.mark.parametrize(
  'changes',
  [
    {'pretrain_learning_rate': 1e30},
    # Weights that a guard would keep are finite, and so are their embeddings.
    {'pretrain_learning_rate': 1e15, 'norm': 'none'},
  ],
)
def test_divergence_of_the_pretraining_is_an_error(changes, table):
  rows, labels = table
  detector = _detector(epochs=1, **changes)
  with pytest.raises(training.DivergedError, match='`pretrain_learning_rate`'):
    detector.fit(rows[:40], labels[:40])
  assert not hasattr(detector, 'fitted_')


def test_rows_very_far_off_have_no_nan_for_a_score(fitted):
  # Finite in float64, but not in float32.
  far = np.array([[1e300, 0.0, 0.0], [-1e39, 1e39, 5.0], [0.0, 0.0, 1e25]])
  detector = fitted['imbsam']
  scores = detector.decision_function(far)
  assert not np.isnan(scores).any()
  np.testing.assert_array_equal(detector.predict(far), [1, 1, 1])


# Metrics.


@pytest.mark.parametrize('seed', range(6))
def test_metrics_by_counting(seed):
  rng = np.random.default_rng(seed)
  size = 7
  labels = rng.permutation([0] * (size - 1 - seed % 4) + [1] * (1 + seed % 4))
  # Few values: many ties.
  scores = rng.integers(0, 3 + seed % 2, size) - 1.0
  found = metrics.anomaly_metrics(scores, labels)
  assert set(found) == {'auroc', 'auprc', 'precision_at_n', 'prevalence'}
  assert all(type(value) is float for value in found.values())
  for name, function in (
    ('auroc', witness.auroc),
    ('auprc', witness.average_precision),
    ('precision_at_n', witness.precision_at_n),
  ):
    np.testing.assert_allclose(
      found[name], function(scores, labels.tolist()), rtol=1e-12, err_msg=name
    )
  assert found['prevalence'] == labels.mean()


def test_metrics_of_scikit_learn():
  rng = np.random.default_rng(0)
  labels = (rng.random(500) < 0.1).astype(int)
  scores = np.round(rng.normal(size=500) + labels, 1)
  found = metrics.anomaly_metrics(scores, labels)
  assert found['auroc'] == sklearn_metrics.roc_auc_score(labels, scores)
  assert found['auprc'] == sklearn_metrics.average_precision_score(
    labels, scores
  )


@pytest.mark.parametrize(
  ('scores', 'labels', 'auroc', 'auprc', 'precision'),
  [
    ([1, 2, 3, 4], [0, 0, 1, 1], 1.0, 1.0, 1.0),
    ([4, 3, 2, 1], [0, 0, 1, 1], 0.0, (1 / 3 + 2 / 4) / 2, 0.0),
    # All tied: what chance gives.
    ([5, 5, 5, 5], [0, 0, 0, 1], 0.5, 0.25, 0.25),
    # One place left for a tie of an anomaly and two normal rows.
    ([9, 5, 5, 5], [1, 1, 0, 0], (1 + 1 + 0.5 + 0.5) / 4, 0.75, 2 / 3),
    # The tie lies above the last place: all of it counts.
    ([5, 5, 3, 1], [1, 0, 1, 0], (0.5 + 1 + 0 + 1) / 4, 7 / 12, 0.5),
    ([-2.0, 1e300], [0, 1], 1.0, 1.0, 1.0),
  ],
)
def test_metrics_by_hand(scores, labels, auroc, auprc, precision):
  found = metrics.anomaly_metrics(scores, labels)
  np.testing.assert_allclose(
    [found[name] for name in ('auroc', 'auprc', 'precision_at_n')],
    [auroc, auprc, precision],
    rtol=1e-12,
  )


def test_metrics_do_not_depend_on_order_or_units():
  rng = np.random.default_rng(1)
  labels = rng.permutation([0] * 30 + [1] * 10)
  scores = rng.integers(0, 8, 40)
  expected = metrics.anomaly_metrics(scores, labels)
  order = rng.permutation(40)
  for one, two in (
    (scores[order], labels[order]),
    (np.exp(scores), labels.astype(bool)),
    (scores.astype(np.float32), labels.astype(np.float64)),
    (scores.tolist(), labels.tolist()),
  ):
    found = metrics.anomaly_metrics(one, two)
    np.testing.assert_allclose(
      list(found.values()), list(expected.values()), rtol=1e-12
    )


@pytest.mark.parametrize(
  ('scores', 'labels', 'words'),
  [
    ([1.0, 2.0], [0, 0], 'no anomaly'),
    ([1.0, 2.0], [1, 1], 'no normal row'),
    ([], [], 'no anomaly'),
    ([1.0, np.nan, 3.0], [0, 1, 0], 'nan in row 1'),
    ([1.0, 2.0], [0, 2], '`labels`'),
    ([1.0, 2.0], [-1, 1], '`labels`'),
    ([1.0, 2.0], [0, 0.5], '`labels`'),
    ([1.0, 2.0], [0, np.nan], '`labels`'),
    ([1.0, 2.0], ['0', '1'], '`labels`'),
    ([1.0, 2.0], [0, 1, 0], 'one shape'),
    ([[1.0, 2.0]], [[0, 1]], 'one shape'),
  ],
)
def test_metrics_refuse(scores, labels, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    metrics.anomaly_metrics(scores, labels)
  path = tmp_path / 'scores.png'
  with pytest.raises(ValueError, match=words):
    metrics.plot_anomaly_scores(path, scores, labels)
  assert not path.exists()


def test_metrics_name_scores_that_are_infinite():
  # Distances overflow to infinity: it ranks highest, or is refused by name.
  try:
    found = metrics.anomaly_metrics([0.0, np.inf, 1.0], [0, 1, 0])
  except ValueError as error:
    assert '`scores`' in str(error)
  else:
    assert found['auroc'] == 1.0


@pytest.mark.parametrize(
  'scores', [[0.0, 0.0, 2.0, 3.0], [1.5, 1.5, 1.5, 1.5], [-3.0, -1.0, 0.0, 1.0]]
)
def test_plot(scores, tmp_path):
  path = tmp_path / 'scores'
  metrics.plot_anomaly_scores(path, scores, [0, 0, 1, 1], threshold=0.0)
  assert path.read_bytes().startswith(b'\x89PNG\r\n\x1a\n')


def test_plot_is_the_same_each_time(tmp_path):
  files = [tmp_path / 'one.png', tmp_path / 'two.dat']
  for path in files:
    metrics.plot_anomaly_scores(
      path, [0.5, 1.0, 2.0, 30.0], [0, 0, 1, 1], threshold=1.5, title='A table'
    )
  one, two = (path.read_bytes() for path in files)
  assert one == two
