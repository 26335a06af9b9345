# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss of AutoBalance, whose class terms are learned in groups."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.losses import _margin_softmax


def autobalance_loss(
  logits: ArrayLike,
  labels: Any,
  multiplier_logits: ArrayLike,
  offsets: ArrayLike,
  *,
  group_size: int = 1,
) -> jax.Array:
  r"""AutoBalance: cross entropy of :math:`\sigma(d) z + l`, d and l learned.

  Li et al., `AutoBalance: Optimized Loss Functions for Imbalanced Data
  <https://arxiv.org/abs/2201.01212>`_, NeurIPS 2021. The network minimizes this
  loss; d and l minimize the balanced cross entropy of held-out images, with the
  gradient that `oracles.hypergradient` gives. Consecutive classes share their
  terms, see `interpolate_groups` for the training after the search. Raw logits
  at test.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head;
      computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    multiplier_logits: Real numbers d, shape ``[C / group_size]``. The authors
      begin with ones: all logits are then multiplied by 0.731, which is not
      plain cross entropy.
    offsets: Real numbers l, shape ``[C / group_size]``, at first zeros. Classes
      of a group with -inf leave the denominator.
    group_size: Number of consecutive classes that share d and l; it divides C.
      The authors take 1 on CIFAR-10, 10 on CIFAR-100, 20 on ImageNet and
      iNaturalist.

  Returns:
    Float32 array, shape ``[B]``, not reduced. Differentiable also in d and l.

  Raises:
    TypeError: If `group_size` is not an integer, or `multiplier_logits` or
      `offsets` are not real numbers.
    ValueError: If `group_size` does not divide C, or `multiplier_logits` or
      `offsets` have another shape.

  .. note::
    A variant in the authors' code multiplies by d itself: that is
    `margin_softmax` with ``multiplier=d, offset=l``.
  """
  logits = _checks.float_logits(logits)
  num_classes = logits.shape[1]
  group_size = _checks.integer('group_size', group_size)
  if num_classes % group_size:
    raise ValueError(
      f'`group_size` must divide the number of classes, {num_classes}, got '
      f'{group_size}. Pass 1 for terms of each class.'
    )
  multiplier_logits = _of_classes(
    'multiplier_logits', multiplier_logits, num_classes, group_size
  )
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    multiplier=jax.nn.sigmoid(multiplier_logits),
    offset=_of_classes('offsets', offsets, num_classes, group_size),
  )


def interpolate_groups(values: ArrayLike, *, num_classes: int) -> jax.Array:
  """Values of groups of classes as values of classes, for `autobalance_loss`.

  AutoBalance searches with groups, then trains anew with terms for each class:
  linear in the class index between the centers of the groups, and beyond the
  first and last center on the same lines. The center of group k is class
  ``group_size // 2 + k * group_size``.

  >>> print(interpolate_groups([1.0, 3.0], num_classes=4))
  [0. 1. 2. 3.]

  Args:
    values: Real numbers, shape ``[num_groups]``; may be traced.
    num_classes: Number of classes, a multiple of the number of groups.

  Returns:
    Float32 array, shape ``[num_classes]``: `values` themselves if there is one
    class for each, and equal ones if there is one group.

  Raises:
    TypeError: If `values` are not real numbers, or `num_classes` is not an
      integer.
    ValueError: If `values` does not have one axis, or the number of groups does
      not divide `num_classes`.
  """
  num_classes = _checks.integer('num_classes', num_classes)
  values = jnp.asarray(values)
  _checks.real_dtype('values', values)
  if values.ndim != 1 or not values.shape[0]:
    raise ValueError(
      f'`values` must have shape [num_groups], got {values.shape}.'
    )
  num_groups = values.shape[0]
  if num_classes % num_groups:
    raise ValueError(
      '`num_classes` must be a multiple of the number of groups, '
      f'{num_groups}, got {num_classes}.'
    )
  values = values.astype(jnp.float32)
  if num_groups == 1:
    return jnp.broadcast_to(values, (num_classes,))
  group_size = num_classes // num_groups
  places = (np.arange(num_classes) - group_size // 2) / group_size
  left = np.clip(np.floor(places), 0, num_groups - 2).astype(np.int32)
  share = places - left
  return (
    np.float32(1.0 - share) * values[left]
    + np.float32(share) * values[left + 1]
  )


def _of_classes(
  name: str, values: ArrayLike, num_classes: int, group_size: int
) -> jax.Array:
  """Values of groups, each repeated over the classes of its group."""
  values = jnp.asarray(values)
  _checks.real_dtype(name, values)
  num_groups = num_classes // group_size
  if values.shape != (num_groups,):
    raise ValueError(
      f'`{name}` must have shape [{num_groups}], one value for each '
      f'{group_size} of {num_classes} classes, got {values.shape}.'
    )
  values = values.astype(jnp.float32)
  return jnp.repeat(values, group_size, total_repeat_length=num_classes)
