# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weighted reductions of one loss per example to one number."""

from collections.abc import Callable
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _device_axis
from imbsam_jax.losses import _mixed

Reduction = Literal['none', 'mean', 'weighted_mean', 'sum']

_REDUCTIONS = ('none', 'mean', 'weighted_mean', 'sum')


def reduce_loss(
  losses: ArrayLike,
  weights: ArrayLike | None = None,
  *,
  reduction: Reduction = 'mean',
  axis_name: str | None = None,
) -> jax.Array:
  r"""Reduces losses with weights; the reduction is part of a method.

  ===============  =============================  ==========================
  'mean'           sum(w l) / B                   class-balanced loss, ABSGD
  'weighted_mean'  sum(w l) / sum(w)              DRW, LDAM, VS, MARC, PPW;
                                                  what PyTorch's weighted
                                                  cross entropy does
  'sum'            sum(w l)
  'none'           w l, ``[B]``
  ===============  =============================  ==========================

  >>> losses, weights = [1.0, 2.0], [3.0, 1.0]
  >>> print(reduce_loss(losses, weights))
  2.5
  >>> print(reduce_loss(losses, weights, reduction='weighted_mean'))
  1.25

  Args:
    losses: Float array, shape ``[B]``.
    weights: Float array, shape ``[B]``, or None for ones.
    reduction: One of the words in the table.
    axis_name: Mapped axis over which numerator and denominator are summed, so
      that shards equal the whole batch.

  Returns:
    Float32 scalar, or array of shape ``[B]`` for 'none'. 'weighted_mean' is 0
    where all weights are.

  Raises:
    ValueError: If `reduction` is unknown, or there is not one weight per loss.
  """
  if reduction not in _REDUCTIONS:
    raise ValueError(
      f'`reduction` must be one of {", ".join(map(repr, _REDUCTIONS))}, got '
      f'{reduction!r}.'
    )
  losses = jnp.asarray(losses).astype(jnp.float32)
  if losses.ndim != 1:
    raise ValueError(f'`losses` must have shape [B], got {losses.shape}.')
  weights = (
    jnp.ones_like(losses)
    if weights is None
    else jnp.asarray(weights).astype(jnp.float32)
  )
  if weights.shape != losses.shape:
    raise ValueError(
      f'`weights` must be one per loss, [B], got {weights.shape} for losses '
      f'{losses.shape}. For class weights pass class_weights[labels].'
    )
  if reduction == 'none':
    return weights * losses

  def total(x):
    return _device_axis.summed(jnp.sum(x), axis_name)

  weighted = total(weights * losses)
  if reduction == 'sum':
    return weighted
  share = total(
    weights if reduction == 'weighted_mean' else jnp.ones_like(losses)
  )
  return jnp.where(
    share == 0, 0.0, weighted / jnp.where(share == 0, 1.0, share)
  )


def class_weighted_loss(
  loss_fn: Callable[[Any, jax.Array], jax.Array],
  logits: ArrayLike,
  labels: Any,
  class_weights: ArrayLike,
  *,
  reduction: Reduction = 'weighted_mean',
  axis_name: str | None = None,
) -> jax.Array:
  r"""Reduces a loss with the weight of each example's class.

  `MixedLabels` are reduced half by half, each with its own weights, as the
  released codes do,

  .. math::
    \frac{\sum \lambda w_a \ell_a}{\sum w_a} +
    \frac{\sum (1 - \lambda) w_b \ell_b}{\sum w_b},

  which is not one mean of the mixed losses.

  Args:
    loss_fn: ``loss_fn(logits, labels [B]) -> losses [B]``.
    logits: Float array, shape ``[B, C]``.
    labels: Int array, shape ``[B]``, or `MixedLabels`.
    class_weights: Float array, shape ``[C]``.
    reduction: One of the words of `reduce_loss`.
    axis_name: Mapped axis over which the sums run.

  Returns:
    Float32 scalar, or array of shape ``[B]`` for 'none'.

  Raises:
    ValueError: If there is not one weight per class, `reduction` is unknown, or
      `loss_fn` does not give one loss per row.
  """
  checked = _mixed.check_labels(labels, jnp.asarray(logits))
  class_weights = jnp.asarray(class_weights).astype(jnp.float32)
  if class_weights.shape != jnp.shape(logits)[1:]:
    raise ValueError(
      f'`class_weights` must be one per class, [C], got {class_weights.shape} '
      f'for logits {jnp.shape(logits)}.'
    )

  def reduced(labels, share):
    return reduce_loss(
      share * loss_fn(logits, labels),
      class_weights[labels],
      reduction=reduction,
      axis_name=axis_name,
    )

  if not isinstance(checked, _mixed.MixedLabels):
    return reduced(checked, 1.0)
  return reduced(checked.first, checked.lam) + reduced(
    checked.second, 1.0 - checked.lam
  )
