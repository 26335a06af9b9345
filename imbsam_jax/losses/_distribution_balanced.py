# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The distribution-balanced loss for several labels per example."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.losses import _cross_entropy


def distribution_balanced_loss(
  logits: ArrayLike,
  targets: ArrayLike,
  class_counts: ArrayLike,
  num_examples: ArrayLike,
  *,
  alpha: float = 0.1,
  beta: float = 10.0,
  mu: float = 0.3,
  bias_scale: float = 0.05,
  negative_scale: float = 5.0,
  gamma: float = 2.0,
  balance: float = 2.0,
) -> jax.Array:
  r"""Distribution-balanced loss, one value per example and class.

  Wu et al., `Distribution-Balanced Loss for Multi-Label Classification in
  Long-Tailed Datasets <https://arxiv.org/abs/2007.09654>`_, ECCV 2020.
  Re-balanced weights, with counts n of N examples,

  .. math::
    \hat r_{bc} = \alpha + \sigma(\beta (r_{bc} - \mu)), \qquad
    r_{bc} = \frac{1 / n_c}{\sum_k y_{bk} / n_k},

  and a negative-tolerant, focal binary cross entropy: with
  :math:`x = z - \frac{\kappa}{\lambda} \log(N / n_c - 1)`, the margin
  t = x for positives and :math:`t = -\lambda x` for negatives,

  .. math::
    \ell = B \, \hat r \, \sigma(-t)^\gamma \, \log(1 + e^{-t})
      \cdot (1 \text{ for positives}, \; 1/\lambda \text{ for negatives}).

  Args:
    logits: Float array of any dtype, shape ``[B, C]``; computed in float32.
    targets: Array, shape ``[B, C]``, 1 where the example has the class, else 0.
    class_counts: Numbers, shape ``[C]``: how many examples have the class. A
      class with 0 gets loss 0.
    num_examples: Number N of examples, at least the largest count.
    alpha: Smallest weight :math:`\alpha`, added to all of them.
    beta: Steepness :math:`\beta` of the weights.
    mu: Midpoint :math:`\mu` of the weights: 0.3 on VOC-MLT, 0.2 on COCO-MLT.
    bias_scale: Factor :math:`\kappa` of the bias that the class shares give.
    negative_scale: Factor :math:`\lambda` > 0 of the logits of negatives: 5 on
      VOC-MLT, 2 on COCO-MLT.
    gamma: Focal exponent >= 0.
    balance: Factor B of all losses.

  Returns:
    Float32 array, shape ``[B, C]``, not reduced. A row without positives has r
    = 0.

  Raises:
    ValueError: If `targets` are not 0 or 1 or have another shape, or a count is
      above `num_examples`.

  .. note::
    As in the authors' code the bias is divided by lambda; the paper has no such
    factor. A class that all examples have would get an infinite bias; its
    N / n - 1 is kept from falling below 1 / N.
  """
  for name, value in (
    ('alpha', alpha),
    ('beta', beta),
    ('mu', mu),
    ('bias_scale', bias_scale),
    ('balance', balance),
  ):
    _checks.number(name, value)
  _checks.number('gamma', gamma, low=0)
  _checks.number('negative_scale', negative_scale, above=0)
  logits = _checks.float_logits(logits)
  positives = _positives(targets, logits)
  counts = _checks.loss_counts(class_counts, logits.shape[1])
  num_examples = _num_examples(num_examples, class_counts)
  present = counts > 0
  inverse = jnp.where(present, 1.0 / jnp.where(present, counts, 1.0), 0.0)
  own = jnp.sum(jnp.where(positives, inverse, 0.0), axis=1, keepdims=True)
  shares = jnp.where(own > 0, inverse[None] / jnp.where(own > 0, own, 1.0), 0.0)
  weights = alpha + jax.nn.sigmoid(beta * (shares - mu))
  odds = jnp.maximum(num_examples * inverse - 1.0, 1.0 / num_examples)
  bias = jnp.where(present, -jnp.log(odds), 0.0)
  x = logits + (bias_scale / negative_scale) * bias[None]
  t = jnp.where(positives, x, -negative_scale * x)
  losses = _cross_entropy.binary_focal(t, gamma)
  losses = losses * jnp.where(positives, 1.0, 1.0 / negative_scale)
  return jnp.where(present[None], balance * weights * losses, 0.0)


def _positives(targets: ArrayLike, logits: jax.Array) -> jax.Array:
  targets = jnp.asarray(targets)
  if targets.dtype == bool:
    targets = targets.astype(jnp.int32)
  if targets.shape != logits.shape:
    raise ValueError(
      f'`targets` must have shape [B, C], got {targets.shape} for logits '
      f'{logits.shape}. For class indices pass jax.nn.one_hot(labels, C).'
    )
  if not isinstance(targets, jax.core.Tracer):
    if not bool(((targets == 0) | (targets == 1)).all()):
      raise ValueError('`targets` must be 0 or 1.')
  return targets.astype(jnp.float32) > 0.5


def _num_examples(
  num_examples: ArrayLike, class_counts: ArrayLike
) -> jax.Array:
  _checks.number('num_examples', num_examples, low=1)
  known = not any(
    isinstance(x, jax.core.Tracer) for x in (num_examples, class_counts)
  )
  if known and (np.asarray(class_counts) > np.asarray(num_examples)).any():
    raise ValueError(
      '`num_examples` must be at least the largest class count, got '
      f'{num_examples}. It is the number of examples, not of labels.'
    )
  return _checks.float32_counts(num_examples)
