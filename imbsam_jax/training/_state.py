# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a training run is at one moment."""

from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax


class TrainState(struct.PyTreeNode):
  """State of a training run: all that a checkpoint has to hold.

  Attributes:
    step: Number of completed steps, int32; skipped updates count.
    params: Parameters.
    model_state: Other variables of the model (BatchNorm statistics).
    opt_state: State of the whole chain.
    ema_params: Moving average of the parameters, or None.
    key_data: Words of the key for dropout, mixing and noise; step n uses
      ``fold_in(key, n)``.
    loss_state: What the loss remembers (ABSGD), or nothing.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  ema_params: Any
  key_data: jax.Array
  loss_state: Any = ()

  @property
  def variables(self) -> dict[str, Any]:
    """Variables to evaluate with: the moving average where there is one."""
    params = self.params if self.ema_params is None else self.ema_params
    return {'params': params, **self.model_state}


def create_train_state(
  model: nn.Module,
  tx: optax.GradientTransformation,
  key: jax.Array,
  sample_images: jax.Array,
  *,
  ema: bool = False,
  loss_state: Any = (),
) -> TrainState:
  """Initial state.

  Args:
    model: A Linen module called as ``model(images, train=...)``.
    tx: The whole optimiser chain.
    key: Key of `jax.random`, for parameters and dropout.
    sample_images: Float ``[1, ...]``, images as the model sees them.
    ema: Whether to keep a moving average of the parameters.
    loss_state: Initial state of `make_train_step`'s `example_weights`.

  Returns:
    The state at step 0.
  """
  init_key, dropout_key = jax.random.split(key)
  variables = dict(model.init(init_key, sample_images, train=False))
  params = variables.pop('params')
  return TrainState(
    step=jnp.zeros([], jnp.int32),
    params=params,
    model_state=variables,
    opt_state=tx.init(params),
    # A copy, or donation would be asked for the same buffer twice.
    ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    key_data=jax.random.key_data(dropout_key),
    loss_state=loss_state,
  )
