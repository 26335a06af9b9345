# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""BBN: the classifier of a bilateral-branch network."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _cosine


def bbn_logits(
  conventional: ArrayLike,
  rebalancing: ArrayLike,
  kernel: ArrayLike,
  bias: ArrayLike,
  alpha: ArrayLike,
) -> jax.Array:
  r"""Logits of two branches through one classifier.

  .. math::
    z = 2 \, [\alpha f_c, \ (1 - \alpha) f_r] \, W + b

  Zhou et al., `BBN: Bilateral-Branch Network with Cumulative Learning for
  Long-Tailed Visual Recognition <https://arxiv.org/abs/1912.02413>`_, CVPR
  2020. :math:`f_c` are features of rows of the instance stream, :math:`f_r` of
  the reversed stream (``class_probabilities(counts, power=-1)``), from branches
  that differ in their last residual block alone. Training minimizes
  ``cross_entropy(z, MixedLabels(y_c, y_r, alpha))`` with `schedules.bbn_alpha`.
  At test one image goes through both branches with ``alpha=0.5``, which is the
  plain concatenation. DBN-Mix has ``alpha=0.5`` throughout.

  >>> import jax.numpy as jnp
  >>> f, r = jnp.array([[1.0]]), jnp.array([[3.0]])
  >>> kernel, bias = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.zeros(2)
  >>> print(bbn_logits(f, r, kernel, bias, 1.0))
  [[2. 0.]]
  >>> print(bbn_logits(f, r, kernel, bias, 0.5))
  [[1. 3.]]

  Args:
    conventional: Float array, shape ``[B, D]``: features of the instance
      stream.
    rebalancing: Float array, shape ``[B, D]``: features of the reversed stream.
    kernel: Float array W, shape ``[2 D, C]``; the first D rows belong to
      `conventional`.
    bias: Float array b, shape ``[C]``.
    alpha: Share in [0, 1] of the conventional branch, a scalar or one per row,
      shape ``[B]``; may be traced.

  Returns:
    Float32 array, shape ``[B, C]``.

  Raises:
    TypeError: If an array is not floating point, or `alpha` is not a number.
    ValueError: If shapes do not fit, or `alpha` is outside of [0, 1].

  .. note::
    A step reads twice the batch size, and both streams pass through the shared
    BatchNorm layers, whose running statistics are those of both.
  """
  features = fused_features(conventional, rebalancing, alpha)
  kernel = _cosine.float_matrix('kernel', kernel)
  if kernel.shape[0] != features.shape[1]:
    raise ValueError(
      f'`kernel` must have shape [{features.shape[1]}, C], twice the width of '
      f'the features, got {kernel.shape}. If the classes are its rows, pass '
      'kernel.T.'
    )
  bias = _checks.per_class('bias', bias, kernel.shape[1])
  return jnp.matmul(features, kernel, precision=_cosine.PRECISION) + bias[None]


def fused_features(
  conventional: ArrayLike, rebalancing: ArrayLike, alpha: ArrayLike
) -> jax.Array:
  """What the classifier of `bbn_logits` reads.

  Args:
    conventional: See `bbn_logits`.
    rebalancing: See `bbn_logits`.
    alpha: See `bbn_logits`.

  Returns:
    Float32 array, shape ``[B, 2 D]``.

  Raises:
    TypeError: If an array is not floating point, or `alpha` is not a number.
    ValueError: If shapes do not fit, or `alpha` is outside of [0, 1].
  """
  _checks.number('alpha', alpha, low=0, high=1)
  conventional = _cosine.float_matrix('conventional', conventional)
  rebalancing = _cosine.float_matrix('rebalancing', rebalancing)
  num_rows = len(conventional)
  if rebalancing.shape != conventional.shape:
    raise ValueError(
      '`conventional` and `rebalancing` must have one shape [B, D], got '
      f'{conventional.shape} and {rebalancing.shape}. Draw as many rows for '
      'both streams.'
    )
  share = jnp.asarray(alpha).astype(jnp.float32)
  if share.shape not in ((), (num_rows,)):
    raise ValueError(
      f'`alpha` must be a scalar or have shape [{num_rows}], one for each row, '
      f'got {share.shape}.'
    )
  share = jnp.broadcast_to(share, (num_rows,))[:, None]
  return jnp.concatenate(
    [2.0 * share * conventional, 2.0 * (1.0 - share) * rebalancing], axis=1
  )
