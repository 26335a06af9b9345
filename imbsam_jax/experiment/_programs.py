# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Jitted steps of an experiment, one for each kind of step of its method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import training
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _outcomes
from imbsam_jax.experiment import _own


class Steps:
  """Makes steps, not compiled before they are called.

  Args:
    model: The network.
    make_method: ``make_method(key, rho=None)`` is the method, at another radius
      than that of the configuration if there is one.
    make_chain: ``make_chain(link)`` is the optimizer that a link begins.
    objective: The objective that is minimized.
    inputs: How stored images become the inputs of the model.
    plan: Which parameters are loaded, and which are trained.
    sample: Shape and dtype of one stored image, with a first axis of 1.
    mesh: The devices.
    ema_decay: Decay of the moving average, or None.
    num_microbatches: Parts of a batch that go through one after the other.
    ascent: 'global' or 'per_device'.
  """

  def __init__(
    self,
    model: Any,
    make_method: Callable[..., training.Method],
    make_chain: Callable[[Any], optax.GradientTransformationExtraArgs],
    objective: training.Objective,
    inputs: training.Inputs,
    *,
    plan: training.ParamPlan,
    sample: jax.ShapeDtypeStruct,
    mesh: jax.sharding.Mesh,
    ema_decay: float | None,
    num_microbatches: int,
    ascent: str,
  ):
    self._model = model
    self._make_method = make_method
    self._make_chain = make_chain
    self._objective = objective
    self._inputs = inputs
    self._plan = plan
    self._sample = sample
    self._mesh = mesh
    self._ema_decay = ema_decay
    self._num_microbatches = num_microbatches
    self._by_device = ascent == 'per_device'
    self._initialize = jax.jit(self._init)
    self._begin = jax.jit(self._initial)
    self._finish = jax.jit(self._state)

  def init(self, key: jax.Array, begun_with: Any = None) -> training.TrainState:
    """State at step 0.

    Args:
      key: Key of `jax.random`.
      begun_with: Variables of the run that this one begins with, or None.
    """
    if self._plan.load is None:
      return self._initialize(key, begun_with)
    # Between two programs: in one, what is loaded would be its constants.
    variables = training.loaded(self._begin(key), self._begun(begun_with))
    return self._finish(variables, key)

  def train(self, stage: int, *, outer: bool = False) -> Any:
    """``step(state, batch)``."""
    return jax.jit(self._step(stage, outer=outer), donate_argnums=0)

  def scanned(self, stage: int, *, outer: bool = False) -> Any:
    """``steps(state, batches)``, one after the other."""
    steps = training.scan_steps(self._step(stage, outer=outer))
    return jax.jit(steps, donate_argnums=0)

  def stacked(self, stage: int, *, outer: bool = False) -> Any:
    """``step(states, batches, rhos)`` of several runs."""

    def step(state, batch, rho):
      return self._step(stage, rho, outer=outer)(state, batch)

    return jax.jit(training.stack_runs(step), donate_argnums=0)

  def _step(
    self, stage: int, rho: jax.Array | None = None, *, outer: bool = False
  ) -> Any:
    # The keys of methods count in their first states only.
    method = self._make_method(jax.random.key(0), rho)
    step = training.make_train_step(
      self._model,
      self._chain(method.stages[stage].link),
      self._objective,
      self._inputs,
      outer=outer,
      ema_decay=self._ema_decay,
      num_microbatches=self._num_microbatches,
      axis_name='data' if self._by_device else None,
    )
    return training.per_device(step, self._mesh) if self._by_device else step

  def _begun(self, other: Any) -> training.ParamPlan:
    """The plan, with variables of the run that this one begins with, if any."""
    return (
      self._plan if other is None else training.begun_with(self._plan, other)
    )

  def _init(
    self, key: jax.Array, begun_with: Any = None
  ) -> training.TrainState:
    init_key, noise_key = jax.random.split(key)
    sample = jnp.zeros(self._sample.shape, self._sample.dtype)
    return training.create_train_state(
      self._model,
      self._chain(self._make_method(noise_key).stages[0].link),
      init_key,
      self._inputs.preprocess(sample),
      ema=self._ema_decay is not None,
      objective=self._objective,
      plan=self._begun(begun_with),
    )

  def _initial(self, key: jax.Array) -> dict[str, Any]:
    init_key, _ = jax.random.split(key)
    sample = jnp.zeros(self._sample.shape, self._sample.dtype)
    return training.initial_variables(
      self._model, init_key, self._inputs.preprocess(sample)
    )

  def _state(
    self, variables: dict[str, Any], key: jax.Array
  ) -> training.TrainState:
    init_key, noise_key = jax.random.split(key)
    return training.state_of(
      variables,
      self._chain(self._make_method(noise_key).stages[0].link),
      init_key,
      ema=self._ema_decay is not None,
      objective=self._objective,
      plan=self._plan,
    )

  def _chain(self, link: Any) -> Any:
    return self._make_chain(
      training.per_device_link(link) if self._by_device else link
    )


def evaluations(
  model: Any,
  inputs: training.Inputs,
  objective: training.Objective,
  config: _config.Config,
  views: Any,
  *,
  keep_logits: bool,
) -> dict[str, Any]:
  """The jitted steps that look at a state, by their names in an experiment.

  Args:
    model: The network.
    inputs: How stored images become its inputs.
    objective: Whose predictions these are.
    config: The configuration.
    views: What is seen of an image, see `_test_views.make`.
    keep_logits: Whether predictions come with their logits.
  """
  score = training.make_score_step(
    model,
    inputs.evaluated,
    objective=objective,
    flip=config.flip_test,
    views=views,
  )
  logits = training.make_logit_step(
    model, inputs.evaluated, objective=objective
  )
  features = None
  if _own.tells_features(model):
    features = jax.jit(training.make_feature_step(model, inputs.evaluated))
  return {
    'predict_step': jax.jit(
      _outcomes.make_step(score, objective.logit_scale, keep_logits=keep_logits)
    ),
    'feature_step': features,
    'logit_step': jax.jit(
      lambda variables, images: (logits(variables, images),)
    ),
  }
