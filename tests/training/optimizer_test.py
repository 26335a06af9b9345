# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning rates and the steps of the optimizer, by number."""

import inspect

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import training


def _rates(schedule, steps):
  return [float(schedule(step)) for step in steps]


class ScheduleTest(parameterized.TestCase):
  def test_cosine_reaches_0_after_a_warmup(self):
    schedule = training.learning_rate_schedule(
      'cosine', 1.0, num_steps=12, warmup_steps=2
    )
    np.testing.assert_allclose(
      _rates(schedule, [0, 1, 2, 7, 12]), [0.5, 1, 1, 0.5, 0], atol=1e-6
    )

  def test_cosine(self):
    schedule = training.learning_rate_schedule('cosine', 0.4, num_steps=12)
    # (1 + cos(pi t / 12)) / 2 of 0.4.
    np.testing.assert_allclose(
      _rates(schedule, [0, 4, 6, 8, 12]), [0.4, 0.3, 0.2, 0.1, 0], atol=1e-6
    )

  @parameterized.parameters(('step', 0.1), ('ldam', 0.01))
  def test_two_falls(self, name, factor):
    schedule = training.learning_rate_schedule(name, 2.0, num_steps=100)
    np.testing.assert_allclose(
      _rates(schedule, [0, 79, 80, 89, 90, 99]),
      2 * factor ** np.array([0, 0, 1, 1, 2, 2]),
      rtol=1e-5,
    )

  @parameterized.parameters(('step', 0.1), ('ldam', 0.01))
  def test_falls_are_counted_from_the_start_of_the_warmup(self, name, factor):
    schedule = training.learning_rate_schedule(
      name, 1.0, num_steps=100, warmup_steps=5
    )
    np.testing.assert_allclose(
      _rates(schedule, [0, 1, 4, 5, 79, 80, 89, 90]),
      [0.2, 0.4, *factor ** np.array([0, 0, 0, 1, 1, 2])],
      rtol=1e-5,
    )

  # 0.8 and 0.9 of the steps: 10.4 and 11.7; 12.8 and 14.4.
  @parameterized.parameters((13, (10, 12)), (16, (13, 14)))
  def test_falls_are_at_whole_steps(self, num_steps, falls):
    schedule = training.learning_rate_schedule('step', 1.0, num_steps=num_steps)
    found = np.array(_rates(schedule, range(num_steps)))
    np.testing.assert_allclose(
      np.flatnonzero(found[1:] < 0.5 * found[:-1]) + 1, falls
    )

  def test_constant(self):
    schedule = training.learning_rate_schedule('constant', 0.3, num_steps=9)
    np.testing.assert_allclose(_rates(schedule, [0, 4, 8, 9, 20]), 0.3)

  # One step of warm-up is at the full rate already.
  @parameterized.parameters(
    (0, [2, 2, 2]), (1, [2, 2, 2]), (2, [1, 2, 2]), (3, [2 / 3, 4 / 3, 2])
  )
  def test_warmup(self, warmup_steps, expected):
    schedule = training.learning_rate_schedule(
      'constant', 2.0, num_steps=4, warmup_steps=warmup_steps
    )
    np.testing.assert_allclose(_rates(schedule, range(3)), expected, rtol=1e-6)

  def test_warmup_is_shorter_than_the_run(self):
    schedule = training.learning_rate_schedule(
      'cosine', 1.0, num_steps=4, warmup_steps=3
    )
    np.testing.assert_allclose(
      _rates(schedule, range(5)), [1 / 3, 2 / 3, 1, 1, 0], atol=1e-6
    )
    for warmup_steps in (4, 5):
      with self.assertRaisesRegex(
        ValueError, f'of {warmup_steps} steps must be shorter .* of 4 steps'
      ):
        training.learning_rate_schedule(
          'cosine', 1.0, num_steps=4, warmup_steps=warmup_steps
        )

  # The last rates that were used, as the codes print them.
  @parameterized.parameters((10, 0, 0.01, 2.447e-4), (70, 1, 0.005, 1.0068e-5))
  def test_cosine_by_epoch_of_lift_and_gnm_pt(self, epochs, lag, base, last):
    starts = [3 * epoch for epoch in range(epochs)]
    schedule = training.learning_rate_schedule(
      'cosine_by_epoch',
      base,
      num_steps=3 * epochs,
      epoch_starts=starts,
      lag=lag,
    )
    found = np.array(jax.vmap(schedule)(jnp.arange(3 * epochs)))
    late = np.maximum(np.arange(epochs) - lag, 0)
    expected = base * (1 + np.cos(np.pi * late / epochs)) / 2
    np.testing.assert_allclose(found, np.repeat(expected, 3), rtol=1e-6)
    self.assertAlmostEqual(found[-1] / last, 1.0, 3)
    # Beyond the run it stays.
    self.assertEqual(float(schedule(10**6)), found[-1])

  def test_cosine_by_epoch_of_vpt(self):
    # `WarmupCosineSchedule` of 10 of 100 epochs, which begins with 0.
    starts = [2 * epoch for epoch in range(100)]
    schedule = training.learning_rate_schedule(
      'cosine_by_epoch',
      4.0,
      num_steps=200,
      warmup_steps=20,
      from_zero=True,
      epoch_starts=starts,
    )
    found = np.array(jax.vmap(schedule)(jnp.arange(200)))[::2]
    expected = [
      epoch / 10 if epoch < 10 else (1 + np.cos(np.pi * (epoch - 10) / 90)) / 2
      for epoch in range(100)
    ]
    np.testing.assert_allclose(found, 4 * np.array(expected), rtol=1e-5)

  def test_epochs_of_different_lengths_and_the_usual_warmup(self):
    # 10 images in batches of 4: epochs begin at 2.5 and 5 steps.
    schedule = training.learning_rate_schedule(
      'cosine_by_epoch',
      1.0,
      num_steps=8,
      warmup_steps=3,
      epoch_starts=[0, 3, 5],
    )
    np.testing.assert_allclose(
      _rates(schedule, range(8)), [1, 1, 1, 1, 1, 0.5, 0.5, 0.5], rtol=1e-6
    )
    schedule = training.learning_rate_schedule(
      'cosine_by_epoch',
      1.0,
      num_steps=8,
      warmup_steps=5,
      epoch_starts=[0, 3, 5],
    )
    np.testing.assert_allclose(
      _rates(schedule, range(8)), [0.5] * 3 + [1] * 5, rtol=1e-6
    )

  @parameterized.parameters('cosine', 'constant', 'step')
  def test_a_warmup_from_zero(self, name):
    schedule = training.learning_rate_schedule(
      name, 2.0, num_steps=10, warmup_steps=4, from_zero=True
    )
    found = _rates(schedule, range(10))
    np.testing.assert_allclose(found[:5], [0, 0.5, 1, 1.5, 2], rtol=1e-6)
    if name == 'cosine':
      theirs = optax.warmup_cosine_decay_schedule(0.0, 2.0, 4, 10)
      with jax.numpy_dtype_promotion('standard'):
        np.testing.assert_allclose(found, _rates(theirs, range(10)), rtol=1e-6)

  @parameterized.parameters(
    (dict(from_zero=True), 'cosine', 'there is none. Set `warmup_epochs`'),
    (dict(lag=1), 'cosine', "`lag` has no effect on 'cosine'"),
    (dict(), 'cosine_by_epoch', 'needs `epoch_starts`.*got None'),
    (dict(epoch_starts=[2, 3]), 'cosine_by_epoch', r'got \[2, 3\]'),
    (dict(epoch_starts=[0, 3, 2]), 'cosine_by_epoch', r'got \[0, 3, 2\]'),
    (
      dict(epoch_starts=[0, 3], warmup_steps=4),
      'cosine_by_epoch',
      'of 2 epochs must be shorter than the run of 2 epochs',
    ),
    (dict(epoch_starts=[0], lag=-1), 'cosine_by_epoch', '`lag` must be'),
  )
  def test_what_does_not_fit(self, arguments, name, message):
    with self.assertRaisesRegex(ValueError, message):
      training.learning_rate_schedule(name, 1.0, num_steps=9, **arguments)


def _updates(tx, params, gradients):
  """Updates of several steps at unchanged parameters, and the state."""
  state = tx.init(params)
  found = []
  for gradient in gradients:
    updates, state = tx.update(gradient, state, params)
    found.append(updates)
  return found, state


class MakeOptimizerTest(parameterized.TestCase):
  def test_defaults(self):
    parameters = inspect.signature(training.make_optimizer).parameters
    found = {name: p.default for name, p in parameters.items()}
    self.assertEqual(
      found,
      {
        'link': inspect.Parameter.empty,
        'learning_rate': inspect.Parameter.empty,
        'optimizer': 'sgd',
        'momentum': 0.9,
        'weight_decay': 0.0,
        'decay': 'kernels',
        'clip_norm': None,
        'max_skipped': 5,
        'b1': 0.9,
        'b2': 0.999,
        'eps': 1e-8,
        'layer_decay': None,
      },
    )

  def test_momentum(self):
    ones = jnp.ones((1, 2))
    found, _ = _updates(
      training.make_optimizer(optax.identity(), 0.5), ones, [ones] * 3
    )
    # 1, 1 + 0.9, 1 + 0.9 + 0.81.
    for update, expected in zip(found, (1, 1.9, 2.71), strict=True):
      np.testing.assert_allclose(update, np.full((1, 2), -0.5 * expected))
    tx = training.make_optimizer(optax.identity(), 0.5, momentum=0.0)
    found, state = _updates(tx, ones, [ones] * 2)
    for update in found:
      np.testing.assert_allclose(update, np.full((1, 2), -0.5))
    self.assertNotIn((1, 2), [leaf.shape for leaf in jax.tree.leaves(state)])

  def test_link_then_clipping_then_decay_then_rate(self):
    params = jnp.array([[2.0, -1.0]])
    tx = training.make_optimizer(
      optax.scale(10.0),
      lambda count: jnp.where(count == 0, 0.1, 0.2),
      momentum=0.5,
      weight_decay=0.1,
      clip_norm=2.0,
    )
    # Ten times (0.3, 0.4) has norm 5, ten times (0.03, 0.04) is let through.
    small = jnp.array([[0.03, 0.04]])
    found, _ = _updates(tx, params, [10 * small, small])
    one = np.array([[1.2 + 0.2, 1.6 - 0.1]])
    two = np.array([[0.3 + 0.2, 0.4 - 0.1]]) + 0.5 * one
    np.testing.assert_allclose(found[0], -0.1 * one, rtol=1e-6)
    np.testing.assert_allclose(found[1], -0.2 * two, rtol=1e-6)

  @parameterized.parameters(('kernels', (0, 0, 1, 1)), ('all', (1, 1, 1, 1)))
  def test_what_decays(self, decay, decayed):
    params = [2 * jnp.ones((3,) * ndim) for ndim in (0, 1, 2, 3)]
    tx = training.make_optimizer(
      optax.identity(), 1.0, weight_decay=0.25, decay=decay
    )
    (found,), _ = _updates(tx, params, [jax.tree.map(jnp.zeros_like, params)])
    for update, is_decayed in zip(found, decayed, strict=True):
      np.testing.assert_allclose(
        update, np.full(update.shape, -0.5 * is_decayed)
      )

  @parameterized.parameters((dict(), 5), (dict(max_skipped=0), 0))
  def test_skipped_updates_in_a_row(self, arguments, accepted):
    params = jnp.ones(2)
    tx = training.make_optimizer(optax.identity(), 1.0, **arguments)
    nan = jnp.full(2, jnp.nan)
    _, state = _updates(tx, params, [nan] * accepted)
    self.assertFalse(state.exhausted)
    _, state = _updates(tx, params, [nan] * (accepted + 1))
    self.assertTrue(state.exhausted)

  def test_without_the_guard(self):
    params = jnp.ones(2)
    tx = training.make_optimizer(optax.identity(), 1.0, max_skipped=None)
    (found,), state = _updates(tx, params, [jnp.array([jnp.nan, 2.0])])
    np.testing.assert_array_equal(found, [np.nan, -2.0])
    self.assertLen(state, 4)
    # It takes what the guarded chain takes.
    tx.update(params, tx.init(params), params, grad_fn=None)

  @parameterized.parameters(0.0, 0.5)
  def test_the_state_of_sgd_is_that_of_old_checkpoints(self, decay):
    params = {'kernel': jnp.ones((2, 3)), 'bias': jnp.ones(3)}
    tx = training.make_optimizer(
      optax.identity(), 0.1, weight_decay=decay, clip_norm=1.0
    )
    state = tx.init(params)
    _, _, _, descent = state.inner_state
    momentum, _ = descent
    self.assertEqual(
      jax.tree.structure(momentum.trace), jax.tree.structure(params)
    )
    # Skipped, consecutive, exhausted, and the momentum.
    self.assertLen(jax.tree.leaves(state), 3 + 2)

  @parameterized.parameters(('kernels', 0.0), ('all', 0.5))
  def test_adam(self, decay, decay_of_bias):
    # By hand: Kingma & Ba with 0.9, 0.999 and 1e-8, the decay in the gradient.
    params = {'kernel': jnp.full((1, 2), 2.0), 'bias': jnp.full(2, -3.0)}
    gradients = [
      {'kernel': jnp.array([[0.3, -4.0]]), 'bias': jnp.array([1.0, 0.02])},
      {'kernel': jnp.array([[-2.0, 0.1]]), 'bias': jnp.array([0.5, -0.7])},
      {'kernel': jnp.array([[0.7, 5.0]]), 'bias': jnp.array([-6.0, 0.1])},
    ]
    rates = (0.1, 0.2, 0.3)
    tx = training.make_optimizer(
      optax.scale(2.0),
      lambda count: jnp.asarray(rates)[count],
      optimizer='adam',
      weight_decay=0.5,
      decay=decay,
    )
    found, _ = _updates(tx, params, gradients)
    for name, factor in (('kernel', 0.5), ('bias', decay_of_bias)):
      first = second = np.zeros(params[name].shape)
      for t, (update, given, rate) in enumerate(
        zip(found, gradients, rates, strict=True), start=1
      ):
        gradient = 2.0 * np.asarray(given[name], np.float64)
        gradient += factor * np.asarray(params[name])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        mean, scale = first / (1 - 0.9**t), second / (1 - 0.999**t)
        expected = -rate * mean / (np.sqrt(scale) + 1e-8)
        np.testing.assert_allclose(update[name], expected, rtol=1e-4)

  def test_adam_is_guarded_too(self):
    params = jnp.ones(2)
    tx = training.make_optimizer(optax.identity(), 0.1, optimizer='adam')
    (_, found), state = _updates(tx, params, [params, params * jnp.nan])
    np.testing.assert_array_equal(found, [0.0, 0.0])
    self.assertEqual(int(state.skipped), 1)

  def test_unknown_optimizer(self):
    with self.assertRaisesRegex(
      ValueError, "`optimizer` must be 'sgd', 'adam' or 'adamw', got 'lion'"
    ):
      training.make_optimizer(optax.identity(), 0.1, optimizer='lion')


if __name__ == '__main__':
  absltest.main()
