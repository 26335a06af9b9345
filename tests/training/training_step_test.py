# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One training step against JAX, optax and Flax used by hand."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbsam_jax import data
from imbsam_jax import training
from tests.training import tiny_training as tiny

methods = training.update_rules


def _all_methods():
  return {
    'sgd': methods.sgd(tiny.COUNTS),
    'sam': methods.sam(tiny.COUNTS, 0.1),
    'imbsam': methods.imbsam(tiny.COUNTS, 0.1, threshold=10),
    'sse_sam': methods.sse_sam(
      tiny.COUNTS, 0.1, 0.2, threshold=10, switch_step=3
    ),
    'focal_sam': methods.focal_sam(tiny.COUNTS, 0.1, gamma=1.0, lam=0.8),
    'rsam': methods.rsam(tiny.COUNTS, 0.01, key=jax.random.key(5)),
    'momentum_imbsam': methods.momentum_imbsam(tiny.COUNTS, 0.1, threshold=10),
    'look_sam': methods.look_sam(tiny.COUNTS, 0.1, every=2, alpha=0.7),
    'friendly_sam': methods.friendly_sam(tiny.COUNTS, 0.1, sigma=1.0, lam=0.9),
    'gsam': methods.gsam(tiny.COUNTS, 0.1, alpha=0.4),
  }


@functools.cache
def _with_average(word, batch_norm):
  """A method with its initial state and step, compiled for two tests."""
  method = _all_methods()[word]
  return method, *tiny.make(method, batch_norm=batch_norm, ema_decay=0.9)


def _mean_loss(net, params, model_state, rows):
  logits, _ = net.apply(
    {'params': params, **model_state},
    rows['image'],
    train=True,
    mutable=list(model_state),
  )
  return optax.softmax_cross_entropy_with_integer_labels(
    logits, rows['label']
  ).mean()


class StepTest(parameterized.TestCase):
  def test_sgd_by_hand(self):
    method = methods.sgd(tiny.COUNTS)
    state, train_step = tiny.make(
      method, momentum=0.9, weight_decay=0.01, clip_norm=0.5
    )
    batches = tiny.batches(method, split=False)
    params = state.params
    trace = jax.tree.map(jnp.zeros_like, params)
    for step in range(4):
      batch = batches[step]
      loss, grads = jax.value_and_grad(
        lambda p, rows: _mean_loss(tiny.TinyNet(), p, {}, rows)
      )(params, batch.rows)
      norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(grads)))
      clip = min(1.0, 0.5 / norm)

      def velocity(g, t, p, clip=clip):
        decay = 0.01 * p if p.ndim > 1 else 0.0
        return clip * g + decay + 0.9 * t

      trace = jax.tree.map(velocity, grads, trace, params)
      params = jax.tree.map(lambda p, t: p - 0.1 * t, params, trace)
      state, metrics = train_step(step)(state, batch)
      self.assertAlmostEqual(metrics['loss'], loss, places=5)
    chex.assert_trees_all_close(state.params, params, rtol=1e-7, atol=1e-6)

  def test_imbsam_by_hand(self):
    method = methods.imbsam(tiny.COUNTS, 0.3, threshold=10)
    state, train_step = tiny.make(method, momentum=0.0)
    batch = tiny.batches(method, split=False)[0]
    tail = np.isin(batch.rows['label'], (2, 3))
    self.assertTrue(0 < tail.sum() < len(tail))

    def part(params, mask):
      logits = tiny.TinyNet().apply(
        {'params': params}, batch.rows['image'], train=True
      )
      losses = optax.softmax_cross_entropy_with_integer_labels(
        logits, batch.rows['label']
      )
      return jnp.sum(jnp.where(mask, losses, 0.0)) / len(mask)

    head = jax.grad(part)(state.params, ~tail)
    ascent = jax.grad(part)(state.params, tail)
    norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(ascent)))
    moved = jax.tree.map(lambda p, g: p + 0.3 * g / norm, state.params, ascent)
    descent = jax.grad(part)(moved, tail)
    expected = jax.tree.map(
      lambda p, h, d: p - 0.1 * (h + d), state.params, head, descent
    )
    for split in (False, True):
      batch = tiny.batches(method, split=split)[0]
      after, _ = train_step(0)(state, batch)
      chex.assert_trees_all_close(after.params, expected, rtol=1e-7, atol=1e-6)

  @parameterized.parameters('imbsam', 'momentum_imbsam', 'sse_sam')
  def test_split_rows_equal_joint_rows(self, word):
    method = _all_methods()[word]
    state, train_step = tiny.make(method)
    ends = []
    for split in (False, True):
      batches, end = tiny.batches(method, split=split), state
      for step in range(6):
        end, metrics = train_step(step)(end, batches[step])
      # Of split rows the loss of the tail is that at w + e there.
      own = word == 'momentum_imbsam'
      values = () if own else (metrics['loss'], metrics['train_accuracy'])
      ends.append((end.params, *values))
    chex.assert_trees_all_close(*ends, rtol=1e-7, atol=2e-6)

  @parameterized.parameters(*_all_methods())
  def test_batch_norm_state_is_that_of_the_one_clean_pass(self, word):
    method, state, train_step = _with_average(word, True)
    batch = tiny.batches(method, split=False)[0]
    params = state.params
    if word == 'rsam':  # Its only pass is at w + e.
      seen = []
      method.stages[0].link.update(
        params,
        method.stages[0].link.init(params),
        params,
        grad_fn=lambda p, group: seen.append(p) or params,
      )
      params = seen[0]
    _, expected = tiny.TinyNet(True).apply(
      {'params': params, **state.model_state},
      batch.rows['image'],
      train=True,
      mutable=['batch_stats'],
    )
    after, _ = train_step(0)(state, batch)
    chex.assert_trees_all_close(
      after.model_state, expected, rtol=1e-7, atol=1e-6
    )

  @parameterized.product(word=list(_all_methods()), batch_norm=[False, True])
  @pytest.mark.faults
  def test_f8_skipped_step_leaves_everything(self, word, batch_norm):
    method, state, train_step = _with_average(word, batch_norm)
    batches = tiny.batches(method, split=False)
    state, _ = train_step(0)(state, batches[0])
    rows = dict(batches[1].rows)
    rows['image'] = rows['image'].copy()
    rows['image'][3, 2] = np.nan
    after, metrics = train_step(1)(
      state, data.TrainBatch(rows, batches[1].weights)
    )
    self.assertTrue(metrics['skipped'])
    self.assertFalse(metrics['exhausted'])
    self.assertEqual(after.step, 2)
    for name in ('params', 'model_state', 'ema_params'):
      chex.assert_trees_all_equal(getattr(after, name), getattr(state, name))
    chex.assert_trees_all_equal(
      after.opt_state.inner_state, state.opt_state.inner_state
    )
    after, metrics = train_step(2)(after, batches[2])
    self.assertFalse(metrics['skipped'])

  def test_moving_average(self):
    method = methods.sgd(tiny.COUNTS)
    state, train_step = tiny.make(method, ema_decay=0.75)
    batches = tiny.batches(method, split=False)
    average = state.params
    for step in range(3):
      state, _ = train_step(step)(state, batches[step])
      average = jax.tree.map(
        lambda a, p: 0.75 * a + 0.25 * p, average, state.params
      )
    chex.assert_trees_all_close(
      state.variables['params'], average, rtol=1e-7, atol=1e-6
    )

  def test_microbatches_are_the_batch(self):
    method = methods.imbsam(tiny.COUNTS, 0.3, threshold=10)
    batch = tiny.batches(method, split=False)[0]
    ends = []
    for number in (1, 4):
      state, train_step = tiny.make(method, num_microbatches=number)
      end, metrics = train_step(0)(state, batch)
      ends.append((end.params, metrics['loss'], metrics['train_accuracy']))
    chex.assert_trees_all_close(*ends, rtol=1e-7, atol=1e-6)

  @parameterized.parameters(*_all_methods())
  @pytest.mark.extended
  def test_eight_devices_equal_one(self, word):
    method = _all_methods()[word]
    state, train_step = tiny.make(method, batch_norm=not method.exclusive)
    ends = []
    for devices in (jax.devices()[:1], jax.devices()):
      mesh = training.data_mesh(devices)
      end = training.replicate(mesh, state)
      batches = tiny.batches(method, split=method.exclusive, row_multiple=8)
      for step in range(5):
        batch = training.shard_batch(mesh, batches[step])
        end, metrics = train_step(step)(end, batch)
      ends.append((end.params, end.model_state, metrics))
    chex.assert_trees_all_close(*ends, rtol=1e-7, atol=1e-5)

  def test_dropout_uses_a_new_key_every_step(self):
    class Dropout(nn.Module):
      @nn.compact
      def __call__(self, images, *, train):
        x = nn.Dropout(0.5, deterministic=not train)(images)
        return nn.Dense(4)(x)

    method = methods.sgd(tiny.COUNTS)
    tx = training.make_optimizer(method.stages[0].link, 0.0)
    state = training.create_train_state(
      Dropout(), tx, jax.random.key(0), jnp.zeros((1, 6))
    )
    step = jax.jit(
      training.make_train_step(
        Dropout(),
        tx,
        optax.softmax_cross_entropy_with_integer_labels,
        lambda images: images,
      )
    )
    batch = tiny.batches(method, split=False)[0]
    first, one = step(state, batch)
    _, again = step(state, batch)
    _, two = step(first, batch)
    self.assertEqual(one['loss'], again['loss'])
    self.assertNotEqual(one['loss'], two['loss'])


class StageTest(absltest.TestCase):
  def test_second_stage_of_sse_sam_is_imbsam(self):
    switch = 3
    sse = methods.sse_sam(
      tiny.COUNTS, 0.1, 0.2, threshold=10, switch_step=switch
    )
    imb = methods.imbsam(tiny.COUNTS, 0.2, threshold=10)
    self.assertEqual(
      [sse.stage(s).perturbed for s in (0, 2, 3, 9)],
      [(True, True)] * 2 + [(False, True)] * 2,
    )
    state, sse_step = tiny.make(sse)
    _, imb_step = tiny.make(imb)
    batches = tiny.batches(sse, split=True)
    for step in range(6):
      after, _ = sse_step(step)(state, batches[step])
      other, _ = imb_step(step)(state, batches[step])
      same = np.array_equal(
        tiny.leaves(after.params)[0], tiny.leaves(other.params)[0]
      )
      self.assertEqual(same, step >= switch, step)
      state = after

  def test_switch_at_zero_is_the_second_stage_from_the_start(self):
    method = methods.sse_sam(tiny.COUNTS, 0.1, 0.2, threshold=10, switch_step=0)
    self.assertLen(method.stages, 1)
    self.assertEqual(method.stage(0).perturbed, (False, True))

  @pytest.mark.faults
  def test_f11_degenerate_thresholds_warn_and_run(self):
    for threshold, tail in ((1, 'no class tail'), (99, 'every class tail')):
      with self.assertWarnsRegex(UserWarning, tail):
        method = methods.imbsam(tiny.COUNTS, 0.1, threshold=threshold)
      state, train_step = tiny.make(method)
      _, metrics = train_step(0)(state, tiny.batches(method, split=True)[0])
      self.assertTrue(np.isfinite(metrics['loss']))


class OptimizerTest(parameterized.TestCase):
  def test_cosine(self):
    schedule = training.learning_rate_schedule('cosine', 0.4, num_steps=100)
    for step in (0, 30, 50, 100):
      self.assertAlmostEqual(
        float(schedule(step)), 0.2 * (1 + np.cos(np.pi * step / 100)), places=6
      )

  def test_step(self):
    schedule = training.learning_rate_schedule(
      'step', 0.1, num_steps=100, warmup_steps=10
    )
    found = [float(schedule(step)) for step in (10, 79, 80, 89, 90, 99)]
    np.testing.assert_allclose(
      found, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6
    )

  def test_warmup(self):
    schedule = training.learning_rate_schedule(
      'constant', 1.0, num_steps=100, warmup_steps=4
    )
    found = [float(schedule(step)) for step in range(6)]
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75, 1, 1, 1], rtol=1e-6)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, "'step', 'ldam' or"):
      training.learning_rate_schedule('cos', 0.1, num_steps=10)
    with self.assertRaisesRegex(ValueError, 'warm-up of 10 .* shorter'):
      training.learning_rate_schedule(
        'cosine', 0.1, num_steps=10, warmup_steps=10
      )

  @parameterized.parameters(('kernels', 0.0), ('all', 0.1))
  def test_decay_mask(self, decay, bias_decay):
    tx = training.make_optimizer(
      optax.identity(), 1.0, momentum=0.0, weight_decay=0.1, decay=decay
    )
    params = {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    np.testing.assert_allclose(updates['kernel'], -0.1)
    np.testing.assert_allclose(updates['bias'], -bias_decay)


if __name__ == '__main__':
  absltest.main()
