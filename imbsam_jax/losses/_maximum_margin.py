# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Maximum-margin losses, whose margin depends on the example."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _ldam
from imbsam_jax.losses import _margin_softmax
from imbsam_jax.losses import _mixed


def mm_loss(
  logits: ArrayLike,
  labels: Any,
  *,
  margin: float = 1.29,
  gamma: float = 1.528,
  scale: float = 19.0,
) -> jax.Array:
  r"""Maximum-margin loss: cross entropy of :math:`s (x - m e_y)` on cosines.

  Kang et al., `Learning Imbalanced Datasets with Maximum Margin Loss
  <https://arxiv.org/abs/2206.05380>`_, ICIP 2021. The margin comes from the gap
  :math:`d = x_y - \max_{j \ne y} x_j` of the example, without gradient,

  .. math::
    m = e^{-d - \gamma M} \; (d > 0), \qquad e^{-|d| - M} \; (d < 0), \qquad
    0 \; (d = 0).

  Args:
    logits: Float array of cosines, shape ``[B, C]``, see `models.CosineHead`.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    margin: Parameter M >= 0; margins are at most exp(-M).
    gamma: Factor of M for examples on the right side, >= 0.
    scale: Scale s > 0. The defaults are the authors' for CIFAR-100 with
      imbalance factor 100; 2.7, 1.2, 10 for Tiny-ImageNet.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `margin` or `gamma` is negative.

  .. note::
    The authors' code takes the target logit of all rows from the column of the
    first row's label, and 0 for the target in the maximum over the others. Here
    each row has its own, and the target does not take part: the equation.
  """
  logits = _checks.float_logits(logits)
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    scale=scale,
    margin=_margins(logits, margin, gamma),
  )


def mm_ldam_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  margin: float = 1.29,
  gamma: float = 1.528,
  scale: float = 26.0,
) -> jax.Array:
  """`mm_loss` with M less the margin that LDAM gives to the class.

  Kang et al., ICIP 2021: ``M = margin - ldam_margins(class_counts)[y]``, whose
  largest is fixed at 0.5.

  Args:
    logits: Float array of cosines, shape ``[B, C]``, see `models.CosineHead`.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    margin: Margin M >= 0 from which that of the class is taken.
    gamma: Factor of M for examples on the right side, >= 0.
    scale: Scale s > 0.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `margin` or `gamma` is negative.
  """
  _checks.number('margin', margin, low=0)
  logits = _checks.float_logits(logits)
  offset = _ldam.absent_offset(class_counts, logits)
  class_margins = margin - _ldam.ldam_margins(class_counts)
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    offset=offset,
    scale=scale,
    margin=_margins(logits + offset[None], class_margins, gamma),
  )


def _margins(
  logits: jax.Array, margin: ArrayLike, gamma: ArrayLike
) -> jax.Array:
  """Margin that each class would get as the target, ``[B, C]``."""
  _checks.number('margin', margin, low=0)
  _checks.number('gamma', gamma, low=0)
  logits = jax.lax.stop_gradient(logits)
  margin = jnp.broadcast_to(jnp.asarray(margin, jnp.float32), logits.shape)
  gaps = logits - _largest_other(logits)
  margins = jnp.where(
    gaps > 0,
    jnp.exp(-gaps - gamma * margin),
    jnp.exp(gaps - margin),
  )
  return jnp.where(gaps == 0, 0.0, margins)


def _largest_other(logits: jax.Array) -> jax.Array:
  """Largest logit of the other classes, for each class."""
  if logits.shape[1] == 1:
    return jnp.full_like(logits, -jnp.inf)
  largest, places = jax.lax.top_k(logits, 2)
  is_largest = _mixed.one_hot(places[:, 0], logits.shape[1])
  return jnp.where(is_largest, largest[:, 1:], largest[:, :1])
