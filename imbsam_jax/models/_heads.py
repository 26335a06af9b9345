# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Classifier heads: the last layer, from features to logits."""

from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax.models import _initializers

HeadName = Literal['linear', 'cosine']

HEADS: tuple[HeadName, ...] = ('linear', 'cosine')

# The default precision of a float32 product is bfloat16 on a TPU and TF32 on a
# GPU. The heads are too small to gain from that, and a loss multiplies cosines
# by a scale of about 30.
_PRECISION = jax.lax.Precision.HIGHEST

# A row whose largest entry is below this counts as zero: the gradient of its
# direction, about 1 / norm, would leave the range of float32.
_ZERO_ROW = 1e-30


def _matrix(name: str, value: ArrayLike) -> jax.Array:
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


def _unit_rows(rows: jax.Array) -> jax.Array:
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

  ``logits[b, c] = <f_b, w_c> / (||f_b|| ||w_c||)``, the normalised classifier
  of LDAM (Cao et al., 2019) without its scale. There is no bias.

  .. note::
    Cross entropy on cosines cannot become small: with 100 classes the largest
    probability is about 0.07. The losses hold the scale (LDAM's is 30);
    multiply the cosines yourself under a loss that has none.

  Args:
    features: float array, shape ``[batch, dim]``.
    class_vectors: float array, shape ``[num_classes, dim]``, a row per class.

  Returns:
    Float32 array, shape ``[batch, num_classes]``, values in ``[-1, 1]``. A zero
    row, in either argument, has cosine 0 with everything and gradient 0.

  Raises:
    TypeError: an argument is not a float array.
    ValueError: an argument has not two axes, or the widths differ.

  Examples:
    >>> import jax.numpy as jnp
    >>> from imbsam_jax import models
    >>> features = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    >>> print(models.cosine_logits(features, jnp.array([[2.0, 0.0]])))
    [[0.6]
     [0. ]]
  """
  features = _matrix('features', features)
  class_vectors = _matrix('class_vectors', class_vectors)
  if features.shape[1] != class_vectors.shape[1]:
    raise ValueError(
      '`class_vectors` must be [num_classes, dim] with the dim of `features`, '
      f'got {class_vectors.shape} for features {features.shape}. If the '
      'classes are its columns, pass class_vectors.T.'
    )
  cosines = jnp.matmul(
    _unit_rows(features), _unit_rows(class_vectors).T, precision=_PRECISION
  )
  # Rounding can leave the range by one unit, which an arccos turns into NaN.
  return jnp.clip(cosines, -1.0, 1.0)


class LinearHead(nn.Module):
  """Affine classifier: ``features @ kernel + bias``, in float32.

  Parameters: `kernel`, float32 ``[dim, num_classes]``, normal of variance
  ``1 / dim``; `bias`, float32 ``[num_classes]``, zeros.

  Attributes:
    num_classes: number of classes.
  """

  num_classes: int

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Logits of a batch of features.

    Args:
      features: float array, shape ``[batch, dim]``.

    Returns:
      Float32 array, shape ``[batch, num_classes]``.

    Raises:
      TypeError: `features` is not a float array.
      ValueError: `features` has not two axes.
    """
    features = _matrix('features', features)
    kernel = self.param(
      'kernel',
      _initializers.scaled_normal(1.0, 'fan_in'),
      (features.shape[1], self.num_classes),
      jnp.float32,
    )
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (self.num_classes,), jnp.float32
    )
    return jnp.matmul(features, kernel, precision=_PRECISION) + bias[None]


class CosineHead(nn.Module):
  """Cosine classifier: `cosine_logits` with learned class vectors.

  It returns raw cosines in ``[-1, 1]``, which a plain cross entropy cannot fit:
  use a loss that holds a scale, or multiply by one (`cosine_logits` says more).

  Parameter: `class_vectors`, float32 ``[num_classes, dim]``, a row per class,
  normal of variance ``1 / dim``: directions uniform, lengths about 1. Their
  length does not change the logits, but the longer they are the slower they
  turn.

  Attributes:
    num_classes: number of classes.
  """

  num_classes: int

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Cosines of a batch of features.

    Args:
      features: float array, shape ``[batch, dim]``.

    Returns:
      Float32 array, shape ``[batch, num_classes]``, values in ``[-1, 1]``.

    Raises:
      TypeError: `features` is not a float array.
      ValueError: `features` has not two axes.
    """
    features = _matrix('features', features)
    class_vectors = self.param(
      'class_vectors',
      # The rows are the outputs here: [num_classes, dim], not the reverse.
      _initializers.scaled_normal(1.0, 'fan_out'),
      (self.num_classes, features.shape[1]),
      jnp.float32,
    )
    return cosine_logits(features, class_vectors)


def check_head(head: str) -> None:
  """Refuses an unknown head.

  Args:
    head: the word to check.

  Raises:
    ValueError: `head` is not one of `HEADS`.
  """
  if head not in HEADS:
    words = ', '.join(repr(word) for word in HEADS)
    raise ValueError(
      f"`head` must be one of {words}, got {head!r}. Use head='linear', or "
      "head='cosine' for a loss that has a scale."
    )


def make_head(head: HeadName, num_classes: int) -> nn.Module:
  """The head module of a name.

  Args:
    head: `'linear'` or `'cosine'`.
    num_classes: number of classes.

  Returns:
    A Flax module from float features ``[batch, dim]`` to float32 logits
    ``[batch, num_classes]``.

  Raises:
    ValueError: `head` is unknown.
  """
  check_head(head)
  if head == 'cosine':
    return CosineHead(num_classes)
  return LinearHead(num_classes)
