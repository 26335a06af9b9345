# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""OPeN: oversampling with images of pure noise."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.augment import _pairs


def pure_noise(
  key: jax.Array,
  batch: _pairs.Batch,
  class_counts: ArrayLike,
  *,
  delta: ArrayLike = 1 / 3,
  mean: ArrayLike = 0.0,
  std: ArrayLike = 1.0,
) -> tuple[jax.Array, jax.Array]:
  r"""Replaces images of rare classes by Gaussian noise; labels stay.

  .. math::
    P(\text{noise} \mid y) = \delta \, (1 - n_y / n_{max}), \qquad
    \tilde x \sim N(mean, std^2)

  Zada et al., `Pure Noise to the Rescue of Insufficient Data: Improving
  Imbalanced Classification by Training on Random Noise Images
  <https://arxiv.org/abs/2112.08810>`_, ICML 2022 (OPeN). The method draws
  classes uniformly (``class_probabilities(counts, power=0)``), late in training
  only (the last 40 of 200 epochs in third-party code), and normalizes with
  `models.dar_batch_norm`, which the mask of this function is for. The largest
  class never becomes noise; balanced classes leave the batch as it is.

  >>> import jax, jax.numpy as jnp
  >>> batch = jnp.zeros((2, 8, 8, 3)), jnp.array([0, 1])
  >>> images, is_noise = pure_noise(jax.random.key(0), batch, [9, 0], delta=1)
  >>> print(is_noise, images[0].std() > 0, images[1].std() > 0)
  [False  True] False True

  Args:
    key: Key of `jax.random`; rows draw independently.
    batch: Pair of images, a float array of shape ``[B, ..., channels]``, and
      labels, an int array of shape ``[B]``, values in ``[0, C)``.
    class_counts: Numbers, shape ``[C]``, concrete or traced; only ratios count.
    delta: Largest probability of noise, in [0, 1], that of a class without
      images; may be traced (0 outside of the late phase). The authors' is 1/3.
    mean: Mean of the noise, a number or one per channel, shape ``[channels]``:
      that of the training images in the space of `images`, so 0 after they were
      standardized.
    std: Standard deviation of the noise, a number >= 0 or one per channel; 1
      after the images were standardized.

  Returns:
    ``(images, is_noise)``: images keep their dtype, `is_noise` is a bool array
    of shape ``[B]``. The labels are those of `batch`.

  Raises:
    ValueError: If a hyper-parameter is out of range, shapes differ, images have
      no channels, or a label is beyond `class_counts`.
    TypeError: If `batch` is not a pair (images, labels), or has another dtype.

  .. note::
    One of the third-party codes pastes noise of raw pixels into standardized
    images, which a network tells apart at once. Here both are in one space, and
    uint8 images, which cannot hold a normal distribution, are refused.
  """
  _checks.number('delta', delta, low=0, high=1)
  _checks.number('mean', mean)
  _checks.number('std', std, low=0)
  images, labels = _pairs.images_and_labels('batch', batch)
  _check_floats(images)
  counts = _checks.loss_counts(class_counts)
  _checks.class_labels(batch[1], counts.shape[0], name='batch[1]')
  # The largest class has exactly 0, which no uniform number is below.
  rarity = 1.0 - counts[labels] / jnp.max(counts)
  probability = jnp.asarray(delta).astype(jnp.float32) * rarity
  use_key, noise_key = jax.random.split(key)
  draws = jax.random.uniform(use_key, labels.shape, jnp.float32)
  is_noise = draws < probability
  noise = jax.random.normal(noise_key, images.shape, jnp.float32)
  noise = _per_channel('std', std, images) * noise
  noise = _per_channel('mean', mean, images) + noise
  of_row = jnp.expand_dims(is_noise, range(1, images.ndim))
  return jnp.where(of_row, noise.astype(images.dtype), images), is_noise


def _check_floats(images: jax.Array) -> None:
  if images.dtype == jnp.uint8:
    raise TypeError(
      '`batch` must have floating point images, got uint8. Standardize them '
      'first: (images.astype(jnp.float32) / 255 - mean) / std.'
    )
  if images.ndim < 2:
    raise ValueError(
      '`batch` must have images [B, ..., channels], got shape '
      f'{images.shape}. Pass images[:, None] for rows of one number.'
    )


def _per_channel(name: str, value: ArrayLike, images: jax.Array) -> jax.Array:
  """A number, or one per channel, in the rank of the images."""
  array = jnp.asarray(value).astype(jnp.float32)
  channels = images.shape[-1]
  if array.shape not in ((), (channels,)):
    raise ValueError(
      f'`{name}` must be a number or have shape [{channels}], one for each '
      f'channel, got shape {array.shape}.'
    )
  return jnp.expand_dims(
    jnp.broadcast_to(array, (channels,)), range(images.ndim - 1)
  )
