# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A block of a Vision Transformer: attention, then two dense layers."""

from collections.abc import Callable
import math
from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from imbsam_jax import _initializers
from imbsam_jax.models import _layer_norm
from imbsam_jax.models import tuning as tuning_lib

ActivationName = Literal['gelu', 'gelu_tanh', 'quick_gelu']


def _gelu(x: jax.Array) -> jax.Array:
  # Flax's default is the approximation.
  return nn.gelu(x, approximate=False)


def _gelu_tanh(x: jax.Array) -> jax.Array:
  return nn.gelu(x, approximate=True)


def _quick_gelu(x: jax.Array) -> jax.Array:
  return x * nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'gelu': _gelu,
  'gelu_tanh': _gelu_tanh,
  'quick_gelu': _quick_gelu,
}


def dense(
  features: int | tuple[int, ...],
  dtype: DTypeLike,
  name: str,
  *,
  axis: int | tuple[int, ...] = -1,
) -> nn.DenseGeneral:
  """An affine map of the last axes of tokens; kernels start as in ViT papers.

  Args:
    features: Shape of an output.
    dtype: Dtype of the product.
    name: Name of the module.
    axis: Axes of an input.
  """
  return nn.DenseGeneral(
    features,
    axis=axis,
    dtype=dtype,
    kernel_init=_initializers.truncated_normal(0.02),
    name=name,
  )


class Attention(nn.Module):
  """Attention of all tokens to all, in several heads.

  ``concat_i(softmax(Q_i K_i^T / sqrt(d)) V_i) W_o + b_o``, where Q, K and V are
  affine in the tokens and a head i has d = width / num_heads of their columns.
  Parameters `query`, `key` and `value` with kernels ``[width, num_heads, d]``,
  `out` with ``[num_heads, d, width]``, as `nn.MultiHeadDotProductAttention` has
  them.

  Attributes:
    num_heads: Number of heads.
    tuning: See `VisionTransformer`.
    dtype: Dtype of the products; the softmax is float32.
  """

  num_heads: int
  tuning: tuning_lib.Tuning
  dtype: DTypeLike

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """Attends.

    Args:
      tokens: Array of dtype `dtype`, shape ``[batch, tokens, width]``.

    Returns:
      Array of the same shape and dtype.
    """
    width = tokens.shape[-1]
    size = width // self.num_heads

    def read(name):
      outputs = dense((self.num_heads, size), self.dtype, name)(tokens)
      return self.tuning.adjust(name, tokens, outputs)

    query, key, value = map(read, ('query', 'key', 'value'))
    scores = jnp.einsum(
      'bqhd,bkhd->bhqk',
      query / math.sqrt(size),
      key,
      preferred_element_type=_layer_norm.exact(self.dtype),
    )
    weights = nn.softmax(scores).astype(self.dtype)
    seen = jnp.einsum('bhqk,bkhd->bqhd', weights, value)
    outputs = dense(width, self.dtype, 'out', axis=(-2, -1))(seen)
    return self.tuning.adjust('out', seen, outputs)


class MlpOfTokens(nn.Module):
  """Two dense layers on each token: ``act(Y W_1 + b_1) W_2 + b_2``.

  Attributes:
    width: Number of hidden units.
    activation: Name of the activation.
    tuning: See `VisionTransformer`.
    dtype: Dtype of the computation.
  """

  width: int
  activation: ActivationName
  tuning: tuning_lib.Tuning
  dtype: DTypeLike

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """Applies the layers.

    Args:
      tokens: Array of dtype `dtype`, shape ``[batch, tokens, width]``.

    Returns:
      Array of the same shape and dtype.
    """
    hidden = dense(self.width, self.dtype, 'fc1')(tokens)
    hidden = self.tuning.adjust('fc1', tokens, hidden)
    hidden = ACTIVATIONS[self.activation](hidden)
    outputs = dense(tokens.shape[-1], self.dtype, 'fc2')(hidden)
    return self.tuning.adjust('fc2', hidden, outputs)


class Block(nn.Module):
  """Attention and two dense layers, each after a normalization and with a skip.

  ``U = X + Attention(LN_1(X))``, then ``U + MLP(LN_2(U))``.

  Attributes:
    num_heads: See `VisionTransformer`.
    mlp_width: See `VisionTransformer`.
    patch_size: See `VisionTransformer`.
    num_tokens: Number of tokens that are the trunk's own, the first ones.
    activation: See `VisionTransformer`.
    epsilon: See `VisionTransformer`.
    tuning: See `VisionTransformer`.
    dtype: See `VisionTransformer`.
  """

  num_heads: int
  mlp_width: int
  patch_size: int
  num_tokens: int
  activation: ActivationName
  epsilon: float
  tuning: tuning_lib.Tuning
  dtype: DTypeLike

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """Applies the block.

    Args:
      tokens: Array of dtype `dtype`, shape ``[batch, tokens, width]``.

    Returns:
      Array of the same dtype, shape ``[batch, tokens, width]``.
    """
    tokens = self.tuning.before_block(
      tokens,
      param=self.param,
      patch_size=self.patch_size,
      num_tokens=self.num_tokens,
    )

    def normed(name, tokens):
      outputs = _layer_norm.LayerNorm(self.epsilon, self.dtype, name=name)(
        tokens
      )
      outputs = outputs.astype(self.dtype)
      return self.tuning.adjust(name, tokens, outputs)

    attention = Attention(
      self.num_heads, self.tuning, self.dtype, name='attention'
    )
    tokens = tokens + attention(normed('norm1', tokens))
    mlp = MlpOfTokens(
      self.mlp_width, self.activation, self.tuning, self.dtype, name='mlp'
    )
    outputs = mlp(normed('norm2', tokens))
    return tokens + self.tuning.adjust('mlp', tokens, outputs)
