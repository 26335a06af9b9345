# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods as the trainer sees them: class groups, and links by stages."""

from collections.abc import Callable
from collections.abc import Sequence
import numbers
from typing import Any
from typing import NamedTuple

import jax
import numpy as np
import optax

from imbsam_jax import oracles
from imbsam_jax import transforms
from imbsam_jax.data import TrainBatch

ClassCounts = Sequence[int] | np.ndarray
Radius = jax.typing.ArrayLike | optax.Schedule


class Stage(NamedTuple):
  """A part of the training with one update rule.

  Attributes:
    start: First step of the stage.
    link: First link of the chain. All stages of a method have states alike.
    perturbed: Which groups have a second pass.
  """

  start: int
  link: optax.GradientTransformationExtraArgs
  perturbed: tuple[bool, ...]


class Method(NamedTuple):
  """An update rule with its class groups.

  Attributes:
    class_weights: float32 ``[num_groups, C]``: weight of a class in each group,
      before the division by the batch size.
    stages: In the order of their starts; the first starts at 0.
  """

  class_weights: np.ndarray
  stages: tuple[Stage, ...]

  @property
  def exclusive(self) -> bool:
    """Whether groups bring rows of their own: head and tail."""
    members = self.class_weights != 0
    return len(members) == 2 and bool((members.sum(axis=0) <= 1).all())

  def stage(self, step: int) -> Stage:
    """The stage that `step` belongs to."""
    return [stage for stage in self.stages if stage.start <= step][-1]


def sgd(class_counts: ClassCounts) -> Method:
  """The base optimiser alone."""
  link = transforms.group_sam((None,))
  return Method(_one_group(class_counts), (Stage(0, link, (False,)),))


def sam(
  class_counts: ClassCounts, rho: Radius, *, adaptive: bool = False
) -> Method:
  """SAM, see `imbsam_jax.sam`."""
  link = transforms.sam(rho, adaptive=adaptive)
  return Method(_one_group(class_counts), (Stage(0, link, (_moves(rho),)),))


def rsam(class_counts: ClassCounts, rho: Radius, *, key: jax.Array) -> Method:
  """RSAM, see `imbsam_jax.rsam`."""
  link = transforms.rsam(rho, key=key)
  return Method(_one_group(class_counts), (Stage(0, link, (False,)),))


def imbsam(
  class_counts: ClassCounts,
  rho: Radius,
  *,
  threshold: int,
  tail_weight: float = 1.0,
  adaptive: bool = False,
) -> Method:
  """ImbSAM, see `imbsam_jax.imbsam`."""
  weights = _head_tail(class_counts, threshold, tail_weight)
  link = transforms.imbsam(rho, adaptive=adaptive)
  return Method(weights, (Stage(0, link, (False, _moves(rho))),))


def sse_sam(
  class_counts: ClassCounts,
  head_rho: Radius,
  tail_rho: Radius,
  *,
  threshold: int,
  tail_weight: float = 1.0,
  switch_step: int,
  adaptive: bool = False,
) -> Method:
  """SSE-SAM, see `imbsam_jax.sse_sam`.

  The second stage is compiled as what it is, ImbSAM, so that head rows stop
  costing a second pass.
  """
  weights = _head_tail(class_counts, threshold, tail_weight)
  first = transforms.sse_sam(head_rho, tail_rho, adaptive=adaptive)
  second = transforms.imbsam(tail_rho, adaptive=adaptive)
  stages = (
    Stage(0, first, (_moves(head_rho), _moves(tail_rho))),
    Stage(switch_step, second, (False, _moves(tail_rho))),
  )
  return Method(weights, stages if switch_step else stages[1:])


def focal_sam(
  class_counts: ClassCounts,
  rho: Radius,
  *,
  gamma: float,
  lam: float,
  adaptive: bool = False,
) -> Method:
  """Focal-SAM, see `imbsam_jax.focal_sam`."""
  weights = _per_class(
    oracles.focal_weights, class_counts, gamma=gamma, lam=lam
  )
  link = transforms.focal_sam(rho, adaptive=adaptive)
  return Method(weights, (Stage(0, link, (False, _moves(rho))),))


def step_cost(stage: Stage, batch: TrainBatch, *, batch_size: int) -> float:
  """Cost of a step in SGD steps, rows of padding included.

  Rows of a group of their own count once, or twice if the group is perturbed;
  with the layout 'tail_only' in addition to all rows.
  For joint rows a forward pass counts 1 and a backward pass 2: one of both at
  w, a backward pass for the clean gradient of each group that is taken apart,
  and one of both for each perturbed group.
  """
  if batch.layout == 'tail_only':
    head_twice, tail_twice = stage.perturbed
    num_tail = len(batch.weights[1]) * (tail_twice * 2 or head_twice)
    return 1 + head_twice + num_tail / batch_size
  if batch.layout == 'split':
    rows = [len(weights) for weights in batch.weights]
    twice = sum(n for n, p in zip(rows, stage.perturbed, strict=True) if p)
    return (sum(rows) + twice) / batch_size
  apart = stage.perturbed[1:]
  if stage.perturbed[0]:  # Group 0 is what the others leave.
    apart = (True,) * len(apart)
  return (3 + 2 * sum(apart) + 3 * sum(stage.perturbed)) / 3


def _moves(rho: Radius) -> bool:
  """Whether a radius costs a pass: the links leave a constant 0 out."""
  return not (isinstance(rho, numbers.Real) and rho == 0)


def _one_group(class_counts: ClassCounts) -> np.ndarray:
  return np.ones((1, len(class_counts)), np.float32)


def _head_tail(
  class_counts: ClassCounts, threshold: int, tail_weight: float
) -> np.ndarray:
  return _per_class(
    oracles.head_tail_weights,
    class_counts,
    threshold=threshold,
    tail_weight=tail_weight,
  )


def _per_class(
  weights_fn: Callable[..., jax.Array],
  class_counts: ClassCounts,
  **parameters: Any,
) -> np.ndarray:
  """Weights of one row of each class, by undoing the division by their number.

  Known numbers also where the method is built inside of `jax.jit`.
  """
  num_classes = len(class_counts)
  class_counts = np.asarray(class_counts)
  with jax.ensure_compile_time_eval():
    weights = weights_fn(np.arange(num_classes), class_counts, **parameters)
    return np.asarray(weights) * num_classes
