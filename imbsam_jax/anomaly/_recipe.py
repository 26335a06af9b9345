# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a detector is trained: every choice, hashable for `jax.jit`."""

from collections.abc import Mapping
import dataclasses
import typing
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import transforms
from imbsam_jax.anomaly import _networks
from imbsam_jax.anomaly import _weights

MethodName = Literal['sgd', 'sam', 'imbsam', 'sse_sam', 'rsam']
OptimizerName = Literal['sgd', 'adam']

METHODS: tuple[MethodName, ...] = typing.get_args(MethodName)
OPTIMIZERS: tuple[OptimizerName, ...] = typing.get_args(OptimizerName)

# SGD steps: 1 forward and 2 backward make 3; see `training.step_cost`.
_COSTS = {'sgd': 3, 'sam': 6, 'imbsam': 8, 'sse_sam': 11, 'rsam': 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
  """Hyper-parameters of training, see `DeepSAD`."""

  encoder: _networks.Encoder
  method: MethodName
  rho: float
  head_rho: float
  switch: float
  normalization: _weights.Normalization
  eta: float
  optimizer: OptimizerName
  learning_rate: float
  weight_decay: float
  clip_norm: float | None

  @property
  def num_groups(self) -> int:
    """Groups of the oracle: 2 are other rows and labelled anomalies."""
    return 2 if self.method in ('imbsam', 'sse_sam') else 1

  @property
  def cost(self) -> float:
    """Passes over all rows, averaged over the run, in SGD steps."""
    units = _COSTS[self.method]
    if self.method == 'sse_sam':
      units = self.switch * units + (1 - self.switch) * _COSTS['imbsam']
    return units / 3

  def chain(
    self, num_steps: jax.Array, key: jax.Array
  ) -> optax.GradientTransformationExtraArgs:
    """The optimiser with its link.

    Args:
      num_steps: Steps of the run, may be traced: one program serves all tables
        of a width.
      key: For the noise of 'rsam'.
    """
    return transforms.skip_nonfinite(
      optax.chain(
        self._link(num_steps, key),
        optax.identity()
        if self.clip_norm is None
        else optax.clip_by_global_norm(self.clip_norm),
        base_optimizer(
          self.optimizer, self.learning_rate, self.weight_decay, num_steps
        ),
      )
    )

  def _link(
    self, num_steps: jax.Array, key: jax.Array
  ) -> optax.GradientTransformationExtraArgs:
    match self.method:
      case 'sgd':
        return transforms.group_sam((None,))
      case 'sam':
        return transforms.sam(self.rho)
      case 'imbsam':
        return transforms.imbsam(self.rho)
      case 'sse_sam':
        boundary = jnp.round(self.switch * jnp.asarray(num_steps, jnp.float32))
        return transforms.sse_sam(
          lambda count: jnp.where(
            jnp.asarray(count, jnp.float32) < boundary, self.head_rho, 0.0
          ),
          self.rho,
        )
      case 'rsam':
        return transforms.rsam(self.rho, key=key)


def base_optimizer(
  name: OptimizerName,
  learning_rate: float,
  weight_decay: float,
  num_steps: jax.Array,
) -> optax.GradientTransformation:
  """Coupled weight decay, then SGD (momentum 0.9) or Adam, cosine to 0."""

  def schedule(count):
    share = jnp.asarray(count, jnp.float32) / jnp.asarray(
      num_steps, jnp.float32
    )
    return learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(share, 1)))

  return optax.chain(
    optax.add_decayed_weights(weight_decay)
    if weight_decay
    else optax.identity(),
    optax.sgd(schedule, momentum=0.9)
    if name == 'sgd'
    else _with_promotion(optax.adam(schedule)),
  )


def _with_promotion(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Adam of optax mixes count and floats, which strict promotion refuses."""

  def update(updates, state, params=None):
    with jax.numpy_dtype_promotion('standard'):
      return tx.update(updates, state, params)

  return optax.GradientTransformation(tx.init, update)


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
