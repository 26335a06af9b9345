# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""DAR-BN: batch normalization that keeps images of noise apart."""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks


def dar_batch_norm(
  x: ArrayLike,
  noise_mask: ArrayLike,
  scale: ArrayLike,
  bias: ArrayLike,
  *,
  epsilon: float = 1e-5,
  noise_gradient: bool = True,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  r"""Batch normalization with statistics of natural and of noise rows.

  .. math::
    y_i = \gamma \frac{x_i - \mu_{g(i)}}{\sqrt{\sigma^2_{g(i)} + \epsilon}}
      + \beta, \qquad g(i) \in \{natural, noise\}

  Zada et al., `Pure Noise to the Rescue of Insufficient Data: Improving
  Imbalanced Classification by Training on Random Noise Images
  <https://arxiv.org/abs/2112.08810>`_, ICML 2022 (distribution-aware routing
  batch normalization), for the images of `augment.pure_noise`. Means and biased
  variances are those of the rows of the same kind; noise rows take
  :math:`\gamma` and :math:`\beta` as constants. Natural rows do not depend on
  noise rows, and without noise rows this is batch normalization.

  >>> import jax.numpy as jnp
  >>> x = jnp.array([[1.0], [3.0], [70.0], [90.0]])
  >>> is_noise = jnp.array([False, False, True, True])
  >>> y, mean, variance = dar_batch_norm(x, is_noise, jnp.ones(1), jnp.zeros(1))
  >>> print(y[:, 0].round(3), mean, variance)
  [-1.  1. -1.  1.] [2.] [1.]

  Args:
    x: Float array, shape ``[B, ..., channels]``.
    noise_mask: Bool array, shape ``[B]``: which rows are noise.
    scale: Float array :math:`\gamma`, shape ``[channels]``.
    bias: Float array :math:`\beta`, shape ``[channels]``.
    epsilon: Summand of the variance, above 0.
    noise_gradient: Whether gradients flow through noise rows to `x`. Neither
      `scale` nor `bias` gets any from them.

  Returns:
    ``(y, mean, variance)``, float32: `x` normalized, and the statistics of the
    natural rows, shape ``[channels]``, for running averages. Without natural
    rows these are zeros, which an average must not take in.

  Raises:
    TypeError: If `x`, `scale` or `bias` is not floating point, or `noise_mask`
      is not bool.
    ValueError: If shapes do not fit, or `epsilon` is not positive.

  .. note::
    The code of the paper's appendix, in most third-party transcriptions, takes
    noise rows as constants altogether: below the last normalization nothing
    then learns from them. That is ``noise_gradient=False``. The transcriptions
    also differ in whether variances are biased.

  .. note::
    A variance is the mean of squares minus the square of the mean, in float32,
    as in Flax's `BatchNorm`: it loses digits where means are far from 0.
  """
  _checks.number('epsilon', epsilon, above=0)
  x = _float_array('x', x)
  if x.ndim < 2:
    raise ValueError(
      f'`x` must have shape [B, ..., channels], got shape {x.shape}. Pass '
      'x[:, None] for one channel.'
    )
  is_noise = _checks.row_mask('noise_mask', noise_mask, x.shape[0])
  scale = _of_channels('scale', scale, x)
  bias = _of_channels('bias', bias, x)
  noise = is_noise[:, None]
  pixels = tuple(range(1, x.ndim - 1))
  if not noise_gradient:
    x = jnp.where(jnp.expand_dims(noise, pixels), jax.lax.stop_gradient(x), x)
  # By row first, which reads `x` once for both kinds.
  moments = jnp.mean(x, pixels), jnp.mean(jnp.square(x), pixels)
  mean, variance = _statistics(*moments, ~noise)
  factor, summand = _affine(scale, bias, mean, variance + epsilon)
  noise_mean, noise_variance = _statistics(*moments, noise)
  noise_factor, noise_summand = _affine(
    *jax.lax.stop_gradient((scale, bias)), noise_mean, noise_variance + epsilon
  )
  factor = jnp.where(noise, noise_factor, factor)
  summand = jnp.where(noise, noise_summand, summand)
  y = x * jnp.expand_dims(factor, pixels) + jnp.expand_dims(summand, pixels)
  return y, mean[0], variance[0]


class DarBatchNorm(nn.Module):
  """`dar_batch_norm` in training, with the variables of Flax's `BatchNorm`.

  Parameters `scale` and `bias`, and `mean` and `var` in ``'batch_stats'``: the
  running averages of natural rows. A batch without any leaves them as they are.

  Attributes:
    momentum: Share of a running average that a step keeps.
    epsilon: Summand of the variance.
  """

  momentum: float
  epsilon: float

  @nn.compact
  def __call__(self, x: jax.Array, noise_mask: jax.Array) -> jax.Array:
    """Normalizes a batch, and updates the running averages.

    Args:
      x: Float32 array, shape ``[batch, ..., channels]``.
      noise_mask: Bool array, shape ``[batch]``.

    Returns:
      Float32 array of the same shape.
    """
    shape = x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, shape)
    bias = self.param('bias', nn.initializers.zeros, shape)
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
    running_variance = self.variable('batch_stats', 'var', jnp.ones, shape)
    y, mean, variance = dar_batch_norm(
      x, noise_mask, scale, bias, epsilon=self.epsilon
    )
    if not self.is_initializing():
      has_natural = ~jnp.all(noise_mask)
      for running, new in ((running_mean, mean), (running_variance, variance)):
        average = self.momentum * running.value + (1 - self.momentum) * new
        running.value = jnp.where(has_natural, average, running.value)
    return y


def _statistics(
  means: jax.Array, means_of_squares: jax.Array, chosen: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Mean and variance of chosen rows, ``[1, channels]``.

  Args:
    means: Float32 array, shape ``[B, channels]``, by row.
    means_of_squares: Float32 array, shape ``[B, channels]``, by row.
    chosen: Bool array, shape ``[B, 1]``; without any the result is zeros.
  """
  num_rows = jnp.maximum(jnp.sum(chosen.astype(jnp.float32)), 1.0)

  def average(moments):
    # Not a product with zeros, which infinities of other rows would survive.
    kept = jnp.where(chosen, moments, 0.0)
    return jnp.sum(kept, 0, keepdims=True) / num_rows

  mean = average(means)
  # Rounding makes a difference of nearly equal numbers negative at times.
  variance = average(means_of_squares) - jnp.square(mean)
  return mean, jnp.maximum(variance, 0.0)


def _affine(
  scale: jax.Array, bias: jax.Array, mean: jax.Array, variance: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Factor and summand of a normalization."""
  factor = scale * jax.lax.rsqrt(variance)
  return factor, bias - factor * mean


def _float_array(name: str, value: ArrayLike) -> jax.Array:
  array = jnp.asarray(value)
  if not jnp.issubdtype(array.dtype, jnp.floating):
    raise TypeError(
      f'`{name}` must be a float array, got dtype {array.dtype}. Pass '
      f'{name}.astype(jnp.float32).'
    )
  return array.astype(jnp.float32)


def _of_channels(name: str, value: ArrayLike, x: jax.Array) -> jax.Array:
  """One value per channel of `x`, ``[1, channels]``."""
  array = _float_array(name, value)
  if array.shape != x.shape[-1:]:
    raise ValueError(
      f'`{name}` must have shape [{x.shape[-1]}], one value for each channel '
      f'of `x`, got {array.shape}.'
    )
  return array[None]
