# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The nearest-class-mean classifier."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _cosine


def class_means(
  features: ArrayLike, labels: ArrayLike, *, num_classes: int
) -> jax.Array:
  """Mean feature of each class.

  Args:
    features: Float array of any dtype, shape ``[N, D]``, of the training set.
    labels: Int array, shape ``[N]``, values in ``[0, num_classes)``. Rows of
      traced labels out of range are left out.
    num_classes: Number of classes.

  Returns:
    Float32 array, shape ``[num_classes, D]``; a class without rows has mean 0.

  Raises:
    ValueError: If lengths differ, `features` does not have two axes, or a label
      is out of range.
    TypeError: If `features` are not floating point, or `labels` are not
      integers.
  """
  features = _cosine.float_matrix('features', features)
  _checks.integer('num_classes', num_classes)
  labels = _checks.device_labels(
    labels, num_classes, num_rows=features.shape[0]
  )
  # Negative indices would count from the end.
  outside = (labels < 0) | (labels >= num_classes)
  rows = jnp.where(outside, num_classes, labels)
  sums = jnp.zeros((num_classes, features.shape[1]), jnp.float32)
  sums = sums.at[rows].add(features, mode='drop')
  counts = jnp.zeros(num_classes, jnp.float32).at[rows].add(1.0, mode='drop')
  return sums / jnp.maximum(counts, 1.0)[:, None]


def nearest_class_mean(
  features: ArrayLike,
  means: ArrayLike,
  *,
  metric: Literal['euclidean', 'cosine'] = 'euclidean',
) -> jax.Array:
  r"""Closeness of features to class means (NCM), the larger the nearer.

  .. math::
    -\|f_b - m_c\|_2^2 \quad \text{or} \quad \cos(f_b, m_c)

  Kang et al., `Decoupling Representation and Classifier for Long-Tailed
  Recognition <https://arxiv.org/abs/1910.09217>`_, ICLR 2020, who report the
  better of the two metrics. The largest column is the predicted class.

  >>> means = class_means([[0.0, 1.0], [4.0, 3.0], [6.0, 3.0]], [0, 1, 1],
  ...                     num_classes=2)
  >>> print(nearest_class_mean([[4.0, 3.0]], means))
  [[-20.  -1.]]

  Args:
    features: Float array of any dtype, shape ``[B, D]``.
    means: Float array of any dtype, shape ``[C, D]``, see `class_means`. A
      class without rows has mean 0, which may be the nearest: set its column to
      -inf.
    metric: 'euclidean', the squared distance with a minus sign, or 'cosine'.

  Returns:
    Float32 array, shape ``[B, C]``.

  Raises:
    ValueError: If `metric` is unknown, an array does not have two axes, or the
      widths differ.
    TypeError: If an array is not floating point.
  """
  if metric not in ('euclidean', 'cosine'):
    raise ValueError(
      f"`metric` must be 'euclidean' or 'cosine', got {metric!r}."
    )
  features = _cosine.float_matrix('features', features)
  means = _cosine.float_matrix('means', means)
  if features.shape[1] != means.shape[1]:
    raise ValueError(
      '`means` must be [C, D] with the D of `features`, got '
      f'{means.shape} for features {features.shape}.'
    )
  if metric == 'cosine':
    return _cosine.cosine_logits(features, means)

  # One class after the other: |f|^2 - 2fm + |m|^2 would lose small distances,
  # and all differences at once are too large.
  def closeness(mean):
    return -jnp.sum(jnp.square(features - mean[None]), axis=1)

  return jax.lax.map(closeness, means).T
