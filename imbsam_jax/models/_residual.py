# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parts of residual networks, whatever their blocks."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Literal

from flax import linen as nn
import jax
from jax.typing import DTypeLike

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models import _convolution
from imbsam_jax.models import _normalization

# What branches have each for itself: their last stage, or its last block.
Own = Literal['stage', 'block']


def check_stages(
  stage_sizes: Sequence[int],
  widths: Sequence[int],
  *,
  network: str,
  example_sizes: Sequence[int],
  example_widths: Sequence[int],
) -> None:
  """Refuses stages that no network can have.

  Args:
    stage_sizes: Number of blocks per stage.
    widths: Number of channels per stage.
    network: Name of a network whose sizes are the two examples below.
    example_sizes: Its `stage_sizes`, for the message.
    example_widths: Its `widths`, for the message.

  Raises:
    TypeError: If an entry is not an integer.
    ValueError: If an entry is below 1, or there is not one of each per stage.
  """
  sizes_example = f'stage_sizes={tuple(example_sizes)}'
  widths_example = f'widths={tuple(example_widths)}'
  if len(stage_sizes) != len(widths):
    raise ValueError(
      '`stage_sizes` and `widths` must have one entry per stage, got '
      f'{stage_sizes} and {widths}. {network} has {sizes_example} and '
      f'{widths_example}.'
    )
  for value in stage_sizes:
    _checks.integer(
      'stage_sizes', value, hint=f'Pass {sizes_example}, for example.'
    )
  for value in widths:
    _checks.integer(
      'widths', value, hint=f'Pass {widths_example}, for example.'
    )


def conv(
  x: jax.Array,
  channels: int,
  size: int,
  stride: int,
  *,
  groups: int = 1,
  fan: _initializers.Fan,
  dtype: DTypeLike,
  name: str,
) -> jax.Array:
  """A convolution without bias, for compact methods.

  It pads ``size // 2`` pixels on each side, as PyTorch does and Flax's `'SAME'`
  does not where the stride is 2: the kernel stays centered on the pixel that
  the shortcut keeps.

  Args:
    x: Array, shape ``[batch, height, width, in_channels]``.
    channels: Number of channels of the result.
    size: Height and width of the kernel, odd.
    stride: Stride of the convolution.
    groups: Number of groups of channels that do not see each other.
    fan: See `he_normal`. `'fan_in'` counts the channels of one group,
      `'fan_out'` all, as in PyTorch.
    dtype: Dtype of the computation.
    name: Name of the convolution.

  Returns:
    Array, shape ``[batch, ceil(height / stride), ceil(width / stride),
    channels]``.
  """
  return nn.Conv(
    channels,
    (size, size),
    strides=stride,
    padding=size // 2,
    feature_group_count=groups,
    use_bias=False,
    kernel_init=_initializers.he_normal(fan),
    dtype=dtype,
    conv_general_dilated=_convolution.convolution,
    name=name,
  )(x)


def conv_norm(
  x: jax.Array,
  channels: int,
  size: int,
  stride: int,
  *,
  groups: int = 1,
  norm: _normalization.NormName,
  fan: _initializers.Fan,
  dtype: DTypeLike,
  train: bool,
  name: str,
) -> jax.Array:
  """`conv`, then a normalization; for compact methods.

  Args:
    x: Array, shape ``[batch, height, width, in_channels]``.
    channels: Number of channels of the result.
    size: Height and width of the kernel, odd.
    stride: Stride of the convolution.
    groups: See `conv`.
    norm: See `Normalization`.
    fan: See `conv`.
    dtype: Dtype of the computation.
    train: Whether batch normalization uses and updates batch statistics.
    name: Name of the convolution; the normalization is ``{name}_norm``.

  Returns:
    Array, shape ``[batch, ceil(height / stride), ceil(width / stride),
    channels]``.
  """
  x = conv(
    x,
    channels,
    size,
    stride,
    groups=groups,
    fan=fan,
    dtype=dtype,
    name=name,
  )
  layer = _normalization.Normalization(norm, dtype=dtype, name=f'{name}_norm')
  return layer(x, train=train)


def apply_stages(
  x: jax.Array,
  make_block: Callable[..., nn.Module],
  stage_sizes: Sequence[int],
  widths: Sequence[int],
  *,
  train: bool,
  suffixes: Sequence[str] = ('',),
  own: Own = 'stage',
) -> tuple[jax.Array, ...]:
  """All blocks of a network; each stage after the first starts with stride 2.

  Args:
    x: Array, shape ``[batch, height, width, channels]``.
    make_block: ``make_block(width, stride=..., name=...)``, called as
      ``block(x, train=...)``.
    stage_sizes: Number of blocks per stage.
    widths: First argument of `make_block`, per stage.
    train: Whether batch normalization uses and updates batch statistics.
    suffixes: See `Classifier.branches`.
    own: See `Classifier.branches`.

  Returns:
    For each suffix the result of the last block. Block j of stage i, both from
    1, is named ``stage{i}_block{j}``, and the suffix if it is the branch's own.
  """
  blocks = [
    (f'stage{i}_block{j}', width, 2 if i > 1 and j == 1 else 1)
    for i, (num_blocks, width) in enumerate(
      zip(stage_sizes, widths, strict=True), start=1
    )
    for j in range(1, num_blocks + 1)
  ]

  def apply(x, some, suffix):
    for name, width, stride in some:
      block = make_block(width, stride=stride, name=name + suffix)
      x = block(x, train=train)
    return x

  num_own = stage_sizes[-1] if own == 'stage' else 1
  trunk = apply(x, blocks[:-num_own], '')
  return tuple(apply(trunk, blocks[-num_own:], suffix) for suffix in suffixes)
