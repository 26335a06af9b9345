# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cosines of rows, which heads and nearest class means share."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

# The default precision of a float32 product is bfloat16 on a TPU and TF32 on a
# GPU. Heads are too small to gain from that, and a loss multiplies cosines
# by a scale of about 30.
PRECISION = jax.lax.Precision.HIGHEST

# A row whose largest entry is below this counts as zero: the gradient of its
# direction, about 1 / norm, would leave the range of float32.
_ZERO_ROW = 1e-30


def float_matrix(name: str, value: ArrayLike) -> jax.Array:
  """A float array of two axes as float32.

  Args:
    name: Name of the argument.
    value: Float array, shape ``[rows, dim]``.

  Returns:
    Float32 array, shape ``[rows, dim]``.

  Raises:
    TypeError: If `value` is not a float array.
    ValueError: If `value` does not have two axes.
  """
  value = jnp.asarray(value)
  if not jnp.issubdtype(value.dtype, jnp.floating):
    raise TypeError(
      f'`{name}` must be a float array, got dtype {value.dtype}. Pass '
      f'{name}.astype(jnp.float32).'
    )
  if value.ndim != 2:
    raise ValueError(
      f'`{name}` must have two axes, one row each, got shape {value.shape}. '
      f'Pass {name}.reshape(-1, {name}.shape[-1]), or {name}[None] for one row.'
    )
  return value.astype(jnp.float32)


def unit_rows(rows: jax.Array) -> jax.Array:
  """Rows of length 1, also of very long and very short ones.

  Args:
    rows: Float32 array, shape ``[rows, dim]``.

  Returns:
    Float32 array, shape ``[rows, dim]``; a zero row stays one, gradient 0.
  """
  # Divided by its largest entry first, so that the squares of a very long or
  # very short row stay in range. A direction does not change with the length:
  # the divisor needs no gradient.
  largest = jnp.max(jnp.abs(rows), axis=-1, keepdims=True)
  is_zero = largest < _ZERO_ROW
  divisor = jax.lax.stop_gradient(jnp.where(is_zero, 1.0, largest))
  rows = rows / divisor
  squares = jnp.sum(jnp.square(rows), axis=-1, keepdims=True)
  # The inner `where` keeps the derivative of the root finite, the outer one
  # drops it.
  norms = jnp.sqrt(jnp.where(is_zero, 1.0, squares))
  return jnp.where(is_zero, 0.0, rows / norms)


def cosine_logits(features: ArrayLike, class_vectors: ArrayLike) -> jax.Array:
  """Cosine of each feature row with each class vector.

  ``logits[b, c] = <f_b, w_c> / (||f_b|| ||w_c||)``, the normalized classifier
  of LDAM (Cao et al., 2019) without its scale. There is no bias.

  .. note::
    Cross entropy on cosines cannot become small: with 100 classes the largest
    probability is about 0.07. The losses hold the scale (LDAM's is 30);
    multiply the cosines yourself under a loss that has none.

  Args:
    features: Float array, shape ``[batch, dim]``.
    class_vectors: Float array, shape ``[num_classes, dim]``, a row per class.

  Returns:
    Float32 array, shape ``[batch, num_classes]``, values in ``[-1, 1]``. A zero
    row, in either argument, has cosine 0 with everything and gradient 0.

  Raises:
    TypeError: If an argument is not a float array.
    ValueError: If an argument does not have two axes, or the widths differ.

  Examples:
    >>> import jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> features = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    >>> print(models.cosine_logits(features, jnp.array([[2.0, 0.0]])))
    [[0.6]
     [0. ]]
  """
  features = float_matrix('features', features)
  class_vectors = float_matrix('class_vectors', class_vectors)
  if features.shape[1] != class_vectors.shape[1]:
    raise ValueError(
      '`class_vectors` must be [num_classes, dim] with the dim of `features`, '
      f'got {class_vectors.shape} for features {features.shape}. If the '
      'classes are its columns, pass class_vectors.T.'
    )
  cosines = jnp.matmul(
    unit_rows(features), unit_rows(class_vectors).T, precision=PRECISION
  )
  # Rounding can leave the range by one unit, which an arccos turns into NaN.
  return jnp.clip(cosines, -1.0, 1.0)
