# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cross entropy, and its focal forms."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _margin_softmax
from imbsam_jax.losses import _mixed


def cross_entropy(
  logits: ArrayLike, labels: Any, *, label_smoothing: float = 0.0
) -> jax.Array:
  r"""Cross entropy of the softmax, :math:`-\log p_y`, one value per example.

  >>> import jax.numpy as jnp
  >>> print(cross_entropy(jnp.zeros((1, 10)), jnp.array([3])))
  [2.3025851]

  Args:
    logits: Float array of any dtype, shape ``[B, C]``; computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    label_smoothing: Share of the target that is spread over all classes.

  Returns:
    Float32 array, shape ``[B]``, not reduced.
  """
  return _margin_softmax.margin_softmax(
    logits, labels, label_smoothing=label_smoothing
  )


def focal_loss(
  logits: ArrayLike,
  labels: Any,
  *,
  gamma: float = 2.0,
  stop_modulator_gradient: bool = False,
) -> jax.Array:
  r"""Softmax focal loss, :math:`(1 - p_y)^\gamma \, (-\log p_y)`.

  Lin et al., `Focal Loss for Dense Object Detection
  <https://arxiv.org/abs/1708.02002>`_, ICCV 2017, for one softmax as the
  long-tail literature uses it. Class weights come after it
  (`class_weighted_loss`): within the modulator, as in the codes of LDAM and VS,
  they would turn it into :math:`1 - p_y^{w_y}`.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``; computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    gamma: Exponent >= 0; 0 is cross entropy. 1 in the codes of LDAM, VS, MM and
      GCL.
    stop_modulator_gradient: Takes the modulator for a constant, as GCL's second
      stage does.

  Returns:
    Float32 array, shape ``[B]``, not reduced. The gradient is finite for gamma
    < 1 too.

  Raises:
    ValueError: If `gamma` is negative.
  """
  _checks.number('gamma', gamma, low=0)
  logits = _checks.float_logits(logits)
  labels = _mixed.check_labels(labels, logits)

  def loss_of(labels):
    loss = _margin_softmax.margin_softmax(logits, labels)
    factor = modulator(loss, gamma)
    if stop_modulator_gradient:
      factor = jax.lax.stop_gradient(factor)
    return factor * loss

  return _mixed.mixed(loss_of, labels)


def sigmoid_focal_loss(
  logits: ArrayLike, labels: Any, *, gamma: float = 1.0
) -> jax.Array:
  r"""Sigmoid focal loss, the sum over classes of modulated binary losses.

  With t_c = z_c for the label and -z_c for the other classes,

  .. math::
    \ell = \sum_c \sigma(-t_c)^\gamma \, \log(1 + e^{-t_c}).

  Lin et al., ICCV 2017; with `class_balanced_weights` and the plain mean it is
  the class-balanced focal loss (Cui et al., `Class-Balanced Loss Based on
  Effective Number of Samples <https://arxiv.org/abs/1901.05555>`_, CVPR 2019),
  whose code divides by the number of positives, which is B. There the last bias
  starts at -log(C - 1) and is not decayed.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``; computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    gamma: Exponent >= 0; 0 is the sigmoid cross entropy. 1 in the authors'
      script, from 0.5, 1, 2.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `gamma` is negative.
  """
  _checks.number('gamma', gamma, low=0)
  logits = _checks.float_logits(logits)
  labels = _mixed.check_labels(labels, logits)

  def loss_of(labels):
    is_target = _mixed.one_hot(labels, logits.shape[1])
    t = jnp.where(is_target, logits, -logits)
    losses = binary_focal(t, gamma)
    return jnp.where(is_target.any(axis=1), jnp.sum(losses, axis=1), jnp.nan)

  return _mixed.mixed(loss_of, labels)


def binary_focal(t: jax.Array, gamma: Any) -> jax.Array:
  """sigmoid(-t)^gamma log(1 + exp(-t)), for a margin t of any size."""
  return jnp.exp(-gamma * jax.nn.softplus(t)) * jax.nn.softplus(-t)


def modulator(loss: jax.Array, gamma: ArrayLike) -> jax.Array:
  """(1 - p)^gamma of a loss -log p >= 0, with a finite slope at p = 1."""
  return jnp.maximum(-jnp.expm1(-loss), 1e-12) ** gamma
