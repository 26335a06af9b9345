# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is known of a trunk, read or only looked at."""

import math
from typing import Any
from typing import NamedTuple

from flax import linen as nn

from imbsam_jax.pretrained import _presets

Preset = _presets.Preset


class Trunk(NamedTuple):
  """A pre-trained network without its head.

  Attributes:
    module: The network: ``module.apply(variables, images)`` gives features,
      float32 ``[batch, dim]``.
    variables: Its parameters, ``{'params': ...}``, float32; with
      `'batch_stats'` for a ResNet. A CLIP has ``['params']['projection']
      ['kernel']``, ``[dim, embedding]``, which the module does not read.
    preset: What the file does not say: normalization of images, activation,
      epsilon, heads.
    sha256: SHA-256 of the file, as hexadecimal digits.
    format: Name of the format that the file was known to have.
    file: Name of the file.
    image_size: Height and width of images that the module takes; None for a
      ResNet, which takes any.
    resized: Grids of positions before and after, and the rule, as text; empty
      if they are those of the file.
    num_parameters: Number of parameters, without a projection.
  """

  module: nn.Module
  variables: dict[str, Any]
  preset: Preset
  sha256: str
  format: str
  file: str
  image_size: tuple[int, int] | None
  resized: str
  num_parameters: int

  def summary(self) -> str:
    """The trunk in one line: file, format, preset, positions, size, SHA-256."""
    return _line(self, f'SHA-256 {self.sha256[:12]}')


class Description(NamedTuple):
  """What `load` would give, from the headers of a file.

  Attributes:
    module: The network.
    variables: Shapes and dtypes of its variables.
    preset: What the file does not say.
    format: Name of the format.
    file: Name of the file.
    image_size: Height and width of images; None for a ResNet.
    resized: Grids of positions before and after, and the rule, as text.
    num_parameters: Number of parameters, without a projection.
  """

  module: nn.Module
  variables: dict[str, Any]
  preset: Preset
  format: str
  file: str
  image_size: tuple[int, int] | None
  resized: str
  num_parameters: int

  def summary(self) -> str:
    """The trunk in one line: file, format, preset, positions, size."""
    return _line(self, 'from its headers')


def _line(trunk: Trunk | Description, last: str) -> str:
  projection = trunk.variables['params'].get('projection')
  beside = ''
  if projection is not None:
    beside = f' and {math.prod(projection["kernel"].shape):,} of its projection'
  size = ''
  if trunk.image_size is not None:
    size = f'{trunk.image_size[0]}x{trunk.image_size[1]} px, '
    size += f'{trunk.resized or "positions as in the file"}, '
  return (
    f'{trunk.file}: {trunk.format}, preset {trunk.preset.name}, {size}'
    f'{trunk.num_parameters:,} parameters{beside}, {last}'
  )
