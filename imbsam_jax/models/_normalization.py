# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Choice of normalization layer, and what it means for a row of a batch."""

from collections.abc import Sequence
import contextlib
from typing import Any
from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from imbsam_jax.models import _dar_batch_norm

NormName = Literal['batch', 'dar_batch', 'group', 'none']

NORMS: tuple[NormName, ...] = ('batch', 'dar_batch', 'group', 'none')

# Those under which the rows of a batch depend on each other.
BATCH_NORMS: tuple[NormName, ...] = ('batch', 'dar_batch')

_MAX_GROUPS = 8
_EPSILON = 1e-5
_MOMENTUM = 0.9
# The name that Flax gives it, for both layers: their variables are the same.
_BATCH_NORM = 'BatchNorm_0'


def check_norm(norm: str, allowed: Sequence[str] = NORMS) -> None:
  """Refuses a normalization that a model does not have.

  Args:
    norm: Word to check.
    allowed: Words that the model knows.

  Raises:
    ValueError: If `norm` is not one of `allowed`.
  """
  if norm not in allowed:
    words = ', '.join(repr(word) for word in allowed)
    raise ValueError(
      f'`norm` must be one of {words}, got {norm!r}. Use norm={allowed[0]!r}, '
      "or norm='group' for a model whose rows do not depend on each other."
    )


def num_groups(channels: int) -> int:
  """Number of groups that `GroupNorm` gets for a number of channels.

  The largest divisor of `channels` that is at most 8 and leaves two channels or
  more in a group: groups of one channel are instance normalization, which
  erases the mean of a channel before global average pooling can read it. The
  number itself matters little: on long-tailed digits 1, 4, 8 and 16 groups of
  64 channels are within a point of each other (5 seeds, 2026-11).

  Args:
    channels: Number of channels, 1 or more.

  Returns:
    The number of groups; 1 where no other divisor is left.
  """
  candidates = range(min(_MAX_GROUPS, channels // 2), 1, -1)
  return next((n for n in candidates if channels % n == 0), 1)


class GroupNorm(nn.Module):
  """Group normalization (Wu and He, 2018) as one product and one sum.

  ``y = a x + b`` with, for each row and channel, ``a = scale / sqrt(var +
  epsilon)`` and ``b = bias - mean a``, where mean and variance are those of the
  channel's group. Flax's layer computes the same; here all sums over pixels are
  sums of one channel (of x and x^2, and in the gradient of dy and x dy), which
  compilers make in one reading of the array: a step of ResNet-32 on CPUs
  takes about 1.07 times as long with Flax's.

  Attributes:
    num_groups: Number of groups; it divides the number of channels.
    epsilon: Summand of the variance that keeps the quotient finite.
  """

  num_groups: int
  epsilon: float = _EPSILON

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalizes each row by itself.

    Args:
      x: Float32 array, shape ``[batch, ..., channels]``.

    Returns:
      Array of the same shape.
    """
    channels = x.shape[-1]
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    pixels = tuple(range(1, x.ndim - 1))
    mean = self._mean_of_group(x.mean(pixels))
    mean_of_squares = self._mean_of_group(jnp.square(x).mean(pixels))
    # Rounding makes a difference of nearly equal numbers negative at times.
    variance = jnp.maximum(mean_of_squares - jnp.square(mean), 0.0)
    factor = scale[None] * jax.lax.rsqrt(variance + self.epsilon)
    summand = bias[None] - mean * factor
    return x * jnp.expand_dims(factor, pixels) + jnp.expand_dims(
      summand, pixels
    )

  def _mean_of_group(self, x: jax.Array) -> jax.Array:
    """The mean of its group for each channel, ``[batch, channels]``."""
    rows, channels = x.shape
    size = channels // self.num_groups
    groups = x.reshape(rows, self.num_groups, size)
    means = groups.mean(-1, keepdims=True)
    return jnp.broadcast_to(means, groups.shape).reshape(x.shape)


class Normalization(nn.Module):
  """Batch normalization, group normalization or none, by name.

  The statistics, the scale and the bias are float32 whatever `dtype` is: sums
  of squares in bfloat16 lose the small differences that a normalization is
  about to enlarge.

  - `'batch'` (Ioffe and Szegedy, 2015): momentum 0.9, epsilon 1e-5. The only
    operation of these models that mixes the rows of a batch. Adds the
    collection `'batch_stats'`, which a call with `train=True` updates
    (`mutable=['batch_stats']`).
  - `'dar_batch'` (Zada et al., 2022): `'batch'` that keeps rows of noise apart
    in training, see `dar_batch_norm`; running averages are those of natural
    rows. Without a `noise_mask`, and in evaluation, it is `'batch'`, of which
    it has the variables: a run goes over from one to the other as it is.
  - `'group'` (Wu and He, 2018): `num_groups(channels)` groups, epsilon 1e-5.
    Each row by itself, the same in training and evaluation.
  - `'none'`: the identity; no parameters.

  .. note::
    PyTorch keeps the unbiased variance in its running average, Flax the biased
    one; the normalization of a training batch is the same.

  Attributes:
    norm: `'batch'`, `'dar_batch'`, `'group'` or `'none'`.
    dtype: Dtype of the result.
  """

  norm: NormName
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, *, train: bool, noise_mask: jax.Array | None = None
  ) -> jax.Array:
    """Normalizes `x`.

    Args:
      x: Float array, shape ``[batch, ..., channels]``.
      train: Whether `'batch'` and `'dar_batch'` use the statistics of this
        batch (and update the running ones) or the running ones.
      noise_mask: Bool array, shape ``[batch]``: rows that are noise, for
        `'dar_batch'`. `'batch'` takes them as it takes all rows, and the others
        have no statistics across rows that they could disturb. Within a
        `Classifier` it comes from there.

    Returns:
      Array of `x`'s shape and of dtype `self.dtype`.

    Raises:
      ValueError: If `norm` is an unknown word.
    """
    check_norm(self.norm)
    if self.norm == 'none':
      return x.astype(self.dtype)
    # Cast here and not by the layers' own dtype: they would subtract a float32
    # mean from a bfloat16 input, which strict dtype promotion refuses.
    x = x.astype(jnp.float32)
    if self.norm == 'group':
      y = GroupNorm(num_groups(x.shape[-1]))(x)
    elif self.norm == 'dar_batch' and train and noise_mask is not None:
      layer = _dar_batch_norm.DarBatchNorm(
        momentum=_MOMENTUM, epsilon=_EPSILON, name=_BATCH_NORM
      )
      y = layer(x, noise_mask)
    else:
      y = nn.BatchNorm(
        use_running_average=not train,
        momentum=_MOMENTUM,
        epsilon=_EPSILON,
        name=_BATCH_NORM,
      )(x)
    return y.astype(self.dtype)


def noise_rows(
  noise_mask: jax.Array | None,
) -> contextlib.AbstractContextManager[Any]:
  """Within it every `Normalization` that is called has the mask.

  Blocks between a model and its norms need not know of it.

  Args:
    noise_mask: Bool array, shape ``[batch]``, or None for no noise.
  """
  if noise_mask is None:
    return contextlib.nullcontext()

  def hand_over(function, args, kwargs, context):
    if (
      isinstance(context.module, Normalization)
      and context.method_name == '__call__'
    ):
      kwargs = {'noise_mask': noise_mask, **kwargs}
    return function(*args, **kwargs)

  return nn.intercept_methods(hand_over)
