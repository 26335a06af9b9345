# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of a bottleneck ResNet's tensors in torchvision and timm."""

from collections.abc import Iterator
from collections.abc import Mapping
import re
from typing import NamedTuple

from flax import linen as nn
import jax
from jax.typing import ArrayLike

from imbsam_jax import models
from imbsam_jax.pretrained import _rules
from imbsam_jax.pretrained import _safetensors

Rule = _rules.Rule
Entries = Mapping[str, _safetensors.Entry]

NAME = 'torchvision ResNet'
MARKER = 'layer1.0.conv1.weight'
_DROPPED = r'fc\.(weight|bias)|.*\.num_batches_tracked'
# Leaf and key of what batch normalization has.
NORM = (
  ('params', 'scale', 'weight'),
  ('params', 'bias', 'bias'),
  ('batch_stats', 'mean', 'running_mean'),
  ('batch_stats', 'var', 'running_var'),
)


class FeatureResNet(models.BottleneckResNet):
  """A `BottleneckResNet` that returns its features, without a head.

  Attributes are those of `BottleneckResNet`; `num_classes` is not used.
  """

  num_classes: int = 1

  def __call__(  # pyrefly: ignore[bad-override]
    self, x: ArrayLike, *, train: bool = False
  ) -> jax.Array:
    """Features of a batch.

    Args:
      x: Float array, normalized, shape ``[batch, height, width, 3]``.
      train: Whether batch normalization uses and updates batch statistics.

    Returns:
      Float32 array, shape ``[batch, expansion * widths[-1]]``.
    """
    return self.features(x, train=train)


class Dims(NamedTuple):
  """Sizes of a ResNet.

  Attributes:
    stage_sizes: Number of blocks per stage.
    widths: Number of channels of the 3x3 convolutions per stage.
    expansion: Factor of a width that gives the channels of the block's result.
    stem_width: Number of channels of the stem.
  """

  stage_sizes: tuple[int, ...]
  widths: tuple[int, ...]
  expansion: int
  stem_width: int

  def make_module(self) -> nn.Module:
    """The network."""
    return FeatureResNet(
      norm='batch',
      stage_sizes=self.stage_sizes,
      widths=self.widths,
      expansion=self.expansion,
      stem_width=self.stem_width,
    )


def dims_of(entries: Entries) -> Dims:
  """Sizes from the names and shapes of a file; 0 where a tensor is missing.

  Args:
    entries: Its tensors.
  """
  blocks: dict[int, set[int]] = {}
  for key in entries:
    match = re.match(r'layer([1-9])\.([0-9]{1,3})\.', key)
    if match:
      blocks.setdefault(int(match[1]), set()).add(int(match[2]))
  # As many as are there: one that is missing is in the middle.
  stages = range(1, len(blocks) + 1)
  return Dims(
    tuple(len(blocks.get(stage, ())) for stage in stages),
    tuple(_size(entries, f'layer{stage}.0.conv1.weight') for stage in stages),
    _size(entries, 'layer1.0.conv3.weight')
    // max(_size(entries, 'layer1.0.conv1.weight'), 1),
    _size(entries, 'conv1.weight'),
  )


def outside(entries: Entries, keys: set[str]) -> list[str]:
  """Keys that a file of this format does not have, besides its head.

  Args:
    entries: Its tensors.
    keys: Keys that the rules read.
  """
  return sorted(
    key for key in set(entries) - keys if not re.fullmatch(_DROPPED, key)
  )


def names_of(dims: Dims) -> Iterator[tuple[tuple[str, ...], str, str]]:
  """Path of each convolution in our tree, its key and that of its norm.

  Args:
    dims: Sizes of the network.
  """
  yield ('stem',), 'conv1', 'bn1'
  before = dims.stem_width
  for stage, (size, width) in enumerate(
    zip(dims.stage_sizes, dims.widths, strict=True), 1
  ):
    for number in range(size):
      block, key = f'stage{stage}_block{number + 1}', f'layer{stage}.{number}'
      for i in (1, 2, 3):
        yield (block, f'conv{i}'), f'{key}.conv{i}', f'{key}.bn{i}'
      channels = dims.expansion * width
      if number == 0 and (stage > 1 or before != channels):
        yield (
          (block, 'projection'), f'{key}.downsample.0', f'{key}.downsample.1'
        )  # fmt: skip
      before = channels


def rules_of(dims: Dims) -> list[Rule]:
  """Where each leaf of our tree comes from.

  Args:
    dims: Sizes of the network.
  """
  rules = []
  for path, key, norm in names_of(dims):
    shape = _shape(dims, path)
    rules.append(
      Rule(
        ('params', *path, 'kernel'),
        f'{key}.weight',
        shape,
        _rules.convolution,
      )
    )
    inside = (*path[:-1], f'{path[-1]}_norm', 'BatchNorm_0')
    for collection, leaf, word in NORM:
      rules.append(
        Rule(
          (collection, *inside, leaf),
          f'{norm}.{word}',
          shape[:1],
          _rules.as_it_is,
        )
      )
  return rules


def _shape(dims: Dims, path: tuple[str, ...]) -> tuple[int, ...]:
  if path == ('stem',):
    return (dims.stem_width, 3, 7, 7)
  stage, number = (int(word) for word in re.findall(r'[0-9]+', path[0]))
  width = dims.widths[stage - 1]
  channels = dims.expansion * width
  before = channels
  if number == 1:
    before = dims.stem_width
    if stage > 1:
      before = dims.expansion * dims.widths[stage - 2]
  return {
    'conv1': (width, before, 1, 1),
    'conv2': (width, width, 3, 3),
    'conv3': (channels, width, 1, 1),
    'projection': (channels, before, 1, 1),
  }[path[1]]


def _size(entries: Entries, key: str) -> int:
  entry = entries.get(key)
  return entry.shape[0] if entry is not None and entry.shape else 0
