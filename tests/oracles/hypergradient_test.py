# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradients by parameters of the training loss."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import oracles

RNG = np.random.default_rng(0)
FACTOR = RNG.normal(size=(4, 4))
HESSIAN = (FACTOR @ FACTOR.T / 8 + 0.2 * np.eye(4)).astype(np.float32)
CROSS = RNG.normal(size=(4, 3)).astype(np.float32)
TARGET = RNG.normal(size=4).astype(np.float32)
ALPHA = RNG.normal(size=3).astype(np.float32)
PARAMS = RNG.normal(size=4).astype(np.float32)


def _lower(w, alpha, hessian):
  return 0.5 * w @ hessian @ w - w @ CROSS @ alpha


def _upper(w, target):
  return 0.5 * jnp.sum((w - target) ** 2)


@functools.partial(jax.jit, static_argnames='num_terms')
def _quadratic(params, step_size, num_terms):
  return oracles.hypergradient(
    _lower,
    _upper,
    params,
    ALPHA,
    HESSIAN,
    TARGET,
    num_terms=num_terms,
    step_size=step_size,
  )


class QuadraticTest(parameterized.TestCase):
  @parameterized.product(num_terms=(0, 1, 5), step_size=(1.0, 0.3))
  def test_terms(self, num_terms, step_size):
    term = PARAMS.astype(np.float64) - TARGET
    total = np.zeros(4)
    for _ in range(num_terms + 1):
      total += step_size * term
      term = term - step_size * HESSIAN @ term
    # The gradient of the lower loss is H w - M alpha.
    found = _quadratic(PARAMS, step_size, num_terms)
    np.testing.assert_allclose(found, CROSS.T @ total, rtol=1e-4, atol=1e-5)

  def test_many_terms_are_the_implicit_gradient(self):
    self.assertLess(np.linalg.eigvalsh(HESSIAN).max(), 2)
    hessian = HESSIAN.astype(np.float64)
    minimum = np.linalg.solve(hessian, CROSS @ ALPHA)

    def value(alpha):
      w = np.linalg.solve(hessian, CROSS @ alpha)
      return 0.5 * np.sum((w - TARGET) ** 2)

    # Central differences are exact for a quadratic function.
    expected = np.array(
      [(value(ALPHA + e) - value(ALPHA - e)) / 2 for e in np.eye(3)]
    )
    errors = [
      np.abs(
        np.asarray(_quadratic(minimum.astype(np.float32), 1.0, k)) - expected
      ).max()
      for k in (1, 5, 200)
    ]
    self.assertGreater(errors[0], errors[1])
    self.assertGreater(errors[1], 1e-3)
    self.assertLess(errors[2], 1e-4)

  def test_step_size_may_be_traced(self):
    before = _quadratic._cache_size()
    for step_size in (0.25, 0.5, 0.75):
      _quadratic(PARAMS, step_size, 2)
    self.assertEqual(_quadratic._cache_size(), before + 1)


# A linear classifier below a loss with multipliers and offsets, as AutoBalance.
IMAGES = RNG.normal(size=(12, 2)).astype(np.float32)
LABELS = RNG.integers(0, 3, 12)
KERNEL = RNG.normal(size=(2, 3)).astype(np.float32)
BIAS = RNG.normal(size=3).astype(np.float32)
MULTIPLIERS = RNG.normal(size=3).astype(np.float32)
OFFSETS = RNG.normal(size=3).astype(np.float32)


def _cross_entropy(z, labels):
  log_p = jax.nn.log_softmax(z)
  return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()


def _train_loss(params, loss_params, batch):
  images, labels = batch
  z = images @ params['kernel'] + params['bias'][None]
  multipliers, offsets = loss_params
  z = jax.nn.sigmoid(multipliers)[None] * z + offsets[None]
  return _cross_entropy(z, labels)


def _validation_loss(params, batch):
  images, labels = batch
  return _cross_entropy(
    images @ params['kernel'] + params['bias'][None], labels
  )


def _slope(theta, alpha, rows):
  """The gradient of the mean loss of a witness by kernel and bias, ``[9]``."""
  kernel, bias = theta[:6].reshape(2, 3), theta[6:]
  factors = 1 / (1 + np.exp(-alpha[:3]))
  total = np.zeros(9)
  for row in rows:
    x, y = IMAGES[row].astype(np.float64), LABELS[row]
    z = factors * (x @ kernel + bias) + alpha[3:]
    p = np.exp(z - z.max())
    p /= p.sum()
    up = factors * (p - np.eye(3)[y])
    total += np.concatenate([np.outer(x, up).ravel(), up]) / len(rows)
  return total


def _classifier_witness(train_rows, validation_rows, num_terms, step_size):
  """Second derivatives by central differences of first ones, in float64."""
  theta = np.concatenate([KERNEL.ravel(), BIAS]).astype(np.float64)
  alpha = np.concatenate([MULTIPLIERS, OFFSETS]).astype(np.float64)
  h = 1e-5

  def change(function, point):
    columns = [
      (function(point + h * e) - function(point - h * e)) / (2 * h)
      for e in np.eye(len(point))
    ]
    return np.stack(columns, axis=1)

  hessian = change(lambda t: _slope(t, alpha, train_rows), theta)
  mixed = change(lambda a: _slope(theta, a, train_rows), alpha)
  # Without multipliers: those whose sigmoid is 1.
  term = _slope(theta, np.array([50.0] * 3 + [0.0] * 3), validation_rows)
  total = np.zeros(9)
  for _ in range(num_terms + 1):
    total += step_size * term
    term = term - step_size * hessian @ term
  return -mixed.T @ total


class ClassifierTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.params = {'kernel': KERNEL, 'bias': BIAS}
    self.loss_params = (MULTIPLIERS, OFFSETS)
    self.batches = (
      (IMAGES[:7], LABELS[:7]),
      (IMAGES[7:], LABELS[7:]),
    )

  @parameterized.parameters((0, 0.5), (5, 1.0))
  def test_trees(self, num_terms, step_size):
    found = oracles.hypergradient(
      _train_loss,
      _validation_loss,
      self.params,
      self.loss_params,
      *self.batches,
      num_terms=num_terms,
      step_size=step_size,
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(
      found, jax.tree.map(jnp.asarray, self.loss_params)
    )
    expected = _classifier_witness(range(7), range(7, 12), num_terms, step_size)
    np.testing.assert_allclose(
      np.concatenate(found), expected, rtol=1e-4, atol=1e-6
    )

  def test_dtypes_of_leaves_stay(self):
    loss_params = (MULTIPLIERS.astype(jnp.bfloat16), OFFSETS)

    def train_loss(params, loss_params, batch):
      wide = jax.tree.map(lambda x: x.astype(jnp.float32), loss_params)
      return _train_loss(params, wide, batch)

    found = oracles.hypergradient(
      train_loss,
      _validation_loss,
      self.params,
      loss_params,
      *self.batches,
      num_terms=1,
      step_size=np.float32(0.5),
    )
    self.assertEqual([x.dtype for x in found], [jnp.bfloat16, jnp.float32])
    chex.assert_tree_all_finite(found)

  @parameterized.parameters(
    (dict(num_terms=-1), ValueError, '`num_terms` must be at least 0'),
    (dict(num_terms=1.5), TypeError, '`num_terms` must be an integer'),
    (dict(step_size=0.0), ValueError, '`step_size` must be finite and above 0'),
    (dict(params={'kernel': 3}), TypeError, "`params` .* got 3 at \\['kernel'"),
    (
      dict(loss_params=np.arange(3)),
      TypeError,
      '`loss_params` must be a tree of floating-point arrays',
    ),
    (
      dict(train_loss=lambda *_: jnp.ones(2)),
      ValueError,
      r'`train_loss` must return a scalar, got shape \(2,\)',
    ),
    (
      dict(validation_loss=lambda *_: jnp.ones(2)),
      ValueError,
      '`validation_loss` must return a scalar',
    ),
  )
  def test_errors(self, changes, error, message):
    arguments = dict(
      train_loss=_train_loss,
      validation_loss=_validation_loss,
      params=self.params,
      loss_params=self.loss_params,
      train_batch=self.batches[0],
      validation_batch=self.batches[1],
    )
    with self.assertRaisesRegex(error, message):
      oracles.hypergradient(**(arguments | changes))


if __name__ == '__main__':
  absltest.main()
