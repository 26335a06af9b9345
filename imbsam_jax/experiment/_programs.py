# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Jitted steps of an experiment, one for each stage of its method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax.experiment import _update_rule


class Steps:
  """Makes steps, not compiled before they are called.

  Args:
    config: A `config.Optimizer`.
    model: The network.
    make_method: ``make_method(key, rho=None)`` is the method, at another radius
      than that of the configuration if there is one.
    objective: What is minimised.
    preprocess: Stored images to the input of the model.
    augment: Of one stored image, or None.
    num_steps: Steps of a run.
    warmup_steps: Steps of warm-up.
    sample: Shape and dtype of one stored image, with a first axis of 1.
    mesh: The devices.
  """

  def __init__(
    self,
    config: Any,
    model: Any,
    make_method: Callable[..., training.Method],
    objective: training.Objective,
    preprocess: Callable[[jax.Array], jax.Array],
    *,
    augment: methods.Augmentation | None,
    num_steps: int,
    warmup_steps: int,
    sample: jax.ShapeDtypeStruct,
    mesh: jax.sharding.Mesh,
  ):
    self._config = config
    self._model = model
    self._make_method = make_method
    self._objective = objective
    self._preprocess = preprocess
    self._augment = augment
    self._num_steps = num_steps
    self._warmup_steps = warmup_steps
    self._sample = sample
    self._mesh = mesh
    self._by_device = config.ascent == 'per_device'
    self.init = jax.jit(self._init)

  def train(self, stage: int) -> Any:
    """``step(state, batch)``."""
    return jax.jit(self._step(stage), donate_argnums=0)

  def several(self, stage: int) -> Any:
    """``steps(state, batches)``, one after the other."""
    steps = training.scan_steps(self._step(stage))
    return jax.jit(steps, donate_argnums=0)

  def side_by_side(self, stage: int) -> Any:
    """``step(states, batches, rhos)`` of several runs."""

    def step(state, batch, rho):
      return self._step(stage, rho)(state, batch)

    return jax.jit(training.side_by_side(step), donate_argnums=0)

  def _step(self, stage: int, rho: jax.Array | None = None) -> Any:
    # The keys of methods count in their first states only.
    method = self._make_method(jax.random.key(0), rho)
    objective = self._objective
    step = training.make_train_step(
      self._model,
      self._chain(method.stages[stage].link),
      objective,
      training.Inputs(self._preprocess, self._augment),
      ema_decay=self._config.ema_decay,
      num_microbatches=self._config.num_microbatches,
      axis_name='data' if self._by_device else None,
    )
    return training.per_device(step, self._mesh) if self._by_device else step

  def _init(self, key: jax.Array) -> training.TrainState:
    """State at step 0."""
    init_key, noise_key = jax.random.split(key)
    sample = jnp.zeros(self._sample.shape, self._sample.dtype)
    return training.create_train_state(
      self._model,
      self._chain(self._make_method(noise_key).stages[0].link),
      init_key,
      self._preprocess(sample),
      ema=self._config.ema_decay is not None,
      objective=self._objective,
    )

  def _chain(self, link: Any) -> Any:
    return _update_rule.make_chain(
      self._config,
      self._num_steps,
      self._warmup_steps,
      training.per_device_link(link) if self._by_device else link,
    )
