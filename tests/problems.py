# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The small problem that the tests of links and oracles share.

It is the network of `numpy_witness`, in JAX. It has few operations and shapes,
because the time of these tests is the time to compile them. Inputs are NumPy
float64; JAX makes float32 of them, or float64 under `jax.enable_x64(True)`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import imbsam_jax
from tests import numpy_witness

# Class 1 sits on the threshold: it is head. Classes 2 and 3 are tail.
CLASS_COUNTS = (100, 20, 12, 5)
THRESHOLD = 20
LABELS = (0, 2, 1, 0, 1, 3, 0, 1, 0, 1, 2, 0, 1, 1, 0, 3)
HEAD_LABELS = (0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 0)
TAIL_LABELS = (2, 2, 3, 2, 2, 3, 3, 2, 2, 3, 2, 3, 2, 2, 3, 3)
BATCH_SIZE = 16


def make_params(seed=0):
  """Parameters of the network as NumPy float64, exact in float32."""
  return numpy_witness.init_params(seed, 4, 4, 4)


def make_batch(labels=LABELS, seed=1):
  """Sixteen rows as NumPy float64, exact in float32."""
  return numpy_witness.make_batch(seed, len(labels), 4, 4, labels=labels)


def to_jax(tree):
  """The same tree as JAX arrays of the default precision."""
  return jax.tree.map(jnp.asarray, tree)


def loss_fn(params, batch, weights):
  """Weighted sum of the witness' losses, and the logits."""
  dtype = batch['features'].dtype
  params = jax.tree.map(lambda x: x.astype(dtype), params)
  hidden = jnp.tanh(
    batch['features'] @ params['hidden']['kernel']
    + params['hidden']['bias'][None]
  )
  logits = hidden @ params['output']['kernel'] + params['output']['bias'][None]
  targets = jax.nn.one_hot(batch['labels'], 4, dtype=dtype)
  losses = jnp.log(jnp.exp(logits).sum(axis=1)) - (logits * targets).sum(axis=1)
  return (weights.astype(dtype) * losses).sum(), logits


def _quartic(num_groups):
  def grad_fn(point, group):
    parts = (point**3, 4.0 * (point - 1.0) ** 3)
    return parts[group] if num_groups == 2 else sum(parts)

  return grad_fn


def quartic_gradient(link, num_groups, count=0):
  """What a link makes of one or two quartic losses, not compiled.

  Links that ask for other gradients give another sum.
  """
  params = jnp.array([0.5, -2.0, 1.5])
  grad_fn = _quartic(num_groups)
  total = sum(grad_fn(params, group) for group in range(num_groups))
  state = link.init(params)
  state = state._replace(count=state.count + count)
  return link.update(total, state, params, grad_fn=grad_fn)[0]


def second_quartic_gradient(link, num_groups):
  """What a link makes of a second point, having remembered something else."""
  grad_fn = _quartic(num_groups)
  points = jnp.array([[-1.0, 2.5, 0.25], [0.5, -2.0, 1.5]])
  state = jax.tree.map(
    lambda x: jnp.array([0.3, -0.2, 0.5]) if x.dtype == jnp.float32 else x,
    link.init(points[0]),
  )
  for point in points:
    total = sum(grad_fn(point, group) for group in range(num_groups))
    found, state = link.update(total, state, point, grad_fn=grad_fn)
  return found


def mean_weights(rows=BATCH_SIZE):
  """The one group of SGD and SAM."""
  return np.full((1, rows), 1.0 / rows, np.float32)


def head_tail_weights(labels=LABELS, tail_weight=1.0):
  """The two groups of ImbSAM and SSE-SAM; exact, as 1/16 is."""
  return numpy_witness.head_tail_weights(
    labels, CLASS_COUNTS, threshold=THRESHOLD, tail_weight=tail_weight
  ).astype(np.float32)


def split_rows(batch, group_weights):
  """Batches and weights of the rows that each group really has."""
  group_weights = np.asarray(group_weights)
  rows = [np.flatnonzero(weights) for weights in group_weights]
  batches = [jax.tree.map(lambda x, r=r: x[r], batch) for r in rows]
  return batches, [w[r] for w, r in zip(group_weights, rows, strict=True)]


def masked_rows(batch, group_weights):
  """All rows in all groups."""
  return batch, group_weights


# Name: how rows are handed over, and to whom.
ORACLES = {
  'masked': (masked_rows, imbsam_jax.gradient_oracle),
  'split': (split_rows, imbsam_jax.split_gradient_oracle),
}


@functools.cache
def _update(link, oracle, compiled):
  def update(params, batch, group_weights, state):
    _, grads, grad_fn = ORACLES[oracle][1](
      loss_fn, params, batch, group_weights=group_weights
    )
    return link.update(grads, state, params, grad_fn=grad_fn)[0]

  return jax.jit(update) if compiled else update


def gradient(
  link,
  params,
  batch,
  group_weights,
  *,
  oracle='masked',
  state=None,
  compiled=True,
):
  """What one update of `link`, the first by default, makes of one batch.

  With ``compiled=False`` it runs operation by operation: faster for many links
  at inputs of the same shapes, once the first call is over.
  """
  params = to_jax(params)
  rows, weights = to_jax(ORACLES[oracle][0](batch, group_weights))
  state = link.init(params) if state is None else state
  return _update(link, oracle, compiled)(params, rows, weights, state)


@functools.cache
def _points(link):
  def points(params, batch, group_weights, state):
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      loss_fn, params, batch, group_weights=group_weights
    )
    found = {}

    def recorded(point, group):
      if point is not params:
        found[group] = point
      return grad_fn(point, group)

    link.update(grads, state, params, grad_fn=recorded)
    return found

  return jax.jit(points)


def perturbed_params(link, params, batch, group_weights, *, state=None):
  """The points other than w at which `link` asks for gradients, by group."""
  params, batch, weights = to_jax((params, batch, group_weights))
  state = link.init(params) if state is None else state
  return _points(link)(params, batch, weights, state)


def perturbations(link, params, batch, group_weights, *, state=None):
  """e_k = (the point of group k) - w, in float64, by group."""
  points = perturbed_params(link, params, batch, group_weights, state=state)
  wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  return {
    group: jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, point, wide)
    for group, point in points.items()
  }
