# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The guard around a chain: no non-finite step ever happens."""

import functools
from typing import NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import imbsam_jax
from tests import trees

GOOD = jnp.array([1.0, -2.0, 0.5])
BAD = jnp.array([1.0, jnp.nan, 0.5])
PARAMS = jnp.array([3.0, 4.0, 5.0])


def _run(tx, gradients, *, state=None, params=PARAMS):
  """Updates and states, one per gradient."""
  state = tx.init(params) if state is None else state
  updates, states = [], []
  for gradient in gradients:
    update, state = tx.update(gradient, state, params)
    updates.append(update)
    states.append(state)
  return updates, states


class SkipTest(parameterized.TestCase):
  @parameterized.parameters(jnp.nan, jnp.inf, -jnp.inf)
  def test_parameters_and_momentum_are_unchanged(self, value):
    chain = optax.chain(
      optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9)
    )
    tx = imbsam_jax.skip_nonfinite(chain)
    _, (before,) = _run(tx, [GOOD])
    updates, (after,) = _run(tx, [GOOD.at[1].set(value)], state=before)
    trees.assert_same_values(updates[0], np.zeros(3))
    signed = jnp.array([3.0, 0.0, -0.0])  # -0.0 + 0.0 would be 0.0.
    for params in (PARAMS, signed):
      trees.assert_equal(optax.apply_updates(params, updates[0]), params)
    trees.assert_equal(after.inner_state, before.inner_state)
    self.assertGreater(trees.norm(before.inner_state), 0.0)
    self.assertEqual((after.skipped, after.consecutive), (1, 1))

  def test_one_leaf_is_enough(self):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1))
    params = {'a': PARAMS, 'b': PARAMS}
    (updates,), (state,) = _run(tx, [{'a': GOOD, 'b': BAD}], params=params)
    self.assertEqual(trees.norm(updates), 0.0)
    self.assertEqual(state.skipped, 1)

  def test_finite_steps_are_those_of_the_chain(self):
    self.enter_context(jax.numpy_dtype_promotion('standard'))  # Adam is not.
    chain = optax.adam(0.1)
    found, states = _run(imbsam_jax.skip_nonfinite(chain), [GOOD, -GOOD, GOOD])
    expected, inner_states = _run(chain, [GOOD, -GOOD, GOOD])
    trees.assert_equal(found, expected)
    trees.assert_equal(states[-1].inner_state, inner_states[-1])
    self.assertEqual((states[-1].skipped, states[-1].consecutive), (0, 0))

  def test_a_skipped_step_has_not_happened(self):
    chain = optax.adam(optax.linear_schedule(0.1, 0.0, 10))
    # The schedule divides int32 by float32.
    self.enter_context(jax.numpy_dtype_promotion('standard'))
    found, states = _run(imbsam_jax.skip_nonfinite(chain), [GOOD, BAD, -GOOD])
    expected, inner_states = _run(chain, [GOOD, -GOOD])
    trees.assert_equal([found[0], found[2]], expected)
    trees.assert_equal(states[-1].inner_state, inner_states[-1])

  def test_consecutive_skips_are_counted_anew_after_a_finite_step(self):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1), max_consecutive=2)
    _, states = _run(tx, [BAD, BAD, GOOD, BAD, BAD])
    self.assertEqual([int(s.consecutive) for s in states], [1, 2, 0, 1, 2])
    self.assertEqual([int(s.skipped) for s in states], [1, 2, 2, 3, 4])
    self.assertFalse(any(s.exhausted for s in states))

  @parameterized.parameters(0, 2)
  def test_past_the_limit_it_is_exhausted_for_good(self, limit):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1), max_consecutive=limit)
    _, states = _run(tx, [BAD] * (limit + 1) + [GOOD])
    self.assertEqual(
      [bool(s.exhausted) for s in states], [False] * limit + [True, True]
    )

  def test_default_limit_is_five(self):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1))
    _, states = _run(tx, [BAD] * 6)
    self.assertFalse(states[4].exhausted)
    self.assertTrue(states[5].exhausted)

  @pytest.mark.faults
  def test_f9_never_lets_one_through(self):
    chain = optax.sgd(0.1, momentum=0.9)
    tx = imbsam_jax.skip_nonfinite(chain, max_consecutive=1)
    updates, states = _run(tx, [GOOD] + [BAD] * 6 + [GOOD])
    self.assertTrue(states[-1].exhausted)
    for update in updates[1:-1]:
      trees.assert_same_values(update, np.zeros(3))
    trees.assert_equal(updates[-1], _run(chain, [GOOD, GOOD])[0][-1])
    # What optax does there.
    lenient = optax.apply_if_finite(chain, 1)
    self.assertTrue(np.isnan(_run(lenient, [BAD] * 6)[0][-1]).any())

  def test_keeps_the_dtype(self):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1))
    for gradient in (GOOD, BAD):
      (update,), _ = _run(tx, [gradient.astype(jnp.bfloat16)])
      self.assertEqual(update.dtype, jnp.bfloat16)

  def test_overflow_inside_the_chain(self):
    # The gradient is finite; what the chain makes of it is not.
    tx = imbsam_jax.skip_nonfinite(optax.scale(1e38))
    (update,), (state,) = _run(tx, [100.0 * GOOD])
    trees.assert_same_values(update, np.zeros(3))
    self.assertEqual(state.skipped, 1)


class TwoPassTest(parameterized.TestCase):
  """NaN of the clean or the perturbed pass of a link inside the guard."""

  def _update(self, clean, perturbed, **kwargs):
    tx = imbsam_jax.skip_nonfinite(
      optax.chain(imbsam_jax.sam(0.1), optax.sgd(0.1, momentum=0.9))
    )
    before = tx.init(PARAMS)
    updates, after = tx.update(
      clean, before, PARAMS, grad_fn=lambda p, k: perturbed, **kwargs
    )
    return updates, before, after

  @parameterized.named_parameters(
    ('clean', BAD, GOOD),
    ('perturbed_only', GOOD, BAD),
    ('both', BAD, BAD),
    ('infinite', GOOD, GOOD.at[0].set(jnp.inf)),
  )
  @pytest.mark.faults
  def test_f10_is_skipped(self, clean, perturbed):
    updates, before, after = self._update(clean, perturbed)
    trees.assert_same_values(updates, np.zeros(3))
    trees.assert_equal(after.inner_state, before.inner_state)
    self.assertEqual(after.skipped, 1)

  def test_extra_arguments_are_forwarded(self):
    updates, _, after = self._update(GOOD, 2.0 * GOOD, unheard_of=1)
    np.testing.assert_allclose(updates, -0.2 * GOOD, rtol=1e-6)
    self.assertEqual(after.skipped, 0)

  def test_a_chain_without_extra_arguments(self):
    tx = imbsam_jax.skip_nonfinite(optax.scale(2.0))
    updates, _ = tx.update(GOOD, tx.init(PARAMS), PARAMS, value=1.0)
    trees.assert_equal(updates, 2.0 * GOOD)

  def test_labels_out_of_range_do_not_reach_the_parameters(self):
    # Traced labels get the weight NaN, and the step is skipped.
    tx = imbsam_jax.skip_nonfinite(
      optax.chain(imbsam_jax.imbsam(0.1), optax.sgd(0.1))
    )

    def loss_fn(params, batch, weights):
      return (weights * (batch @ params) ** 2).sum(), None

    @jax.jit
    def step(params, state, labels):
      weights = imbsam_jax.head_tail_weights(labels, [90, 5], threshold=20)
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn, params, jnp.eye(3), group_weights=weights
      )
      updates, state = tx.update(grads, state, params, grad_fn=grad_fn)
      return optax.apply_updates(params, updates), state

    state = tx.init(PARAMS)
    for labels, skipped in (([0, 1, 2], 1), ([0, -1, 1], 2), ([0, 1, 0], 2)):
      params, state = step(PARAMS, state, jnp.array(labels))
      self.assertEqual(state.skipped, skipped)
      self.assertEqual(bool((params == PARAMS).all()), labels != [0, 1, 0])


class InfiniteState(NamedTuple):
  best: jax.Array
  seen: jax.Array


def _best_of(learning_rate):
  """A transformation whose state is infinite at first, as many are."""

  def init(params):
    return InfiniteState(
      best=jnp.full_like(params, jnp.inf),
      seen=jnp.zeros([], jnp.int32),
    )

  def update(updates, state, params=None):
    del params
    best = jnp.where(state.seen > 0, jnp.fmin(state.best, updates), state.best)
    return (
      jax.tree.map(lambda u: -learning_rate * u, updates),
      InfiniteState(best, state.seen + 1),
    )

  return optax.GradientTransformation(init, update)


def _every_second():
  """Sums of two gradients; nothing shows of the first of them."""

  def init(params):
    return jnp.zeros_like(params), jnp.zeros([], jnp.int32)

  def update(updates, state, params=None):
    del params
    total, count = state[0] + updates, state[1] + 1
    last = count % 2 == 0
    return jnp.where(last, total, 0), (jnp.where(last, 0, total), count)

  return optax.GradientTransformation(init, update)


class InnerStateTest(parameterized.TestCase):
  def test_nan_that_does_not_show_in_the_updates(self):
    tx = imbsam_jax.skip_nonfinite(_every_second())
    updates, states = _run(tx, [BAD, GOOD, BAD, 3.0 * GOOD])
    self.assertEqual([int(s.skipped) for s in states], [1, 1, 2, 2])
    trees.assert_equal(states[0].inner_state, tx.init(PARAMS).inner_state)
    trees.assert_equal(states[2].inner_state, states[1].inner_state)
    trees.assert_equal(updates[3], 4.0 * GOOD)

  def test_nan_in_an_accumulator(self):
    self.enter_context(jax.numpy_dtype_promotion('standard'))
    tx = imbsam_jax.skip_nonfinite(
      optax.MultiSteps(optax.sgd(1.0), 2).gradient_transformation()
    )
    updates, states = _run(tx, [BAD, GOOD, 3.0 * GOOD])
    self.assertEqual([int(s.skipped) for s in states], [1, 1, 1])
    trees.assert_equal(states[0].inner_state, tx.init(PARAMS).inner_state)
    trees.assert_close(updates[2], -2.0 * GOOD, 1e-6)

  def test_a_state_that_begins_at_infinity(self):
    tx = imbsam_jax.skip_nonfinite(_best_of(0.1))
    updates, states = _run(tx, [2.0 * GOOD, BAD, GOOD, -GOOD])
    self.assertEqual([int(s.skipped) for s in states], [0, 1, 1, 1])
    trees.assert_close(updates[2], -0.1 * GOOD, 1e-6)
    self.assertTrue(np.isinf(states[1].inner_state.best).all())
    best = jnp.minimum(GOOD, -GOOD)
    trees.assert_equal(states[3].inner_state.best, best)
    self.assertEqual(states[3].inner_state.seen, 3)

  def test_reduce_on_plateau(self):
    # Its best value is infinite until it has accumulated.
    self.enter_context(jax.numpy_dtype_promotion('standard'))
    plateau = optax.contrib.reduce_on_plateau(accumulation_size=2)
    tx = imbsam_jax.skip_nonfinite(optax.chain(optax.sgd(0.1), plateau))
    state = tx.init(PARAMS)
    update, state = tx.update(GOOD, state, PARAMS, value=1.0)
    trees.assert_close(update, -0.1 * GOOD, 1e-6)
    self.assertEqual(state.skipped, 0)

  def test_a_typed_key_in_the_state(self):
    def update(updates, state, params=None):
      del params
      return updates, jax.random.split(state, 1)[0]

    tx = imbsam_jax.skip_nonfinite(
      optax.GradientTransformation(lambda _: jax.random.key(0), update)
    )
    _, states = _run(tx, [BAD, GOOD])
    words = [jax.random.key_data(s.inner_state) for s in states]
    trees.assert_equal(words[0], jax.random.key_data(jax.random.key(0)))
    self.assertFalse((words[0] == words[1]).all())


class TransformedTest(parameterized.TestCase):
  """Inside jit, scan and with donated arguments."""

  def test_scan(self):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1, momentum=0.9))

    def step(carry, gradient):
      params, state = carry
      updates, state = tx.update(gradient, state, params)
      return (optax.apply_updates(params, updates), state), state.skipped

    gradients = jnp.stack([GOOD, BAD, GOOD, BAD])
    (params, state), skipped = jax.jit(functools.partial(jax.lax.scan, step))(
      (PARAMS, tx.init(PARAMS)), gradients
    )
    np.testing.assert_array_equal(skipped, [0, 1, 1, 2])
    expected, inner_states = _run(optax.sgd(0.1, momentum=0.9), [GOOD, GOOD])
    trees.assert_close(params, PARAMS + sum(expected), 1e-6)
    trees.assert_close(state.inner_state, inner_states[-1], 1e-6)

  def test_donation(self):
    tx = imbsam_jax.skip_nonfinite(optax.sgd(0.1, momentum=0.9))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, gradient):
      updates, state = tx.update(gradient, state, params)
      return optax.apply_updates(params, updates), state

    params = jnp.array(PARAMS, copy=True)
    state = tx.init(params)
    params, state = step(params, state, GOOD)
    kept = np.array(params), np.array(state.inner_state[0].trace)
    params, state = step(params, state, BAD)
    trees.assert_equal((params, state.inner_state[0].trace), kept)
    self.assertEqual(state.skipped, 1)


if __name__ == '__main__':
  absltest.main()
