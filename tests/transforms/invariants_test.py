# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Invariants that all rules share, by the labels of the specification."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import imbsam_jax
from tests import problems
from tests import trees


def _mean_losses(params, batch, weights):
  """The loss, with batch statistics as a BatchNorm model returns them."""
  loss, logits = problems.loss_fn(params, batch, weights)
  return loss, {'batch_mean': logits.mean(axis=0)}


class CommonInvariantsTest(parameterized.TestCase):
  """C1 to C13, in float64 unless a test says otherwise."""

  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    self.params = problems.make_params()
    self.batch = problems.make_batch()
    self.weights = problems.head_tail_weights()
    self.mean = problems.mean_weights()

  def _gradient(self, link, weights=None, batch=None, **kwargs):
    return problems.gradient(
      link,
      self.params,
      self.batch if batch is None else batch,
      self.weights if weights is None else weights,
      compiled=False,
      **kwargs,
    )

  def _sgd(self, weights=None, batch=None):
    weights = self.weights if weights is None else weights
    total = np.sum(weights, axis=0, keepdims=True)
    return self._gradient(imbsam_jax.group_sam((None,)), total, batch)

  def _perturbations(self, link, weights=None, batch=None):
    return problems.perturbations(
      link,
      self.params,
      self.batch if batch is None else batch,
      self.weights if weights is None else weights,
    )

  @parameterized.named_parameters(
    ('sam', lambda rho: imbsam_jax.group_sam((rho,)), 1),
    ('imbsam', lambda rho: imbsam_jax.group_sam((None, rho)), 2),
    ('sse_sam', lambda rho: imbsam_jax.group_sam((rho, rho)), 2),
  )
  def test_C1_radius_zero_is_sgd(self, build, num_groups):
    weights = self.mean if num_groups == 1 else self.weights
    constant = self._gradient(build(0.0), weights)
    trees.assert_equal(constant, self._sgd(weights))
    schedule = self._gradient(build(lambda count: 0.0), weights)
    trees.assert_close(schedule, self._sgd(weights), 1e-15)

  @parameterized.parameters(1e-12, 0.5)
  def test_C2_length_of_the_perturbation(self, eps):
    found = self._perturbations(imbsam_jax.sse_sam(0.2, 0.3, eps=eps))
    for group, rho in enumerate((0.2, 0.3)):
      one_group = self.weights[group : group + 1]
      norm = trees.norm(
        self._gradient(imbsam_jax.group_sam((None,)), one_group)
      )
      np.testing.assert_allclose(
        trees.norm(found[group]), rho * norm / (norm + eps), rtol=1e-12
      )

  def test_C3_scale_of_a_group_does_not_move_its_perturbation(self):
    link = imbsam_jax.sse_sam(0.2, 0.3, eps=0.0)
    once = self._perturbations(link)
    scaled = self._perturbations(
      link, self.weights * np.float32([[3.0], [7.0]])
    )
    trees.assert_close(scaled, once, 1e-12)

  @parameterized.parameters(0.0, 1e-12)
  @pytest.mark.faults
  def test_f12_C4_zero_gradient_is_a_zero_perturbation(self, eps):
    weights = np.zeros((2, 16), np.float32)
    link = imbsam_jax.sse_sam(0.2, 0.3, eps=eps)
    for e in self._perturbations(link, weights).values():
      self.assertEqual(trees.norm(e), 0.0)
    self.assertEqual(trees.norm(self._gradient(link, weights)), 0.0)
    adaptive = imbsam_jax.sse_sam(0.2, 0.3, eps=eps, adaptive=True)
    self.assertEqual(trees.norm(self._gradient(adaptive, weights)), 0.0)

  @pytest.mark.faults
  def test_f12_C4_one_group_without_gradient_leaves_the_other_alone(self):
    for eps in (0.0, 1e-12):
      link = imbsam_jax.sse_sam(0.2, 0.3, eps=eps)
      batch = problems.make_batch(problems.HEAD_LABELS)
      weights = problems.head_tail_weights(problems.HEAD_LABELS)
      alone = self._gradient(imbsam_jax.sam(0.2, eps=eps), weights[:1], batch)
      trees.assert_same_values(self._gradient(link, weights, batch), alone)

  def test_C4_no_perturbed_leaf_is_sgd(self):
    # The gradient is not zero, the norm over no leaves is.
    nowhere = {'hidden': False, 'output': False}
    for link in (
      imbsam_jax.imbsam(0.3, mask=nowhere),
      imbsam_jax.sse_sam(0.2, 0.3, mask=nowhere),
    ):
      trees.assert_equal(self._gradient(link), self._sgd())

  def test_C5_learning_rate_zero_leaves_parameters(self):
    optimizer = optax.chain(imbsam_jax.imbsam(0.3), optax.sgd(0.0))
    params = problems.to_jax(self.params)
    updates = self._gradient(optimizer)
    trees.assert_equal(optax.apply_updates(params, updates), params)

  def test_C6_order_of_the_rows(self):
    link = imbsam_jax.sse_sam(0.2, 0.3)
    order = np.random.default_rng(0).permutation(16)
    batch = jax.tree.map(lambda x: x[order], self.batch)
    trees.assert_close(
      self._gradient(link, self.weights[:, order], batch),
      self._gradient(link),
      1e-12,
    )

  def test_C6_padding_of_weight_zero(self):
    link = imbsam_jax.sse_sam(0.2, 0.3)
    padding = problems.make_batch(seed=9)
    batch = jax.tree.map(
      lambda x, y: np.concatenate([x, y[:5]]), self.batch, padding
    )
    weights = np.pad(self.weights, ((0, 0), (0, 5)))
    trees.assert_close(
      problems.gradient(link, self.params, batch, weights),
      self._gradient(link),
      1e-12,
    )

  def test_C7_small_radius_gives_curvature_along_the_gradient(self):
    params, batch = problems.to_jax(self.params), problems.to_jax(self.batch)
    expected = jax.tree.map(jnp.zeros_like, params)
    for row in self.weights:
      gradient = jax.grad(lambda p, row=row: problems.loss_fn(p, batch, row)[0])
      clean = gradient(params)
      length = trees.norm(clean)
      unit = jax.tree.map(lambda g, n=length: g / n, clean)
      product = jax.jvp(gradient, (params,), (unit,))[1]
      expected = jax.tree.map(jnp.add, expected, product)

    def error(rho):
      change = trees.subtract(
        self._gradient(imbsam_jax.sse_sam(rho, rho)), self._sgd()
      )
      quotient = jax.tree.map(lambda x: x / rho, change)
      return trees.norm(trees.subtract(quotient, expected))

    coarse, middle, fine = error(1e-2), error(1e-3), error(1e-4)
    self.assertLess(coarse, 0.1 * trees.norm(expected))
    self.assertBetween(coarse / middle, 8.0, 12.0)
    self.assertBetween(middle / fine, 8.0, 12.0)

  @parameterized.parameters(3.0, 0.5, -2.0)
  def test_C8_eigenvector_of_a_quadratic(self, eigenvalue):
    # L = 0.5 w'Aw, w an eigenvector: the gradient grows by 1 + rho lam / |g|.
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    matrix = basis @ np.diag([eigenvalue, 5.0, -1.0]) @ basis.T
    w = jnp.asarray(2.0 * basis[:, 0])

    def loss_fn(params, batch, weights):
      del batch
      return weights.astype(float).sum() * 0.5 * params @ matrix @ params, None

    link = imbsam_jax.sam(0.25, eps=0.0)
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, w, None, group_weights=np.ones((1, 1), np.float32)
    )
    found, _ = link.update(grads, link.init(w), w, grad_fn=grad_fn)
    factor = 1.0 + 0.25 * eigenvalue / np.linalg.norm(grads)
    np.testing.assert_allclose(
      found, factor * eigenvalue * w, rtol=1e-12, atol=1e-14
    )

  def test_C9_microbatches_are_the_whole_batch(self):
    link = imbsam_jax.sse_sam(0.2, 0.3)
    params, batch = problems.to_jax(self.params), problems.to_jax(self.batch)

    @jax.jit
    def accumulated(params):
      _, grads, grad_fn = imbsam_jax.gradient_oracle(
        problems.loss_fn,
        params,
        batch,
        group_weights=self.weights,
        num_microbatches=4,
      )
      return link.update(grads, link.init(params), params, grad_fn=grad_fn)[0]

    trees.assert_close(accumulated(params), self._gradient(link), 1e-12)

  def test_C10_two_devices_with_summed_gradients_are_one(self):
    # A named axis of `vmap` here; real devices in sharding_test.
    link = imbsam_jax.imbsam(0.3)
    params = problems.to_jax(self.params)

    def halves(synced):
      def one_half(batch, weights):
        add = (lambda x: jax.lax.psum(x, 'data')) if synced else (lambda x: x)
        _, grads, grad_fn = imbsam_jax.gradient_oracle(
          problems.loss_fn, params, batch, group_weights=weights
        )
        updates, _ = link.update(
          add(grads),
          link.init(params),
          params,
          grad_fn=lambda p, k: add(grad_fn(p, k)),
        )
        return updates

      batch = jax.tree.map(
        lambda x: x.reshape(2, 8, *x.shape[1:]), problems.to_jax(self.batch)
      )
      weights = self.weights.reshape(2, 2, 8).swapaxes(0, 1)
      run = jax.jit(jax.vmap(one_half, axis_name='data'))
      return run(batch, jnp.asarray(weights))

    whole = self._gradient(link)
    for half in range(2):
      trees.assert_close(
        jax.tree.map(lambda x, i=half: x[i], halves(synced=True)),
        whole,
        1e-12,
      )
    summed = jax.tree.map(lambda x: x.sum(axis=0), halves(synced=False))
    trees.assert_differ(summed, whole, 1e-3)

  def test_C11_bfloat16_parameters_move_by_rho(self):
    # In bfloat16 most entries of w + e would be w again.
    rng = np.random.default_rng(0)
    params = jnp.asarray(0.02 * rng.standard_normal(2**20), jnp.bfloat16)
    gradient = jnp.asarray(rng.standard_normal(2**20), jnp.bfloat16)
    points = []

    def grad_fn(point, group):
      del group
      points.append(point)
      return gradient

    link = imbsam_jax.sam(0.05)
    updates, _ = link.update(
      gradient, link.init(params), params, grad_fn=grad_fn
    )
    self.assertEqual(updates.dtype, jnp.bfloat16)
    self.assertEqual(points[-1].dtype, jnp.float32)
    length = trees.norm(trees.subtract(points[-1], params))
    np.testing.assert_allclose(length, 0.05, rtol=0.01)

  def test_C11_leaves_outside_of_the_mask_are_not_touched(self):
    params = {'a': jnp.ones(3, jnp.bfloat16), 'b': jnp.ones(3, jnp.bfloat16)}
    points = []

    def grad_fn(point, group):
      del group
      points.append(point)
      return params

    link = imbsam_jax.sam(0.05, mask={'a': True, 'b': False})
    link.update(params, link.init(params), params, grad_fn=grad_fn)
    self.assertIs(points[0]['b'], params['b'])
    self.assertEqual(points[0]['a'].dtype, jnp.float32)
    length = trees.norm(trees.subtract(points[0]['a'], params['a']))
    np.testing.assert_allclose(length, 0.05, rtol=1e-5)

  def test_C12_weight_decay_acts_at_w_only(self):
    def updates(*links):
      return self._gradient(
        optax.chain(imbsam_jax.imbsam(0.3), *links, optax.sgd(0.5))
      )

    change = trees.subtract(updates(optax.add_decayed_weights(0.1)), updates())
    expected = jax.tree.map(lambda w: -0.5 * 0.1 * w, self.params)
    trees.assert_close(change, expected, 1e-12)

  def test_C13_batch_statistics_of_the_clean_pass(self):
    params, batch = problems.to_jax(self.params), problems.to_jax(self.batch)
    link = imbsam_jax.imbsam(0.3)
    f = imbsam_jax.value_and_grad(_mean_losses, link)
    (loss, aux), _, _ = f(
      params, link.init(params), batch, group_weights=self.weights
    )
    expected_loss, expected = _mean_losses(params, batch, self.weights.sum(0))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    trees.assert_equal(aux, expected)


if __name__ == '__main__':
  absltest.main()
