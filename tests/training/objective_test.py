# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objectives that remember, look again, attack and learn, by hand."""

import collections

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import losses
from imbsam_jax import training
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

methods = training.update_rules


def _assert_close(found, expected, atol=3e-6):
  chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=atol)


def _ascended(gradient, params, rho):
  norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(gradient)))
  return jax.tree.map(lambda p, g: p + rho * g / norm, params, gradient)


class QueueTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.parts = kinds.make(kinds.Queue())
    cls.batches = kinds.batches()

  def test_is_a_queue_of_features_of_each_class(self):
    state, train_step = self.parts
    queues = [
      collections.deque(maxlen=kinds.QUEUE_SIZE)
      for _ in range(kinds.NUM_CLASSES)
    ]
    pushed = np.zeros(kinds.NUM_CLASSES, int)

    @jax.jit
    @jax.value_and_grad
    def slope(params, rows, others, is_there):
      found = kinds.features(params, rows['image'])
      losses = kinds.cross_entropy(params, rows['image'], rows['label'])
      apart = jnp.sum((found[:, None] - others) ** 2, axis=-1)
      return jnp.mean(losses + jnp.sum(is_there * apart, axis=-1))

    for step in range(5):
      rows = self.batches[step].rows
      shape = tiny.BATCH_SIZE, kinds.QUEUE_SIZE, kinds.WIDTH
      others = np.zeros(shape, np.float32)
      is_there = np.zeros(shape[:2], np.float32)
      for i, label in enumerate(rows['label']):
        for k, other in enumerate(queues[label]):
          others[i, k], is_there[i, k] = other, 1.0
      expected_loss, expected = slope(state.params, rows, others, is_there)
      trunk = jax.tree.map(
        lambda x: np.asarray(x, np.float64), state.params['trunk']
      )
      features = np.tanh(rows['image'] @ trunk['kernel'] + trunk['bias'])
      for feature, label in zip(features, rows['label'], strict=True):
        queues[label].append(feature)
        pushed[label] += 1
      after, metrics = train_step(state, self.batches[step])
      self.assertAlmostEqual(metrics['loss'], expected_loss, places=4)
      _assert_close(kinds.gradient(state, after), expected, 1e-5)
      state = after
      np.testing.assert_array_equal(state.loss_state['number'], pushed)
      for label, queue in enumerate(queues):
        oldest = pushed[label] - len(queue)
        for place, feature in enumerate(queue, start=oldest):
          np.testing.assert_allclose(
            state.loss_state['rows'][label, place % kinds.QUEUE_SIZE],
            feature,
            atol=1e-6,
          )
    self.assertGreater(pushed.min(), kinds.QUEUE_SIZE - 1)

  def test_a_skipped_update_leaves_it(self):
    start, train_step = self.parts
    state, _ = train_step(start, self.batches[0])
    after, metrics = train_step(state, kinds.with_nan(self.batches[1]))
    self.assertTrue(metrics['skipped'])
    chex.assert_trees_all_equal(after.loss_state, state.loss_state)
    after, metrics = train_step(after, self.batches[2])
    self.assertFalse(metrics['skipped'])
    self.assertEqual(after.loss_state['number'].sum(), 2 * tiny.BATCH_SIZE)

  def test_a_checkpoint_has_it(self):
    start, train_step = self.parts
    state = start
    for step in range(2):
      state, _ = train_step(state, self.batches[step])
    folder = tiny.folder(self)
    with training.Checkpoints(folder) as checkpoints:
      checkpoints.save(state)
    with training.Checkpoints(folder, read_only=True) as checkpoints:
      restored, _ = checkpoints.restore(start)
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal(
      *(train_step(s, self.batches[2])[0] for s in (restored, state))
    )

  @parameterized.parameters(
    ('split', 1, "the layout 'split' and num_microbatches=1"),
    ('tail_only', 1, "the layout 'tail_only'"),
    ('joint', 2, "the layout 'joint' and num_microbatches=2"),
  )
  def test_rows_stay_together(self, layout, number, message):
    method = methods.imbsam(tiny.COUNTS, 0.1, threshold=10)
    state, step = kinds.make(
      kinds.Queue(), method, num_microbatches=number, jit=False
    )
    with self.assertRaisesRegex(ValueError, message):
      jax.eval_shape(step, state, kinds.batches(method, layout)[0])

  def test_who_records_or_weighs_rows_is_coupled(self):
    class Weighs(training.Supervised):
      def weigh(self, ctx, losses):
        return jnp.ones_like(losses), ctx.state

    records = kinds.Queue()
    records.coupled = False
    for objective in (records, Weighs(losses.cross_entropy)):
      state, step = kinds.make(objective, jit=False)
      with self.assertRaisesRegex(ValueError, 'set its attribute `coupled`'):
        jax.eval_shape(step, state, self.batches[0])

  def test_a_state_made_of_the_parameters_can_be_donated(self):
    class Remembers(training.Supervised):
      def init(self, key, variables):
        return variables['params']

    state, step = kinds.make(Remembers(losses.cross_entropy), jit=False)
    first = np.asarray(state.params['trunk']['kernel'])
    state, _ = jax.jit(step, donate_argnums=0)(state, self.batches[0])
    np.testing.assert_array_equal(state.loss_state['trunk']['kernel'], first)


class ApplyTest(absltest.TestCase):
  def test_calls_draw_anew_and_go_on_with_statistics(self):
    net = kinds.Net(dropout=0.5, batch_norm=True)
    images = tiny.examples().images
    variables = dict(net.init(jax.random.key(0), images, train=False))
    params = variables.pop('params')
    key = jax.random.key(3)
    apply = training.Apply(net, params, variables, key)
    still = apply(images, train=False)
    self.assertEqual(apply.changed, {})
    first = apply(images)
    one = apply.changed['batch_stats']
    expected, changed = net.apply(
      {'params': params, **variables},
      images,
      train=True,
      mutable=['batch_stats'],
      rngs={'dropout': key},
    )
    chex.assert_trees_all_equal(
      (first, one), (expected, changed['batch_stats'])
    )
    second = apply(images)
    self.assertGreater(np.abs(second - first).max(), 0.1)
    # A mean that begins at 0 and goes a tenth of the way each time.
    _assert_close(
      apply.changed['batch_stats']['norm']['mean'], 1.9 * one['norm']['mean']
    )
    self.assertGreater(np.abs(apply(images, train=False) - still).max(), 1e-3)

  def test_wrapped_calls_are_calls_of_the_model(self):
    """With its parameters and what it changes, however often it is wrapped."""
    net = kinds.Net(batch_norm=True)
    images = tiny.examples().images
    variables = net.init(jax.random.key(0), images, train=False)
    state = {'batch_stats': variables['batch_stats']}
    plain, apply = (
      training.Apply(net, variables['params'], state, jax.random.key(1))
      for _ in range(2)
    )
    doubled = training.WrappedApply(apply, lambda *x, **more: apply(*x, **more))
    wrapped = doubled.with_options(method='both')
    for given, other in (({}, {'method': 'both'}), ({'method': None},) * 2):
      chex.assert_trees_all_equal(
        wrapped(images, **given), plain(images, **other)
      )
      chex.assert_trees_all_equal(wrapped.changed, plain.changed)
      chex.assert_trees_all_equal(apply.changed, plain.changed)
    self.assertIs(wrapped.params, apply.params)
    for one in (apply, wrapped):
      self.assertTrue(one.takes('train'))
      self.assertFalse(one.takes('noise_mask'))


class CleanTest(parameterized.TestCase):
  @parameterized.parameters('sam', 'imbsam')
  def test_all_passes_see_rows_prepared_at_w(self, word):
    method = {
      'sam': methods.sam(tiny.COUNTS, 0.3),
      'imbsam': methods.imbsam(tiny.COUNTS, 0.3, threshold=10),
    }[word]
    state, step = kinds.make(kinds.Adversary(), method)
    layout = 'joint' if word == 'sam' else 'split'
    batch = kinds.batches(method)[0]
    images, labels = batch.rows['image'], batch.rows['label']
    slope = jax.jit(
      jax.grad(lambda x: jnp.sum(kinds.cross_entropy(state.params, x, labels)))
    )(images)
    images = images + kinds.EPSILON * np.sign(slope)

    @jax.jit
    @jax.grad
    def of(params, weights):
      return jnp.sum(weights * kinds.cross_entropy(params, images, labels))

    head = np.zeros(16, np.float32) if word == 'sam' else batch.weights[0]
    tail = batch.weights[-1]
    moved = _ascended(of(state.params, tail), state.params, 0.3)
    expected = jax.tree.map(jnp.add, of(state.params, head), of(moved, tail))
    after, _ = step(state, kinds.batches(method, layout)[0])
    _assert_close(kinds.gradient(state, after), expected)

  def test_draws_alike_in_all_passes(self):
    class Agrees(training.Objective):
      def __call__(self, ctx, apply, rows):
        clean = jax.lax.stop_gradient(ctx.clean(rows['image']))
        outputs = apply(rows['image'])
        products = jnp.sum(clean * outputs, axis=-1)
        return training.Outcome(products, outputs, rows['label'])

    net = kinds.Net(dropout=0.5)
    method = methods.sam(tiny.COUNTS, 0.3)
    state, step = kinds.make(Agrees(), method, net=net)
    batch = kinds.batches(method)[0]

    def outputs(params):
      key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), 0)
      return net.apply(
        {'params': params},
        batch.rows['image'],
        train=True,
        rngs={'dropout': key},
      )

    clean = outputs(state.params)
    of = jax.jit(
      jax.grad(lambda p: jnp.sum(clean * outputs(p)) / tiny.BATCH_SIZE)
    )
    moved = _ascended(of(state.params), state.params, 0.3)
    after, _ = step(state, batch)
    _assert_close(kinds.gradient(state, after), of(moved))


class ViewsTest(absltest.TestCase):
  def test_views_of_a_step(self):
    state, step = kinds.make(kinds.Views(), augment=kinds.noise)
    batch = kinds.batches()[0]
    images, labels = batch.rows['image'], batch.rows['label']
    after, _ = step(state, batch)
    one, two = after.loss_state

    # The first is what it is without others.
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), 0)
    keys = jax.vmap(lambda k: jax.random.fold_in(jax.random.fold_in(key, 2), k))
    expected = jax.vmap(kinds.noise)(keys(batch.rows['place']), images)
    _assert_close(one, expected)

    # No two rows, views and steps have the same noise.
    later, _ = step(after, batch)
    seen = np.concatenate([one, two, *later.loss_state])
    noise = seen - np.concatenate([images] * 4)
    self.assertLen(np.unique(np.round(noise, 4), axis=0), len(noise))
    # It is that of the step and the place, wherever the row is.
    turned = jax.tree.map(lambda x: np.roll(x, 3, axis=-1), batch.weights)
    rows = jax.tree.map(lambda x: np.roll(x, 3, axis=0), batch.rows)
    again, _ = step(state, type(batch)(rows, turned))
    _assert_close(again.loss_state, jax.tree.map(
      lambda x: jnp.roll(x, 3, axis=0), after.loss_state
    ))  # fmt: skip

    def loss(params):
      apart = kinds.logits(params, one) - kinds.logits(params, two)
      found = kinds.cross_entropy(params, one, labels) + jnp.sum(apart**2, 1)
      return jnp.mean(found)

    _assert_close(
      kinds.gradient(state, after), jax.jit(jax.grad(loss))(state.params), 1e-5
    )

  def test_no_two_draws_share_a_key(self):
    def words(key, image):
      children = jax.random.split(key, 4)
      return jax.random.key_data(jnp.concatenate([key[None], children]))

    inputs = training.Inputs(lambda images: images, words)
    rows = {'image': np.zeros(5), 'place': np.arange(5, dtype=np.int32)}
    found = inputs.look_up(rows, None, jax.random.key(0), num_views=4)
    keys = np.concatenate(found['views']).reshape(-1, 2)
    self.assertLen(np.unique(keys, axis=0), 4 * 5 * 5)


class OuterTest(absltest.TestCase):
  def test_hypergradient(self):
    objective = kinds.Weighted()
    state, plain = kinds.make(objective)
    _, with_outer = kinds.make(objective, outer=True)
    batches = kinds.batches(validation=kinds.stream(at=objective.outer.at))
    logs = jnp.zeros(kinds.NUM_CLASSES)
    tx = optax.sgd(0.4, momentum=0.5)
    opt_state = tx.init(logs)

    @jax.jit
    def loss(params, logs, rows):
      found = kinds.cross_entropy(params, rows['image'], rows['label'])
      return jnp.mean(jnp.exp(logs)[rows['label']] * found)

    @jax.jit
    @jax.grad
    def through(logs, params, rows, other):
      inner = jax.grad(loss)(params, logs, rows)
      moved = jax.tree.map(lambda p, g: p - kinds.INNER_RATE * g, params, inner)
      return loss(moved, jnp.zeros_like(logs), other)

    slope = jax.jit(jax.grad(loss))
    for step in range(4):
      batch = batches[step]
      if step % 2:
        other = batch.streams['validation']
        # Through the step that it looks ahead, by automatic differentiation.
        hyper = through(logs, state.params, batch.rows, other)
        updates, opt_state = tx.update(hyper, opt_state)
        logs = optax.apply_updates(logs, updates)
      else:
        self.assertEmpty(batch.streams)
      expected = slope(state.params, logs, batch.rows)
      after, _ = (with_outer if step % 2 else plain)(state, batch)
      _assert_close(kinds.gradient(state, after), expected, 1e-5)
      _assert_close(after.loss_state, (logs, opt_state), 1e-5)
      state = after
    self.assertGreater(np.abs(logs).max(), 0.05)

    skipped, metrics = with_outer(state, kinds.with_nan(batches[5]))
    self.assertTrue(metrics['skipped'])
    chex.assert_trees_all_equal(skipped.loss_state, state.loss_state)

  def test_when(self):
    outer = training.Outer(lambda *args: None, 3, 'validation', start=5)
    self.assertEqual([s for s in range(12) if outer.at(s)], [5, 8, 11])
    outer = training.Outer(lambda *args: None, 1, 'validation')
    self.assertTrue(all(map(outer.at, range(4))))

  def test_errors(self):
    uncoupled = kinds.Weighted()
    uncoupled.coupled = False
    batch = kinds.batches(out=kinds.stream())[0]
    for objective, outer, message in (
      (kinds.Weighted(), True, r"its stream; they have \['out'\]"),
      (kinds.Queue(), True, 'needs an objective with an outer step'),
      (uncoupled, False, 'set its attribute `coupled` to True'),
    ):
      state, step = kinds.make(objective, outer=outer, jit=False)
      with self.assertRaisesRegex(ValueError, message):
        jax.eval_shape(step, state, batch)


class PredictTest(absltest.TestCase):
  def test_logits_are_those_of_the_objective(self):
    class Summed(training.Supervised):
      def predict(self, apply, images):
        features, logits = apply(images, method='both')
        return logits + (
          jnp.sum(features, axis=1)[:, None] * jnp.arange(4.0)[None]
        )

    net = kinds.Net(dropout=0.5)
    images = tiny.examples().images[:, None, :, None]  # [B, 1, 6, 1].
    variables = net.init(jax.random.key(0), images[:, 0, :, 0], train=False)
    params = variables['params']
    objective = Summed(losses.cross_entropy, logit_scale=2.0)

    def flat(images):
      return images.reshape(len(images), -1)

    def expected(images):
      features = np.asarray(kinds.features(params, images), np.float64)
      extra = np.sum(features, axis=1)[:, None] * np.arange(4)
      return np.asarray(kinds.logits(params, images), np.float64) + extra

    def check(found, logits, scale):
      scaled = np.exp(scale * logits)
      share = scaled / scaled.sum(axis=1, keepdims=True)
      np.testing.assert_array_equal(found[0], logits.argmax(axis=1))
      np.testing.assert_allclose(found[1], share.max(axis=1), rtol=1e-5)

    plain = np.asarray(kinds.logits(params, flat(images)), np.float64)
    own = expected(flat(images))
    self.assertTrue((own.argmax(1) != plain.argmax(1)).any())
    step = training.make_logit_step(net, flat, objective=objective)
    np.testing.assert_allclose(step(variables, images), own, atol=1e-5)
    step = training.make_logit_step(net, flat)
    np.testing.assert_allclose(step(variables, images), plain, atol=1e-5)

    def predict(preprocess=flat, **options):
      step = training.make_predict_step(net, preprocess, **options)
      return step(variables, images if preprocess is flat else flat(images))

    check(predict(), plain, 1.0)
    check(predict(objective=objective), own, 2.0)
    check(predict(objective=objective, logit_scale=0.5), own, 0.5)

  def test_mirrored(self):
    class Twice(training.Objective):
      def predict(self, apply, images):
        return 2 * apply(images[:, 0, :, 0])

    net = kinds.Net()
    images = tiny.examples().images[:, None, :, None]
    variables = net.init(jax.random.key(0), images[:, 0, :, 0], train=False)
    step = training.make_predict_step(
      net, lambda images: images, objective=Twice(), flip=True
    )
    both = [
      kinds.logits(variables['params'], x[:, 0, :, 0])
      for x in (images, images[:, :, ::-1])
    ]
    found = np.asarray(step(variables, images)[1])
    np.testing.assert_allclose(
      found, jax.nn.softmax(both[0] + both[1]).max(axis=1), rtol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
