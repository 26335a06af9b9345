# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The oracle that takes the correction from tail rows alone."""

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen as nn
import jax
import numpy as np
import optax
import pytest

import imbsam_jax
from imbsam_jax import data
from imbsam_jax import training
from tests.training import tiny_training

pytestmark = pytest.mark.trains

_COUNTS = np.array([90, 30, 5])
_LABELS = np.array([0, 2, 1, 0, 2, 0, 1, 2], np.int32)
_RHO = 0.3


class _Net(nn.Module):
  batch_norm: bool

  @nn.compact
  def __call__(self, x):
    x = nn.Dense(5)(x)
    if self.batch_norm:
      x = nn.BatchNorm(use_running_average=False, momentum=0.9)(x)
    return nn.Dense(3)(nn.tanh(x))


def _problem(batch_norm):
  net = _Net(batch_norm)
  rng = np.random.RandomState(0)
  batch = {
    'x': rng.randn(8, 4).astype(np.float32),
    'y': _LABELS,
  }
  variables = dict(jax.jit(net.init)(jax.random.key(1), batch['x']))
  params = variables.pop('params')

  def loss_fn(params, batch, weights):
    logits, state = net.apply(
      {'params': params, **variables}, batch['x'], mutable=['batch_stats']
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['y'])
    return (weights * losses).sum(), state

  weights = imbsam_jax.head_tail_weights(_LABELS, _COUNTS, threshold=20)
  # Two rows of padding, which must not count.
  chosen = np.append(np.flatnonzero(_LABELS == 2), [0, 0])
  tail_batch = {name: x[chosen] for name, x in batch.items()}
  tail_weights = np.asarray(weights[1])[chosen] * (chosen > 0)
  return loss_fn, params, batch, tail_batch, weights, tail_weights


def _update(link, batch_norm):
  loss_fn, params, batch, tail_batch, weights, tail_weights = _problem(
    batch_norm
  )

  @jax.jit
  def update(params):
    value, grads, grad_fn = imbsam_jax.tail_only_gradient_oracle(
      loss_fn,
      params,
      batch,
      tail_batch,
      group_weights=weights,
      tail_weights=tail_weights,
    )
    updates, _ = link.update(grads, link.init(params), params, grad_fn=grad_fn)
    return value, grads, updates

  return update(params)


def _assert_close(one, two, **tolerance):
  for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
    np.testing.assert_allclose(x, y, **tolerance)


class OracleTest(parameterized.TestCase):
  @parameterized.parameters(
    (imbsam_jax.imbsam(_RHO),), (imbsam_jax.sse_sam(0.2, _RHO),)
  )
  def test_is_exact_without_batch_norm(self, link):
    loss_fn, params, batch, _, weights, _ = _problem(False)
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=weights
    )
    expected, _ = link.update(grads, link.init(params), params, grad_fn=grad_fn)
    _, _, found = _update(link, False)
    _assert_close(found, expected, rtol=1e-4, atol=1e-6)

  def test_equation_with_batch_norm(self):
    # Written out with jax.grad, from the docstring.
    loss_fn, params, batch, tail_batch, weights, tail_weights = _problem(True)

    def gradient(params, batch, weights):
      return jax.grad(lambda p: loss_fn(p, batch, weights)[0])(params)

    whole = gradient(params, batch, weights.sum(axis=0))
    clean = gradient(params, tail_batch, tail_weights)
    norm = np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(clean)))
    ascended = jax.tree.map(lambda w, g: w + _RHO * g / norm, params, clean)
    perturbed = gradient(ascended, tail_batch, tail_weights)
    expected = jax.tree.map(lambda g, c, p: g - c + p, whole, clean, perturbed)
    _, _, found = _update(imbsam_jax.imbsam(_RHO), True)
    _assert_close(found, expected, rtol=1e-4, atol=1e-6)

  def test_loss_statistics_and_clean_gradient_are_of_all_rows(self):
    loss_fn, params, batch, _, weights, _ = _problem(True)
    (loss, state), grads, _ = _update(imbsam_jax.imbsam(_RHO), True)
    (expected, expected_state), expected_grads = jax.value_and_grad(
      loss_fn, has_aux=True
    )(params, batch, weights.sum(axis=0))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    _assert_close(state, expected_state, rtol=1e-6)
    _assert_close(grads, expected_grads, rtol=1e-5, atol=1e-7)

  def test_differs_from_the_exact_form(self):
    loss_fn, params, batch, _, weights, _ = _problem(True)
    link = imbsam_jax.imbsam(_RHO)
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=weights
    )
    exact, _ = link.update(grads, link.init(params), params, grad_fn=grad_fn)
    _, _, found = _update(link, True)
    flat = [
      np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
      for tree in (exact, found)
    ]
    cosine = flat[0] @ flat[1] / np.prod([np.linalg.norm(x) for x in flat])
    self.assertBetween(cosine, 0.5, 0.9999)

  def test_two_groups(self):
    loss_fn, params, batch, tail_batch, weights, tail_weights = _problem(False)
    with self.assertRaisesRegex(ValueError, 'one row for the head and one for'):
      imbsam_jax.tail_only_gradient_oracle(
        loss_fn,
        params,
        batch,
        tail_batch,
        group_weights=weights[:1],
        tail_weights=tail_weights,
      )


class StepTest(parameterized.TestCase):
  def _states(self, layout, *, batch_norm, rho, stage_method='imbsam'):
    counts = np.array(tiny_training.COUNTS)
    if stage_method == 'imbsam':
      method = training.update_rules.imbsam(counts, rho, threshold=6)
    else:
      method = training.update_rules.sgd(counts)
    make = getattr(data, f'{layout}_batches')
    order = data.shuffled_order(
      counts.sum(), batch_size=tiny_training.BATCH_SIZE, seed=0
    )
    batches = make(
      order, tiny_training.examples(), method.group_weights_by_class
    )
    state, train_step = tiny_training.make(method, batch_norm=batch_norm)
    for step in range(6):
      state, metrics = train_step(step)(state, batches[step])
    return state, metrics

  @pytest.mark.extended
  def test_training_is_exact_without_batch_norm(self):
    one, metrics = self._states('tail_only', batch_norm=False, rho=0.2)
    two, expected = self._states('split', batch_norm=False, rho=0.2)
    _assert_close(one.params, two.params, rtol=1e-4, atol=1e-6)
    for name in ('loss', 'train_accuracy'):
      np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-5)

  def test_radius_zero_is_sgd(self):
    one, metrics = self._states('tail_only', batch_norm=True, rho=0.0)
    two, expected = self._states(
      'joint', batch_norm=True, rho=0.0, stage_method='sgd'
    )
    _assert_close(one.params, two.params, rtol=1e-5, atol=1e-7)
    _assert_close(one.model_state, two.model_state, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-5)

  def test_cost(self):
    counts = np.array(tiny_training.COUNTS)
    batch = data.TrainBatch(
      ({}, {}),
      (np.zeros((2, 16), np.float32), np.zeros(4, np.float32)),
      layout='tail_only',
    )
    imbsam = training.update_rules.imbsam(counts, 0.1, threshold=6)
    sse = training.update_rules.sse_sam(
      counts, 0.1, 0.1, threshold=6, switch_step=3
    )
    for stage, cost in (
      (imbsam.stages[0], 1.5), (sse.stages[0], 2.5), (sse.stages[1], 1.5)
    ):  # fmt: skip
      self.assertEqual(training.step_cost(stage, batch, batch_size=16), cost)


if __name__ == '__main__':
  absltest.main()
