# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The links in other people's loops: Flax NNX, TrainState, optax.contrib."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
from flax.training import train_state
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import imbsam_jax
from tests import problems
from tests import trees
from tests.transforms import links


def _one_step(link, params, batch, group_weights):
  """Parameters after one step of plain JAX and SGD."""
  updates = problems.gradient(link, params, batch, group_weights)
  return jax.tree.map(
    lambda w, g: w - 0.1 * g, trees.to_numpy(params), trees.to_numpy(updates)
  )


class Network(nnx.Module):
  """The network of `problems`."""

  def __init__(self, rngs):
    self.hidden = nnx.Linear(4, 4, rngs=rngs)
    self.output = nnx.Linear(4, 4, rngs=rngs)

  def __call__(self, features):
    return self.output(jnp.tanh(self.hidden(features)))


class NNXTest(parameterized.TestCase):
  def test_one_step(self):
    link = imbsam_jax.imbsam(0.3)
    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(
      model, optax.chain(link, optax.sgd(0.1)), wrt=nnx.Param
    )
    pure = {
      name: {
        'kernel': np.asarray(layer.kernel[...]),
        'bias': np.asarray(layer.bias[...]),
      }
      for name, layer in (('hidden', model.hidden), ('output', model.output))
    }
    batch = problems.make_batch()
    weights = problems.head_tail_weights()

    @nnx.jit
    def step(model, optimizer, batch, weights):
      graph, params = nnx.split(model, nnx.Param)

      def loss_fn(params, batch, weights):
        logits = nnx.merge(graph, params)(batch['features'])
        losses = optax.softmax_cross_entropy_with_integer_labels(
          logits, batch['labels']
        )
        return (weights * losses).sum(), logits

      (loss, _), grads, grad_fn = imbsam_jax.gradient_oracle(
        loss_fn, params, batch, group_weights=weights
      )
      optimizer.update(model, grads, grad_fn=grad_fn)
      return loss

    loss = step(model, optimizer, *problems.to_jax((batch, weights)))
    expected_loss, _ = jax.jit(problems.loss_fn)(
      *problems.to_jax((pure, batch, weights.sum(axis=0)))
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    expected = _one_step(link, pure, batch, weights)
    found = {
      name: {'kernel': layer.kernel[...], 'bias': layer.bias[...]}
      for name, layer in (('hidden', model.hidden), ('output', model.output))
    }
    trees.assert_close(found, expected, 1e-6)


class TrainStateTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.params = problems.make_params()
    self.batch = problems.make_batch()
    self.weights = problems.head_tail_weights()

  def test_with_the_adapter(self):
    link = imbsam_jax.imbsam(0.3)
    f = imbsam_jax.value_and_grad(problems.loss_fn, link)

    @jax.jit
    def step(state, link_state, batch, weights):
      (loss, _), grads, link_state = f(
        state.params, link_state, batch, group_weights=weights
      )
      return state.apply_gradients(grads=grads), link_state, loss

    params = problems.to_jax(self.params)
    state = train_state.TrainState.create(
      apply_fn=None, params=params, tx=optax.sgd(0.1)
    )
    state, link_state, _ = step(
      state,
      link.init(params),
      *problems.to_jax((self.batch, self.weights)),
    )
    self.assertEqual((state.step, link_state.count), (1, 1))
    expected = _one_step(link, self.params, self.batch, self.weights)
    trees.assert_close(state.params, expected, 1e-6)

  def test_with_the_link_inside_it_says_what_to_do(self):
    params = problems.to_jax(self.params)
    state = train_state.TrainState.create(
      apply_fn=None,
      params=params,
      tx=optax.chain(imbsam_jax.imbsam(0.3), optax.sgd(0.1)),
    )

    def step(state, batch, weights, **arguments):
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        problems.loss_fn, state.params, batch, group_weights=weights
      )
      if arguments:
        arguments['grad_fn'] = grad_fn
      with self.assertRaisesRegex(
        ValueError,
        '`imbsam` got no `grad_fn`: `TrainState.apply_gradients` of flax does '
        'not hand it on.*imbsam_jax.value_and_grad.*state.tx.update',
      ):
        state.apply_gradients(grads=grads, **arguments)
      # What it says to call.
      updates, opt_state = state.tx.update(
        grads, state.opt_state, state.params, grad_fn=grad_fn
      )
      return state.replace(
        step=state.step + 1,
        opt_state=opt_state,
        params=optax.apply_updates(state.params, updates),
      )

    rows = problems.to_jax((self.batch, self.weights))
    jax.eval_shape(step, state, *rows)
    state = jax.jit(functools.partial(step, grad_fn=None))(state, *rows)
    expected = _one_step(
      imbsam_jax.imbsam(0.3), self.params, self.batch, self.weights
    )
    trees.assert_close(state.params, expected, 1e-6)


class OptaxContribTest(parameterized.TestCase):
  """`optax.contrib.sam` in its opaque mode takes the same kind of oracle."""

  def _updates(self, params, grad_fn):
    theirs = links.relaxed(
      optax.contrib.sam(
        optax.sgd(1.0),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.3)),
        opaque_mode=True,
      )
    )
    ours = optax.chain(imbsam_jax.sam(0.3), optax.sgd(1.0))
    return [
      optimizer.update(
        grad_fn(params, 0), optimizer.init(params), params, grad_fn=grad_fn
      )[0]
      for optimizer in (theirs, ours)
    ]

  def test_the_same_step_on_the_same_oracle(self):
    batch, weights = problems.to_jax(
      (problems.make_batch(), problems.mean_weights())
    )

    @jax.jit
    def run(params):
      def grad_fn(params, group):
        del group  # Their number of the inner step; our group.
        return jax.grad(lambda p: problems.loss_fn(p, batch, weights[0])[0])(
          params
        )

      return self._updates(params, grad_fn)

    theirs, ours = run(problems.to_jax(problems.make_params()))
    trees.assert_close(ours, theirs, 1e-6)
    self.assertGreater(trees.norm(ours), 0.0)

  @pytest.mark.faults
  def test_f12_a_zero_gradient_is_nan_there_and_zero_here(self):
    params = {'a': jnp.zeros(3)}
    theirs, ours = self._updates(params, lambda p, group: p)  # L = |w|^2 / 2.
    self.assertTrue(np.isnan(theirs['a']).all())
    trees.assert_same_values(ours['a'], np.zeros(3))


if __name__ == '__main__':
  absltest.main()
