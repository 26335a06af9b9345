# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Label-distribution-aware margins."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _margin_softmax


def ldam_margins(
  class_counts: ArrayLike, *, max_margin: float = 0.5
) -> jax.Array:
  r"""Margins of LDAM, :math:`m_c = m_{max} \, (n_{min} / n_c)^{1/4}`.

  Cao et al., `Learning Imbalanced Datasets with Label-Distribution-Aware Margin
  Loss <https://arxiv.org/abs/1906.07413>`_, NeurIPS 2019.

  >>> print(ldam_margins([1600, 16]))
  [0.15811388 0.5       ]

  Args:
    class_counts: Numbers, shape ``[C]``; only their ratios count.
    max_margin: Margin of the rarest class, >= 0. 0.5 on CIFAR, 0.3 in later
      codes on ImageNet-LT and iNaturalist.

  Returns:
    Float32 array, shape ``[C]``; 0 for a class with count 0.

  Raises:
    ValueError: If `max_margin` is negative.
  """
  _checks.number('max_margin', max_margin, low=0)
  counts = _checks.loss_counts(class_counts)
  positive = jnp.where(counts > 0, counts, jnp.inf)
  # The class with count 0 gets n_min / inf = 0.
  return max_margin * (positive.min() / positive) ** 0.25


def ldam_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  max_margin: float = 0.5,
  scale: float = 30.0,
) -> jax.Array:
  r"""LDAM: cross entropy of :math:`s (z - m_y e_y)` on cosines.

  Cao et al., NeurIPS 2019, with the margins of `ldam_margins`. LDAM-DRW is this
  with `deferred_reweighting`, LDAM-DRS with `deferred_resampling`.

  Args:
    logits: Float array of cosines, shape ``[B, C]``, see `models.CosineHead`.
      On unbounded logits the margins mean nothing.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    max_margin: Margin of the rarest class, >= 0.
    scale: Scale s > 0.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  .. note::
    The scale is applied here, once. Codes that scale in the head subtract
    :math:`s m` instead.
  """
  logits = _checks.float_logits(logits)
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    offset=absent_offset(class_counts, logits),
    scale=scale,
    margin=ldam_margins(class_counts, max_margin=max_margin),
  )


def absent_offset(class_counts: ArrayLike, logits: jax.Array) -> jax.Array:
  """-inf for classes with count 0, which takes them out, else 0: ``[C]``."""
  counts = _checks.loss_counts(class_counts, logits.shape[1])
  return jnp.where(counts > 0, 0.0, -jnp.inf)
