# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient of a validation loss by parameters of the training loss."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from imbsam_jax import _checks
from imbsam_jax.oracles import _params


def hypergradient(
  train_loss: Callable[[Any, Any, Any], jax.Array],
  validation_loss: Callable[[Any, Any], jax.Array],
  params: optax.Params,
  loss_params: Any,
  train_batch: Any,
  validation_batch: Any,
  *,
  num_terms: int = 5,
  step_size: ArrayLike = 1.0,
) -> Any:
  r"""Gradient of the validation loss by `loss_params`, through training.

  .. math::
    - \left( \frac{\partial}{\partial \alpha} \nabla_w L_{train}(w, \alpha)
      \right)^T p, \qquad
    p = \eta \sum_{k=0}^K (I - \eta H)^k \, \nabla L_{val}(w)

  with the Hessian H of the training loss in w. Where w minimizes the training
  loss, H is positive definite and :math:`\eta \|H\| < 2`, p tends to
  :math:`H^{-1} \nabla L_{val}` with K, and the result to the exact gradient by
  the implicit function theorem; K = 0 is one step of training. Li et al.,
  `AutoBalance: Optimized Loss Functions for Imbalanced Data
  <https://arxiv.org/abs/2201.01212>`_, NeurIPS 2021, after Lorraine et al.,
  `Optimizing Millions of Hyperparameters by Implicit Differentiation
  <https://arxiv.org/abs/1911.02590>`_, AISTATS 2020. There `loss_params` are
  multipliers and offsets of logits, updated by SGD every 20 steps or so.

  Lower loss :math:`(w - a)^2 / 2`, upper loss :math:`w`: w follows a.

  >>> train = lambda w, a, batch: 0.5 * (w - a) ** 2
  >>> print(hypergradient(train, lambda w, batch: w, 2.0, 2.0, None, None))
  1.0

  Args:
    train_loss: ``(params, loss_params, train_batch)`` to a scalar, twice
      differentiable.
    validation_loss: ``(params, validation_batch)`` to a scalar. It does not
      take `loss_params`: a direct gradient by them would be missing here.
    params: Parameters w, any tree of floating-point arrays.
    loss_params: Parameters :math:`\alpha` of the training loss, any tree of
      floating-point arrays.
    train_batch: Whatever `train_loss` reads. The authors average 10 batches.
    validation_batch: Whatever `validation_loss` reads.
    num_terms: Number K >= 0 of terms after the first. 5 is the authors'.
    step_size: Step :math:`\eta` > 0 of the series, may be traced. The authors'
      1 diverges where the largest eigenvalue of H is above 2.

  Returns:
    A tree like `loss_params`.

    Cost: a gradient of the validation loss, and K + 1 products with second
    derivatives of the training loss, each about twice the price of its
    gradient. Memory does not grow with K.

  Raises:
    TypeError: If a leaf has no gradient, `params` is a whole module, or
      `num_terms` is not an integer.
    ValueError: If a loss is not a scalar, `num_terms` is negative, or
      `step_size` is not positive.

  .. note::
    The released code also steps on zero gradients after each batch, so that
    momentum and weight decay go on moving multipliers and offsets, and its
    validation passes update statistics of BatchNorm. Neither is done here.
  """
  gradient, _ = hypergradient_and_growth(
    train_loss,
    validation_loss,
    params,
    loss_params,
    train_batch,
    validation_batch,
    num_terms=num_terms,
    step_size=step_size,
  )
  return gradient


def hypergradient_and_growth(
  train_loss: Callable[[Any, Any, Any], jax.Array],
  validation_loss: Callable[[Any, Any], jax.Array],
  params: optax.Params,
  loss_params: Any,
  train_batch: Any,
  validation_batch: Any,
  *,
  num_terms: int = 5,
  step_size: ArrayLike = 1.0,
) -> tuple[Any, jax.Array]:
  """`hypergradient`, and how its series grows.

  Args:
    train_loss: As in `hypergradient`.
    validation_loss: As in `hypergradient`.
    params: As in `hypergradient`.
    loss_params: As in `hypergradient`.
    train_batch: As in `hypergradient`.
    validation_batch: As in `hypergradient`.
    num_terms: As in `hypergradient`.
    step_size: As in `hypergradient`.

  Returns:
    The gradient, and the norm of the last term divided by that of the first, a
    scalar: a series that converges has one below 1, but for directions along
    which the training loss is concave.

  Raises:
    TypeError: If `hypergradient` raises it.
    ValueError: If `hypergradient` raises it.
  """
  num_terms = _checks.integer('num_terms', num_terms, low=0)
  _checks.number('step_size', step_size, above=0)
  _params.check_params(params)
  _params.check_params(loss_params, name='loss_params')
  params, loss_params = jax.tree.map(jnp.asarray, (params, loss_params))
  step = jnp.asarray(step_size).astype(jnp.float32)

  def lower(w, alpha):
    return _scalar('train_loss', train_loss(w, alpha, train_batch))

  def upper(w):
    return _scalar('validation_loss', validation_loss(w, validation_batch))

  def along(gradient, vector):
    # Forward over reverse: no pass backwards through a gradient is stored.
    return jax.jvp(gradient, (params,), (vector,))[1]

  def next_term(carry, _):
    term, total = carry
    product = along(lambda w: jax.grad(lower)(w, loss_params), term)
    term = jax.tree.map(jnp.subtract, term, _scaled(product, step))
    return (term, jax.tree.map(jnp.add, total, term)), None

  first = jax.grad(upper)(params)
  (last, total), _ = jax.lax.scan(next_term, (first, first), length=num_terms)
  # Second derivatives are symmetric: (d/d alpha of grad_w)^T p is the change of
  # grad_alpha along p.
  mixed = along(
    lambda w: jax.grad(lower, argnums=1)(w, loss_params), _scaled(total, step)
  )
  growth = _norm(last) / jnp.maximum(_norm(first), jnp.finfo(jnp.float32).tiny)
  return jax.tree.map(jnp.negative, mixed), growth


def _norm(tree: Any) -> jax.Array:
  return optax.tree.norm(
    jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), tree)
  )


def _scaled(tree: Any, factor: jax.Array) -> Any:
  return jax.tree.map(lambda x: factor.astype(x.dtype) * x, tree)


def _scalar(name: str, loss: jax.Array) -> jax.Array:
  if jnp.shape(loss) != ():
    raise ValueError(
      f'`{name}` must return a scalar, got shape {jnp.shape(loss)}. Return the '
      'mean of the losses.'
    )
  return loss
