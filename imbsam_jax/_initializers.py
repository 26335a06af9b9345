# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernel initialization."""

from collections.abc import Callable
from collections.abc import Sequence
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

Fan = Literal['fan_in', 'fan_out']


def scaled_normal(scale: float, fan: Fan) -> Callable[..., jax.Array]:
  """Normal initialization of variance ``scale / fan``, not truncated.

  .. note::
    Arrays are drawn flat and reshaped. The numbers are those of a draw in the
    array's own shape, but for the random bits of one axis XLA's CPU compiler
    takes 0.2 seconds, of two axes 1 and of four axes 2 to 5 (jax 0.10.2 and
    0.12.0), and a network needs one such program for each shape of a kernel.

  Args:
    scale: Positive number.
    fan: `'fan_in'` counts the inputs of an output, `'fan_out'` the outputs of
      an input.

  Returns:
    An initializer ``(key, shape, dtype)`` for kernels of shape ``[..., inputs,
    outputs]``.

  Raises:
    ValueError: If `fan` is unknown.
  """
  if fan not in ('fan_in', 'fan_out'):
    raise ValueError(
      f"`fan` must be 'fan_in' or 'fan_out', got {fan!r}. Use fan='fan_in'."
    )

  def init(
    key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32
  ) -> jax.Array:
    size = math.prod(shape)
    count = size // (shape[-1] if fan == 'fan_in' else shape[-2])
    draws = jax.random.normal(key, (size,), dtype)
    return (math.sqrt(scale / count) * draws).reshape(shape)

  return init


def normal(stddev: float) -> Callable[..., jax.Array]:
  """Normal initialization, not cut off. Drawn flat, see `scaled_normal`.

  Args:
    stddev: Standard deviation.

  Returns:
    An initializer ``(key, shape, dtype)`` for arrays of any shape.
  """
  return _drawn_flat(lambda *args: stddev * jax.random.normal(*args))


def uniform(bound: float) -> Callable[..., jax.Array]:
  """Uniform initialization. Drawn flat, see `scaled_normal`.

  Args:
    bound: Largest absolute value.

  Returns:
    An initializer ``(key, shape, dtype)`` for arrays of any shape.
  """
  return _drawn_flat(
    lambda *args: jax.random.uniform(*args, minval=-bound, maxval=bound)
  )


def truncated_normal(stddev: float) -> Callable[..., jax.Array]:
  """Normal initialization, cut off at two standard deviations.

  The deviation of what is left is 0.88 `stddev`. Drawn flat, see
  `scaled_normal`.

  Args:
    stddev: Standard deviation before the cut.

  Returns:
    An initializer ``(key, shape, dtype)`` for arrays of any shape.
  """
  return _drawn_flat(
    lambda key, *args: (
      stddev * jax.random.truncated_normal(key, -2.0, 2.0, *args)
    )
  )


def he_normal(fan: Fan = 'fan_in') -> Callable[..., jax.Array]:
  """Normal initialization of variance ``2 / fan``, for layers before a ReLU.

  He et al. (2015). `'fan_in'` keeps the scale of activations, `'fan_out'` that
  of gradients. It is PyTorch's ``kaiming_normal_``; Flax's ``he_normal`` cuts
  the normal at two standard deviations.

  Args:
    fan: See `scaled_normal`.

  Returns:
    An initializer, see `scaled_normal`.

  Raises:
    ValueError: If `fan` is unknown.
  """
  return scaled_normal(2.0, fan)


def _drawn_flat(draw: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """An initializer from ``draw(key, shape, dtype)``."""

  def init(
    key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32
  ) -> jax.Array:
    return draw(key, (math.prod(shape),), dtype).reshape(shape)

  return init
