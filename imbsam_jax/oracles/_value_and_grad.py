# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""An adapter for training loops that cannot pass extra arguments."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from imbsam_jax.oracles import _gradient_oracle
from imbsam_jax.oracles import _weighted_pass


def value_and_grad(
  loss_fn: _weighted_pass.LossFn,
  transform: optax.GradientTransformation,
  *,
  oracle: Callable[..., Any] = _gradient_oracle.gradient_oracle,
) -> Callable[..., tuple[tuple[jax.Array, Any], optax.Updates, optax.OptState]]:
  """A drop-in for `jax.value_and_grad` with a sharpness-aware gradient.

  For loops that call ``optimizer.update(grads, state, params)`` without extra
  arguments, such as flax's `TrainState.apply_gradients`: the link runs here,
  the rest of the optimizer there.

  >>> import jax, optax
  >>> from imbsam_jax import sam, value_and_grad
  >>> def loss_fn(params, batch, weights):
  ...   return (weights * (batch - params) ** 2).sum(), None
  >>> link = sam(0.1)
  >>> f = value_and_grad(loss_fn, link)
  >>> params, batch = jax.numpy.zeros(()), jax.numpy.array([1.0, 3.0])
  >>> (loss, _), grads, state = f(
  ...   params, link.init(params), batch,
  ...   group_weights=jax.numpy.full((1, 2), 0.5))
  >>> print(f'{loss:.1f} {grads:.1f}')
  5.0 -4.2

  Args:
    loss_fn: Weighted sum of the losses and aux, see `gradient_oracle`.
    transform: A link such as `imbsam(0.05)`, or a chain that begins with one.
    oracle: `gradient_oracle`, `split_gradient_oracle`, or a `functools.partial`
      of one.

  Returns:
    ``f(params, state, batch, *, group_weights) -> ((loss, aux), grads, state)``
    where `state` is that of `transform`. Loss and aux are those of the clean
    pass; for `rsam`, of its one perturbed pass, and for rows of a tail of
    their own of `momentum_imbsam`, of the only pass that they have.
  """
  link = optax.with_extra_args_support(transform)

  def f(
    params: optax.Params,
    state: optax.OptState,
    batch: Any,
    *,
    group_weights: Any,
  ):
    _, grads, grad_fn = oracle(
      loss_fn, params, batch, group_weights=group_weights
    )
    grads, state = link.update(grads, state, params, grad_fn=grad_fn)
    return grad_fn.value, grads, state

  return f
