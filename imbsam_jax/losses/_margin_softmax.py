# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The core of the losses: a softmax over class-affine logits with margins."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _mixed

# Logit of a class that is left out. Not -inf, whose differences are NaN.
_LEFT_OUT = -1e30


def margin_softmax(
  logits: ArrayLike,
  labels: Any,
  *,
  multiplier: ArrayLike = 1.0,
  offset: ArrayLike = 0.0,
  scale: ArrayLike = 1.0,
  margin: ArrayLike = 0.0,
  denominator_margin: ArrayLike | None = None,
  label_smoothing: float = 0.0,
) -> jax.Array:
  r"""Negative log-likelihood of a scaled softmax with class terms and margins.

  With :math:`u_c = \Delta_c z_c + \iota_c` (`multiplier`, `offset`), scale s,
  margin m and margin m' in the denominator,

  .. math::
    \ell = \log\Big(\sum_{j \ne y} e^{s u_j} + e^{s (u_y - m')}\Big)
      - s (u_y - m).

  Cross entropy, balanced softmax, logit adjustment, CDT, VS, ARB, LDAM, MM,
  GCL, CosFace, LM- and GM-softmax are instances; see the functions of their
  names.

  >>> import jax.numpy as jnp
  >>> cosines, labels = jnp.array([[0.9, 0.1]]), jnp.array([0])
  >>> loss = margin_softmax(cosines, labels, scale=2.0, margin=0.3)
  >>> print(f'{loss[0]:.4f}')  # log(1 + exp(2 (0.1 - 0.6)))
  0.3133

  Args:
    logits: Float array of any dtype, shape ``[B, C]``; computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    multiplier: Factors of the logits, broadcast to ``[B, C]``, by class.
    offset: Summands of the logits, broadcast to ``[B, C]``, by class. A class
      with -inf leaves the denominator.
    scale: Scale s > 0, a scalar.
    margin: Margin that a class gets as the target, broadcast to ``[B, C]``.
    denominator_margin: Margin of the target in the denominator, broadcast
      likewise; None is `margin`, +inf takes the target out of the denominator.
    label_smoothing: Share of the target that is spread over all classes that
      are in the denominator. Undefined together with margins.

  Returns:
    Float32 array, shape ``[B]``, not reduced. NaN where a traced label is out
    of range.

  Raises:
    TypeError: If `logits` are not floating point, or `labels` are not integers.
    ValueError: If shapes do not fit, a concrete label is out of range, `scale`
      is not positive, or labels are smoothed with a margin.

  .. note::
    Computed from the differences to the target, so that nothing cancels: exact
    for losses near 0 and finite, with its gradient, for logits of 1e3 at any
    scale in use.
  """
  logits = _checks.float_logits(logits)
  labels = _mixed.check_labels(labels, logits)
  _checks.number('scale', scale, above=0)
  _checks.number('label_smoothing', label_smoothing, low=0, high=1)
  has_margin = denominator_margin is not None or not _is_zero(margin)
  if has_margin and not _is_zero(label_smoothing):
    raise ValueError(
      '`label_smoothing` has no meaning together with a margin, which belongs '
      'to the one target class. Leave one of them out.'
    )
  scale = jnp.asarray(scale).astype(jnp.float32)
  u = _by_class('multiplier', multiplier, logits) * logits + _by_class(
    'offset', offset, logits
  )
  margins = _by_class('margin', margin, logits)
  # The target's logit in the denominator, relative to that in the numerator.
  kept = (
    jnp.zeros_like(u)
    if denominator_margin is None
    else margins - _by_class('denominator_margin', denominator_margin, logits)
  )

  def loss_of(labels):
    is_target = _mixed.one_hot(labels, u.shape[1])

    def of_target(x):
      return jnp.sum(jnp.where(is_target, x, 0.0), axis=1)

    target = jnp.where(is_target.any(axis=1), of_target(u), jnp.nan)
    aim = (target - of_target(margins))[:, None]
    rivals = ~is_target & (u != -jnp.inf)
    # Masked before and after: no infinity meets a product or its gradient.
    gaps = scale * jnp.where(rivals, u - aim, 0.0)
    rest = jax.nn.logsumexp(jnp.where(rivals, gaps, _LEFT_OUT), axis=1)
    loss = jnp.logaddexp(scale * of_target(kept), rest)
    if _is_zero(label_smoothing):
      return loss
    return loss - label_smoothing * _mean_gap(gaps, rivals)

  return _mixed.mixed(loss_of, labels)


def _mean_gap(gaps: jax.Array, rivals: jax.Array) -> jax.Array:
  """Mean of s (u_c - u_y) over the classes in the denominator."""
  num_classes = 1.0 + jnp.sum(rivals, axis=1).astype(jnp.float32)
  return jnp.sum(gaps, axis=1) / num_classes


def _by_class(name: str, value: Any, logits: jax.Array) -> jax.Array:
  value = jnp.asarray(value).astype(jnp.float32)
  num_rows, num_classes = logits.shape
  if value.shape not in (
    (), (num_classes,), (1, num_classes), (num_rows, num_classes)
  ):  # fmt: skip
    raise ValueError(
      f'`{name}` must be a scalar, [C] or [B, C], got {value.shape} for logits '
      f'{logits.shape}.'
    )
  return jnp.broadcast_to(value, logits.shape)


def _is_zero(value: Any) -> bool:
  return isinstance(value, int | float) and value == 0
