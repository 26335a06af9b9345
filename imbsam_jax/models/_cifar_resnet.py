# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Residual networks for 32x32 images.

Sources: He et al., `Deep Residual Learning for Image Recognition
<https://arxiv.org/abs/1512.03385>`_, CVPR 2016, section 4.2 for ResNet-20 and
ResNet-32; the ResNet-34 of the ImbSAM experiments (Zhou et al., ICCV 2023).
"""

from collections.abc import Sequence
import functools
from typing import ClassVar
from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jax.typing import DTypeLike

from imbsam_jax import _initializers
from imbsam_jax.models import _classifier
from imbsam_jax.models import _normalization
from imbsam_jax.models import _residual

Shortcut = Literal['pad', 'projection']


def pad_shortcut(x: jax.Array, channels: int, stride: int) -> jax.Array:
  """Shortcut without parameters, option A of He et al. (2016).

  Every `stride`-th pixel, starting with the first; the new channels are zeros,
  half of them before the old ones and half behind.

  Args:
    x: Array, shape ``[batch, height, width, in_channels]``.
    channels: Number of channels of the result, `in_channels` or more.
    stride: Step between the pixels that are kept.

  Returns:
    Array, shape ``[batch, ceil(height / stride), ceil(width / stride),
    channels]``.
  """
  x = jax.lax.slice(x, (0, 0, 0, 0), x.shape, (1, stride, stride, 1))
  before = (channels - x.shape[-1]) // 2
  behind = channels - x.shape[-1] - before
  return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, behind)))


class BasicBlock(nn.Module):
  """Two 3x3 convolutions and a shortcut: ``relu(x' + norm(conv(...)))``.

  Attributes:
    channels: Number of channels of the result.
    stride: Stride of the first convolution and of the shortcut.
    shortcut: What happens where the shape changes: `'pad'` is `pad_shortcut`,
      `'projection'` a 1x1 convolution and a normalization (options A and B).
    norm: See `Normalization`.
    fan: See `CifarResNet`.
    dtype: Dtype of the computation.
  """

  channels: int
  stride: int = 1
  shortcut: Shortcut = 'pad'
  norm: _normalization.NormName = 'batch'
  fan: _initializers.Fan = 'fan_in'
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Applies the block.

    Args:
      x: Array, shape ``[batch, height, width, in_channels]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Array, shape ``[batch, ceil(height / stride), ceil(width / stride),
      channels]``.
    """
    conv_norm = functools.partial(
      _residual.conv_norm,
      channels=self.channels,
      norm=self.norm,
      fan=self.fan,
      dtype=self.dtype,
      train=train,
    )
    y = nn.relu(conv_norm(x, size=3, stride=self.stride, name='conv1'))
    y = conv_norm(y, size=3, stride=1, name='conv2')
    if self.stride != 1 or x.shape[-1] != self.channels:
      if self.shortcut == 'projection':
        x = conv_norm(x, size=1, stride=self.stride, name='projection')
      else:
        x = pad_shortcut(x, self.channels, self.stride)
    return nn.relu(x + y)


class CifarResNet(_classifier.Classifier):
  """Residual network with a 3x3 stem of stride 1 and no max-pooling.

  Stem, then stages of `BasicBlock`; each stage after the first starts with
  stride 2; then global average pooling. Convolutions have no bias and pad one
  pixel on each side, as PyTorch's.

  Kernels are normal of variance ``2 / fan`` (He et al., 2015): `'fan_in'` in
  the LDAM code, `'fan_out'` in torchvision.

  .. note::
    The LDAM code draws the linear classifier with variance ``2 / dim`` too, and
    torchvision uniformly with variance ``1 / (3 dim)``. `LinearHead` has
    ``1 / dim`` in every model.

  Attributes:
    num_classes: Number of classes.
    norm: `'batch'`, as in the sources, `'dar_batch'` or `'group'`; without a
      normalization the activations would double from block to block.
    head: `'linear'` or `'cosine'`.
    dtype: Dtype of the computation up to the features.
    stage_sizes: Number of blocks per stage.
    widths: Number of channels per stage; the stem has the first.
    shortcut: `'pad'` or `'projection'`, see `BasicBlock`.
    fan: `'fan_in'` or `'fan_out'`.
  """

  allowed_norms: ClassVar[tuple[str, ...]] = ('batch', 'dar_batch', 'group')

  norm: _normalization.NormName = 'batch'
  stage_sizes: Sequence[int] = (3, 3, 3)
  widths: Sequence[int] = (16, 32, 64)
  shortcut: Shortcut = 'pad'
  fan: _initializers.Fan = 'fan_in'

  def __post_init__(self) -> None:
    """Checks the attributes when the model is made, not at its first call."""
    # Tuples, because Flax modules are hashed when they are static arguments.
    self.stage_sizes = tuple(self.stage_sizes)
    self.widths = tuple(self.widths)
    _residual.check_stages(
      self.stage_sizes,
      self.widths,
      network='ResNet-32',
      example_sizes=(5, 5, 5),
      example_widths=(16, 32, 64),
    )
    if self.shortcut not in ('pad', 'projection'):
      raise ValueError(
        f"`shortcut` must be 'pad' or 'projection', got {self.shortcut!r}. Use "
        "shortcut='pad' for the one without parameters."
      )
    _initializers.he_normal(self.fan)  # Refuses an unknown word.
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
      For each suffix a float32 array, shape ``[batch, widths[-1]]``.

    Raises:
      TypeError: If `x` is not a float array.
      ValueError: If `x` does not have four axes.
    """
    x = _residual.conv_norm(
      _classifier.as_images(x, self.dtype),
      self.widths[0],
      3,
      1,
      norm=self.norm,
      fan=self.fan,
      dtype=self.dtype,
      train=train,
      name='stem',
    )
    make_block = functools.partial(
      BasicBlock,
      shortcut=self.shortcut,
      norm=self.norm,
      fan=self.fan,
      dtype=self.dtype,
    )
    ends = _residual.apply_stages(
      nn.relu(x),
      make_block,
      self.stage_sizes,
      self.widths,
      train=train,
      suffixes=suffixes,
      own=own,
    )
    return tuple(_classifier.average_pool(end) for end in ends)


class ResNet20(CifarResNet):
  """ResNet-20 of He et al. (2016), section 4.2.

  269,722 parameters with 10 classes, 275,572 with 100 (linear head, three input
  channels). `CifarResNet` has the attributes.
  """


class ResNet32(CifarResNet):
  """ResNet-32 of He et al. (2016), the network of the long-tail literature.

  464,154 parameters with 10 classes, 470,004 with 100 (linear head, three input
  channels). `CifarResNet` has the attributes.
  """

  stage_sizes: Sequence[int] = (5, 5, 5)


class CifarResNet34(CifarResNet):
  """ResNet-34 with a stem for small images, the network of ImbSAM's results.

  Torchvision's ResNet-34 with a 3x3 stem of stride 1 and no max-pooling; the
  ImbSAM paper calls it ResNet-32. 21,328,292 parameters with 100 classes
  (linear head, three input channels), 45 times those of `ResNet32`.
  `CifarResNet` has the attributes.
  """

  stage_sizes: Sequence[int] = (3, 4, 6, 3)
  widths: Sequence[int] = (64, 128, 256, 512)
  shortcut: Shortcut = 'projection'
  fan: _initializers.Fan = 'fan_out'
