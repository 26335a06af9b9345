# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps that mix, draw noise, weigh examples and penalize, by hand."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import augment
from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax import weights as weights_lib
from tests.training import tiny_training as tiny

methods = training.update_rules

_THRESHOLD = 10
_IS_TAIL = np.array(tiny.COUNTS) < _THRESHOLD
_SWITCH = 2
_BEFORE = np.ones(4, np.float32)
_AFTER = np.array([0.2, 0.5, 1.3, 2.0], np.float32)
# Different shares in a batch, to tell rows and halves apart.
_LAM = np.linspace(0.9, 0.2, tiny.BATCH_SIZE).astype(np.float32)


def _class_weights(step):
  return _BEFORE if step < _SWITCH else _AFTER


def _drw(reduction='weighted_mean'):
  """Weights that change at a step, as in DRW."""
  return data.Reweighting(_class_weights, reduction)


def _paired(method, *, reduction='weighted_mean', seed=0):
  order = data.shuffled_order(
    sum(tiny.COUNTS), batch_size=tiny.BATCH_SIZE, seed=seed
  )
  return data.paired_batches(
    order,
    data.permuted_order(order, seed=(seed, 1)),
    tiny.examples(),
    method.group_weights_by_class,
    reweighting=_drw(reduction),
  )


def _joint(method, reweighting=None, **kwargs):
  order = data.shuffled_order(
    sum(tiny.COUNTS), batch_size=tiny.BATCH_SIZE, seed=0
  )
  make = (
    data.split_batches if kwargs.pop('split', False) else (data.joint_batches)
  )
  return make(
    order,
    tiny.examples(),
    method.group_weights_by_class,
    reweighting=reweighting,
    **kwargs,
  )


def _fixed_mix(key, step, batch, partner):
  """Mixing of known shares, one for each row."""
  del key, step
  lam = jnp.asarray(_LAM)
  images = lam[:, None] * batch[0] + (1 - lam)[:, None] * partner[0]
  return images, losses.MixedLabels(batch[1], partner[1], lam)


def _random_mix(key, step, batch, partner):
  """Mixup with a share that is quick to compile."""
  del step
  lam = jax.random.uniform(key)
  images = lam * batch[0] + (1 - lam) * partner[0]
  lam = jnp.broadcast_to(lam, batch[1].shape)
  return images, losses.MixedLabels(batch[1], partner[1], lam)


def _make(
  method,
  example_loss=losses.cross_entropy,
  *,
  net=None,
  learning_rate=1.0,
  num_microbatches=1,
  **options,
):
  """State and jitted step of plain descent: updates are minus gradients."""
  net = tiny.TinyNet() if net is None else net
  objective = training.Supervised(example_loss, **options)
  tx = training.make_optimizer(
    method.stages[0].link, learning_rate, momentum=0.0
  )
  state = training.create_train_state(
    net,
    tx,
    jax.random.key(0),
    jnp.zeros((1, 6)),
    objective=objective,
  )
  step = training.make_train_step(
    net,
    tx,
    objective,
    lambda images: images,
    num_microbatches=num_microbatches,
  )
  return state, jax.jit(step)


def _gradient(state, after):
  return jax.tree.map(lambda p, q: p - q, state.params, after.params)


def _logits(params, images):
  return tiny.TinyNet().apply({'params': params}, images, train=True)


def _assert_close(found, expected, atol=2e-6):
  chex.assert_trees_all_close(found, expected, rtol=1e-7, atol=atol)


class MixTest(parameterized.TestCase):
  def test_is_class_weighted_loss_of_mixed_labels(self):
    method = methods.sgd(tiny.COUNTS)
    state, train_step = _make(method, mix=_fixed_mix)

    @functools.partial(jax.jit, static_argnames='reduction')
    def by_hand(params, rows, class_weights, reduction):
      images = (
        _LAM[:, None] * rows['image'][0::2]
        + (1 - _LAM)[:, None] * rows['image'][1::2]
      )
      labels = losses.MixedLabels(
        rows['label'][0::2], rows['label'][1::2], _LAM
      )
      logits = _logits(params, images)
      loss = losses.class_weighted_loss(
        losses.cross_entropy,
        logits,
        labels,
        class_weights,
        reduction=reduction,
      )
      return loss, jnp.mean(jnp.argmax(logits, -1) == labels.first)

    for reduction in ('weighted_mean', 'mean'):
      batches = _paired(method, reduction=reduction)
      for step in (0, _SWITCH, _SWITCH + 1):
        after, metrics = train_step(state, batches[step])
        (loss, accuracy), gradient = jax.value_and_grad(by_hand, has_aux=True)(
          state.params, batches[step].rows, _class_weights(step), reduction
        )
        self.assertAlmostEqual(metrics['loss'], loss, places=5)
        self.assertAlmostEqual(metrics['train_accuracy'], accuracy, places=6)
        _assert_close(_gradient(state, after), gradient)

  def test_a_label_without_share_may_have_an_infinite_loss(self):
    lam = np.tile(np.array([1.0, 0.0], np.float32), tiny.BATCH_SIZE // 2)

    def example_loss(logits, labels):
      found = losses.cross_entropy(logits, labels)
      return jnp.where(labels == 3, jnp.inf, found)

    def mix(key, step, batch, partner):
      del key, step
      return batch[0], losses.MixedLabels(batch[1], partner[1], lam)

    method = methods.sgd(tiny.COUNTS)
    state, train_step = _make(method, example_loss, mix=mix)
    batch = _paired(method)[_SWITCH]
    rows = dict(batch.rows)
    # Of the labels that count, none is 3; all the others are.
    kept = np.repeat(lam, 2) == np.tile([1, 0], tiny.BATCH_SIZE)
    rows['label'] = np.where(kept, rows['label'] % 3, 3).astype(np.int32)
    after, metrics = train_step(state, data.TrainBatch(rows, batch.weights))
    self.assertFalse(metrics['skipped'])

    def by_hand(params):
      logits = _logits(params, rows['image'][0::2])
      found = losses.cross_entropy(logits, rows['label'][kept])
      return jnp.sum(batch.weights[0, kept] * found)

    loss, gradient = jax.value_and_grad(by_hand)(state.params)
    self.assertAlmostEqual(metrics['loss'], loss, places=5)
    _assert_close(_gradient(state, after), gradient)

  def test_imbsam_gives_each_share_to_the_group_of_its_own_label(self):
    method = methods.imbsam(tiny.COUNTS, 0.3, threshold=_THRESHOLD)
    state, train_step = _make(method, mix=_fixed_mix)
    step = _SWITCH
    batch = _paired(method)[step]
    labels = [batch.rows['label'][k::2] for k in (0, 1)]
    crossed = _IS_TAIL[labels[0]] != _IS_TAIL[labels[1]]
    self.assertGreater(crossed.sum(), 2)

    @functools.partial(jax.grad, argnums=0)
    def group_gradient(params, is_member):
      images = (
        _LAM[:, None] * batch.rows['image'][0::2]
        + (1 - _LAM)[:, None] * batch.rows['image'][1::2]
      )
      logits = _logits(params, images)
      total = 0.0
      for share, of in zip((_LAM, 1 - _LAM), labels, strict=True):
        class_weights = _class_weights(step)[of]
        terms = share * class_weights * losses.cross_entropy(logits, of)
        terms = jnp.where(is_member[of], terms, 0.0)
        total += jnp.sum(terms) / class_weights.sum()
      return total

    head = group_gradient(state.params, ~_IS_TAIL)
    ascent = group_gradient(state.params, _IS_TAIL)
    norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(ascent)))
    moved = jax.tree.map(lambda p, g: p + 0.3 * g / norm, state.params, ascent)
    expected = jax.tree.map(
      lambda h, t: h + t, head, group_gradient(moved, _IS_TAIL)
    )
    after, _ = train_step(state, batch)
    _assert_close(_gradient(state, after), expected)

  def test_one_program_before_and_after_the_switch(self):
    def mixup(key, step, batch, partner):
      del step
      return augment.mixup(key, batch, partner, alpha=1.0)

    method = methods.sgd(tiny.COUNTS)
    start, train_step = _make(method, mix=mixup)
    batches = _paired(method)
    ends = []
    for _ in range(2):
      state = start
      for step in range(2 * _SWITCH + 1):
        state, metrics = train_step(state, batches[step])
        self.assertFalse(metrics['skipped'])
      ends.append((state, metrics))
    self.assertEqual(train_step._cache_size(), 1)
    chex.assert_trees_all_equal(*ends)

  def test_keys_are_of_the_step_and_the_same_in_both_passes(self):
    seen = {'mix': [], 'loss': []}

    def see(name, key):
      jax.debug.callback(
        lambda words: seen[name].append(tuple(np.asarray(words).tolist())),
        jax.random.key_data(key),
      )

    def mix(key, step, batch, partner):
      see('mix', key)
      return _random_mix(key, step, batch, partner)

    def noisy(logits, labels, *, key):
      see('loss', key)
      noise = jax.random.normal(key, logits.shape)
      return losses.cross_entropy(logits + noise, labels)

    method = methods.sam(tiny.COUNTS, 0.1)
    state, train_step = _make(method, noisy, mix=mix)
    batches = _paired(method)

    def keys_of(state, batch):
      seen.update({'mix': [], 'loss': []})
      after, metrics = train_step(state, batch)
      jax.effects_barrier()
      # Mixed once for two passes, and in each one draw for both labels.
      self.assertLen(seen['mix'], 1)
      self.assertLen(seen['loss'], 4)
      self.assertLen(set(seen['loss']), 1)
      return after, metrics, {seen['mix'][0], seen['loss'][0]}

    end, one, first = keys_of(state, batches[0])
    again, same, _ = keys_of(state, batches[0])
    chex.assert_trees_all_equal((again, same), (end, one))
    _, two, second = keys_of(state.replace(step=state.step + 1), batches[0])
    # Neither do mixing and noise share a key.
    self.assertLen(first | second, 4)
    self.assertNotEqual(one['loss'], two['loss'])


class _Linear(nn.Module):
  @nn.compact
  def __call__(self, images, *, train):
    del train
    return nn.Dense(len(tiny.COUNTS))(images)


def _noise_loss(logits, labels, *, key):
  """Linear in the logits, so that its gradient shows the noise."""
  del labels
  return jnp.sum(jax.random.normal(key, logits.shape) * logits, axis=-1)


def _one_hot_rows(labels):
  images = np.eye(6, dtype=np.float32)[: len(labels)]
  return {'image': images, 'label': np.array(labels, np.int32)}


class NoiseTest(parameterized.TestCase):
  def test_of_both_passes_is_one(self):
    method = methods.sam(tiny.COUNTS, 0.5)
    state, train_step = _make(method, _noise_loss, net=_Linear())
    batches = _joint(method)
    after, metrics = train_step(state, batches[0])
    gradient = _gradient(state, after)
    # The loss of the clean pass, from the gradient of the perturbed one.
    product = jax.tree.map(lambda p, g: jnp.sum(p * g), state.params, gradient)
    self.assertAlmostEqual(metrics['loss'], sum(tiny.leaves(product)), places=5)
    self.assertGreater(abs(metrics['loss']), 1e-3)

    again, _ = train_step(state, batches[0])
    chex.assert_trees_all_equal(again.params, after.params)
    later, _ = train_step(state.replace(step=state.step + 1), batches[0])
    difference = tiny.leaves(_gradient(after, later))
    self.assertGreater(max(np.abs(x).max() for x in difference), 1e-2)

  @parameterized.named_parameters(
    ('OfOtherSizes', (0, 0, 0, 1), (2, 3)), ('OfOneSize', (0, 0, 1), (2, 3, 3))
  )
  def test_of_split_groups_is_not_the_same(self, head, tail):
    method = methods.imbsam(tiny.COUNTS, 0.3, threshold=_THRESHOLD)
    state, train_step = _make(method, _noise_loss, net=_Linear())
    rows = [_one_hot_rows(head), _one_hot_rows(tail)]
    # Other rows of the kernel than those of the head.
    rows[1]['image'] = np.roll(rows[1]['image'], len(head), axis=1)
    batch = data.TrainBatch(
      tuple(rows),
      tuple(np.ones(len(labels), np.float32) for labels in (head, tail)),
      layout='split',
    )
    after, _ = train_step(state, batch)
    noise = np.asarray(_gradient(state, after)['Dense_0']['kernel'])
    # Noise of six rows and four classes: no two alike.
    self.assertLen(np.unique(np.round(noise, 4)), 24)

  def test_of_microbatches_is_not_the_same(self):
    state, train_step = _make(
      methods.sgd(tiny.COUNTS),
      _noise_loss,
      net=_Linear(),
      num_microbatches=2,
    )
    batch = data.TrainBatch(
      _one_hot_rows([0, 1, 2, 3, 0, 1]), np.ones((1, 6), np.float32)
    )
    after, _ = train_step(state, batch)
    noise = np.asarray(_gradient(state, after)['Dense_0']['kernel'])
    self.assertLen(np.unique(np.round(noise, 4)), 24)


def _absgd(example_losses, step, state):
  """Weights to be summed; those of the batch have 1/B already."""
  del step
  found, state = weights_lib.absgd_weights(
    example_losses, state, lam=0.7, gamma=0.2, alpha=0.5
  )
  return len(example_losses) * found, state


def _absgd_by_hand(params, rows, average, *, at=None):
  """sum(p l), the new u, and the gradient with p as constants."""

  def of(params):
    return losses.cross_entropy(_logits(params, rows['image']), rows['label'])

  found = np.asarray(of(params), np.float64)
  exponentials = np.exp(found / 0.7)
  batch_average = 0.5 * exponentials.mean()
  average = (
    batch_average if average is None else 0.8 * average + 0.2 * batch_average
  )
  constants = exponentials / (tiny.BATCH_SIZE * average)
  gradient = jax.grad(lambda p: jnp.sum(constants.astype(np.float32) * of(p)))(
    params if at is None else at
  )
  return (constants * found).sum(), average, gradient


class ExampleWeightsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('Sgd', methods.sgd(tiny.COUNTS), 0.0),
    ('Sam', methods.sam(tiny.COUNTS, 0.3), 0.3),
    (
      'Imbsam',
      methods.imbsam(tiny.COUNTS, 0.3, threshold=_THRESHOLD),
      None,
    ),
  )
  def test_absgd_over_the_joint_batch(self, method, rho):
    state, train_step = _make(
      method,
      learning_rate=0.1,
      weigh=_absgd,
      weigh_state=weights_lib.absgd_init(),
    )
    batches = _joint(method)
    average = None
    for step in range(4):
      rows = batches[step].rows
      weighted, expected_average, gradient = _absgd_by_hand(
        state.params, rows, average
      )
      after, metrics = train_step(state, batches[step])
      np.testing.assert_allclose(metrics['loss'], weighted, rtol=1e-5)
      # That of the clean pass, once for all groups.
      np.testing.assert_allclose(
        after.loss_state.log_average, np.log(expected_average), atol=1e-5
      )
      if rho:  # The factors are those of the clean losses.
        norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(gradient)))
        moved = jax.tree.map(
          lambda p, g, norm=norm: p + rho * g / norm, state.params, gradient
        )
        _, _, gradient = _absgd_by_hand(state.params, rows, average, at=moved)
      if rho is not None:
        update = jax.tree.map(lambda g: 0.1 * g, gradient)
        _assert_close(_gradient(state, after), update)
      state, average = after, expected_average
    self.assertEqual(train_step._cache_size(), 1)

  def test_cost_no_pass_of_their_own(self):
    method = methods.sam(tiny.COUNTS, 0.3)
    flops = []
    for options in (
      {},
      {'weigh': _absgd, 'weigh_state': weights_lib.absgd_init()},
    ):
      state, train_step = _make(method, **options)
      compiled = train_step.lower(state, _joint(method)[0]).compile()
      flops.append(compiled.cost_analysis()['flops'])
    # A forward pass would be a sixth of SAM.
    self.assertLess(flops[1], 1.1 * flops[0])

  def test_multiply_the_weights_of_the_batch(self):
    method = methods.sgd(tiny.COUNTS)

    def weigh(example_losses, step, state):
      factors = jnp.arange(1.0, 1.0 + len(example_losses))
      return factors * (1.0 + step.astype(jnp.float32)), state + 1

    state, train_step = _make(
      method,
      weigh=weigh,
      weigh_state=jnp.zeros([], jnp.int32),
    )
    batch = _joint(method, _drw())[_SWITCH]
    found = losses.cross_entropy(
      _logits(state.params, batch.rows['image']), batch.rows['label']
    )
    state = state.replace(step=jnp.asarray(3, jnp.int32))
    after, metrics = train_step(state, batch)
    expected = 4 * np.sum(
      np.arange(1, 17) * batch.weights[0] * np.asarray(found)
    )
    np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-5)
    self.assertEqual(after.loss_state, 1)

    # A state that would change whatever the losses are.
    rows = dict(batch.rows)
    rows['image'] = rows['image'].copy()
    rows['image'][3, 2] = np.nan
    skipped, metrics = train_step(after, data.TrainBatch(rows, batch.weights))
    self.assertTrue(metrics['skipped'])
    self.assertEqual(skipped.loss_state, 1)
    chex.assert_trees_all_equal(skipped.params, after.params)
    self.assertEqual(skipped.step, 5)
    end, metrics = train_step(skipped, batch)
    self.assertFalse(metrics['skipped'])
    self.assertEqual(end.loss_state, 2)

  def test_see_the_mixed_losses(self):
    method = methods.sgd(tiny.COUNTS)
    state, train_step = _make(
      method,
      mix=_fixed_mix,
      weigh=lambda ls, step, state: (jnp.square(ls), state),
    )
    batch = _paired(method)[_SWITCH]
    images, labels = _fixed_mix(
      None,
      0,
      *((batch.rows['image'][k::2], batch.rows['label'][k::2]) for k in (0, 1)),
    )
    logits = _logits(state.params, images)
    parts = [
      np.asarray(share * losses.cross_entropy(logits, of))
      for share, of in ((_LAM, labels.first), (1 - _LAM, labels.second))
    ]
    terms = sum(batch.weights[0, k::2] * part for k, part in enumerate(parts))
    _, metrics = train_step(state, batch)
    np.testing.assert_allclose(
      metrics['loss'], np.sum((parts[0] + parts[1]) ** 2 * terms), rtol=1e-5
    )


def _penalty(params):
  return 0.7 * jnp.sum(jnp.square(params['Dense_1']['kernel'])) + jnp.sum(
    params['Dense_0']['bias'] + 0.1 * params['Dense_0']['kernel'][0]
  )


class PenaltyTest(parameterized.TestCase):
  """It counts once, whatever the weights of a batch sum to."""

  @parameterized.parameters(None, 'weighted_mean', 'mean')
  def test_joint_rows(self, reduction):
    method = methods.sgd(tiny.COUNTS)
    batch = self._batch(method, reduction)
    self.assertEqual(abs(batch.weights.sum() - 1) < 1e-6, reduction != 'mean')
    self._check('sgd', batch, [(batch.rows, batch.weights[0])])

  @parameterized.product(
    reduction=[None, 'weighted_mean', 'mean'], tail_weight=[1.0, 2.0]
  )
  def test_split_rows(self, reduction, tail_weight):
    method = methods.imbsam(
      tiny.COUNTS, 0.0, threshold=_THRESHOLD, tail_weight=tail_weight
    )
    batch = self._batch(method, reduction, split=True)
    groups = list(zip(batch.rows, batch.weights, strict=True))
    self._check('imbsam', batch, groups)

  def test_mixed_rows(self):
    method = methods.sgd(tiny.COUNTS)
    state, train_step = _step_with_penalty('mixed')
    plain, plain_step = _step_with_penalty('mixed', False)
    for step in (0, _SWITCH):
      batch = _paired(method)[step]
      self._check_gradient(
        state.params,
        _gradient(state, train_step(state, batch)[0]),
        _gradient(plain, plain_step(plain, batch)[0]),
      )

  def _batch(self, method, reduction, **options):
    reweighting = None if reduction is None else _drw(reduction)
    return _joint(method, reweighting, **options)[_SWITCH]

  def _check(self, kind, batch, groups):
    state, train_step = _step_with_penalty(kind)

    def plain(params):
      return sum(
        jnp.sum(
          weights
          * losses.cross_entropy(_logits(params, rows['image']), rows['label'])
        )
        for rows, weights in groups
      )

    loss, gradient = jax.value_and_grad(plain)(state.params)
    after, metrics = train_step(state, batch)
    self._check_gradient(state.params, _gradient(state, after), gradient)
    self.assertAlmostEqual(
      metrics['loss'] - loss, _penalty(state.params), places=4
    )

  def _check_gradient(self, params, found, plain):
    difference = jax.tree.map(lambda f, p: f - p, found, plain)
    _assert_close(difference, jax.grad(_penalty)(params), 1e-5)


@functools.cache
def _step_with_penalty(kind, penalty=True):
  options = {'penalty': _penalty} if penalty else {}
  match kind:
    case 'imbsam':
      return _make(
        methods.imbsam(tiny.COUNTS, 0.0, threshold=_THRESHOLD), **options
      )
    case 'mixed':
      return _make(methods.sgd(tiny.COUNTS), mix=_fixed_mix, **options)
    case _:
      return _make(methods.sgd(tiny.COUNTS), **options)


@pytest.mark.extended
class DevicesTest(parameterized.TestCase):
  def test_mixed_step(self):
    method = methods.imbsam(tiny.COUNTS, 0.2, threshold=_THRESHOLD)
    state, train_step = _make(
      method,
      net=tiny.TinyNet(batch_norm=True),
      learning_rate=0.1,
      mix=_random_mix,
    )
    self._check(state, train_step, _paired(method))

  def test_histogram_of_the_batch_and_weights_of_examples(self):
    method = methods.sam(tiny.COUNTS, 0.2)
    state, train_step = _make(
      method,
      losses.arb_loss,
      learning_rate=0.1,
      weigh=_absgd,
      weigh_state=weights_lib.absgd_init(),
    )
    batches = _joint(method)
    # Sixteen rows, two for each device: histograms of shards are others.
    _, metrics = train_step(state, batches[0])
    rows = batches[0].rows
    whole = losses.arb_loss(_logits(state.params, rows['image']), rows['label'])
    found, _ = weights_lib.absgd_weights(
      whole, weights_lib.absgd_init(), lam=0.7, gamma=0.2, alpha=0.5
    )
    self.assertAlmostEqual(metrics['loss'], jnp.sum(found * whole), places=5)
    self._check(state, train_step, batches)

  def _check(self, state, train_step, batches):
    ends = []
    for devices in (jax.devices()[:1], jax.devices()):
      mesh = training.data_mesh(devices)
      end = training.replicate(mesh, state)
      history = []
      for step in range(2 * _SWITCH):
        batch = training.shard_batch(mesh, batches[step])
        end, metrics = train_step(end, batch)
        history.append(metrics)
      ends.append((end.params, end.model_state, end.loss_state, history))
    self.assertLen(jax.devices(), 8)
    _assert_close(ends[0], ends[1], 1e-5)
    self.assertFalse(any(metrics['skipped'] for metrics in ends[0][3]))


class FeatureStepTest(absltest.TestCase):
  def test_features_and_logits_of_every_example(self):
    net = models.MLP(num_classes=4, norm='batch', widths=(5,))
    examples = tiny.examples()
    variables = dict(net.init(jax.random.key(0), examples.images, train=False))
    # Statistics other than those of a new model.
    variables['batch_stats'] = jax.tree.map(
      lambda x: x + 0.5, variables['batch_stats']
    )
    step = training.make_feature_step(net, lambda images: 2.0 * images)
    step = jax.jit(chex.assert_max_traces(step, n=1))
    features, logits = training.over_examples(
      step, variables, examples, batch_size=16, mesh=training.data_mesh()
    )
    images = 2.0 * examples.images
    # 44 examples: the last batch is not full.
    self.assertEqual(features.shape, (44, 5))
    np.testing.assert_allclose(
      logits, net.apply(variables, images, train=False), atol=1e-5
    )
    np.testing.assert_allclose(
      features,
      net.apply(variables, images, train=False, method='features'),
      atol=1e-5,
    )
    head = variables['params']['classifier']
    np.testing.assert_allclose(
      logits,
      models.LinearHead(4).apply({'params': head}, features),
      atol=1e-5,
    )

  def test_fewer_examples_than_rows(self):
    few = data.Examples(np.arange(3.0, dtype=np.float32)[:, None], np.zeros(3))
    (found,) = training.over_examples(
      lambda variables, images: (images[:, 0] + variables,),
      1.0,
      few,
      batch_size=8,
      mesh=training.data_mesh(),
    )
    np.testing.assert_array_equal(found, [1.0, 2.0, 3.0])

  def test_no_examples(self):
    none = data.Examples(np.zeros((0, 6), np.float32), np.zeros(0, np.int32))
    with self.assertRaisesRegex(ValueError, '`examples`.*at least one'):
      training.over_examples(
        lambda variables, images: (images,),
        {},
        none,
        batch_size=8,
        mesh=training.data_mesh(),
      )


if __name__ == '__main__':
  absltest.main()
