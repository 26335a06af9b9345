# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class groups of update rules, and `Method`, which has them and the links."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import oracles
from imbsam_jax.training import _stages

ClassCounts = Sequence[int] | np.ndarray


class Method(NamedTuple):
  """An update rule with its class groups.

  Attributes:
    group_weights_by_class: float32 ``[num_groups, C]``: weight of a class in
      each group, before the division by the batch size.
    stages: In the order of their starts; the first starts at 0. A step is of
      the last one that it can be of.
  """

  group_weights_by_class: np.ndarray
  stages: tuple[_stages.Stage, ...]

  @property
  def exclusive(self) -> bool:
    """Whether groups bring rows of their own: head and tail."""
    members = self.group_weights_by_class != 0
    return len(members) == 2 and bool((members.sum(axis=0) <= 1).all())

  def stage(self, step: int) -> _stages.Stage:
    """The stage that `step` belongs to."""
    return [stage for stage in self.stages if stage.at(step)][-1]


def group_weights_by_class(
  name: _stages.Name,
  class_counts: ClassCounts,
  *,
  threshold: int | None = None,
  tail_weight: float = 1.0,
  gamma: float | None = None,
  lam: float | None = None,
) -> np.ndarray:
  """The groups of an update rule, made of classes.

  >>> group_weights_by_class('imbsam', [90, 30, 5], threshold=20)
  array([[1., 1., 0.],
         [0., 0., 1.]], dtype=float32)

  Args:
    name: One of `update_rules.NAMES`. What follows the counts is not read where
      the rule has none of it.
    class_counts: Training images of each class, ``[C]``.
    threshold: Classes with strictly fewer training images are tail ('imbsam',
      'momentum_imbsam', 'sse_sam').
    tail_weight: Factor of the loss of the tail (the same).
    gamma: Exponent >= 0 of the rarity ('focal_sam').
    lam: Share >= 0 of the perturbed group ('focal_sam').

  Returns:
    float32 ``[num_groups, C]``, as `Method.group_weights_by_class`.

  Raises:
    TypeError: If an argument is not a number or is left out.
    ValueError: If the name is unknown, there are no counts, a count is not
      positive (for one group: one is negative, or all are zero), or
      `tail_weight`, `gamma` or `lam` is negative.
  """
  match name:
    case 'sgd' | 'sam' | 'rsam' | 'look_sam' | 'friendly_sam' | 'gsam':
      counts = _checks.count_array(class_counts, zeros=True)
      return np.ones((1, len(counts)), np.float32)
    case 'imbsam' | 'momentum_imbsam' | 'sse_sam':
      return _per_class(
        oracles.head_tail_weights,
        class_counts,
        threshold=threshold,
        tail_weight=tail_weight,
      )
    case 'focal_sam':
      return _per_class(
        oracles.focal_weights, class_counts, gamma=gamma, lam=lam
      )
  raise ValueError(_stages.unknown(name))


def _per_class(
  weights_fn: Callable[..., jax.Array],
  class_counts: ClassCounts,
  **parameters: Any,
) -> np.ndarray:
  """Weights of one row of each class, by undoing the division by their number.

  Known numbers also where the method is built inside of `jax.jit`.
  """
  class_counts = _checks.count_array(class_counts)
  num_classes = len(class_counts)
  with jax.ensure_compile_time_eval():
    weights = weights_fn(np.arange(num_classes), class_counts, **parameters)
    return np.asarray(weights) * num_classes
