# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Remix: mixup whose labels lean towards the rarer class."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import losses
from imbsam_jax.augment import _pairs


def remix(
  key: jax.Array,
  batch: _pairs.Batch,
  partner: _pairs.Batch,
  class_counts: ArrayLike,
  *,
  alpha: float = 1.0,
  kappa: float = 3.0,
  tau: float = 0.5,
  progress: ArrayLike = 1.0,
) -> tuple[jax.Array, losses.MixedLabels]:
  r"""`mixup` of the images, with label shares of `remix_label_weight`.

  Chou et al., `Remix: Rebalanced Mixup <https://arxiv.org/abs/2007.03943>`_,
  ECCV 2020 workshops. With `progress` it is PPmix (Xu et al., `Phased
  Progressive Learning with Coupling-Regulation-Imbalance Loss for Imbalanced
  Data Classification <https://arxiv.org/abs/2205.12117>`_, arXiv 2022), whose
  labels move from mixup's to Remix's during training:
  ``progress=schedules.phase(epoch, start=100, end=160, power=3)``, 5 on
  ImageNet and iNaturalist.

  Args:
    key: Key of `jax.random`; one share of the images is drawn for the whole
      batch.
    batch: Pair of images, a float or uint8 array of shape ``[B, ...]``, and
      labels, an int array of shape ``[B]``, values in ``[0, C)``.
    partner: Pair like `batch`, images of the same shape and dtype.
    class_counts: Numbers, shape ``[C]``, concrete or traced.
    alpha: Parameter >= 0 of the Beta distribution; 0 returns `batch`.
    kappa: Ratio >= 1 of counts from which a label moves; infinity is `mixup`.
    tau: Share in [0, 1] of an image below which its label may move; 0 is
      `mixup`.
    progress: Progress in [0, 1] from `mixup`, 0, to Remix, 1; may be traced.

  Returns:
    ``(images, MixedLabels(batch, partner, lam))``, see `mixup`; lam differs
    from row to row, so losses must not be reduced before it is applied.

  Raises:
    ValueError: If a hyper-parameter is out of range, shapes differ, or a label
      is beyond `class_counts`.
    TypeError: If an argument is not a pair (images, labels), or has another
      dtype.

  .. note::
    The authors' Remix-DRW code takes the plain mean of the class-weighted
    losses, not the weighted mean. The code of PPmix averages lam over the
    batch, because its loss is reduced; here every pair keeps its own.
  """
  _checks.number('alpha', alpha, low=0)
  pair = _pairs.check_pair(batch, partner)
  counts = _checks.loss_counts(class_counts)
  for name, labels in (('batch[1]', batch[1]), ('partner[1]', partner[1])):
    _checks.class_labels(labels, counts.shape[0], name=name)
  share = _pairs.draw_share(key, alpha)
  lam = remix_label_weight(
    _pairs.share_per_row(share, pair),
    counts[pair.labels],
    counts[pair.partner_labels],
    kappa=kappa,
    tau=tau,
    progress=progress,
  )
  return _pairs.blend(pair, share), losses.MixedLabels(
    pair.labels, pair.partner_labels, lam
  )


def remix_label_weight(
  lam: ArrayLike,
  first_counts: ArrayLike,
  second_counts: ArrayLike,
  *,
  kappa: float = 3.0,
  tau: float = 0.5,
  progress: ArrayLike = 1.0,
) -> jax.Array:
  r"""Share of the first label of pairs whose images are mixed.

  .. math::
    \lambda_y = \begin{cases}
      \lambda (1 - e) & n_a / n_b \ge \kappa,\ \lambda < \tau \\
      \lambda (1 - e) + e & n_a / n_b \le 1 / \kappa,\ 1 - \lambda < \tau \\
      \lambda & \text{elsewhere}
    \end{cases}

  Chou et al., ECCV 2020 workshops (Remix), for e = 1; Xu et al., arXiv
  2205.12117 (PPmix), for a scheduled e. The label of the frequent class goes
  where its share of the image is small. Swapping the pair gives
  :math:`1 - \lambda_y`.

  >>> print(remix_label_weight(0.4, [900, 90, 200], [90, 900, 100]))
  [0.  0.4 0.4]

  Args:
    lam: Float array, shape ``[B]``, or scalar in [0, 1]: share of the first
      image in the mixed one.
    first_counts: Numbers, shape ``[B]``: training images of the class of the
      first label.
    second_counts: Numbers, shape ``[B]``: training images of the class of the
      second label.
    kappa: Ratio >= 1 of counts from which a label moves.
    tau: Share in [0, 1] of an image below which its label may move.
    progress: The share e of the move, in [0, 1], may be traced.

  Returns:
    Float32 array, shape ``[B]``.

  Raises:
    ValueError: If a hyper-parameter is out of range, or shapes differ.
  """
  _checks.number('kappa', kappa, low=1, finite=False)
  _checks.number('tau', tau, low=0, high=1)
  _checks.number('progress', progress, low=0, high=1)
  first = jnp.asarray(first_counts).astype(jnp.float32)
  second = jnp.asarray(second_counts).astype(jnp.float32)
  lam = jnp.asarray(lam).astype(jnp.float32)
  if first.ndim != 1 or first.shape != second.shape:
    raise ValueError(
      '`first_counts` and `second_counts` must have shape [B], got '
      f'{first.shape} and {second.shape}. Pass class_counts[labels] of both.'
    )
  if lam.shape not in ((), first.shape):
    raise ValueError(
      f'`lam` must be a scalar or [B], got {lam.shape} for {first.shape[0]} '
      'pairs.'
    )
  ratio = jnp.asarray(kappa).astype(jnp.float32)
  limit = jnp.asarray(tau).astype(jnp.float32)
  e = jnp.asarray(progress).astype(jnp.float32)
  lam = jnp.broadcast_to(lam, first.shape)
  # Products, not quotients: 3 * 100 <= 300 holds in floating point too.
  first_moves = (first >= ratio * second) & (lam < limit)
  second_moves = (ratio * first <= second) & (1.0 - lam < limit)
  # Two classes without images have no ratio.
  has_ratio = (first > 0) | (second > 0)
  moved = jnp.where(second_moves & ~first_moves, lam * (1 - e) + e, lam)
  moved = jnp.where(first_moves, lam * (1 - e), moved)
  return jnp.where(has_ratio, moved, lam)
