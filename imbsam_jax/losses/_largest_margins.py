# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses for the largest margins between normalized classes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _cosine
from imbsam_jax.losses import _margin_softmax
from imbsam_jax.losses import _mixed


def cosface_loss(
  logits: ArrayLike, labels: Any, *, margin: float = 0.35, scale: float = 64.0
) -> jax.Array:
  r"""CosFace: cross entropy of :math:`s (x - m e_y)` on cosines.

  Wang et al., `CosFace: Large Margin Cosine Loss for Deep Face Recognition
  <https://arxiv.org/abs/1801.09414>`_, CVPR 2018. margin = 0 is NormFace: cross
  entropy on cosines.

  Args:
    logits: Float array of cosines, shape ``[B, C]``, see `models.CosineHead`.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    margin: Margin m >= 0, the same for all classes.
    scale: Scale s > 0.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `margin` is negative.
  """
  _checks.number('margin', margin, low=0)
  return _margin_softmax.margin_softmax(
    logits, labels, scale=scale, margin=margin
  )


def lm_softmax(
  logits: ArrayLike, labels: Any, *, scale: float = 64.0
) -> jax.Array:
  r"""Largest-margin softmax, whose denominator leaves the target out.

  .. math::
    \ell = \frac{1}{s} \Big(\log \sum_{j \ne y} e^{s x_j} - s x_y\Big)

  Zhou et al., ICLR 2022, on cosines x. It lies between the negative sample
  margin and that plus log(C - 1) / s, and may be negative.

  Args:
    logits: Float array of cosines, shape ``[B, C]``, C >= 2.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    scale: Scale s > 0. Codes use 5 and 64.

  Returns:
    Float32 array, shape ``[B]``, not reduced.
  """
  loss = _margin_softmax.margin_softmax(
    logits, labels, scale=scale, denominator_margin=jnp.inf
  )
  return loss / scale


def gm_softmax(
  logits: ArrayLike,
  labels: Any,
  *,
  alpha1: float = 1.0,
  beta1: float = 0.0,
  alpha2: float = 1.0,
  beta2: float = 0.0,
  scale: float = 64.0,
) -> jax.Array:
  r"""Generalized-margin softmax.

  .. math::
    \ell = -\log \frac{e^{s (\alpha_1 x_y + \beta_1)}}
      {e^{s (\alpha_2 x_y + \beta_2)} + \sum_{j \ne y} e^{s x_j}}

  Zhou et al., ICLR 2022, on cosines x. The defaults are NormFace;
  beta1 = beta2 = -m is CosFace; beta2 = -inf is ``scale * lm_softmax``.

  Args:
    logits: Float array of cosines, shape ``[B, C]``.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    alpha1: Factor of the target in the numerator.
    beta1: Summand of the target in the numerator.
    alpha2: Factor of the target in the denominator.
    beta2: Summand of the target in the denominator.
    scale: Scale s > 0.

  Returns:
    Float32 array, shape ``[B]``, not reduced. It may be negative.
  """
  for name, value in (('alpha1', alpha1), ('beta1', beta1), ('alpha2', alpha2)):
    _checks.number(name, value)
  logits = _checks.float_logits(logits)
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    scale=scale,
    margin=(1.0 - alpha1) * logits - beta1,
    denominator_margin=(1.0 - alpha2) * logits - beta2,
  )


def sample_margin_loss(logits: ArrayLike, labels: Any) -> jax.Array:
  r"""The negative sample margin, :math:`\max_{j \ne y} x_j - x_y`.

  Zhou et al., ICLR 2022, on cosines x: a loss of its own, or added to another
  one (the authors' coefficient is 0.5). Its smallest value, -C/(C-1), is that
  of a simplex ETF.

  Args:
    logits: Float array of cosines, shape ``[B, C]``, C >= 2.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.

  Returns:
    Float32 array, shape ``[B]``, not reduced; negative where the example is
    classified correctly.
  """
  logits = _checks.float_logits(logits)
  labels = _mixed.check_labels(labels, logits)

  def loss_of(labels):
    is_target = _mixed.one_hot(labels, logits.shape[1])
    target = jnp.sum(jnp.where(is_target, logits, 0.0), axis=1)
    rival = jnp.max(jnp.where(is_target, -jnp.inf, logits), axis=1)
    return jnp.where(is_target.any(axis=1), rival - target, jnp.nan)

  return _mixed.mixed(loss_of, labels)


def zero_centroid_penalty(
  class_vectors: ArrayLike, *, mean: bool = False
) -> jax.Array:
  r"""Squared length of the sum of the unit class vectors.

  .. math::
    \Big\| \sum_c w_c / \|w_c\| \Big\|^2

  Zhou et al., ICLR 2022. Zero for a simplex ETF. Add it with a coefficient: 5
  in the copy of the authors' code, which takes the sum; the paper writes the
  mean, smaller by :math:`C^2`.

  Args:
    class_vectors: Float array, shape ``[C, D]``, a row per class (the transpose
      of a `Dense` kernel). A zero row stays zero.
    mean: Takes the mean of the vectors instead of the sum.

  Returns:
    Float32 scalar.

  Raises:
    TypeError: If `class_vectors` are not floating point.
    ValueError: If `class_vectors` does not have two axes.
  """
  units = _cosine.unit_rows(
    _cosine.float_matrix('class_vectors', class_vectors)
  )
  center = jnp.mean(units, axis=0) if mean else jnp.sum(units, axis=0)
  return jnp.sum(jnp.square(center))
