# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a published weight file to a network and its variables."""

from collections.abc import Sequence
import math
import os
import pathlib
from typing import Any
from typing import cast
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import models
from imbsam_jax.pretrained import _memory
from imbsam_jax.pretrained import _plan
from imbsam_jax.pretrained import _positions
from imbsam_jax.pretrained import _presets
from imbsam_jax.pretrained import _rules
from imbsam_jax.pretrained import _source
from imbsam_jax.pretrained import _trunk

Preset = _presets.Preset


def load(
  path: str | os.PathLike[str],
  *,
  preset: str | Preset | None = None,
  image_size: int | tuple[int, int] | None = None,
  positions: _positions.PositionRule = 'bicubic_antialias',
  num_heads: int | None = None,
  activation: _presets.Activation | None = None,
  epsilon: float | None = None,
) -> _trunk.Trunk:
  """A trunk from a published weight file. Nothing is downloaded.

  Read are ViTs in the names of Google (``.npz`` of vision_transformer, old and
  Linen, and of big_vision), timm, Hugging Face (ViT, DINOv2, CLIP), OpenAI's
  CLIP and open_clip, and bottleneck ResNets in those of torchvision and timm
  (``.safetensors``; a folder of shards too). The format is known by its keys.
  Heads and the text tower of a CLIP are left out, LayerScale is multiplied into
  the layers before it, float16 and bfloat16 become float32. Every key must be
  known and have its shape, and every number be finite, or nothing is loaded.

  Tensors are read one by one: in memory is the tree and one tensor beside, two
  while it is turned.

  .. note::
    No file says its activation, epsilon and normalization of images, and the
    codes differ: QuickGELU forgotten in a CLIP of OpenAI changes features by
    4e-2. The defaults by format are in `PRESETS`; Google computed its files
    with ``activation='gelu_tanh'``, Hugging Face has ``epsilon=1e-12``, and
    CLIPs of LAION have ``preset='open_clip'``.

  Args:
    path: Path of the file or folder.
    preset: What the file does not say, a name in `PRESETS` or a `Preset`; None
      for the default of the format.
    image_size: Height and width of images, or one number for both; None for
      those of the file. Positions are interpolated to it.
    positions: Rule of the interpolation, see `resize_positions`.
    num_heads: Number of attention heads, instead of the preset's; needed where
      the width is no multiple of 64.
    activation: Activation, instead of the preset's.
    epsilon: Epsilon of layer normalization, instead of the preset's.

  Raises:
    TypeError: If an argument is not of its type.
    ValueError: If the file is missing, broken, a pickle, of no known format, of
      a network that is not supported, or does not fit the arguments.
  """
  source = _source.open_source(path)
  outline = _outline(
    source, preset, image_size, positions, num_heads, activation, epsilon
  )
  variables = _read(source, outline.plan)
  if outline.grid is not None:
    params = variables['params']
    params['position_embedding'] = _positions.resize_positions(
      params['position_embedding'],
      outline.grid,
      old_grid=outline.old_grid,
      rule=positions,
    )
  return _trunk.Trunk(
    outline.module,
    variables,
    outline.preset,
    source.sha256(),
    outline.plan.format,
    pathlib.Path(source.path).name,
    outline.image_size,
    outline.resized,
    _num_parameters(variables),
  )


def describe(
  path: str | os.PathLike[str],
  *,
  preset: str | Preset | None = None,
  image_size: int | tuple[int, int] | None = None,
  positions: _positions.PositionRule = 'bicubic_antialias',
  num_heads: int | None = None,
  activation: _presets.Activation | None = None,
  epsilon: float | None = None,
) -> _trunk.Description:
  """What `load` would give, without reading more than the headers.

  Whether all numbers are finite is not looked at.

  Args:
    path: Path of the file or folder.
    preset: See `load`.
    image_size: See `load`.
    positions: See `load`.
    num_heads: See `load`.
    activation: See `load`.
    epsilon: See `load`.

  Raises:
    TypeError: If an argument is not of its type.
    ValueError: If `load` would raise it, for another reason than values that
      are not finite.
  """
  source = _source.open_source(path)
  outline = _outline(
    source, preset, image_size, positions, num_heads, activation, epsilon
  )
  variables: dict[str, Any] = {}
  for rule in outline.plan.rules:
    shape = _rules.shape_of(rule)
    if rule.leaf == _plan.POSITIONS and outline.grid is not None:
      shape = (1 + math.prod(outline.grid), shape[1])
    _put(variables, rule.leaf, jax.ShapeDtypeStruct(shape, jnp.float32))
  return _trunk.Description(
    outline.module,
    variables,
    outline.preset,
    outline.plan.format,
    pathlib.Path(source.path).name,
    outline.image_size,
    outline.resized,
    _num_parameters(variables),
  )


class _Outline(NamedTuple):
  """A plan with all that the caller has said."""

  plan: _plan.Plan
  preset: Preset
  module: nn.Module
  image_size: tuple[int, int] | None
  old_grid: tuple[int, int] | None
  grid: tuple[int, int] | None  # None if it is the old one.
  resized: str


def _outline(
  source: _source.Source,
  preset: str | Preset | None,
  image_size: int | tuple[int, int] | None,
  positions: _positions.PositionRule,
  num_heads: int | None,
  activation: _presets.Activation | None,
  epsilon: float | None,
) -> _Outline:
  _positions.check_rule(positions)
  plan, chosen = _plan.plan_of(source, preset=preset, num_heads=num_heads)
  if plan.resnet is not None:
    for name, value in (
      ('image_size', image_size),
      ('num_heads', num_heads),
      ('activation', activation),
      ('epsilon', epsilon),
    ):
      if value is not None:
        raise ValueError(
          f'{source.path} is a ResNet, which has no `{name}`, got {value!r}. '
          'Leave it out.'
        )
    module = plan.resnet.make_module()
    return _Outline(plan, chosen, module, None, None, None, '')
  dims = cast(_rules.Dims, plan.dims)
  old_grid = _old_grid(source, dims)
  size = _image_size(source, image_size, chosen, dims, old_grid)
  grid = (size[0] // dims.patch_size, size[1] // dims.patch_size)
  resized = ''
  if grid != old_grid:
    resized = (
      f'positions from {old_grid[0]}x{old_grid[1]} to {grid[0]}x{grid[1]} by '
      f'{positions}'
    )
  chosen = chosen._replace(
    activation=chosen.activation if activation is None else activation,
    epsilon=chosen.epsilon if epsilon is None else epsilon,
  )
  if chosen.activation is None or chosen.epsilon is None:
    raise ValueError(
      f'The preset {chosen.name!r} has no activation or no epsilon. Pass '
      "activation='gelu' and epsilon=1e-6, or what the code of the file has."
    )
  module = models.VisionTransformer(
    width=dims.width,
    depth=dims.depth,
    num_heads=dims.num_heads,
    mlp_width=dims.mlp_width,
    patch_size=dims.patch_size,
    image_size=size,
    pre_norm=plan.pre_norm,
    patch_bias=plan.patch_bias,
    activation=chosen.activation,
    epsilon=chosen.epsilon,
  )
  new_grid = None if grid == old_grid else grid
  return _Outline(plan, chosen, module, size, old_grid, new_grid, resized)


def _old_grid(source: _source.Source, dims: _rules.Dims) -> tuple[int, int]:
  """The grid of the positions: square, unless `save` has noted another one."""
  sides = source.metadata.get('grid', '').split('x')
  if len(sides) == 2 and all(side[:6].isdecimal() for side in sides):
    rows, columns = (int(side[:6]) for side in sides)
    if rows * columns == dims.num_rows - 1 and rows:
      return rows, columns
  name = f'{source.path}: the position embeddings'
  return _positions.square_grid(dims.num_rows, name)


def _image_size(
  source: _source.Source,
  image_size: int | tuple[int, int] | None,
  preset: Preset,
  dims: _rules.Dims,
  grid: tuple[int, int],
) -> tuple[int, int]:
  """Height and width of images that the trunk is made for."""
  patch = dims.patch_size
  own = (grid[0] * patch, grid[1] * patch)
  if image_size is None:
    fixed = preset.image_size
    if fixed is not None and own != (fixed, fixed):
      raise ValueError(
        f'{source.path}: position embeddings of {dims.num_rows} rows are those '
        f'of {own[0]}x{own[1]} images, and the preset {preset.name!r} is for '
        f'{fixed}. Pass image_size={own[0]} to take them as they are, or '
        f"image_size={fixed} and positions='bicubic_antialias' to resize them."
      )
    return own
  sides: Sequence[Any] = (
    image_size
    if isinstance(image_size, (tuple, list))
    else (image_size, image_size)
  )
  if len(sides) != 2:
    raise ValueError(
      f'`image_size` must be a number or (height, width), got {image_size!r}. '
      f'Pass image_size={own}, as the file has it.'
    )
  for side in sides:
    _checks.integer('image_size', side, hint=f'Pass image_size={own[0]}.')
    if side % patch:
      raise ValueError(
        f'`image_size` must be a multiple of the patches of {patch}, got '
        f'{side}, of which {side % patch} pixels would be lost. Pass '
        f'{side - side % patch or patch}.'
      )
  return int(sides[0]), int(sides[1])


def _read(source: _source.Source, plan: _plan.Plan) -> dict[str, Any]:
  """The variables, one tensor of the file after the other."""
  by_key: dict[str, list[_rules.Rule]] = {}
  for rule in plan.rules:
    by_key.setdefault(rule.key, []).append(rule)
  leaves = {}
  for key, rules in by_key.items():
    array = _tensor(source, key)
    for rule in rules:
      leaf = rule.turn(array)
      if rule.gain is not None:
        leaf = leaf * _tensor(source, rule.gain)
      turned = _memory.empty(leaf.shape, leaf.dtype)
      turned[...] = leaf
      leaves[rule.leaf] = jax.block_until_ready(jnp.array(turned))
  variables: dict[str, Any] = {}
  for rule in plan.rules:
    _put(variables, rule.leaf, leaves[rule.leaf])
  return variables


def _tensor(source: _source.Source, key: str) -> np.ndarray:
  """A tensor as float32, with finite numbers alone."""
  # What is too large for float32 becomes infinite, and is refused.
  with np.errstate(over='ignore', invalid='ignore'):
    array = source.read(key).astype(np.float32, copy=False)
  num_wrong = array.size - np.count_nonzero(np.isfinite(array))
  if num_wrong:
    raise ValueError(
      f'{source.path}: {key!r} has {num_wrong} values of {array.size} that are '
      'not finite as float32. Download it again; if it is as published, it '
      'cannot be trained from.'
    )
  return array


def _put(tree: dict[str, Any], path: tuple[str, ...], leaf: Any) -> None:
  *parents, name = path
  for parent in parents:
    tree = tree.setdefault(parent, {})
  tree[name] = leaf


def _num_parameters(variables: dict[str, Any]) -> int:
  params = {k: v for k, v in variables['params'].items() if k != 'projection'}
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
