# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Calibration: post-hoc corrections, fits on stored outputs, freezing."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from imbsam_jax import calibration
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax.calibration import _lws
from imbsam_jax.calibration import _marc
from tests import trees
from tests.transforms import links

KEY = jax.random.key(0)
COUNTS = np.array([400, 100, 30, 10])
SHORT = dict(num_steps=300, batch_size=128)


def _features(counts, seed):
  """Four classes in eight dimensions, rows around their own axis."""
  rng = np.random.default_rng(seed)
  labels = np.repeat(np.arange(len(counts)), counts)
  centres = 2.0 * np.eye(len(counts), 8)
  rows = centres[labels] + 0.8 * rng.normal(size=(len(labels), 8))
  return rows.astype(np.float32), labels


def _balanced_accuracy(logits, labels):
  hits = np.asarray(logits).argmax(axis=1) == labels
  return np.mean([hits[labels == c].mean() for c in np.unique(labels)])


def _long_vectors():
  """A classifier whose frequent classes have long vectors."""
  return (np.array([8.0, 2.0, 0.5, 0.125])[:, None] * np.eye(4, 8)).astype(
    np.float32
  )


TRAIN, TEST = _features(COUNTS, 0), _features([200] * 4, 1)


class PostHocTest(parameterized.TestCase):
  def test_equation(self):
    logits = np.random.default_rng(0).normal(size=(5, 4))
    adjusted = calibration.post_hoc_logit_adjustment(logits, COUNTS, tau=1.3)
    self.assertEqual(adjusted.dtype, jnp.float32)
    expected = logits - 1.3 * np.log(COUNTS / COUNTS.sum())[None]
    np.testing.assert_allclose(adjusted, expected, rtol=1e-5, atol=1e-6)

  def test_undoes_the_shift_of_training(self):
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    shifted = logits + 0.7 * np.log(COUNTS / COUNTS.sum())[None]
    back = calibration.post_hoc_logit_adjustment(
      shifted.astype(np.float32), COUNTS, tau=0.7
    )
    np.testing.assert_allclose(back, logits, atol=1e-5)

  def test_only_ratios_count(self):
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    f = calibration.post_hoc_logit_adjustment
    np.testing.assert_allclose(
      f(logits, COUNTS), f(logits, COUNTS / 37), atol=1e-5
    )
    uniform = f(logits, [3, 3, 3, 3])
    np.testing.assert_allclose(uniform - logits, math.log(4), rtol=1e-5)
    np.testing.assert_array_equal(f(logits, COUNTS, tau=0.0), logits)

  def test_class_without_images_is_never_predicted(self):
    adjusted = calibration.post_hoc_logit_adjustment([[9.0, 1, 2]], [0, 5, 50])
    np.testing.assert_array_equal(adjusted[0, 0], -np.inf)
    self.assertEqual(int(adjusted.argmax()), 1)

  def test_improves_a_model_of_the_natural_data(self):
    logits = 3 * TEST[0] @ np.eye(8, 4) + np.log(COUNTS)[None]
    before = _balanced_accuracy(logits, TEST[1])
    after = _balanced_accuracy(
      calibration.post_hoc_logit_adjustment(logits, COUNTS), TEST[1]
    )
    self.assertGreater(after, before + 0.03)

  def test_traced_counts_and_tau(self):
    logits = jnp.ones((2, 4), jnp.bfloat16)
    f = calibration.post_hoc_logit_adjustment
    np.testing.assert_allclose(
      jax.jit(lambda z, n, tau: f(z, n, tau=tau))(logits, COUNTS, 0.5),
      f(logits, COUNTS, tau=0.5),
      rtol=1e-6,
    )

  @parameterized.parameters(-0.1, math.nan, math.inf)
  def test_tau_errors(self, tau):
    with self.assertRaisesRegex(
      ValueError, '`tau` must be finite and at least 0'
    ):
      calibration.post_hoc_logit_adjustment(np.ones((2, 4)), COUNTS, tau=tau)
    with self.assertRaisesRegex(
      ValueError, '`tau` must be finite and at least 0'
    ):
      calibration.tau_normalize(np.ones((2, 4)), tau=tau)

  def test_errors(self):
    f = calibration.post_hoc_logit_adjustment
    with self.assertRaisesRegex(ValueError, 'got 3 for 4 classes'):
      f(np.ones((2, 4)), [1, 2, 3])
    with self.assertRaisesRegex(TypeError, '`logits` must be floating point'):
      f(np.ones((2, 4), np.int32), COUNTS)


class TauNormalizeTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.5, 1.0, 2.0)
  def test_equation(self, tau):
    vectors = np.random.default_rng(0).normal(size=(5, 7))
    normalized = calibration.tau_normalize(vectors, tau=tau)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    self.assertEqual(normalized.dtype, jnp.float32)
    np.testing.assert_allclose(normalized, vectors / norms**tau, rtol=1e-5)

  def test_zero_leaves_and_one_normalises(self):
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    np.testing.assert_array_equal(
      calibration.tau_normalize(vectors, tau=0.0), vectors
    )
    norms = np.linalg.norm(calibration.tau_normalize(vectors), axis=1)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-6)

  def test_short_and_zero_rows(self):
    normalized = calibration.tau_normalize([[3e-25, 4e-25], [0.0, 0.0]])
    np.testing.assert_allclose(normalized, [[0.6, 0.8], [0, 0]], rtol=1e-6)

  def test_improves_long_vectors(self):
    vectors = _long_vectors()
    before = _balanced_accuracy(TEST[0] @ vectors.T, TEST[1])
    vectors = np.asarray(calibration.tau_normalize(vectors))
    after = _balanced_accuracy(TEST[0] @ vectors.T, TEST[1])
    self.assertGreater(after, before + 0.2)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, '`class_vectors` must have two'):
      calibration.tau_normalize(np.ones(3))


class LogitsTest(absltest.TestCase):
  def test_marc_equation(self):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 4))
    norms, scale, offset = rng.normal(size=(3, 4))
    calibrated = calibration.marc_logits(logits, norms, scale, offset)
    self.assertEqual(calibrated.dtype, jnp.float32)
    np.testing.assert_allclose(
      calibrated, scale * logits + offset * norms, rtol=1e-5, atol=1e-6
    )

  def test_identities(self):
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    norms = np.arange(1, 5)
    np.testing.assert_array_equal(
      calibration.marc_logits(logits, norms, np.ones(4), np.zeros(4)), logits
    )
    np.testing.assert_array_equal(
      calibration.lws_logits(logits, np.ones(4)), logits
    )
    # The same length times offset for all classes moves no prediction.
    moved = calibration.marc_logits(logits, norms, np.ones(4), 3 / norms)
    np.testing.assert_array_equal(moved.argmax(axis=1), logits.argmax(axis=1))

  def test_lws_scales_by_class(self):
    np.testing.assert_array_equal(
      calibration.lws_logits([[1.0, -2.0]], [3, 0.5]), [[3.0, -1.0]]
    )

  def test_length_errors(self):
    logits = np.ones((5, 4), np.float32)
    with self.assertRaisesRegex(ValueError, r'`scale` must have shape \[4\]'):
      calibration.lws_logits(logits, np.ones(3))
    with self.assertRaisesRegex(ValueError, r'`scale` must have shape \[4\]'):
      calibration.lws_logits(logits, np.ones((5, 4)))
    for name in ('class_norms', 'scale', 'offset'):
      arguments = dict.fromkeys(('class_norms', 'scale', 'offset'), np.ones(4))
      arguments[name] = np.ones(5)
      with self.assertRaisesRegex(ValueError, f'`{name}` must have shape'):
        calibration.marc_logits(logits, **arguments)


def _fit_lws(key, logits, labels, counts=COUNTS, **arguments):
  return calibration.fit_lws(key, logits, labels, counts, **arguments)


def _fit_marc(key, logits, labels, counts=COUNTS, **arguments):
  return calibration.fit_marc(
    key, logits, labels, np.ones(4), counts, **arguments
  )


def _fit_crt(key, features, labels, **arguments):
  return calibration.fit_crt(key, features, labels, num_classes=4, **arguments)


FITS = dict(lws=_fit_lws, marc=_fit_marc, crt=_fit_crt)


class FitTest(parameterized.TestCase):
  def test_lws_improves_balanced_accuracy(self):
    vectors = _long_vectors()
    scale = calibration.fit_lws(
      KEY, TRAIN[0] @ vectors.T, TRAIN[1], COUNTS, **SHORT
    )
    self.assertEqual((scale.shape, scale.dtype), ((4,), jnp.float32))
    logits = TEST[0] @ vectors.T
    before = _balanced_accuracy(logits, TEST[1])
    after = _balanced_accuracy(calibration.lws_logits(logits, scale), TEST[1])
    self.assertGreater(after, before + 0.2)
    # Rare classes are scaled up more.
    self.assertTrue(np.all(np.diff(scale) > 0), scale)

  def test_marc_improves_balanced_accuracy(self):
    classifier = 2 * np.eye(8, 4, dtype=np.float32)
    norms = np.linalg.norm(classifier, axis=0)
    prior = 2 * np.log(COUNTS / COUNTS.sum())[None]
    scale, offset = calibration.fit_marc(
      KEY, TRAIN[0] @ classifier + prior, TRAIN[1], norms, COUNTS, **SHORT
    )
    for values in (scale, offset):
      self.assertEqual((values.shape, values.dtype), ((4,), jnp.float32))
    logits = TEST[0] @ classifier + prior
    before = _balanced_accuracy(logits, TEST[1])
    calibrated = calibration.marc_logits(logits, norms, scale, offset)
    self.assertGreater(_balanced_accuracy(calibrated, TEST[1]), before + 0.05)

  def test_crt_improves_balanced_accuracy(self):
    kernel, bias = calibration.fit_crt(KEY, *TRAIN, num_classes=4, **SHORT)
    self.assertEqual((kernel.shape, bias.shape), ((8, 4), (4,)))
    before = _balanced_accuracy(TEST[0] @ _long_vectors().T, TEST[1])
    head = {'params': {'kernel': kernel, 'bias': bias}}
    logits = models.LinearHead(4).apply(head, TEST[0])
    self.assertGreater(_balanced_accuracy(logits, TEST[1]), before + 0.2)

  @parameterized.parameters(*FITS)
  def test_same_key_same_result(self, name):
    data = TRAIN[0][:, :4], TRAIN[1]
    fit = functools.partial(FITS[name], num_steps=5, batch_size=16)
    first, again = fit(KEY, *data), fit(KEY, *data)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    other = fit(jax.random.key(1), *data)
    self.assertGreater(trees.norm(trees.subtract(first, other)), 1e-5)
    # Lists, float64 and legacy keys.
    legacy = fit(
      jax.random.PRNGKey(0), data[0].astype(np.float64), data[1].tolist()
    )
    jax.tree.map(np.testing.assert_array_equal, first, legacy)

  @parameterized.parameters(*FITS)
  def test_absent_classes_and_few_rows(self, name):
    rows = np.flatnonzero(TRAIN[1] != 2)[::60]
    result = FITS[name](
      KEY,
      jnp.asarray(TRAIN[0][rows][:, :4], jnp.bfloat16),
      TRAIN[1][rows],
      num_steps=20,
      batch_size=64,
    )
    chex.assert_type(jax.tree.leaves(result), jnp.float32)
    chex.assert_tree_all_finite(result)

  @parameterized.parameters(*FITS)
  def test_no_learning_rate(self, name):
    result = FITS[name](
      KEY, TRAIN[0][:, :4], TRAIN[1], learning_rate=0.0, num_steps=3
    )
    if name == 'lws':
      np.testing.assert_array_equal(result, np.ones(4))
    else:
      np.testing.assert_array_equal(result[1], np.zeros(4))
    if name == 'marc':
      np.testing.assert_array_equal(result[0], np.ones(4))

  def test_weight_decay_pulls_scales_towards_one(self):
    data = TRAIN[0] @ _long_vectors().T, TRAIN[1]
    free, decayed = (
      _fit_lws(KEY, *data, weight_decay=decay, learning_rate=0.02, **SHORT)
      for decay in (0.0, 30.0)
    )
    self.assertGreater(np.abs(free - 1).max(), 0.5)
    np.testing.assert_allclose(decayed, 1.0, atol=0.1)
    scale, offset = _fit_marc(
      KEY, *data, weight_decay=30.0, learning_rate=0.02, **SHORT
    )
    np.testing.assert_allclose(scale, 1.0, atol=0.15)
    np.testing.assert_allclose(offset, 0.0, atol=0.15)

  def test_one_full_batch_step_of_marc(self):
    # One row, so that the draw is known: momentum and cosine do nothing yet.
    logits, norms = np.array([[0.5, -1.0, 2.0]]), np.array([1.0, 2.0, 3.0])
    scale, offset = calibration.fit_marc(
      KEY,
      logits,
      [1],
      norms,
      [9, 5, 2],
      num_steps=1,
      batch_size=3,
      learning_rate=0.1,
    )
    gradient = np.exp(logits[0]) / np.exp(logits[0]).sum() - [0, 1, 0]
    np.testing.assert_allclose(scale, 1 - 0.1 * gradient * logits[0], rtol=1e-5)
    np.testing.assert_allclose(offset, -0.1 * gradient * norms, rtol=1e-5)

  def test_hyper_parameters_do_not_recompile(self):
    data = TRAIN[0][:, :4], TRAIN[1]
    for module, fit in ((_lws, _fit_lws), (_marc, _fit_marc)):
      fit(KEY, *data, num_steps=7, batch_size=8)
      size = module._fit._cache_size()
      fit(KEY, *data, num_steps=7, batch_size=8, learning_rate=0.3)
      fit(KEY, *data, num_steps=7, batch_size=8, weight_decay=0.3)
      self.assertEqual(module._fit._cache_size(), size)

  @parameterized.product(
    name=tuple(FITS),
    case=(
      (dict(num_steps=0), ValueError, '`num_steps` must be at least 1'),
      (dict(batch_size=0), ValueError, '`batch_size` must be at least 1'),
      (dict(batch_size=2.0), TypeError, '`batch_size` must be an integer'),
      (dict(learning_rate=-1), ValueError, '`learning_rate` must be finite'),
      (dict(weight_decay=math.nan), ValueError, '`weight_decay` must be finit'),
    ),
  )
  def test_hyper_parameter_errors(self, name, case):
    arguments, error, message = case
    with self.assertRaisesRegex(error, message):
      FITS[name](KEY, TRAIN[0][:, :4], TRAIN[1], **arguments)

  @parameterized.parameters(*FITS)
  def test_data_errors(self, name):
    fit, rows = FITS[name], TRAIN[0][:, :4]
    with self.assertRaisesRegex(ValueError, 'must have shape .540., one cl'):
      fit(KEY, rows, TRAIN[1][:-1])
    with self.assertRaisesRegex(ValueError, r'in \[0, 4\), got 4 at row 539'):
      fit(KEY, rows, np.append(TRAIN[1][:-1], 4))
    with self.assertRaisesRegex(TypeError, r'labels\.argmax'):
      fit(KEY, rows, np.eye(4)[TRAIN[1]])
    with self.assertRaisesRegex(ValueError, 'at least one row, got none'):
      fit(KEY, rows[:0], TRAIN[1][:0])
    with self.assertRaises(TypeError):
      fit(KEY, rows.astype(np.int32), TRAIN[1])

  @parameterized.parameters('lws', 'marc')
  def test_count_errors(self, name):
    fit, rows = FITS[name], TRAIN[0][:, :4]
    with self.assertRaisesRegex(ValueError, 'got 3 for 4 classes'):
      fit(KEY, rows, TRAIN[1], COUNTS[:3])
    with self.assertRaisesRegex(TypeError, '`class_counts` must be concrete'):
      jax.jit(lambda counts: fit(KEY, rows, TRAIN[1], counts))(COUNTS)

  def test_no_class_to_draw(self):
    with self.assertRaisesRegex(ValueError, 'that has rows in `labels`'):
      _fit_lws(KEY, np.ones((2, 4), np.float32), [0, 0], [0, 5, 5, 5])

  def test_samples_per_class_errors(self):
    with self.assertRaisesRegex(ValueError, '`samples_per_class` must be'):
      _fit_crt(KEY, *TRAIN, samples_per_class=0)


class NearestClassMeanTest(parameterized.TestCase):
  def test_class_means(self):
    features, labels = TRAIN
    means = calibration.class_means(features, labels, num_classes=6)
    self.assertEqual((means.shape, means.dtype), ((6, 8), jnp.float32))
    for c in range(4):
      np.testing.assert_allclose(
        means[c], features[labels == c].mean(axis=0), rtol=1e-4, atol=1e-5
      )
    np.testing.assert_array_equal(means[4:], np.zeros((2, 8)))

  def test_traced_labels_out_of_range_are_left_out(self):
    features = np.array([[1.0], [2.0], [4.0], [8.0]], np.float32)
    f = jax.jit(
      lambda labels: calibration.class_means(features, labels, num_classes=2)
    )
    np.testing.assert_array_equal(f(np.array([0, 1, -1, 2])), [[1.0], [2.0]])

  def test_metrics(self):
    rng = np.random.default_rng(0)
    features, means = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    distances = np.linalg.norm(features[:, None] - means[None], axis=2)
    closeness = calibration.nearest_class_mean(features, means)
    self.assertEqual(closeness.dtype, jnp.float32)
    np.testing.assert_allclose(closeness, -(distances**2), rtol=1e-5)
    np.testing.assert_allclose(
      calibration.nearest_class_mean(features, means, metric='cosine'),
      models.cosine_logits(features, means),
    )

  def test_far_from_the_origin(self):
    means = np.array([[1000.0], [1000.5]], np.float32)
    closeness = calibration.nearest_class_mean(means, means)
    np.testing.assert_array_equal(closeness, [[0, -0.25], [-0.25, 0]])

  def test_accuracy(self):
    means = calibration.class_means(*TRAIN, num_classes=4)
    for metric in ('euclidean', 'cosine'):
      scores = calibration.nearest_class_mean(TEST[0], means, metric=metric)
      self.assertGreater(_balanced_accuracy(scores, TEST[1]), 0.85)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "'euclidean' or 'cosine', got 'l2"):
      calibration.nearest_class_mean(*2 * [np.ones((2, 2))], metric='l2')
    with self.assertRaisesRegex(ValueError, '`means` must be'):
      calibration.nearest_class_mean(np.ones((2, 2)), np.ones((2, 3)))
    with self.assertRaisesRegex(ValueError, 'must have shape .2., one class'):
      calibration.class_means(np.ones((2, 2)), [0], num_classes=2)
    with self.assertRaisesRegex(ValueError, r'in \[0, 2\), got 2'):
      calibration.class_means(np.ones((2, 2)), [0, 2], num_classes=2)
    with self.assertRaisesRegex(ValueError, '`num_classes` must be at least'):
      calibration.class_means(np.ones((2, 2)), [0, 0], num_classes=0)


TRAINABLE = {'a': True, 'b': False}


def _plain_chain():
  return optax.chain(
    optax.clip_by_global_norm(0.5),
    optax.add_decayed_weights(0.1),
    optax.sgd(0.1, momentum=0.9),
  )


def _sub_update(link, num_groups, params, state, batch, frozen):
  """As `links.update`, for a problem that has only the leaf `a`."""
  groups = np.arange(links.ROWS) % num_groups
  group_weights = (np.arange(num_groups)[:, None] == groups) / np.float32(
    links.ROWS
  )

  def loss_fn(params, batch, weights):
    return links.loss_fn({**params, 'b': frozen}, batch, weights)

  _, grads, grad_fn = imbsam_jax.gradient_oracle(
    loss_fn, params, batch, group_weights=group_weights
  )
  return link.update(grads, state, params, grad_fn=grad_fn)


class TrainOnlyTest(parameterized.TestCase):
  def test_plain_chain_is_that_of_the_trainable_leaves(self):
    inner = _plain_chain()
    tx = calibration.train_only(inner, TRAINABLE)
    params = {'a': jnp.array([1.0, -2.0]), 'b': jnp.array([0.0, -0.0, 3.0])}
    sub, frozen = {'a': params['a']}, np.array(params['b'])
    state, sub_state = tx.init(params), inner.init(sub)
    for step in range(4):
      # Neither large nor non-finite gradients of frozen leaves count.
      grads = {
        'a': jnp.array([step + 1.0, -1.0]),
        'b': jnp.array([jnp.nan, jnp.inf, 1e9]),
      }
      updates, state = tx.update(grads, state, params)
      sub_updates, sub_state = inner.update({'a': grads['a']}, sub_state, sub)
      params = optax.apply_updates(params, updates)
      sub = optax.apply_updates(sub, sub_updates)
      np.testing.assert_array_equal(params['a'], sub['a'])
    # Bit for bit: -0.0 too.
    self.assertEqual(np.array(params['b']).tobytes(), frozen.tobytes())
    self.assertEqual(
      [x.shape for x in jax.tree.leaves(state)],
      [x.shape for x in jax.tree.leaves(sub_state)],
    )

  @parameterized.parameters(*links.LINKS)
  def test_links_see_the_trainable_leaves_alone(self, name):
    link, num_groups = links.LINKS[name]
    inner = optax.chain(link, _plain_chain())
    tx = calibration.train_only(inner, TRAINABLE)
    params = links.make_params()
    frozen = params['b']
    sub = {'a': params['a']}
    state, sub_state = tx.init(params), inner.init(sub)
    for seed in range(3):
      batch = links.make_batch(seed)
      updates, state = links.update(tx, num_groups, params, state, batch)
      sub_updates, sub_state = _sub_update(
        inner, num_groups, sub, sub_state, batch, frozen
      )
      params = optax.apply_updates(params, updates)
      sub = optax.apply_updates(sub, sub_updates)
    trees.assert_close({'a': params['a']}, sub, 1e-6)
    np.testing.assert_array_equal(params['b'], frozen)

  @parameterized.parameters('sam', 'imbsam', 'rsam')
  def test_under_jit_and_inside_the_guard(self, name):
    link, num_groups = links.LINKS[name]
    tx = imbsam_jax.skip_nonfinite(
      calibration.train_only(optax.chain(link, _plain_chain()), TRAINABLE)
    )
    params, batch = links.make_params(), links.make_batch()
    state = tx.init(params)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state, batch):
      return links.update(tx, num_groups, params, state, batch)

    eager, _ = links.update(tx, num_groups, params, state, batch)
    updates, state = step(params, state, batch)
    trees.assert_close(updates, eager, 1e-5)
    step(params, state, batch)

  @parameterized.parameters(
    'sam', 'imbsam', 'sse_sam', 'rsam', 'momentum_imbsam', 'look_sam'
  )
  def test_costs_no_further_pass(self, name):
    link, num_groups = links.LINKS[name]
    group_weights = np.full((num_groups, links.ROWS), 0.1, np.float32)

    def passes(tx):
      count = 0

      def loss_fn(params, batch, weights):
        nonlocal count
        count += 1
        return links.loss_fn(params, batch, weights)

      params = links.make_params()
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn, params, links.make_batch(), group_weights=group_weights
      )
      tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
      return count

    frozen = calibration.train_only(link, TRAINABLE)
    self.assertEqual(passes(frozen), passes(link))

  def test_value_of_the_oracle_is_that_of_the_perturbed_pass(self):
    link, _ = links.LINKS['rsam']
    tx = calibration.train_only(link, TRAINABLE)
    params = links.make_params()
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      links.loss_fn,
      params,
      links.make_batch(),
      group_weights=np.full((1, links.ROWS), 0.1, np.float32),
    )
    clean, _ = grad_fn.value
    tx.update(grads, tx.init(params), params, grad_fn=grad_fn)
    perturbed, _ = grad_fn.value
    self.assertGreater(abs(float(perturbed - clean)), 1e-5)

  def test_value_of_the_oracle_is_that_of_the_passes_apart(self):
    link, _ = links.LINKS['momentum_imbsam']
    tx = calibration.train_only(link, TRAINABLE)
    params, batch = links.make_params(), links.make_batch()
    weights = [np.full(3, 0.1, np.float32)] * 2
    halves = [jax.tree.map(lambda x, k=k: x[k::2], batch) for k in range(2)]
    state = tx.init(params)
    for _ in range(2):  # The first direction is zero.
      (clean, _), grads, grad_fn = imbsam_jax.split_gradient_oracle(
        links.loss_fn, params, halves, group_weights=weights
      )
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
    self.assertGreater(abs(float(grad_fn.value[0] - clean)), 1e-5)
    np.testing.assert_array_equal(updates['b'], 0.0)

  def test_oracles_of_ones_own(self):
    tx = calibration.train_only(imbsam_jax.sam(0.5, eps=0.0), TRAINABLE)
    params = {'a': jnp.array([3.0, 4.0]), 'b': jnp.array([100.0])}
    seen = []

    def grad_fn(params, group):
      seen.append((params, group))
      return params  # Of half the squared norm.

    updates, _ = tx.update(params, tx.init(params), params, grad_fn=grad_fn)
    ((perturbed, group),) = seen
    self.assertEqual(group, 0)
    # The whole radius goes to the trainable leaf.
    np.testing.assert_allclose(perturbed['a'], [3.3, 4.4], rtol=1e-6)
    self.assertIs(perturbed['b'], params['b'])
    np.testing.assert_allclose(updates['a'], [3.3, 4.4], rtol=1e-6)
    np.testing.assert_array_equal(updates['b'], [0.0])

  def test_refusals_of_the_links_remain(self):
    tx = calibration.train_only(imbsam_jax.imbsam(0.1), TRAINABLE)
    params = links.make_params()
    state = tx.init(params)
    with self.assertRaisesRegex(ValueError, '`imbsam` needs the extra argumen'):
      tx.update(params, state, params)
    with self.assertRaisesRegex(TypeError, '`grad_fn` must be a function'):
      tx.update(params, state, params, grad_fn=3)
    with self.assertRaisesRegex(ValueError, '`imbsam` works on 2 class group'):
      links.update(tx, 1, params, state, links.make_batch())
    with self.assertRaisesRegex(ValueError, '`imbsam` needs the parameters'):
      tx.update(params, state, grad_fn=lambda p, group: p)

  def test_masks_inside(self):
    # A mask like all parameters, and one that is a function.
    params = {'a': jnp.ones(2), 'b': jnp.ones(3), 'c': jnp.ones((2, 2))}
    trainable = {'a': True, 'b': False, 'c': True}
    kernels = {'a': False, 'b': False, 'c': True}

    def is_kernel(params):
      return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    results = []
    for mask in (kernels, is_kernel):
      tx = calibration.train_only(
        optax.chain(
          imbsam_jax.sam(0.3, mask=mask),
          optax.add_decayed_weights(0.5, mask),
          optax.sgd(1.0),
        ),
        trainable,
      )
      updates, _ = tx.update(
        params, tx.init(params), params, grad_fn=lambda p, group: p
      )
      np.testing.assert_allclose(updates['a'], [-1.0, -1.0])
      np.testing.assert_allclose(
        updates['c'], np.full((2, 2), -1 - 0.3 / 2 - 0.5), rtol=1e-6
      )
      results.append(updates)
    jax.tree.map(np.testing.assert_array_equal, *results)

  @parameterized.parameters('prefix', 'function', 'numpy')
  def test_forms_of_trainable(self, form):
    params = {'net': {'w': jnp.ones(2), 'b': jnp.ones(2)}, 'head': jnp.ones(3)}
    trainable = {
      'prefix': {'net': False, 'head': True},
      'function': lambda params: {k: k == 'head' for k in params},
      'numpy': {'net': np.False_, 'head': np.True_},
    }[form]
    tx = calibration.train_only(optax.sgd(1.0, momentum=0.9), trainable)
    updates, state = tx.update(params, tx.init(params), params)
    self.assertEqual(trees.norm(updates['net']), 0.0)
    np.testing.assert_array_equal(updates['head'], [-1.0, -1.0, -1.0])
    self.assertEqual([x.shape for x in jax.tree.leaves(state)], [(3,)])

  def test_parameters_may_be_left_out(self):
    tx = calibration.train_only(optax.sgd(1.0), TRAINABLE)
    params = links.make_params()
    updates, _ = tx.update(params, tx.init(params))
    np.testing.assert_array_equal(updates['a'], -params['a'])

  def test_dtypes(self):
    params = {'a': jnp.ones(2, jnp.bfloat16), 'b': jnp.ones(3, jnp.float16)}
    tx = calibration.train_only(optax.sgd(1.0), TRAINABLE)
    updates, _ = tx.update(params, tx.init(params), params)
    jax.tree.map(
      lambda u, p: self.assertEqual(u.dtype, p.dtype), updates, params
    )

  def test_a_head_on_a_frozen_network(self):
    model = models.MLP(4, widths=(16,))
    params = model.init(KEY, TRAIN[0], train=False)['params']
    frozen = jax.tree.map(np.array, params)
    tx = calibration.train_only(
      optax.chain(
        imbsam_jax.sam(0.05),
        optax.add_decayed_weights(5e-4),
        optax.sgd(0.2, momentum=0.9),
      ),
      lambda params: {name: name == 'classifier' for name in params},
    )

    def loss_fn(params, batch, weights):
      logits = model.apply({'params': params}, batch[0], train=False)
      return jnp.sum(weights * losses.cross_entropy(logits, batch[1])), None

    @jax.jit
    def step(params, state):
      (loss, _), grads, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn,
        params,
        TRAIN,
        group_weights=jnp.full((1, len(TRAIN[1])), 1 / len(TRAIN[1])),
      )
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
      return optax.apply_updates(params, updates), state, loss

    state = tx.init(params)
    params, state, first = step(params, state)
    for _ in range(20):
      params, state, last = step(params, state)
    self.assertLess(last, 0.7 * first)
    for name in frozen:
      if name != 'classifier':
        jax.tree.map(np.testing.assert_array_equal, params[name], frozen[name])

  def test_errors(self):
    params = links.make_params()
    tx = optax.sgd(1.0)
    with self.assertRaisesRegex(TypeError, "must hold bools, got 'train'"):
      calibration.train_only(tx, {'a': 'train', 'b': 'freeze'}).init(params)
    with self.assertRaisesRegex(ValueError, 'True for at least one leaf'):
      calibration.train_only(tx, False).init(params)
    with self.assertRaisesRegex(ValueError, '`trainable` must be a tree of'):
      calibration.train_only(tx, {'a': True}).init(params)
    frozen = calibration.train_only(tx, TRAINABLE)
    with self.assertRaisesRegex(ValueError, 'got 1 leaves for 2 parameters'):
      frozen.update({'a': params['a']}, frozen.init(params), params)


if __name__ == '__main__':
  absltest.main()
