# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Classifier heads: the last layer, from features to logits."""

from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _cosine
from imbsam_jax import _initializers
from imbsam_jax.models import _prototypes

HeadName = Literal['linear', 'cosine', 'scaled_cosine', 'etf', 'prototypes']

HEADS: tuple[HeadName, ...] = (
  'linear',
  'cosine',
  'scaled_cosine',
  'etf',
  'prototypes',
)


class LinearHead(nn.Module):
  """Affine classifier: ``features @ kernel + bias``, in float32.

  Parameters: `kernel`, float32 ``[dim, num_classes]``, normal of variance
  ``1 / dim``; `bias`, float32 ``[num_classes]``, zeros.

  Attributes:
    num_classes: Number of classes.
  """

  num_classes: int

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Logits of a batch of features.

    Args:
      features: Float array, shape ``[batch, dim]``.

    Returns:
      Float32 array, shape ``[batch, num_classes]``.

    Raises:
      TypeError: If `features` is not a float array.
      ValueError: If `features` does not have two axes.
    """
    features = _cosine.float_matrix('features', features)
    kernel = self.param(
      'kernel',
      _initializers.scaled_normal(1.0, 'fan_in'),
      (features.shape[1], self.num_classes),
      jnp.float32,
    )
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (self.num_classes,), jnp.float32
    )
    return (
      jnp.matmul(features, kernel, precision=_cosine.PRECISION) + bias[None]
    )


class CosineHead(nn.Module):
  """Cosine classifier: `cosine_logits` with learned class vectors.

  It returns raw cosines in ``[-1, 1]``, which a plain cross entropy cannot fit:
  use a loss that holds a scale, or multiply by one (`cosine_logits` says more).

  Parameter: `class_vectors`, float32 ``[num_classes, dim]``, a row per class,
  normal of variance ``1 / dim``: directions uniform, lengths about 1. Their
  length does not change the logits, but the longer they are the slower they
  turn.

  Attributes:
    num_classes: Number of classes.
    scale: Factor of the cosines. With 1 a loss with a scale of its own follows;
      with 25, say, the logits are such that any loss can be fitted to them.
  """

  num_classes: int
  scale: float = 1.0

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Cosines of a batch of features.

    Args:
      features: Float array, shape ``[batch, dim]``.

    Returns:
      Float32 array, shape ``[batch, num_classes]``, values in ``[-scale,
      scale]``.

    Raises:
      TypeError: If `features` is not a float array.
      ValueError: If `features` does not have two axes.
    """
    features = _cosine.float_matrix('features', features)
    class_vectors = self.param(
      'class_vectors',
      # The rows are the outputs here: [num_classes, dim], not the reverse.
      _initializers.scaled_normal(1.0, 'fan_out'),
      (self.num_classes, features.shape[1]),
      jnp.float32,
    )
    cosines = _cosine.cosine_logits(features, class_vectors)
    return cosines if self.scale == 1 else self.scale * cosines


class ProjectedHead(nn.Module):
  """A learned affine map of the features, then a head of fixed directions.

  Pooled ReLU features are not negative, so their cosine with a direction that
  has negative entries is bounded away from 1. The map, to the features' own
  width, puts every direction within reach.

  Parameters: those of a `LinearHead` under `projection`. The directions lie in
  the collection `prototypes`, under `head`.

  Attributes:
    head: `EtfHead` or `PrototypeHead`.
  """

  head: nn.Module

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Cosines of a batch of features.

    Args:
      features: Float array, shape ``[batch, dim]``.

    Returns:
      Float32 array, shape ``[batch, num_classes]``, values in ``[-1, 1]``.

    Raises:
      TypeError: If `features` is not a float array.
      ValueError: If `features` does not have two axes, or is too narrow for the
        head.
    """
    features = _cosine.float_matrix('features', features)
    return self.head(LinearHead(features.shape[1], name='projection')(features))


def check_head(head: str) -> None:
  """Refuses an unknown head.

  Args:
    head: Word to check.

  Raises:
    ValueError: If `head` is not one of `HEADS`.
  """
  if head not in HEADS:
    words = ', '.join(repr(word) for word in HEADS)
    raise ValueError(
      f"`head` must be one of {words}, got {head!r}. Use head='linear', or "
      "head='cosine' for a loss that has a scale."
    )


def make_head(
  head: HeadName, num_classes: int, *, scale: float = 1.0
) -> nn.Module:
  """The head module of a name.

  Args:
    head: `'linear'`, `'cosine'` or `'scaled_cosine'`; `'etf'` or
      `'prototypes'`: cosines with fixed directions (`EtfHead`,
      `PrototypeHead`) after a learned affine map of the features to their own
      width, see `ProjectedHead`.
    num_classes: Number of classes.
    scale: Factor of the cosines of `'scaled_cosine'`.

  Returns:
    A Flax module from float features ``[batch, dim]`` to float32 logits
    ``[batch, num_classes]``.

  Raises:
    ValueError: If `head` is unknown.
  """
  check_head(head)
  match head:
    case 'linear':
      return LinearHead(num_classes)
    case 'cosine':
      return CosineHead(num_classes)
    case 'scaled_cosine':
      return CosineHead(num_classes, scale=scale)
    case 'etf':
      return ProjectedHead(_prototypes.EtfHead(num_classes))
    case _:
      return ProjectedHead(_prototypes.PrototypeHead(num_classes))
