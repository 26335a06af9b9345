# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks without biases: an encoder, and the autoencoder that starts it."""

from collections.abc import Sequence
from typing import Literal

from flax import linen as nn
import jax

from imbsam_jax import _initializers

Norm = Literal['batch', 'none']

# Of the released code; PyTorch's and Flax's defaults are smaller.
_EPSILON = 1e-4
_SLOPE = 0.01


class _Hidden(nn.Module):
  """Linear, normalized without scale and shift, leaky ReLU; a layer each."""

  sizes: Sequence[int]
  norm: Norm

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    for i, size in enumerate(self.sizes, start=1):
      x = _linear(size, f'dense{i}')(x)
      if self.norm == 'batch':
        x = nn.BatchNorm(
          use_running_average=not train,
          momentum=0.9,
          epsilon=_EPSILON,
          use_bias=False,
          use_scale=False,
          name=f'norm{i}',
        )(x)
      x = nn.leaky_relu(x, _SLOPE)
    return x


class Encoder(nn.Module):
  """The map phi of Deep SAD for tables: an MLP without any bias.

  A bias anywhere would let the network map every row to the center: it could
  set the weights to zero and the last bias to c (Ruff et al., ICML 2018,
  proposition 2).

  Attributes:
    hidden_sizes: Units of the hidden layers: linear, BatchNorm without scale
      and shift, leaky ReLU.
    embedding_size: Length of the embedding, a linear function of the last
      hidden layer.
    norm: 'batch' as in the released code, or 'none'; rows do not depend on
      each other then.

  Examples:
    >>> import jax, jax.numpy as jnp
    >>> from imbsam_jax import anomaly
    >>> encoder = anomaly.Encoder(hidden_sizes=(32, 16), embedding_size=8)
    >>> rows = jnp.ones([5, 21])
    >>> variables = encoder.init(jax.random.key(0), rows, train=False)
    >>> encoder.apply(variables, rows, train=False).shape
    (5, 8)
  """

  hidden_sizes: Sequence[int] = (32, 16)
  embedding_size: int = 8
  norm: Norm = 'batch'

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Embeds rows.

    Args:
      x: Float32 ``[B, D]``.
      train: Whether BatchNorm uses the statistics of these rows.

    Returns:
      Float32 ``[B, embedding_size]``.
    """
    x = _Hidden(self.hidden_sizes, self.norm, name='hidden')(x, train=train)
    return _linear(self.embedding_size, 'embedding')(x)


class Autoencoder(nn.Module):
  """An `Encoder` and its mirror image, for pre-training.

  Attributes:
    encoder: The encoder, which alone is kept after pre-training.
    num_features: Number of features, D.
  """

  encoder: Encoder
  num_features: int

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Reconstructs rows that lie in [0, 1].

    Args:
      x: Float32 ``[B, D]``.
      train: Whether BatchNorm uses the statistics of these rows.

    Returns:
      Float32 ``[B, D]``, from 0 to 1.
    """
    x = self.encoder(x, train=train)
    sizes = tuple(reversed(self.encoder.hidden_sizes))
    x = _Hidden(sizes, self.encoder.norm, name='decoder')(x, train=train)
    return nn.sigmoid(_linear(self.num_features, 'reconstruction')(x))


def _linear(size: int, name: str) -> nn.Dense:
  return nn.Dense(
    size,
    use_bias=False,
    kernel_init=_initializers.he_normal(),
    name=name,
  )
