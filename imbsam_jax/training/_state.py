# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`TrainState`: parameters, statistics and optimizer state at a step."""

from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from imbsam_jax.training import _model_check
from imbsam_jax.training import _objective
from imbsam_jax.training import _param_plan


class TrainState(struct.PyTreeNode):
  """State of a training run.

  A checkpoint holds all of it but `frozen`, which comes from where it was
  loaded from.

  Attributes:
    step: Number of completed steps, int32; skipped updates count.
    params: Parameters that are trained.
    model_state: Other variables of the model (BatchNorm statistics).
    opt_state: State of the whole chain.
    ema_params: Moving average of the parameters, or None.
    key_data: Words of the key for dropout, mixing and noise; step n uses
      ``fold_in(key, n)``.
    loss_state: What the objective remembers (ABSGD), or nothing.
    frozen: Parameters that stay as they are, see `ParamPlan`.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  ema_params: Any
  key_data: jax.Array
  loss_state: Any = ()
  frozen: Any = struct.field(default_factory=dict)

  @property
  def variables(self) -> dict[str, Any]:
    """Variables to evaluate with: the moving average where there is one."""
    params = self.params if self.ema_params is None else self.ema_params
    merged = _param_plan.merged(params, self.frozen)
    return {'params': merged, **self.model_state}


def create_train_state(
  model: nn.Module,
  tx: optax.GradientTransformation,
  key: jax.Array,
  sample_images: jax.Array,
  *,
  ema: bool = False,
  objective: _objective.Objective | None = None,
  plan: _param_plan.ParamPlan = _param_plan.ALL,
) -> TrainState:
  """Initial state.

  Args:
    model: A Linen module called as ``model(images, train=...)``, or
      `models.from_nnx` of an NNX one.
    tx: The whole optimizer chain.
    key: Key of `jax.random`, for parameters and dropout.
    sample_images: Float ``[1, ...]``, images as the model sees them.
    ema: Whether to keep a moving average of the parameters.
    objective: That of `make_train_step`, if it remembers anything.
    plan: Which parameters are loaded, and which are trained.

  Returns:
    The state at step 0.

  Raises:
    TypeError: If the model cannot be called so.
    ValueError: If no parameter would be trained, or others were loaded than the
      model has.
  """
  variables = initial_variables(model, key, sample_images)
  return state_of(
    _param_plan.loaded(variables, plan),
    tx,
    key,
    ema=ema,
    objective=objective,
    plan=plan,
  )


def initial_variables(
  model: nn.Module, key: jax.Array, sample_images: jax.Array
) -> dict[str, Any]:
  """Variables of the model before any is loaded, see `create_train_state`."""
  _model_check.check_model(model)
  init_key, _ = jax.random.split(key)
  return dict(model.init(init_key, sample_images, train=False))


def state_of(
  variables: dict[str, Any],
  tx: optax.GradientTransformation,
  key: jax.Array,
  *,
  ema: bool,
  objective: _objective.Objective | None,
  plan: _param_plan.ParamPlan,
) -> TrainState:
  """The state at step 0 of loaded variables, see `create_train_state`."""
  init_key, dropout_key = jax.random.split(key)
  variables = dict(variables)
  loss_state: Any = ()
  if objective is not None:
    objective_key = jax.random.fold_in(init_key, 1)
    # A copy, as below: it may be of the parameters.
    loss_state = jax.tree.map(
      jnp.copy, objective.init(objective_key, variables)
    )
  params, frozen = _param_plan.split(variables.pop('params'), plan)
  return TrainState(
    step=jnp.zeros([], jnp.int32),
    params=params,
    model_state=variables,
    opt_state=tx.init(params),
    # A copy, or donation would be asked for the same buffer twice.
    ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    key_data=jax.random.key_data(dropout_key),
    loss_state=loss_state,
    frozen=frozen,
  )


def advanced(
  state: TrainState,
  updates: optax.Updates,
  opt_state: Any,
  *,
  model_state: Any,
  loss_state: Any,
  ema_decay: float | None,
) -> TrainState:
  """The state after an update.

  An update that was skipped leaves everything as it was but the step and what
  the optimizer counts.
  """
  finite = opt_state.consecutive == 0

  def keep_if_skipped(new, old):
    return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

  params = optax.apply_updates(state.params, updates)
  ema_params = state.ema_params
  if ema_params is not None:
    ema_params = keep_if_skipped(
      optax.incremental_update(params, ema_params, 1 - (ema_decay or 0)),
      ema_params,
    )
  return state.replace(
    step=state.step + 1,
    params=params,
    model_state=keep_if_skipped(model_state, state.model_state),
    opt_state=opt_state,
    ema_params=ema_params,
    loss_state=keep_if_skipped(loss_state, state.loss_state),
  )
