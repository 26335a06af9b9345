# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of all fits: SGD with momentum and a cosine."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def minimise(
  loss_fn: Callable[[Any, Any], jax.Array],
  params: Any,
  draws: Any,
  *,
  num_steps: int,
  learning_rate: jax.Array,
  weight_decay: jax.Array,
) -> Any:
  """SGD with momentum 0.9 and a learning rate that falls to 0 along a cosine.

  Args:
    loss_fn: ``loss_fn(params, draw) -> scalar``.
    params: Parameters to start from, float32 leaves.
    draws: Tree of arrays with `num_steps` rows, one for each step.
    num_steps: Number of steps, at least 1.
    learning_rate: Learning rate of the first step, a float32 scalar, may be
      traced.
    weight_decay: Factor of `params` that is added to the gradient, a float32
      scalar, may be traced.

  Returns:
    Parameters after the last step.
  """
  schedule = optax.cosine_decay_schedule(1.0, num_steps)
  tx = optax.chain(
    optax.add_decayed_weights(weight_decay),
    # optax mixes the count with floats, which strict promotion refuses.
    optax.sgd(
      lambda count: learning_rate * schedule(jnp.asarray(count, jnp.float32)),
      momentum=0.9,
    ),
  )

  def step(carry, draw):
    params, state = carry
    gradient = jax.grad(loss_fn)(params, draw)
    updates, state = tx.update(gradient, state, params)
    return (optax.apply_updates(params, updates), state), None

  (params, _), _ = jax.lax.scan(
    step, (params, tx.init(params)), draws, length=num_steps
  )
  return params
