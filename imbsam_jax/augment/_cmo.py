# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CMO: a box of a rare image on the background of a frequent one."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import losses
from imbsam_jax.augment import _pairs


def cmo(
  key: jax.Array,
  batch: _pairs.Batch,
  partner: _pairs.Batch,
  *,
  beta: float = 1.0,
  probability: ArrayLike = 0.5,
) -> tuple[jax.Array, losses.MixedLabels]:
  r"""Pastes a box of the partner on the batch (context-rich oversampling).

  .. math::
    r \sim Beta(\beta, \beta), \quad
    (h, w) = \sqrt{1 - r} \, (H, W), \quad
    \lambda = 1 - \frac{|box|}{H W}

  Park et al., `The Majority Can Help The Minority: Context-Rich Minority
  Oversampling for Long-Tailed Classification
  <https://arxiv.org/abs/2112.00412>`_, CVPR 2022: CutMix whose patches come
  from a stream in which rare classes are frequent. The box has a uniform
  center, half sizes rounded down, and is cut off at the border; lam is the
  exact share of pixels of `batch`. With probability ``1 - probability`` the
  batch stays as it is.

  Args:
    key: Key of `jax.random`; one box is drawn for the whole batch.
    batch: Pair of images, a float or uint8 array of shape ``[B, H, W,
      channels]``, and labels, an int array of shape ``[B]``: the background,
      from the natural stream.
    partner: Pair like `batch`, which gives the patches. The paper samples
      classes with :math:`n^{-r}`, its code examples with weight 1 / n, which is
      uniform over classes: ``class_probabilities(counts, power=0)``.
    beta: Parameter >= 0 of the Beta distribution; 0 returns `batch`.
    probability: Probability that a batch is mixed, may be traced. The authors
      mix in the epochs 3 < t < num_epochs - 3 only: pass 0 outside of them.

  Returns:
    ``(images, MixedLabels(batch, partner, lam))``: each pixel is that of one of
    the two images, lam is a float32 array of shape ``[B]``.

  Raises:
    ValueError: If a hyper-parameter is out of range, shapes differ, or images
      do not have four axes.
    TypeError: If an argument is not a pair (images, labels), or has another
      dtype.
  """
  _checks.number('beta', beta, low=0)
  _checks.number('probability', probability, low=0, high=1)
  pair = _pairs.check_pair(batch, partner)
  if pair.images.ndim != 4:
    raise ValueError(
      '`batch` must have images [B, H, W, channels], got '
      f'{pair.images.shape}. Pass images[..., None] for gray images without a '
      'channel axis.'
    )
  _, height, width, _ = pair.images.shape
  use_key, share_key, row_key, column_key = jax.random.split(key, 4)
  share = _pairs.draw_share(share_key, beta)
  side = jnp.sqrt(1.0 - share)
  # A mask: the size of a slice would have to be known while tracing.
  in_box = (
    _in_interval(row_key, height, side)[:, None]
    & _in_interval(column_key, width, side)[None, :]
  )
  probability = jnp.asarray(probability).astype(jnp.float32)
  in_box &= jax.random.uniform(use_key, (), jnp.float32) < probability
  images = jnp.where(in_box[None, :, :, None], pair.partner_images, pair.images)
  num_pasted = jnp.sum(in_box.astype(jnp.int32)).astype(jnp.float32)
  lam = 1.0 - num_pasted / max(height * width, 1)
  return images, losses.MixedLabels(
    pair.labels, pair.partner_labels, _pairs.share_per_row(lam, pair)
  )


def _in_interval(key: jax.Array, size: int, side: jax.Array) -> jax.Array:
  """Bool ``[size]``: an interval of ``side * size`` around a random center."""
  half = jnp.floor(side * size).astype(jnp.int32) // 2
  centre = jax.random.randint(key, (), 0, max(size, 1), jnp.int32)
  positions = jnp.arange(size, dtype=jnp.int32)
  return (positions >= centre - half) & (positions < centre + half)
