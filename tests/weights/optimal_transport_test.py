# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights by optimal transport, against plans that are not computed in logs."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from imbsam_jax import weights

# All tests share these shapes, and so their programs.
NUM_META, NUM_ROWS, DIM, NUM_CLASSES = 6, 5, 4, 3
META_LABELS = np.array([0, 0, 1, 1, 2, 2], np.int32)
LABELS = np.array([0, 2, 0, 1, 0], np.int32)


def _scaled(cost, source, target, epsilon, num_iterations):
  """The plan as diag(u) K diag(v), products and sums in float64."""
  kernel = np.exp(-np.asarray(cost, np.float64) / epsilon)
  v = np.ones(len(target))
  for _ in range(num_iterations):
    u = [a / (row @ v) for a, row in zip(source, kernel, strict=True)]
    v = [b / (column @ u) for b, column in zip(target, kernel.T, strict=True)]
  return np.array(u)[:, None] * kernel * np.array(v)


def _cost(features, labels, meta_features, meta_labels):
  """A pair at a time, with one-hot labels."""
  cost = np.empty((len(meta_labels), len(labels)))
  for m, (f, y) in enumerate(zip(meta_features, meta_labels, strict=True)):
    for b, (g, z) in enumerate(zip(features, labels, strict=True)):
      f, g = np.float64(f), np.float64(g)
      lengths = math.sqrt(f @ f) * math.sqrt(g @ g)
      square = sum(
        ((c == y) * 1.0 - (c == z) * 1.0) ** 2 for c in range(NUM_CLASSES)
      )
      cost[m, b] = 0.5 * (1 - f @ g / lengths) + 0.5 * square / NUM_CLASSES
  return cost


def _cost_of(problem):
  return _cost(**{k: v for k, v in problem.items() if k != 'weights'})


def _transport_cost(v, cost, epsilon, num_iterations):
  masses = np.exp(v - v.max())
  plan = _scaled(
    cost,
    np.full(len(cost), 1 / len(cost)),
    masses / masses.sum(),
    epsilon,
    num_iterations,
  )
  return float((plan * cost).sum())


def _slopes(function, at, step=1e-5):
  """The gradient by central differences."""
  found = np.empty(np.shape(at))
  for i in np.ndindex(found.shape):
    move = np.zeros(found.shape)
    move[i] = step
    found[i] = (function(at + move) - function(at - move)) / (2 * step)
  return found


def _problem(seed=0):
  rng = np.random.default_rng(seed)
  return {
    'weights': rng.uniform(0.5, 3.0, NUM_ROWS).astype(np.float32),
    'features': rng.standard_normal((NUM_ROWS, DIM)).astype(np.float32),
    'labels': LABELS,
    'meta_features': rng.standard_normal((NUM_META, DIM)).astype(np.float32),
    'meta_labels': META_LABELS,
  }


@functools.partial(jax.jit, static_argnames='num_iterations')
def _plan(cost, source, target, epsilon, num_iterations=200):
  return weights.sinkhorn(
    cost, source, target, epsilon=epsilon, num_iterations=num_iterations
  )


@functools.partial(jax.jit, static_argnames='num_iterations')
def _ot_weight_step(problem, keywords, num_iterations=200):
  return weights.ot_weight_step(
    **problem,
    num_classes=NUM_CLASSES,
    num_iterations=num_iterations,
    **keywords,
  )


def _step(problem, *, num_iterations=200, **keywords):
  keywords = {
    'epsilon': 0.1,
    'learning_rate': 0.01,
    'weight_decay': 5e-4,
  } | keywords
  return np.asarray(_ot_weight_step(problem, keywords, num_iterations))


def _gradient(problem, **keywords):
  """The gradient, from a step of length 1 that 0 does not end."""
  problem = problem | {'weights': np.float32(problem['weights'] + 1.0)}
  found = _step(problem, learning_rate=1.0, weight_decay=0.0, **keywords)
  return problem['weights'] - found


def _distributions(rng):
  source, target = rng.uniform(0.2, 1.0, NUM_META), rng.random(NUM_ROWS)
  return np.float32(source / source.sum()), np.float32(target / target.sum())


class SinkhornTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.1, 200), (0.1, 1), (0.5, 3), (0.05, 200), (0.02, 200)
  )
  def test_values(self, epsilon, num_iterations):
    rng = np.random.default_rng(0)
    cost = np.float32(rng.random((NUM_META, NUM_ROWS)))
    source, target = _distributions(rng)
    found = _plan(cost, source, target, epsilon, num_iterations)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(
      found,
      _scaled(cost, source, target, epsilon, num_iterations),
      rtol=1e-4,
      atol=1e-6,
    )
    np.testing.assert_allclose(found.sum(0), target, rtol=1e-5)
    if num_iterations == 200 and epsilon >= 0.05:
      np.testing.assert_allclose(found.sum(1), source, rtol=1e-4)

  def test_two_by_two(self):
    # By symmetry u = v: the diagonal has 1 / (2 (1 + e^(-c / epsilon))).
    found = weights.sinkhorn(
      [[0.0, 0.3], [0.3, 0.0]], [0.5, 0.5], [0.5, 0.5], epsilon=0.2
    )
    share = 0.5 / (1 + math.exp(-1.5))
    np.testing.assert_allclose(
      found, [[share, 0.5 - share], [0.5 - share, share]], rtol=1e-5
    )

  def test_product_where_the_cost_does_not_matter(self):
    rng = np.random.default_rng(1)
    source, target = _distributions(rng)
    cost = np.float32(rng.random((NUM_META, NUM_ROWS)))
    for costs, epsilon in ((cost, 1e6), (np.full_like(cost, 0.7), 0.01)):
      np.testing.assert_allclose(
        _plan(costs, source, target, epsilon),
        source[:, None] * target[None],
        rtol=2e-5,
      )

  def test_small_epsilon_is_the_assignment(self):
    cost = np.float32(np.random.default_rng(2).random((5, 5)))
    masses = np.full(5, 0.2, np.float32)
    rows, columns = optimize.linear_sum_assignment(cost)
    found = _plan(cost, masses, masses, 1e-3, 2000)
    np.testing.assert_allclose(
      (found * cost).sum(), cost[rows, columns].mean(), atol=1e-4
    )

  def test_no_mass(self):
    rng = np.random.default_rng(3)
    cost = np.float32(rng.random((NUM_META, NUM_ROWS)))
    source, target = _distributions(rng)
    source[2] = target[[0, 3]] = 0.0
    source, target = source / source.sum(), target / target.sum()
    found = np.asarray(_plan(cost, source, target, 0.1))
    np.testing.assert_array_equal(found[2], 0.0)
    np.testing.assert_array_equal(found[:, [0, 3]], 0.0)
    rows, columns = [0, 1, 3, 4, 5], [1, 2, 4]
    np.testing.assert_allclose(
      found[np.ix_(rows, columns)],
      _scaled(
        cost[np.ix_(rows, columns)], source[rows], target[columns], 0.1, 200
      ),
      rtol=1e-4,
    )

  def test_gradients(self):
    rng = np.random.default_rng(4)
    cost = np.float32(rng.random((NUM_META, NUM_ROWS)))
    factors = np.float32(rng.random((NUM_META, NUM_ROWS)))
    source, target = _distributions(rng)

    @jax.jit
    def gradients(cost, source, target, epsilon):
      return jax.grad(
        lambda *x: jnp.sum(factors * weights.sinkhorn(*x, epsilon=epsilon)),
        argnums=(0, 1, 2),
      )(cost, source, target)

    found = gradients(cost, source, target, 0.1)
    exact = [x.astype(np.float64) for x in (cost, source, target)]
    for i, name in enumerate(('cost', 'source', 'target')):

      def total(x, i=i):
        arguments = [*exact[:i], x, *exact[i + 1 :]]
        return (factors * _scaled(*arguments, 0.1, 200)).sum()

      np.testing.assert_allclose(
        found[i], _slopes(total, exact[i]), rtol=1e-3, atol=1e-4, err_msg=name
      )
    target[1] = 0.0
    for costs in (cost, np.zeros_like(cost)):
      for epsilon in (0.01, 1e-4):
        for gradient in gradients(costs, source, target, epsilon):
          self.assertTrue(np.isfinite(gradient).all())

  def test_misuse(self):
    cost, source, target = np.ones((2, 3), 'f'), [0.5, 0.5], [0.2, 0.3, 0.5]

    def call(cost=cost, source=source, target=target, **keywords):
      return weights.sinkhorn(cost, source, target, **keywords)

    for error, message, keywords in (
      (ValueError, r'`source` must have shape \[2\]', {'source': target}),
      (ValueError, r'`target` must have shape \[3\]', {'target': source}),
      (ValueError, 'sum to 1, got the sum 0.8 ', {'source': [0.5, 0.3]}),
      (ValueError, 'the smallest -0.5', {'source': [1.5, -0.5]}),
      (ValueError, '`source`', {'source': [math.nan, 0.5]}),
      (TypeError, '`target` must be real', {'target': [True, False, False]}),
      (TypeError, '`cost` must be a float', {'cost': np.ones((2, 3), int)}),
      (ValueError, '`cost` must have two axes', {'cost': np.ones(2, 'f')}),
      (ValueError, '`epsilon` must be finite and above 0', {'epsilon': 0.0}),
      (ValueError, '`num_iterations` must be at least', {'num_iterations': 0}),
      (TypeError, '`num_iterations` must be an int', {'num_iterations': 2.0}),
    ):
      with self.assertRaisesRegex(error, message):
        call(**keywords)


class OtWeightStepTest(parameterized.TestCase):
  @parameterized.parameters((0.1, 200), (0.1, 2), (0.3, 200), (0.05, 200))
  def test_gradient(self, epsilon, num_iterations):
    problem = _problem()
    cost = _cost_of(problem)
    expected = _slopes(
      lambda v: _transport_cost(v, cost, epsilon, num_iterations),
      problem['weights'].astype(np.float64) + 1.0,
    )
    self.assertGreater(np.abs(expected).max(), 0.01)
    # Of v - gradient, of size 4 in float32.
    np.testing.assert_allclose(
      _gradient(problem, epsilon=epsilon, num_iterations=num_iterations),
      expected,
      atol=2e-6,
    )

  def test_step(self):
    problem = _problem(1)
    v = problem['weights'].astype(np.float64)
    cost = _cost_of(problem)
    slopes = _slopes(lambda v: _transport_cost(v, cost, 0.1, 200), v)
    np.testing.assert_allclose(
      weights.ot_weight_step(**problem, num_classes=NUM_CLASSES),
      v - 0.01 * (slopes + 5e-4 * v),
      rtol=3e-7,
    )
    found = _step(problem, learning_rate=40.0, weight_decay=0.01)
    expected = v - 40.0 * (slopes + 0.01 * v)
    self.assertLess(expected.min(), -0.1)  # Weights are not negative.
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-4)

  def test_equal_costs_have_no_gradient(self):
    problem = _problem()
    rows = np.tile(problem['features'][:1], (NUM_ROWS, 1))
    meta = np.tile(-3.0 * problem['features'][:1], (NUM_META, 1))
    problem |= {
      'features': rows,
      'meta_features': meta,
      'labels': np.zeros_like(LABELS),
      'meta_labels': np.ones_like(META_LABELS),
    }
    for epsilon in (0.1, 0.01):
      np.testing.assert_allclose(
        _gradient(problem, epsilon=epsilon), 0.0, atol=1e-5
      )
      # The decay alone is left.
      np.testing.assert_allclose(
        _step(problem, epsilon=epsilon, learning_rate=0.1, weight_decay=0.2),
        0.98 * problem['weights'],
        rtol=1e-5,
      )

  def test_no_step_is_no_change(self):
    problem = _problem()
    np.testing.assert_array_equal(
      _step(problem, learning_rate=0.0), problem['weights']
    )

  def test_finite_at_the_edges(self):
    problem = _problem()
    alike = {
      'features': np.tile(problem['features'][:1], (NUM_ROWS, 1)),
      'meta_features': np.tile(problem['features'][:1], (NUM_META, 1)),
    }
    for change in (
      {},
      alike,
      {'features': np.zeros((NUM_ROWS, DIM), 'f')},
      # Masses of e^-300 underflow.
      {'weights': np.float32([0, 300, 0, 1, 2])},
      alike | {'weights': np.float32([0, 300, 0, 1, 2])},
    ):
      for epsilon in (0.1, 0.01, 1e-3):
        found = _step(problem | change, epsilon=epsilon, learning_rate=1.0)
        self.assertTrue(np.isfinite(found).all(), (change, epsilon))
        self.assertTrue((found >= 0).all())

  def test_examples_that_the_balanced_set_has_gain(self):
    problem = _problem()
    directions = np.eye(NUM_CLASSES, DIM, dtype=np.float32)
    features = directions[LABELS]
    features[2] = -directions[0]  # Not what the balanced set has of class 0.
    problem |= {
      'weights': np.ones(NUM_ROWS, np.float32),
      'features': features,
      'meta_features': directions[META_LABELS],
    }
    found = _step(problem, weight_decay=0.0)
    # The classes with one example of five gain, that of three loses.
    self.assertGreater(found[[1, 3]].min(), 1.0)
    self.assertLess(found[2], found[0])
    np.testing.assert_allclose(found[0], found[4], rtol=1e-6)

  def test_order_of_rows(self):
    problem = _problem()
    order, meta = np.array([3, 0, 4, 2, 1]), np.array([5, 2, 0, 1, 4, 3])
    moved = {
      name: values[meta if name.startswith('meta') else order]
      for name, values in problem.items()
    }
    np.testing.assert_allclose(
      _gradient(moved), _gradient(problem)[order], atol=2e-6
    )

  def test_result_is_a_constant(self):
    problem = _problem()
    floats = {
      name: values for name, values in problem.items() if 'labels' not in name
    }

    @jax.jit
    @jax.grad
    def gradient(floats):
      return _ot_weight_step(
        problem | floats,
        {'epsilon': 0.1, 'learning_rate': 0.01, 'weight_decay': 0.0},
      ).sum()

    for value in gradient(floats).values():
      np.testing.assert_array_equal(value, np.zeros_like(value))

  def test_misuse(self):
    problem = _problem()

    def call(num_classes=NUM_CLASSES, keywords=None, **change):
      return weights.ot_weight_step(
        **(problem | change),
        num_classes=num_classes,
        **(keywords or {}),
      )

    for error, message, change in (
      (ValueError, r'`weights` must have shape \[5\]', {'weights': [1.0]}),
      (TypeError, '`weights` must be real', {'weights': LABELS > 0}),
      (ValueError, '`meta_features` must be as wide',
       {'meta_features': np.ones((6, 2), 'f')}),
      (ValueError, '`meta_features` must have at least one row',
       {'meta_features': np.ones((0, 4), 'f')}),
      (TypeError, '`features` must be a float', {'features': LABELS[:, None]}),
      (ValueError, r'`labels` must be in \[0, 2\)', {'num_classes': 2}),
      (ValueError, '`meta_labels` must be', {'meta_labels': META_LABELS + 1}),
      (ValueError, r'`meta_labels` must have shape', {'meta_labels': LABELS}),
      (TypeError, '`num_classes` must be an int', {'num_classes': 3.0}),
      (ValueError, '`epsilon`', {'keywords': {'epsilon': -1.0}}),
      (ValueError, '`learning_rate`', {'keywords': {'learning_rate': -1.0}}),
      (ValueError, '`weight_decay`', {'keywords': {'weight_decay': -1.0}}),
      (ValueError, '`num_iterations`', {'keywords': {'num_iterations': 0}}),
    ):  # fmt: skip
      with self.assertRaisesRegex(error, message):
        call(**change)


if __name__ == '__main__':
  absltest.main()
