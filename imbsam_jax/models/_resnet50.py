# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Residual networks of bottleneck blocks for 224x224 images.

Sources: He et al., `Deep Residual Learning for Image Recognition
<https://arxiv.org/abs/1512.03385>`_, CVPR 2016, section 4.1; Xie et al.,
`Aggregated Residual Transformations for Deep Neural Networks
<https://arxiv.org/abs/1611.05431>`_, CVPR 2017, table 1. As torchvision builds
them.
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
from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual

_FAN: _initializers.Fan = 'fan_out'


def max_pool(x: jax.Array) -> jax.Array:
  """Largest value of every other 3x3 window, windows centered on kept pixels.

  The padding never wins, whatever the sign of the values.

  Args:
    x: Float array, shape ``[batch, height, width, channels]``.

  Returns:
    Array of `x`'s dtype, shape ``[batch, ceil(height / 2), ceil(width / 2),
    channels]``.
  """
  # Padding and arguments by name, since jax2onnx drops the padding of a pooling
  # and knows names alone. XLA folds one into the other.
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
  return nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding='VALID')


class BottleneckBlock(nn.Module):
  """1x1, 3x3 and 1x1 convolutions and a shortcut: ``relu(x' + norm(...))``.

  The shortcut is a 1x1 convolution and a normalization where the shape changes,
  else the identity.

  Attributes:
    width: Number of channels of the 3x3 convolution.
    expansion: Factor of `width` that gives the channels of the result.
    stride: Stride of the 3x3 convolution and of the shortcut.
    groups: Groups of channels of the 3x3 convolution.
    norm: See `Normalization`.
    dtype: Dtype of the computation.
  """

  width: int
  expansion: int = 4
  stride: int = 1
  groups: int = 1
  norm: _normalization.NormName = 'batch'
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Applies the block.

    Args:
      x: Array, shape ``[batch, height, width, in_channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Array, shape ``[batch, ceil(height / stride), ceil(width / stride),
      expansion * self.width]``.
    """
    conv_norm = functools.partial(
      _residual.conv_norm,
      norm=self.norm,
      fan=_FAN,
      dtype=self.dtype,
      train=train,
    )
    channels = self.expansion * self.width
    y = nn.relu(conv_norm(x, self.width, 1, 1, name='conv1'))
    y = conv_norm(
      y, self.width, 3, self.stride, groups=self.groups, name='conv2'
    )
    y = conv_norm(nn.relu(y), channels, 1, 1, name='conv3')
    if self.stride != 1 or x.shape[-1] != channels:
      x = conv_norm(x, channels, 1, self.stride, name='projection')
    return nn.relu(x + y)


class BottleneckResNet(_classifier.Classifier):
  """Residual network for large images: a 7x7 stem, then bottleneck blocks.

  The stem, of stride 2, and a 3x3 max-pooling of stride 2 leave a quarter of
  the height and width. Then stages of blocks; each stage after the first starts
  with stride 2; then global average pooling. Images of 224x224 become 7x7;
  other sizes work too. Convolutions have no bias and pad as PyTorch's; kernels
  are normal of variance ``2 / fan_out`` (He et al., 2015).

  .. note::
    The stride is that of the 3x3 convolution, as in torchvision ('v1.5') and in
    Goyal et al. (https://arxiv.org/abs/1706.02677), section 5.1; He et al. have
    it in the first 1x1 convolution. All normalizations start with scale 1, as
    torchvision's default; Goyal et al. start the last of each block with 0.

  .. note::
    Torchvision draws the linear classifier uniformly with variance
    ``1 / (3 dim)``; `LinearHead` has ``1 / dim`` in every model.

  Attributes:
    num_classes: Number of classes.
    norm: `'batch'`, as in the sources, `'dar_batch'` or `'group'`; without a
      normalization the activations would double from block to block.
    head: `'linear'` or `'cosine'`.
    dtype: Dtype of the computation up to the features.
    stage_sizes: Number of blocks per stage.
    widths: Number of channels of the 3x3 convolutions per stage.
    expansion: Factor of a width that gives the channels of the block's result.
    groups: Groups of channels of the 3x3 convolutions (ResNeXt's cardinality).
    stem_width: Number of channels of the stem.
  """

  allowed_norms: ClassVar[tuple[str, ...]] = ('batch', 'dar_batch', 'group')

  norm: _normalization.NormName = 'batch'
  stage_sizes: Sequence[int] = (3, 4, 6, 3)
  widths: Sequence[int] = (64, 128, 256, 512)
  expansion: int = 4
  groups: int = 1
  stem_width: int = 64

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    # Tuples, because Flax modules are hashed when they are static arguments.
    self.stage_sizes = tuple(self.stage_sizes)
    self.widths = tuple(self.widths)
    _residual.check_stages(
      self.stage_sizes,
      self.widths,
      network='ResNet-50',
      example_sizes=(3, 4, 6, 3),
      example_widths=(64, 128, 256, 512),
    )
    for name, example in (('expansion', 4), ('groups', 32), ('stem_width', 64)):
      _checks.integer(
        name,
        getattr(self, name),
        hint=f'Pass {name}={example}, for example.',
      )
    if any(width % self.groups for width in self.widths):
      raise ValueError(
        f'`widths` must be multiples of `groups`, got {self.widths} for groups='
        f'{self.groups}. ResNeXt-50 has widths=(128, 256, 512, 1024) and '
        'groups=32.'
      )
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
    """Channels of the last block, averaged over the image.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, channels]``.
      train: Whether batch normalization uses and updates batch statistics.
      suffixes: See `Classifier.branches`.
      own: See `Classifier.branches`.

    Returns:
      For each suffix a float32 array, shape ``[batch, expansion *
      widths[-1]]``: 2048 entries in `ResNet50` and `ResNeXt50`.

    Raises:
      TypeError: If `x` is not a float array.
      ValueError: If `x` does not have four axes.
    """
    x = _residual.conv_norm(
      _classifier.as_images(x, self.dtype),
      self.stem_width,
      7,
      2,
      norm=self.norm,
      fan=_FAN,
      dtype=self.dtype,
      train=train,
      name='stem',
    )
    make_block = functools.partial(
      BottleneckBlock,
      expansion=self.expansion,
      groups=self.groups,
      norm=self.norm,
      dtype=self.dtype,
    )
    ends = _residual.apply_stages(
      max_pool(nn.relu(x)),
      make_block,
      self.stage_sizes,
      self.widths,
      train=train,
      suffixes=suffixes,
      own=own,
    )
    return tuple(_classifier.average_pool(end) for end in ends)


class ResNet50(BottleneckResNet):
  """ResNet-50 of He et al. (2016), the network of ImageNet-LT and iNaturalist.

  25,557,032 parameters with 1000 classes (linear head, three input channels)
  and 4.09 billion multiplications for a 224x224 image, as torchvision's.
  `BottleneckResNet` has the attributes.
  """


class ResNeXt50(BottleneckResNet):
  """ResNeXt-50 (32x4d) of Xie et al. (2017).

  3x3 convolutions twice as wide as `ResNet50`'s, in 32 groups: of 4 channels in
  the first stage, of 8, 16 and 32 in the others. 25,028,904 parameters with
  1000 classes (linear head, three input channels) and 4.23 billion
  multiplications for a 224x224 image, as torchvision's. `BottleneckResNet` has
  the attributes.
  """

  widths: Sequence[int] = (128, 256, 512, 1024)
  expansion: int = 2
  groups: int = 32
