# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Wide residual networks for 32x32 images.

Source: Zagoruyko and Komodakis, `Wide Residual Networks
<https://arxiv.org/abs/1605.07146>`_, BMVC 2016.
"""

from collections.abc import Sequence
import functools
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jax.typing import DTypeLike

from imbsam_jax import _checks
from imbsam_jax import _initializers
from imbsam_jax.models import _cifar_resnet
from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual

_FAN: _initializers.Fan = 'fan_out'
_STEM_WIDTH = 16


class PreActivationBlock(nn.Module):
  """Two 3x3 convolutions, each after norm and ReLU: ``x' + conv(...)``.

  Dropout is before the second convolution. The shortcut is the identity, or
  where the shape changes a 1x1 convolution of what the first convolution reads,
  ``relu(norm(x))``. Nothing follows the sum.

  Attributes:
    channels: Number of channels of the result.
    stride: Stride of the first convolution and of the shortcut.
    dropout_rate: See `WideResNet`.
    norm: See `Normalization`.
    dtype: Dtype of the computation.
  """

  channels: int
  stride: int = 1
  dropout_rate: float = 0.0
  norm: _normalization.NormName = 'batch'
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Applies the block.

    Args:
      x: Array, shape ``[batch, height, width, in_channels]``.
      train: Whether dropout draws, and batch normalization uses and updates
        batch statistics.

    Returns:
      Array, shape ``[batch, ceil(height / stride), ceil(width / stride),
      channels]``.
    """
    conv = functools.partial(
      _residual.conv, channels=self.channels, fan=_FAN, dtype=self.dtype
    )
    norm = functools.partial(
      _normalization.Normalization, self.norm, dtype=self.dtype
    )
    y = nn.relu(norm(name='norm1')(x, train=train))
    if self.stride != 1 or x.shape[-1] != self.channels:
      x = conv(y, size=1, stride=self.stride, name='projection')
    y = conv(y, size=3, stride=self.stride, name='conv1')
    y = nn.relu(norm(name='norm2')(y, train=train))
    y = nn.Dropout(self.dropout_rate, name='dropout')(
      y, deterministic=not train
    )
    return x + conv(y, size=3, stride=1, name='conv2')


class WideResNet(_classifier.Classifier):
  """Residual network of few and wide blocks, with dropout inside.

  A 3x3 stem of 16 channels, then three stages of ``(depth - 4) / 6`` blocks
  (`PreActivationBlock`) with 16 k, 32 k and 64 k channels, k being `width`; the
  second and the third start with stride 2. Then a normalization, ReLU and
  global average pooling. Convolutions have no bias and pad one pixel on each
  side.

  Kernels are normal of variance ``2 / fan_out`` (He et al., 2015), as in the
  authors' Torch code, and normalizations start as the identity.

  In training `apply` needs a key for dropout, ``rngs={'dropout': key}``, unless
  the rate is 0.

  .. note::
    Torch draws the linear classifier uniformly with variance ``1 / (3 dim)``;
    `LinearHead` has ``1 / dim`` in every model, and like the authors' no bias
    at the start.

  Attributes:
    num_classes: Number of classes.
    norm: `'batch'`, as in the source, or another that `CifarResNet` has.
    head: `'linear'` or `'cosine'`.
    dtype: Dtype of the computation up to the features.
    depth: Number of convolutions, ``6 n + 4`` with n blocks per stage.
    width: Factor k of the numbers of channels.
    dropout_rate: Share of the values between the two convolutions of a block
      that are set to 0 in training; the others are divided by one minus the
      rate. 0.3 is the paper's for CIFAR, which also reports runs without.
  """

  allowed_norms: ClassVar[tuple[str, ...]] = (
    _cifar_resnet.CifarResNet.allowed_norms
  )

  norm: _normalization.NormName = 'batch'
  depth: int = 28
  width: int = 10
  dropout_rate: float = 0.3

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    hint = 'Pass depth=28, for example.'
    _checks.integer('depth', self.depth, low=10, hint=hint)
    if self.depth % 6 != 4:
      raise ValueError(
        '`depth` must be 6 n + 4, n blocks for each of three stages, got '
        f'{self.depth}. {hint}'
      )
    _checks.integer('width', self.width, hint='Pass width=10, for example.')
    _checks.share('dropout_rate', self.dropout_rate, one=False)
    super().__post_init__()

  @nn.compact
  def branches(
    self,
    x: ArrayLike,
    *,
    train: bool,
    suffixes: Sequence[str] = ('',),
    own: _residual.Own = 'stage',
  ) -> tuple[jax.Array, ...]:
    """Channels after the last normalization and ReLU, averaged over the image.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether dropout draws, and batch normalization uses and updates
        batch statistics.
      suffixes: See `Classifier.branches`. A branch has the last normalization
        for itself, too.
      own: See `Classifier.branches`.

    Returns:
      For each suffix a float32 array, shape ``[batch, 64 * self.width]``.

    Raises:
      TypeError: If `x` is not a float array.
      ValueError: If `x` does not have four axes.
    """
    x = _residual.conv(
      _classifier.as_images(x, self.dtype),
      _STEM_WIDTH,
      3,
      1,
      fan=_FAN,
      dtype=self.dtype,
      name='stem',
    )
    make_block = functools.partial(
      PreActivationBlock,
      dropout_rate=self.dropout_rate,
      norm=self.norm,
      dtype=self.dtype,
    )
    ends = _residual.apply_stages(
      x,
      make_block,
      3 * (int(self.depth - 4) // 6,),
      [_STEM_WIDTH * self.width * factor for factor in (1, 2, 4)],
      train=train,
      suffixes=suffixes,
      own=own,
    )

    def pooled(end, suffix):
      layer = _normalization.Normalization(
        self.norm, dtype=self.dtype, name=f'last_norm{suffix}'
      )
      return _classifier.average_pool(nn.relu(layer(end, train=train)))

    return tuple(map(pooled, ends, suffixes))


class WideResNet28x10(WideResNet):
  """WRN-28-10 of Zagoruyko and Komodakis (2016), the network of OPeN's results.

  36,479,194 parameters with 10 classes, 36,536,884 with 100 (linear head, three
  input channels) and 5.24 billion multiplications for a 32x32 image, 76 times
  those of `ResNet32`. `WideResNet` has the attributes.
  """
