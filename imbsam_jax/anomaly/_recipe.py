# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Recipe`: the choices in training a detector, hashable for `jax.jit`."""

from collections.abc import Mapping
import dataclasses
import typing
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import training
from imbsam_jax.anomaly import _networks
from imbsam_jax.anomaly import _weights

MethodName = Literal[
  'sgd', 'sam', 'imbsam', 'sse_sam', 'rsam', 'momentum_imbsam'
]
OptimizerName = Literal['sgd', 'adam']

METHODS: tuple[MethodName, ...] = typing.get_args(MethodName)
OPTIMIZERS: tuple[OptimizerName, ...] = typing.get_args(OptimizerName)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """Hyper-parameters of training, see `DeepSAD`."""

  encoder: _networks.Encoder
  method: MethodName
  rho: float
  head_rho: float
  switch: float
  average_decay: float
  normalization: _weights.Normalization
  eta: float
  optimizer: OptimizerName
  learning_rate: float
  weight_decay: float
  clip_norm: float | None

  @property
  def cost(self) -> float:
    """Passes over all rows, averaged over the run, in SGD steps."""
    stages = self._stages(self.head_rho, jax.random.key(0))
    first, last = [
      training.update_rules.joint_cost(stage.perturbed, instead=stage.instead)
      for stage in (stages[0], stages[-1])
    ]
    return first + (1 - self.switch) * (last - first)

  def stage(self, num_steps: jax.Array, key: jax.Array) -> training.Stage:
    """The update rule as one stage: other rows, then labeled anomalies.

    The second stage of 'sse_sam' is a radius of 0 here.

    Args:
      num_steps: Steps of the run, may be traced: one program serves all tables
        of a width.
      key: Key of `jax.random` for the noise of 'rsam'.
    """
    boundary = jnp.round(self.switch * jnp.asarray(num_steps, jnp.float32))

    def head_rho(count):
      before = jnp.asarray(count, jnp.float32) < boundary
      return jnp.where(before, self.head_rho, 0.0)

    return self._stages(head_rho, key)[0]

  def chain(
    self, stage: training.Stage, num_steps: jax.Array
  ) -> optax.GradientTransformationExtraArgs:
    """The optimizer, whose first link is that of the stage."""
    return training.make_optimizer(
      stage.link,
      cosine(self.learning_rate, num_steps),
      optimizer=self.optimizer,
      weight_decay=self.weight_decay,
      clip_norm=self.clip_norm,
    )

  def _stages(
    self, head_rho: float | optax.Schedule, key: jax.Array
  ) -> tuple[training.Stage, ...]:
    return training.update_rules.stages(
      self.method,
      rho=self.rho,
      head_rho=head_rho,
      switch_step=1,  # There are two; what asks knows better when.
      key=key,
      decay=self.average_decay,
    )


def cosine(learning_rate: float, num_steps: jax.Array) -> optax.Schedule:
  """A rate that falls to 0 at `num_steps`.

  Not `training.learning_rate_schedule`: optax compares the length of a cosine
  with 0, and so takes none that is traced.
  """

  def schedule(count):
    share = jnp.asarray(count, jnp.float32) / jnp.asarray(
      num_steps, jnp.float32
    )
    return learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(share, 1)))

  return schedule


def recipe_of(parameters: Mapping[str, Any], num_features: int) -> Recipe:
  """The recipe of checked hyper-parameters, for tables of a width."""
  hidden = parameters['hidden_sizes']
  if hidden is None:
    hidden = (128, 64) if num_features >= 100 else (32, 16)
  size = parameters['embedding_size']
  if size is None:
    size = min(hidden[-1] // 2 or 1, 2 ** (num_features.bit_length() - 1))
  own = {field.name for field in dataclasses.fields(Recipe)} - {'encoder'}
  return Recipe(
    encoder=_networks.Encoder(tuple(hidden), size, parameters['norm']),
    **{name: parameters[name] for name in own},
  )
