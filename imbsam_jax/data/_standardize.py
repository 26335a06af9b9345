# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Standardization of stored images, as the input of a model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Mean and standard deviation of the channels.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def standardization(images: Any) -> Callable[[jax.Array], jax.Array]:
  """Zero mean and unit variance per channel of the training images.

  Args:
    images: Training images; of encoded ones the statistics are those of
      ImageNet, as is usual.

  Returns:
    The function from stored images to the input of a model.
  """
  scale = 255.0 if images.dtype == np.uint8 else 1.0
  if not isinstance(images, np.ndarray):
    mean, std = (np.array(x).reshape(1, 1, 1, 3) for x in _IMAGENET)
  elif images.dtype == np.uint8 and images.ndim == 4:
    mean, std = _statistics_of_bytes(images)
  else:
    axes = tuple(range(images.ndim - 1))
    mean = images.mean(axis=axes, dtype=np.float64, keepdims=True) / scale
    std = images.std(axis=axes, dtype=np.float64, keepdims=True) / scale
  mean = jnp.asarray(mean, jnp.float32)
  std = jnp.asarray(np.where(std > 0, std, 1.0), jnp.float32)

  def preprocess(batch):
    return (batch.astype(jnp.float32) / scale - mean) / std

  return preprocess


def _statistics_of_bytes(
  images: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation per channel, in [0, 1].

  From histograms: exact, and many times faster than sums of float64 images.
  """
  values = np.arange(256) / 255
  means, variances = [], []
  for channel in np.moveaxis(images, -1, 0):
    counts = np.bincount(channel.ravel(), minlength=256)
    means.append(counts @ values / counts.sum())
    variances.append(counts @ (values - means[-1]) ** 2 / counts.sum())
  shape = (1, 1, 1, -1)
  return np.reshape(means, shape), np.sqrt(np.reshape(variances, shape))
