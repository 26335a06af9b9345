# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One pass over rows for several weightings of the same losses."""

from collections.abc import Callable
import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

LossFn = Callable[[optax.Params, Any, jax.Array], tuple[jax.Array, Any]]


class WeightedPass(NamedTuple):
  """Loss and aux of the first weighting, and the gradient of any.

  Attributes:
    loss: Scalar, the loss of the first weighting.
    aux: Tree that the loss function returned beside the loss.
    gradient: Function of r that gives the gradient of weighting r, one backward
      pass.
    remainder: Function that gives the gradient of the first weighting less all
      others, one backward pass.
  """

  loss: jax.Array
  aux: Any
  gradient: Callable[[int], optax.Updates]
  remainder: Callable[[], optax.Updates]


def weighted_pass(
  loss_fn: LossFn,
  params: optax.Params,
  batch: Any,
  weights: jax.Array,
  *,
  num_microbatches: int = 1,
) -> WeightedPass:
  """One forward pass shared by all rows of `weights`, float ``[R, B]``.

  `vmap` over the weights batches only what depends on them, the last weighted
  sum. The forward pass and its residuals are therefore computed once, and each
  gradient is one pullback; no common-subexpression luck is involved.
  """
  num_rows = weights.shape[1]
  if num_rows == 0:
    return _empty_pass(loss_fn, params, batch, weights)
  if num_microbatches == 1:
    losses, pullback, aux = jax.vjp(
      lambda p: _losses(loss_fn, p, batch, weights), params, has_aux=True
    )

    def gradient(r):
      return pullback(jnp.zeros_like(losses).at[r].set(1))[0]

    def remainder():
      return pullback(jnp.full_like(losses, -1).at[0].set(1))[0]

    return WeightedPass(losses[0], aux, gradient, remainder)
  if num_microbatches < 1 or num_rows % num_microbatches:
    raise ValueError(
      f'`num_microbatches` must divide the number of rows, got '
      f'{num_microbatches} for {num_rows} rows.'
    )
  return _microbatched_pass(
    loss_fn, params, batch, weights, num_rows // num_microbatches
  )


def _losses(
  loss_fn: LossFn, params: optax.Params, batch: Any, weights: jax.Array
) -> tuple[jax.Array, Any]:
  checked = functools.partial(_checked_loss, loss_fn, params, batch)
  if len(weights) == 1:
    loss, aux = checked(weights[0])
    return loss[None], aux
  losses, aux = jax.vmap(checked)(weights)
  return losses, jax.tree.map(lambda x: x[0], aux)


def _checked_loss(
  loss_fn: LossFn, params: optax.Params, batch: Any, weights: jax.Array
) -> tuple[jax.Array, Any]:
  result = loss_fn(params, batch, weights)
  if not isinstance(result, tuple) or len(result) != 2:
    raise TypeError(
      '`loss_fn` must return the pair (sum_i weights_i * loss_i, aux), got '
      f'{type(result).__name__}. Return (loss, None) if there is no aux.'
    )
  loss, aux = result
  if jnp.shape(loss) != ():
    raise ValueError(
      '`loss_fn` must return a scalar loss, the weighted sum over rows, got '
      f'shape {jnp.shape(loss)}. Return ((weights * losses).sum(), aux).'
    )
  return loss, aux


def _empty_pass(
  loss_fn: LossFn, params: optax.Params, batch: Any, weights: jax.Array
) -> WeightedPass:
  """No rows: a loss and gradient of zero, and the aux of one row of zeros.

  Models seldom bear batches without rows (`reshape(0, -1)`, a mean).
  """
  row = jax.tree.map(
    lambda x: (
      jnp.zeros((1, *x.shape[1:]), x.dtype) if jnp.shape(x)[:1] == (0,) else x
    ),
    batch,
  )
  no_weight = jnp.zeros([1], weights.dtype)
  loss, aux = _checked_loss(loss_fn, params, row, no_weight)
  zeros = jax.tree.map(jnp.zeros_like, params)
  return WeightedPass(jnp.zeros_like(loss), aux, lambda r: zeros, lambda: zeros)


def _microbatched_pass(
  loss_fn: LossFn,
  params: optax.Params,
  batch: Any,
  weights: jax.Array,
  microbatch_size: int,
) -> WeightedPass:
  """All gradients at once: residuals cannot outlive their micro-batch."""

  def one_microbatch(batch, weights):
    one = weighted_pass(loss_fn, params, batch, weights)
    gradients = [
      jax.tree.map(_widen, one.gradient(r)) for r in range(len(weights))
    ]
    return one.loss, gradients, one.aux

  kinds = optax.microbatching.AccumulationType
  loss, gradients, aux = optax.microbatching.microbatch(
    one_microbatch,
    argnums=(0, 1),
    in_axes=(0, 1),
    microbatch_size=microbatch_size,
    accumulator=(kinds.SUM, kinds.SUM, kinds.CONCAT),
  )(batch, weights)

  def gradient(r):
    return jax.tree.map(lambda g, w: g.astype(w.dtype), gradients[r], params)

  def remainder():
    return jax.tree.map(
      lambda w, first, *others: (first - sum(others)).astype(w.dtype),
      params,
      *gradients,
    )

  return WeightedPass(loss, aux, gradient, remainder)


def _widen(gradient: jax.Array) -> jax.Array:
  wide = jnp.float64 if gradient.dtype == jnp.float64 else jnp.float32
  return gradient.astype(wide)
