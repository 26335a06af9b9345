# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of examples by optimal transport from a balanced set."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _cosine

# Logarithm of no mass. Not -inf, whose differences are NaN.
_NO_MASS = -1e30
# How far a float32 sum of many shares may be from 1.
_ROUNDING = 1e-3


def sinkhorn(
  cost: ArrayLike,
  source: ArrayLike,
  target: ArrayLike,
  *,
  epsilon: float = 0.1,
  num_iterations: int = 200,
) -> jax.Array:
  r"""The entropic plan of transport between two distributions.

  .. math::
    P = \arg\min_P \langle P, C \rangle + \epsilon \sum_{mb} P_{mb}
      (\log P_{mb} - 1), \qquad P 1 = \mu, \; P^T 1 = \nu

  Cuturi, `Sinkhorn Distances <https://arxiv.org/abs/1306.0895>`_, NeurIPS 2013,
  with all in logarithms, so that no `epsilon` underflows. Differentiable in
  cost, source and target, through all iterations; these are not kept but
  computed again, which takes memory for ``num_iterations * (M + B)`` numbers.

  >>> plan = sinkhorn([[0.0, 1.0], [1.0, 0.0]], [0.5, 0.5], [0.5, 0.5])
  >>> print(plan.round(4))
  [[0.5 0. ]
   [0.  0.5]]

  Args:
    cost: Finite float array, shape ``[M, B]``.
    source: Numbers >= 0 with sum 1, shape ``[M]``.
    target: Numbers >= 0 with sum 1, shape ``[B]``.
    epsilon: Strength > 0 of the entropy. A small one needs more iterations; a
      large one gives the product of the two distributions.
    num_iterations: Number of iterations, all of which are done.

  Returns:
    Float32 array, shape ``[M, B]``. Its columns sum to `target`, its rows to
    `source` as far as the iterations have converged.

  Raises:
    TypeError: If arrays are not real numbers, or `num_iterations` is not an
      integer.
    ValueError: If shapes do not fit, concrete distributions are negative or
      have another sum, `epsilon` is not positive, or `num_iterations` < 1.
  """
  cost = _cosine.float_matrix('cost', cost)
  num_rows, num_columns = cost.shape
  _checks.number('epsilon', epsilon, above=0)
  num_iterations = _checks.integer('num_iterations', num_iterations)
  return _plan(
    cost,
    _log_masses('source', source, num_rows),
    _log_masses('target', target, num_columns),
    jnp.asarray(epsilon).astype(jnp.float32),
    num_iterations=num_iterations,
  )


def ot_weight_step(
  weights: ArrayLike,
  features: ArrayLike,
  labels: ArrayLike,
  meta_features: ArrayLike,
  meta_labels: ArrayLike,
  *,
  num_classes: int,
  epsilon: float = 0.1,
  num_iterations: int = 200,
  learning_rate: float = 0.01,
  weight_decay: float = 5e-4,
) -> jax.Array:
  r"""One step of the weights of a batch towards a small balanced set.

  Guo et al., `Learning to Re-weight Examples with Optimal Transport for
  Imbalanced Classification <https://arxiv.org/abs/2208.02951>`_, NeurIPS 2022.
  With the plan P of `sinkhorn` from the uniform distribution over the balanced
  set to softmax(v) over the batch, and the costs

  .. math::
    C_{mb} = \frac{1 - \cos(f_m, f_b)}{2}
      + \frac{1}{2 C} \sum_c (y_{mc} - y_{bc})^2,

  the second term being 1/C for different labels, it is a step of gradient
  descent on :math:`\langle P(v), C \rangle`, through all iterations:

  .. math::
    v \leftarrow \max(0, \; v - \eta \, (\nabla_v \langle P, C \rangle
      + \lambda v)).

  The authors keep v for each example of the data set, from
  `class_balanced_weights` with beta 0.9999 on, take batches of 16, and train
  the linear layer alone with ``sum(v * losses) + 10 * mean(meta_losses)``: v
  itself rather than its softmax, and the sum rather than the mean. Weights and
  features get no gradient from the result.

  Args:
    weights: Numbers v, shape ``[B]``.
    features: Float array, shape ``[B, D]``, of any length; a row of zeros has
      cosine 0 with all.
    labels: Int array, shape ``[B]``, values in ``[0, num_classes)``.
    meta_features: Float array, shape ``[M, D]``, of the balanced set, such as
      10 examples a class, or their prototypes.
    meta_labels: Int array, shape ``[M]``, values in ``[0, num_classes)``.
    num_classes: Number of classes C.
    epsilon: Strength of the entropy, see `sinkhorn`.
    num_iterations: Number of iterations of `sinkhorn`.
    learning_rate: Step :math:`\eta` >= 0.
    weight_decay: Decay :math:`\lambda` >= 0.

  Returns:
    Float32 array, shape ``[B]``, >= 0.

  Raises:
    TypeError: If features are not floating point, weights not real numbers, or
      labels or sizes not integers.
    ValueError: If shapes do not fit, a concrete label is out of range, there
      are no rows, or a hyper-parameter is out of range.

  .. note::
    The authors' code stops its iterations by a threshold, lets weights become
    negative, and has a momentum whose state is new for every batch, so that it
    has no effect.
  """
  num_classes = _checks.integer('num_classes', num_classes)
  num_iterations = _checks.integer('num_iterations', num_iterations)
  _checks.number('epsilon', epsilon, above=0)
  _checks.number('learning_rate', learning_rate, low=0)
  _checks.number('weight_decay', weight_decay, low=0)
  features = _check_rows('features', features)
  meta_features = _check_rows('meta_features', meta_features)
  if features.shape[1] != meta_features.shape[1]:
    raise ValueError(
      f'`meta_features` must be as wide as `features`, {features.shape}, got '
      f'{meta_features.shape}. Take both from one layer.'
    )
  label_arrays = (
    _label_array(name, values, num_classes, len(rows))
    for name, values, rows in (
      ('labels', labels, features),
      ('meta_labels', meta_labels, meta_features),
    )
  )
  return _step(
    _check_weights(weights, features.shape[0]),
    features,
    meta_features,
    *label_arrays,
    *(
      jnp.asarray(x).astype(jnp.float32)
      for x in (1.0 / num_classes, epsilon, learning_rate, weight_decay)
    ),
    num_iterations=num_iterations,
  )


@functools.partial(jax.jit, static_argnames='num_iterations')
def _plan(
  cost: jax.Array,
  log_source: jax.Array,
  log_target: jax.Array,
  epsilon: jax.Array,
  *,
  num_iterations: int,
) -> jax.Array:
  kernel = -cost / epsilon

  def iterate(scalings, _):
    _, right = scalings
    left = log_source - jax.nn.logsumexp(kernel + right[None], axis=1)
    right = log_target - jax.nn.logsumexp(kernel + left[:, None], axis=0)
    return (left, right), None

  (left, right), _ = jax.lax.scan(
    jax.checkpoint(iterate, prevent_cse=False),
    (jnp.zeros_like(log_source), jnp.zeros_like(log_target)),
    length=num_iterations,
  )
  return jnp.exp(left[:, None] + kernel + right[None])


@functools.partial(jax.jit, static_argnames='num_iterations')
def _step(
  weights: jax.Array,
  features: jax.Array,
  meta_features: jax.Array,
  labels: jax.Array,
  meta_labels: jax.Array,
  label_cost: jax.Array,
  epsilon: jax.Array,
  learning_rate: jax.Array,
  weight_decay: jax.Array,
  *,
  num_iterations: int,
) -> jax.Array:
  # Before, not after: the whole scan is then free of a second derivative.
  weights, features, meta_features = jax.lax.stop_gradient(
    (weights, features, meta_features)
  )
  cosines = _cosine.cosine_logits(meta_features, features)
  differs = meta_labels[:, None] != labels[None]
  cost = 0.5 * (1.0 - cosines) + jnp.where(differs, label_cost, 0.0)
  log_source = jnp.full(cost.shape[:1], -np.log(cost.shape[0]), jnp.float32)

  def transport_cost(v):
    # Its logarithm, not that of a softmax which may underflow.
    plan = _plan(
      cost,
      log_source,
      jax.nn.log_softmax(v),
      epsilon,
      num_iterations=num_iterations,
    )
    return jnp.sum(plan * cost)

  slope = jax.grad(transport_cost)(weights) + weight_decay * weights
  return jnp.maximum(weights - learning_rate * slope, 0.0)


def _log_masses(name: str, masses: ArrayLike, length: int) -> jax.Array:
  if not isinstance(masses, jax.core.Tracer):
    masses = np.asarray(masses)
  _checks.real_dtype(name, masses)
  if masses.shape != (length,):
    raise ValueError(
      f'`{name}` must have shape [{length}], one mass for each row or column '
      f'of `cost`, got {masses.shape}.'
    )
  if not isinstance(masses, jax.core.Tracer):
    values = masses.astype(np.float64)
    total = values.sum()
    if not (values >= 0).all() or abs(total - 1.0) > _ROUNDING:
      raise ValueError(
        f'`{name}` must be at least 0 and sum to 1, got the sum {total:g} and '
        f'the smallest {values.min():g}. Divide masses by their sum.'
      )
  masses = jnp.asarray(masses).astype(jnp.float32)
  has_mass = masses > 0
  return jnp.where(
    has_mass, jnp.log(jnp.where(has_mass, masses, 1.0)), _NO_MASS
  )


def _check_rows(name: str, rows: ArrayLike) -> jax.Array:
  rows = _cosine.float_matrix(name, rows)
  if not rows.shape[0]:
    raise ValueError(f'`{name}` must have at least one row, got {rows.shape}.')
  return rows


def _check_weights(weights: ArrayLike, num_rows: int) -> jax.Array:
  weights = jnp.asarray(weights)
  _checks.real_dtype('weights', weights)
  if weights.shape != (num_rows,):
    raise ValueError(
      f'`weights` must have shape [{num_rows}], one for each row of '
      f'`features`, got {weights.shape}. Pass those of the batch.'
    )
  return weights.astype(jnp.float32)


def _label_array(
  name: str, labels: Any, num_classes: int, num_rows: int
) -> jax.Array:
  labels = _checks.class_labels(
    labels, num_classes, name=name, num_rows=num_rows
  )
  return jnp.asarray(labels).astype(jnp.int32)
