# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pre-trained trunk of a run, from its file."""

import dataclasses
import functools
import pathlib
from typing import Any
from typing import NamedTuple

from flax import linen as nn
from flax import traverse_util

from imbsam_jax import _errors
from imbsam_jax.experiment import _config

NAME = 'trunk'


class Trunk(NamedTuple):
  """What was read from the file of a trunk.

  Attributes:
    module: From images to features, a Linen module without a head.
    variables: Its variables.
    projection: Kernel ``[D, E]`` of CLIP's joint space, or None.
    preset: Constants of the published network, see `pretrained.Preset`.
    sha256: Checksum of the file.
    summary: A line about all this.
  """

  module: nn.Module
  variables: dict[str, Any]
  projection: Any
  preset: Any
  sha256: str
  summary: str


def is_wanted(config: _config.Model) -> bool:
  """Whether the network of a configuration is that of a file.

  Raises:
    ConfigError: If it is, and there is no file, or fields that are about a
      trunk have no effect.
  """
  if config.trunk is not None:
    return True
  if config.name == NAME:
    raise _errors.ConfigError(
      '`model.name=trunk` is the network of a weight file: pass its path, '
      '`model.trunk=FILE.safetensors` or FILE.npz. Files of ViT and CLIP are '
      'published by timm, Google, Hugging Face and OpenAI; '
      '`imbsam_jax.pretrained` says which can be read.'
    )
  plain = _config.Model()
  for name in _OF_TRUNKS:
    if getattr(config, name) != getattr(plain, name):
      raise _errors.ConfigError(
        f'`model.{name}={getattr(config, name)}` is about a pre-trained trunk, '
        'and this run has none. Pass `model.trunk=FILE`, a .safetensors or '
        f'.npz file, or leave `model.{name}={getattr(plain, name)}`.'
      )
  return False


_OF_TRUNKS = (
  'trunk_sha256',
  'preset',
  'num_heads',
  'image_size',
  'tuning',
  'head_init',
  'pool',
  'feature_dropout',
  'remat',
  'feature_cache',
)


def check_there(
  config: _config.Model, *, field: str = 'model.trunk'
) -> pathlib.Path:
  """Refuses a file that is not there, and reads nothing of it.

  Args:
    config: The network.
    field: By what another place is told.

  Raises:
    ConfigError: If there is none.
  """
  path = pathlib.Path(config.trunk or '').expanduser()
  if not config.trunk or not path.exists():
    raise _errors.ConfigError(
      f'`model.trunk={config.trunk}`: there is no such file. If it was moved, '
      f'pass its new place, `{field}=FILE`.'
    )
  return path


def read(config: _config.Model, image_size: int | None) -> Trunk:
  """Reads the file of a configuration; the last one is kept.

  Args:
    config: The network.
    image_size: Height and width of its images; None is that of the file.

  Raises:
    ConfigError: If the file cannot be read, or is not the one of the run.
  """
  path = check_there(config)
  stamps = tuple(
    (file.stat().st_mtime_ns, file.stat().st_size)
    for file in (sorted(path.iterdir()) if path.is_dir() else [path])
  )
  trunk = _read(
    str(path.resolve()), stamps, config.preset, config.num_heads, image_size
  )
  if config.trunk_sha256 not in (None, trunk.sha256):
    raise _errors.ConfigError(
      f'{path} is not the trunk that this run was trained on: its checksum is '
      f'{trunk.sha256[:12]}, it was {str(config.trunk_sha256)[:12]}. Put that '
      'file back, or pass its place.'
    )
  return trunk


@functools.lru_cache(maxsize=1)
def _read(
  path: str,
  stamps: tuple[Any, ...],
  preset: str | None,
  num_heads: int | None,
  image_size: int | None,
) -> Trunk:
  # Not at the top: the reader is an extra of its own.
  from imbsam_jax import pretrained

  del stamps  # A file that was written again is read again.
  try:
    # Of residual networks, which take images of any size, none is asked for.
    has_size = pretrained.describe(path, num_heads=num_heads).image_size
    loaded = pretrained.load(
      path,
      preset=preset,
      num_heads=num_heads,
      image_size=image_size if has_size else None,
    )
  except (ValueError, OSError) as error:
    raise _errors.ConfigError(f'`model.trunk`: {error}') from error
  params = dict(loaded.variables['params'])
  projection = params.pop('projection', None)
  return Trunk(
    loaded.module,
    {**loaded.variables, 'params': params},
    None if projection is None else projection['kernel'],
    loaded.preset,
    loaded.sha256,
    loaded.summary(),
  )


def image_size(config: _config.Config) -> int | None:
  """Height and width of the images that a trunk is to take, if it is asked for.

  Raises:
    ConfigError: If it is asked for in two ways.
  """
  decoded, resized = config.data.image_size, config.model.image_size
  if decoded is not None and resized not in (None, decoded):
    raise _errors.ConfigError(
      f'`data.image_size={decoded}` is the size in which images come, and '
      f'`model.image_size={resized}` another one. Leave the latter out.'
    )
  return decoded or resized


def input_options(
  config: _config.Config, trunk: Trunk, images: Any
) -> dict[str, Any]:
  """What `_run_parts.inputs_of` is told of a trunk.

  Args:
    config: The configuration.
    trunk: What was read.
    images: Training images.
  """
  shape = images.shape
  if len(shape) != 4 or shape[-1] not in (1, 3):
    raise _errors.ConfigError(
      'a pre-trained trunk takes images [N, height, width, channels] of 1 or 3 '
      f'channels, got {list(shape)}. Leave `model.trunk=None` for others.'
    )
  own_size = getattr(trunk.module, 'image_size', None)
  return {
    'size': own_size or config.model.image_size,
    'mean': trunk.preset.mean,
    'std': trunk.preset.std,
    'rgb': images.shape[-1] == 1,
  }


def completed(
  variables: dict[str, Any], config: _config.Config
) -> dict[str, Any]:
  """Variables of a run with those of its trunk that it did not train.

  Args:
    variables: What its checkpoint holds.
    config: Its configuration.

  Raises:
    ConfigError: If the file of the trunk cannot be read, or was changed.
  """
  if config.model.feature_cache is not None:
    return variables  # It has a head alone.
  given = read(config.model, image_size(config)).variables['params']
  own = traverse_util.flatten_dict(variables['params'])
  whole = traverse_util.flatten_dict({NAME: given}) | own
  return {**variables, 'params': traverse_util.unflatten_dict(whole)}


def _resolved(path: str | None) -> str | None:
  """The same place, from wherever a run goes on."""
  return path and str(pathlib.Path(path).expanduser().resolve())


def written_down(config: _config.Config, trunk: Trunk) -> _config.Config:
  """The configuration with the checksum of its trunk."""
  model = dataclasses.replace(
    config.model,
    name=NAME,
    trunk=_resolved(config.model.trunk),
    trunk_sha256=trunk.sha256,
    feature_cache=_resolved(config.model.feature_cache),
  )
  return dataclasses.replace(config, model=model)
