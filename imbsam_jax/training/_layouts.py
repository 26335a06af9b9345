# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rows of a batch go through the model together, and what that costs."""

from collections.abc import Callable
from typing import Any
from typing import Protocol

import jax
import jax.numpy as jnp

from imbsam_jax import oracles
from imbsam_jax.data import TrainBatch
from imbsam_jax.training import _stages

LossFn = Callable[..., tuple[jax.Array, Any]]


class Layout(Protocol):
  """What `make_train_step` and `update_rules.step_cost` need of a layout.

  Attributes:
    about: Which rows go through the model together, in words.
  """

  about: str

  def gradients(
    self, loss_fn: LossFn, params: Any, batch: TrainBatch, **options: Any
  ) -> Any:
    """What the oracle of the layout gives; `batch` has prepared rows."""
    ...

  def passes(self, aux: Any) -> tuple[Any, ...]:
    """By group of rows, what the loss function returned beside the loss."""
    ...

  def total_weight(self, batch: TrainBatch) -> jax.Array:
    """Sum of the weights of all rows, each counted once."""
    ...

  def cost(
    self, stage: _stages.Stage, batch: TrainBatch, batch_size: int
  ) -> float:
    """Cost of a step in SGD steps, rows of padding included."""
    ...


class _Joint:
  """All rows go through every pass."""

  about = 'all rows joint'

  def gradients(self, loss_fn, params, batch, **options):
    return oracles.gradient_oracle(
      loss_fn, params, batch.rows, group_weights=batch.weights, **options
    )

  def passes(self, aux):
    return (aux,)

  def total_weight(self, batch):
    return jnp.sum(batch.weights)

  def cost(self, stage, batch, batch_size):
    """See `update_rules.joint_cost`."""
    del batch, batch_size
    return _stages.joint_cost(stage.perturbed, instead=stage.instead)


class _Split:
  """Head rows and tail rows each have passes of their own."""

  about = 'head and tail rows apart'

  def gradients(self, loss_fn, params, batch, **options):
    return oracles.split_gradient_oracle(
      loss_fn, params, batch.rows, group_weights=batch.weights, **options
    )

  def passes(self, aux):
    return aux

  def total_weight(self, batch):
    return sum(map(jnp.sum, batch.weights), jnp.zeros([]))

  def cost(self, stage, batch, batch_size):
    """Rows of a group count once for each of its passes."""
    rows = [len(weights) for weights in batch.weights]
    pairs = zip(rows, stage.perturbed, strict=True)
    twice = 0 if stage.instead else sum(n for n, p in pairs if p)
    return (sum(rows) + twice) / batch_size


class _TailOnly:
  """All rows go through a pass, and tail rows through more by themselves."""

  about = 'perturbed passes of the tail alone (an approximation)'

  def gradients(self, loss_fn, params, batch, **options):
    return oracles.tail_only_gradient_oracle(
      loss_fn,
      params,
      *batch.rows,
      group_weights=batch.weights[0],
      tail_weights=batch.weights[1],
      **options,
    )

  def passes(self, aux):
    return (aux,)

  def total_weight(self, batch):
    return jnp.sum(batch.weights[0])

  def cost(self, stage, batch, batch_size):
    """All rows once, and those of a group that is perturbed as they come."""
    head_twice, tail_twice = stage.perturbed
    tail_passes = tail_twice * (1 if stage.instead else 2)
    num_tail = len(batch.weights[1]) * (tail_passes or head_twice)
    # Of the pass of all rows at w, the forward pass alone is then of use.
    head = head_twice / 3 if stage.instead else head_twice
    return 1 + head + num_tail / batch_size


LAYOUTS: dict[str, Layout] = {
  'joint': _Joint(),
  'split': _Split(),
  'tail_only': _TailOnly(),
}


def layout_of(batch: TrainBatch) -> Layout:
  """The layout that a batch was made for."""
  return LAYOUTS[batch.layout]


def step_cost(
  stage: _stages.Stage, batch: TrainBatch, *, batch_size: int
) -> float:
  """Cost of a step in SGD steps, rows of padding included.

  Rows of a group of their own count once for each pass, at w and away from it;
  with the layout 'tail_only' in addition to all rows. Joint rows cost what
  `update_rules.joint_cost` says.
  """
  return layout_of(batch).cost(stage, batch, batch_size)
