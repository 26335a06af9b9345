# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The adapter for loops that cannot pass extra arguments."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import optax

import imbsam_jax
from tests import problems
from tests import trees

RSAM = imbsam_jax.rsam(0.5, key=jax.random.key(0))


class ValueAndGradTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.params = problems.to_jax(problems.make_params())
    self.batch = problems.to_jax(problems.make_batch())

  @parameterized.named_parameters(
    ('sam', imbsam_jax.sam(0.3), problems.mean_weights(), 'masked'),
    ('imbsam', imbsam_jax.imbsam(0.3), problems.head_tail_weights(), 'masked'),
    (
      'split_imbsam',
      imbsam_jax.imbsam(0.3),
      problems.head_tail_weights(),
      'split',
    ),
  )
  def test_gradient_is_that_of_the_link(self, link, weights, oracle):
    prepare, build = problems.ORACLES[oracle]
    rows, weights_of_rows = problems.to_jax(
      prepare(problems.make_batch(), weights)
    )
    f = imbsam_jax.value_and_grad(problems.loss_fn, link, oracle=build)
    (loss, aux), grads, state = jax.jit(
      functools.partial(f, group_weights=weights_of_rows)
    )(self.params, link.init(self.params), rows)
    expected = problems.gradient(
      link, self.params, self.batch, weights, oracle=oracle
    )
    trees.assert_close(grads, expected, 1e-6)
    self.assertEqual(optax.tree.get(state, 'count'), 1)
    # Of the clean pass.
    expected_loss, expected_aux = jax.jit(problems.loss_fn)(
      self.params, self.batch, weights.sum(axis=0)
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    if oracle == 'masked':
      trees.assert_close(aux, expected_aux, 1e-6)
    else:
      tail = weights[1] > 0
      trees.assert_close(aux, (expected_aux[~tail], expected_aux[tail]), 1e-6)

  @parameterized.parameters('masked', 'split')
  def test_rsam_returns_the_value_of_its_only_pass(self, oracle):
    prepare, build = problems.ORACLES[oracle]
    weights = problems.head_tail_weights()
    rows, weights_of_rows = problems.to_jax(
      prepare(problems.make_batch(), weights)
    )
    state = RSAM.init(self.params)
    f = imbsam_jax.value_and_grad(problems.loss_fn, RSAM, oracle=build)
    (loss, aux), grads, state = jax.jit(
      functools.partial(f, group_weights=weights_of_rows)
    )(self.params, state, rows)
    point = problems.perturbed_params(
      RSAM, self.params, self.batch, problems.mean_weights()
    )[0]
    (expected_loss, expected_aux), expected = jax.jit(
      jax.value_and_grad(problems.loss_fn, has_aux=True)
    )(point, self.batch, weights.sum(axis=0))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    trees.assert_close(grads, expected, 1e-5)
    if oracle == 'split':
      tail = weights[1] > 0
      expected_aux = (expected_aux[~tail], expected_aux[tail])
    trees.assert_close(aux, expected_aux, 1e-5)
    clean_loss, _ = jax.jit(problems.loss_fn)(
      self.params, self.batch, weights.sum(axis=0)
    )
    self.assertGreater(abs(clean_loss - loss), 0.01)

  def test_options_of_the_oracle(self):
    link = imbsam_jax.imbsam(0.3)
    f = imbsam_jax.value_and_grad(
      problems.loss_fn,
      link,
      oracle=functools.partial(imbsam_jax.gradient_oracle, num_microbatches=4),
    )
    weights = problems.head_tail_weights()
    _, grads, _ = jax.jit(functools.partial(f, group_weights=weights))(
      self.params, link.init(self.params), self.batch
    )
    expected = problems.gradient(link, self.params, self.batch, weights)
    trees.assert_close(grads, expected, 1e-5)

  def test_a_loop_of_it_is_a_loop_of_the_chain(self):
    link, base = imbsam_jax.imbsam(0.3), optax.sgd(0.2, momentum=0.9)
    weights = problems.head_tail_weights()
    f = imbsam_jax.value_and_grad(problems.loss_fn, link)
    chain = optax.chain(link, base)

    @jax.jit
    def run(params):
      adapted, state = params, (link.init(params), base.init(params))
      chained, chain_state = params, chain.init(params)
      for _ in range(2):
        _, grads, link_state = f(
          adapted, state[0], self.batch, group_weights=weights
        )
        updates, base_state = base.update(grads, state[1], adapted)
        adapted = optax.apply_updates(adapted, updates)
        state = link_state, base_state
        _, grads, grad_fn = imbsam_jax.gradient_oracle(
          problems.loss_fn, chained, self.batch, group_weights=weights
        )
        updates, chain_state = chain.update(
          grads, chain_state, chained, grad_fn=grad_fn
        )
        chained = optax.apply_updates(chained, updates)
      return adapted, chained

    trees.assert_close(*run(self.params), 1e-6)

  def test_an_optimizer_without_extra_arguments(self):
    f = imbsam_jax.value_and_grad(problems.loss_fn, optax.identity())
    weights = problems.mean_weights()
    _, grads, _ = jax.jit(functools.partial(f, group_weights=weights))(
      self.params, optax.EmptyState(), self.batch
    )
    expected = problems.gradient(
      imbsam_jax.group_sam((None,)), self.params, self.batch, weights
    )
    trees.assert_close(grads, expected, 1e-6)


if __name__ == '__main__':
  absltest.main()
