# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""mixup: one convex combination of two batches."""

import jax

from imbsam_jax import _checks
from imbsam_jax import losses
from imbsam_jax.augment import _pairs


def mixup(
  key: jax.Array,
  batch: _pairs.Batch,
  partner: _pairs.Batch,
  *,
  alpha: float = 1.0,
) -> tuple[jax.Array, losses.MixedLabels]:
  r"""Mixes images and labels of two batches.

  .. math::
    \tilde x = \lambda x_{batch} + (1 - \lambda) x_{partner}, \qquad
    \lambda \sim Beta(\alpha, \alpha)

  Zhang et al., `mixup: Beyond Empirical Risk Minimization
  <https://arxiv.org/abs/1710.09412>`_, ICLR 2018. The partner of the paper's
  code is the same batch in another order:

  >>> import jax, jax.numpy as jnp
  >>> batch = jnp.array([[0.0], [8.0]]), jnp.array([0, 1])
  >>> partner = batch[0][::-1], batch[1][::-1]
  >>> images, labels = mixup(jax.random.key(0), batch, partner)
  >>> bool(jnp.allclose(images[1, 0], 8 * labels.lam[1]))
  True

  Args:
    key: Key of `jax.random`; one share is drawn for the whole batch.
    batch: Pair of images, a float or uint8 array of shape ``[B, ...]``, and
      labels, an int array of shape ``[B]``.
    partner: Pair like `batch`, images of the same shape and dtype.
    alpha: Parameter >= 0 of the Beta distribution: 1 is uniform, the usual
      value on CIFAR; 0.2 on ImageNet and iNaturalist. 0 returns `batch`.

  Returns:
    ``(images, MixedLabels(batch, partner, lam))``: images are mixed in float32
    and keep their dtype (uint8 is rounded), lam is a float32 array of shape
    ``[B]``.

  Raises:
    ValueError: If `alpha` is negative, or shapes differ.
    TypeError: If an argument is not a pair (images, labels), or has another
      dtype.
  """
  _checks.number('alpha', alpha, low=0)
  pair = _pairs.check_pair(batch, partner)
  share = _pairs.draw_share(key, alpha)
  return _pairs.blend(pair, share), losses.MixedLabels(
    pair.labels, pair.partner_labels, _pairs.share_per_row(share, pair)
  )
