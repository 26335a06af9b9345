# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Open-sampling: a step by hand, its labels, and any number of devices."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import sampling
from imbsam_jax import schedules
from imbsam_jax import training
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

_COUNTS = np.array(tiny.COUNTS)
_ETA = 0.7


def _part(**options):
  time = schedules.Timeline(_COUNTS, 10, tiny.BATCH_SIZE)
  setup = methods.Setup(time, (6,), auxiliary_examples=_auxiliary())
  text = ', '.join(f'{name}={value}' for name, value in options.items())
  return methods.make_part('scheme', f'open_sampling({text})', setup)


def _auxiliary():
  images = np.random.RandomState(3).randn(40, 6).astype(np.float32)
  return data.Examples(images, np.full(40, -1, np.int32))


def _gamma():
  """Written out."""
  shares = _COUNTS / _COUNTS.sum()
  missing = shares.max() + shares.min() - shares
  return missing / missing.sum()


def _batches(method=None):
  return kinds.batches(
    method, reweighting=_reweighting(), out=_part().streams['out'](0)
  )


def _reweighting():
  """Rows of the batch weigh differently, as with DRW."""
  weights = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
  return data.Reweighting(lambda step: weights, 'weighted_mean')


def _labels(state, batch):
  """Labels of the step, by the keys of places."""

  @jax.jit
  def draw(key_data, step, places):
    key = jax.random.fold_in(jax.random.wrap_key_data(key_data), step)
    key = jax.random.fold_in(key, 3)
    return [
      sampling.sample_labels(
        jax.random.fold_in(key, place), _gamma(), num_samples=1
      )[0]
      for place in places
    ]

  places = batch.streams['out']['place']
  return np.array(draw(state.key_data, state.step, places))


class _Witness:
  """Loss and gradient of `kinds.Net` in float64, written out."""

  def __init__(self, params, scale, batch_norm=False):
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    self.trunk, self.head = params['trunk'], params['classifier']
    self.scale = scale
    self.batch_norm = batch_norm

  def logits(self, images):
    features = np.tanh(images @ self.trunk['kernel'] + self.trunk['bias'])
    if self.batch_norm:
      mean, variance = features.mean(axis=0), features.var(axis=0)
      features = (features - mean) / np.sqrt(variance + 1e-5)
    return features, features @ self.head['kernel'] + self.head['bias']

  def losses(self, logits, labels):
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return total - logits[np.arange(len(labels)), labels]

  def gradient(self, images, labels, weights):
    features, logits = self.logits(images)
    logits = self.scale * logits
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    dz = self.scale * weights[:, None] * p
    da = dz @ self.head['kernel'].T * (1 - features**2)
    return {
      'classifier': {'kernel': features.T @ dz, 'bias': dz.sum(axis=0)},
      'trunk': {'kernel': images.T @ da, 'bias': da.sum(axis=0)},
    }


def _objective(scale=1.0, eta=_ETA):
  base = training.Supervised(
    lambda logits, labels: losses.cross_entropy(scale * logits, labels),
    logit_scale=scale,
  )
  return _part(eta=eta).objective(base)


class StepTest(parameterized.TestCase):
  @parameterized.parameters(1.0, 3.0)
  def test_by_hand(self, scale):
    batch = _batches()[0]
    state, step = kinds.make(_objective(scale))
    after, metrics = step(state, batch)
    rows, out = batch.rows, batch.streams['out']
    labels = _labels(state, batch)
    weights = 4 * _gamma()[labels]
    weights = _ETA * weights / weights.sum()
    net = _Witness(state.params, scale)
    images = np.concatenate([rows['image'], out['image']]).astype(np.float64)
    labels = np.concatenate([rows['label'], labels])
    weights = np.concatenate([batch.weights[0], weights])
    found = net.losses(scale * net.logits(images)[1], labels)
    self.assertAlmostEqual(
      float(metrics['loss']), float(weights @ found), delta=1e-5
    )
    chex.assert_trees_all_close(
      kinds.gradient(state, after),
      net.gradient(images, labels, weights),
      rtol=1e-4,
      atol=1e-5,
    )

  def test_rows_and_auxiliary_images_share_batch_norm(self):
    batch = _batches()[0]
    state, step = kinds.make(_objective(), net=kinds.Net(batch_norm=True))
    after, metrics = step(state, batch)
    images = np.concatenate(
      [batch.rows['image'], batch.streams['out']['image']]
    ).astype(np.float64)
    labels = _labels(state, batch)
    weights = 4 * _gamma()[labels]
    net = _Witness(state.params, 1.0, batch_norm=True)
    found = net.losses(
      net.logits(images)[1], np.concatenate([batch.rows['label'], labels])
    )
    expected = batch.weights[0] @ found[:16] + _ETA * (
      weights @ found[16:] / weights.sum()
    )
    self.assertAlmostEqual(float(metrics['loss']), float(expected), delta=1e-5)
    features = np.tanh(images @ net.trunk['kernel'] + net.trunk['bias'])
    # One update of the running averages, from all rows.
    np.testing.assert_allclose(
      after.model_state['batch_stats']['norm']['mean'],
      0.1 * features.mean(axis=0),
      atol=1e-6,
    )
    # Accuracy is that of the training rows.
    hits = net.logits(images)[1][:16].argmax(axis=1) == batch.rows['label']
    self.assertAlmostEqual(float(metrics['train_accuracy']), hits.mean(), 6)

  def test_without_weight_it_is_the_base(self):
    batch = _batches()[0]
    state, step = kinds.make(_objective(eta=0.0))
    _, plain = kinds.make(training.Supervised(losses.cross_entropy))
    chex.assert_trees_all_close(
      step(state, batch)[0].params, plain(state, batch)[0].params, rtol=1e-6
    )

  def test_labels_are_drawn_anew_and_favor_rare_classes(self):
    objective, places = _objective(), jnp.arange(16)
    ctx = training.Context(jnp.int32(0), jax.random.key(0), (), {}, None)
    draw = jax.jit(
      jax.vmap(
        lambda step: objective._labels(
          ctx._replace(key=jax.random.fold_in(ctx.key, step)), places
        )
      )
    )
    labels = np.asarray(draw(jnp.arange(2000)))
    shares = np.bincount(labels.ravel(), minlength=4) / labels.size
    np.testing.assert_allclose(shares, _gamma(), atol=0.01)
    self.assertTrue((np.diff(shares) > 0).all())
    # Neither steps nor places go together.
    self.assertLess(
      (labels[1:] == labels[:-1]).mean(), (shares**2).sum() + 0.02
    )
    self.assertLess((labels[:, 1:] == labels[:, :-1]).mean(), 0.5)

  def test_stream(self):
    stream = _part().streams['out'](4)
    np.testing.assert_array_equal(stream.examples.labels, np.full(40, -1))
    found = np.concatenate([stream.order[step].indices for step in range(5)])
    np.testing.assert_array_equal(np.sort(found), np.repeat(np.arange(40), 2))
    again = _part().streams['out'](5).order[0].indices
    self.assertFalse(np.array_equal(found[:16], again))

  def test_parameters(self):
    self.assertEqual(_part().objective(_objective().base).eta, 1.0)
    alpha = 30 / _COUNTS.sum()
    expected = (30 - _COUNTS) / (30 - _COUNTS).sum()
    found = _part(alpha=alpha).objective(_objective().base).probabilities
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with self.assertRaisesRegex(
      ValueError, '`eta` must be finite and at least 0'
    ):
      _part(eta=-1)
    with self.assertRaisesRegex(ValueError, 'at least the largest share'):
      _part(alpha=0.1)


_STEPS = 3


def _method(rule):
  if rule == 'sgd':
    return training.update_rules.sgd(_COUNTS)
  return training.update_rules.imbsam(_COUNTS, rho=0.1, threshold=6)


@functools.cache
def _some_batches(rule):
  batches = _batches(_method(rule))
  return [batches[step] for step in range(_STEPS)]


def _make(rule, **options):
  return kinds.make(_objective(), _method(rule), jit=False, **options)


def _run(rule, step, state, put=lambda batch: batch):
  seen = []
  for batch in _some_batches(rule):
    state, metrics = step(state, put(batch))
    seen.append(metrics['loss'])
  return jax.device_get((state.params, seen))


@functools.cache
def _on_one(rule):
  state, step = _make(rule)
  return _run(rule, jax.jit(step), state)


def _by_device():
  return _make('sgd', wrap_link=training.per_device_link, axis_name='data')


def _cut(x, axis=0):
  """``[8, ...]`` of the rows along an axis."""
  return np.stack(np.split(x, 8, axis=axis))


@pytest.mark.extended
class DevicesTest(parameterized.TestCase):
  """The mean of auxiliary losses is that over all devices."""

  def _assert_same(self, rule, found):
    chex.assert_trees_all_close(found, _on_one(rule), rtol=1e-5, atol=1e-6)

  @parameterized.parameters('sgd', 'imbsam')
  def test_sharded(self, rule):
    mesh = training.data_mesh()
    self.assertEqual(mesh.size, 8)
    state, step = _make(rule)
    found = _run(
      rule,
      jax.jit(step),
      training.replicate(mesh, state),
      lambda batch: training.shard_batch(mesh, batch),
    )
    self._assert_same(rule, found)

  def test_shard_map(self):
    mesh = training.data_mesh()
    state, step = _by_device()
    found = _run(
      'sgd',
      jax.jit(training.per_device(step, mesh)),
      training.replicate(mesh, state),
      lambda batch: training.shard_batch(mesh, batch),
    )
    self._assert_same('sgd', found)

  def test_pmap(self):
    state, step = _by_device()
    step = jax.pmap(step, axis_name='data', in_axes=(None, 0), out_axes=None)
    found = _run(
      'sgd',
      step,
      state,
      lambda batch: dataclasses.replace(
        batch,
        rows=jax.tree.map(_cut, batch.rows),
        weights=_cut(batch.weights, axis=1),
        streams=jax.tree.map(_cut, batch.streams),
      ),
    )
    self._assert_same('sgd', found)


def _config(words, **fields):
  return experiment.config(
    'own', words, {'model.name': 'mlp', 'model.norm': 'none', **fields}
  )


class WordTest(parameterized.TestCase):
  def test_what_it_is_combined_with(self):
    for words in ('ldam_drw', 'mm_drw', 'ldam', 'imbsam', 'mixup', 'cmo_drw'):
      experiment.check_config(_config(f'open_sampling,{words}'))
    for words in ('balanced_softmax', 'cb', 'drs', 'bilateral_mix', 'absgd'):
      with self.assertRaisesRegex(
        experiment.ConfigError, 'both correct .* Leave one of them out'
      ):
        experiment.check_config(_config(f'open_sampling,{words}'))
    with self.assertRaisesRegex(
      experiment.ConfigError, '`open_sampling` looks at the whole batch'
    ):
      experiment.check_config(
        _config('imbsam,open_sampling', **{'optimizer.rows': 'split'})
      )
    with self.assertRaisesRegex(
      experiment.ConfigError, 'both choose objective'
    ):
      _config('open_sampling,pure_noise')

  def test_auxiliary_images_are_asked_for(self):
    setup = methods.Setup(schedules.Timeline(_COUNTS, 10, 16), (6,))
    part = methods.make_part('scheme', 'open_sampling', setup)
    with self.assertRaisesRegex(experiment.ConfigError, 'auxiliary=True'):
      part.streams['out'](0)


if __name__ == '__main__':
  absltest.main()
