# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the variables of a trunk to a file in timm's names."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import os
from typing import Any

import jax
import numpy as np

from imbsam_jax.pretrained import _resnet
from imbsam_jax.pretrained import _safetensors

_Turn = Callable[[np.ndarray], np.ndarray]


def save(
  path: str | os.PathLike[str],
  variables: Mapping[str, Any],
  *,
  grid: tuple[int, int] | None = None,
) -> None:
  """Writes the variables of a trunk into a ``.safetensors`` file.

  The names are timm's, which PyTorch loads too; `load` gives the same bits
  again. The projection of a CLIP is written as timm has it, ``head.weight``
  with a bias of 0. The number of heads is noted in the file, and the grid of
  the positions. The file has its name when it is whole; until then the process
  holds all tensors twice.

  Args:
    path: Path of the file, which ends in ``.safetensors``. It is replaced.
    variables: Variables of a `models.VisionTransformer`, or of a
      `models.BottleneckResNet` with ``norm='batch'``, as in `Trunk.variables`.
    grid: Rows and columns of patches, where the grid is not square.

  Raises:
    ValueError: If the name ends otherwise, a variable is missing, is not
      finite, or is none of these networks', images do not have three
      channels, the grid is not that of the positions, or there is no room for
      the file.
  """
  if not str(path).endswith('.safetensors'):
    raise ValueError(
      f'{path} must end in .safetensors. Pass {str(path)!r} with it.'
    )
  leaves = {
    tuple(str(part.key) for part in where): leaf
    for where, leaf in jax.tree_util.tree_leaves_with_path(dict(variables))
  }
  _check_values(leaves)
  metadata = {'format': 'pt'}  # As PyTorch's programs expect it.
  is_resnet = ('params', 'stem', 'kernel') in leaves
  _check_channels(leaves, 'stem' if is_resnet else 'patch_embed')
  tensors = _Tensors(leaves)
  if is_resnet:
    _add_resnet(tensors)
  else:
    _add_vit(tensors)
    metadata |= _notes(leaves, grid)
  if tensors.rest:
    raise ValueError(
      f'timm has no names for {sorted("/".join(k) for k in tensors.rest)[:5]}. '
      'Save the variables of the trunk alone, without head and tuning.'
    )
  _safetensors.write(path, tensors.written, metadata)


class _Tensors:
  """What is written, and which leaves are not yet."""

  def __init__(self, leaves: dict[tuple[str, ...], Any]):
    self.leaves = leaves
    self.rest = set(leaves)
    self.written: dict[str, np.ndarray] = {}

  def add(self, key: str, turn: _Turn, *paths: str) -> None:
    """Writes leaves, joined along their first axis after they are turned."""
    places = [tuple(path.split('/')) for path in paths]
    for place in places:
      if place not in self.leaves:
        raise ValueError(
          f'`variables` lack {"/".join(place)!r}. Pass the variables of a '
          'models.VisionTransformer, or of a models.ResNet50 with '
          "norm='batch'; of a run those of its trunk, {'params': "
          "state.variables['params']['trunk']}."
        )
    self.rest -= set(places)
    parts = [
      turn(np.asarray(self.leaves[place], np.float32)) for place in places
    ]
    self.written[key] = parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_values(leaves: dict[tuple[str, ...], Any]) -> None:
  for where, leaf in leaves.items():
    if not np.isfinite(np.asarray(leaf, np.float32)).all():
      raise ValueError(
        f'{"/".join(where)!r} is not finite. Save the parameters of an earlier '
        'step.'
      )


def _check_channels(leaves: dict[tuple[str, ...], Any], name: str) -> None:
  kernel = leaves.get(('params', name, 'kernel'))
  if kernel is not None and kernel.ndim == 4 and kernel.shape[2] != 3:
    raise ValueError(
      f'{name} is of images with {kernel.shape[2]} channels, and the files of '
      'trunks are of three. Train on images with three; gray ones can be '
      'repeated: np.repeat(images, 3, axis=-1).'
    )


def _notes(
  leaves: dict[tuple[str, ...], Any], grid: tuple[int, int] | None
) -> dict[str, str]:
  """What no tensor says."""
  query = leaves['params', 'block0', 'attention', 'query', 'bias']
  notes = {'num_heads': str(query.shape[0])}
  num_rows = leaves['params', 'position_embedding'].shape[0]
  if grid is not None:
    if grid[0] * grid[1] != num_rows - 1:
      raise ValueError(
        f'`grid` must have {num_rows - 1} patches, as the positions have, got '
        f'{grid}. An image of 224 pixels with patches of 16 has (14, 14).'
      )
    notes['grid'] = f'{grid[0]}x{grid[1]}'
  return notes


def _add_vit(tensors: _Tensors) -> None:
  params = {path[1] for path in tensors.leaves if path[0] == 'params'}
  tensors.add('cls_token', lambda a: a[None, None], 'params/class_token')
  tensors.add('pos_embed', lambda a: a[None], 'params/position_embedding')
  tensors.add(
    'patch_embed.proj.weight', _convolution, 'params/patch_embed/kernel'
  )
  if ('params', 'patch_embed', 'bias') in tensors.leaves:
    tensors.add('patch_embed.proj.bias', _same, 'params/patch_embed/bias')
  if 'pre_norm' in params:
    _add_norm(tensors, 'norm_pre', 'params/pre_norm')
  depth = sum(name.startswith('block') for name in params)
  for number in range(max(depth, 1)):
    _add_block(tensors, f'blocks.{number}.', f'params/block{number}/')
  _add_norm(tensors, 'norm', 'params/norm')
  if 'projection' in params and 'pre_norm' in params:
    tensors.add('head.weight', np.transpose, 'params/projection/kernel')
    size = len(tensors.written['head.weight'])
    tensors.written['head.bias'] = np.zeros(size, np.float32)


def _add_block(tensors: _Tensors, key: str, leaf: str) -> None:
  _add_norm(tensors, f'{key}norm1', f'{leaf}norm1')
  words = [f'{leaf}attention/{word}/' for word in ('query', 'key', 'value')]
  tensors.add(
    f'{key}attn.qkv.weight',
    lambda a: a.reshape(len(a), -1).T,
    *(f'{word}kernel' for word in words),
  )
  tensors.add(
    f'{key}attn.qkv.bias',
    lambda a: a.reshape(-1),
    *(f'{word}bias' for word in words),
  )
  tensors.add(
    f'{key}attn.proj.weight',
    lambda a: a.reshape(-1, a.shape[-1]).T,
    f'{leaf}attention/out/kernel',
  )
  tensors.add(f'{key}attn.proj.bias', _same, f'{leaf}attention/out/bias')
  _add_norm(tensors, f'{key}norm2', f'{leaf}norm2')
  for word in ('fc1', 'fc2'):
    tensors.add(
      f'{key}mlp.{word}.weight', np.transpose, f'{leaf}mlp/{word}/kernel'
    )
    tensors.add(f'{key}mlp.{word}.bias', _same, f'{leaf}mlp/{word}/bias')


def _add_norm(tensors: _Tensors, key: str, leaf: str) -> None:
  tensors.add(f'{key}.weight', _same, f'{leaf}/scale')
  tensors.add(f'{key}.bias', _same, f'{leaf}/bias')


def _add_resnet(tensors: _Tensors) -> None:
  for path, key, norm in _resnet_names(tensors.leaves):
    leaf = '/'.join(path)
    tensors.add(f'{key}.weight', _convolution, f'params/{leaf}/kernel')
    for collection, word, torch_word in _resnet.NORM:
      tensors.add(
        f'{norm}.{torch_word}',
        _same,
        f'{collection}/{leaf}_norm/BatchNorm_0/{word}',
      )
  if ('params', 'classifier', 'kernel') in tensors.leaves:
    tensors.add('fc.weight', np.transpose, 'params/classifier/kernel')
    tensors.add('fc.bias', _same, 'params/classifier/bias')


def _resnet_names(
  leaves: dict[tuple[str, ...], Any],
) -> Iterator[tuple[tuple[str, ...], str, str]]:
  """Names of the tensors of the ResNet that has these leaves."""
  blocks = {path[1] for path in leaves if path[1].startswith('stage')}
  stages = [
    sum(name.startswith(f'stage{stage}_') for name in blocks)
    for stage in range(1, 10)
  ]
  sizes = tuple(size for size in stages if size)

  def channels(path: str) -> int:
    leaf = leaves.get(('params', *path.split('/'), 'kernel'))
    return 0 if leaf is None else leaf.shape[-1]

  widths = tuple(
    channels(f'stage{stage}_block1/conv1') for stage in range(1, len(sizes) + 1)
  )
  expansion = channels('stage1_block1/conv3') // max(widths[:1] or (1,)) or 1
  dims = _resnet.Dims(sizes, widths, expansion, channels('stem'))
  return _resnet.names_of(dims)


def _convolution(array: np.ndarray) -> np.ndarray:
  return array.transpose(3, 2, 0, 1)


def _same(array: np.ndarray) -> np.ndarray:
  return array
