# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of a ViT's tensors in timm, Hugging Face, OpenAI's CLIP, open_clip."""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import re
from typing import NamedTuple

from imbsam_jax.pretrained import _rules
from imbsam_jax.pretrained import _safetensors
from imbsam_jax.pretrained import _spellings

Rule = _rules.Rule
Spelling = _spellings.Spelling
Entries = Mapping[str, _safetensors.Entry]

# Keys of CLIP's other parts, which have no prefix of the image tower.
_TEXT = re.compile(
  r'text_model\..*|text_projection(\..*)?|logit_scale|logit_bias|'
  r'(.*\.)?position_ids'
)


class Layout(NamedTuple):
  """The names in a file.

  Attributes:
    spelling: How the code names the tensors.
    prefix: What the names of the trunk begin with.
    keys: Keys of the trunk, and of what is dropped of it, without the prefix.
    pre_norm: Whether there is a normalization before the blocks.
    patch_bias: Whether the patches have a bias.
    gains: Whether there is LayerScale.
    projects: Whether there is a projection of the features.
  """

  spelling: Spelling
  prefix: str
  keys: frozenset[str]
  pre_norm: bool
  patch_bias: bool
  gains: bool
  projects: bool

  @property
  def projection_key(self) -> str | None:
    """Whole key of the projection."""
    if not self.projects or self.spelling.projection is None:
      return None
    # That of Hugging Face's belongs to the model around the trunk.
    prefix = '' if self.spelling is _spellings.HF_CLIP else self.prefix
    return prefix + self.spelling.projection[0]


def layout_of(keys: Collection[str], prefix: str, spelling: Spelling) -> Layout:
  """What the names in a file tell of it.

  Args:
    keys: All keys of the file.
    prefix: What stands before the marker.
    spelling: The spelling that goes with it.
  """
  inside = frozenset(
    key.removeprefix(prefix)
    for key in keys
    if key.startswith(prefix) and not (prefix == '' and _TEXT.fullmatch(key))
  )
  if spelling is _spellings.HF:
    if any(key.startswith('layers.') for key in inside):
      spelling = _spellings.HF_5
    elif 'encoder.layer.0.norm1.weight' in inside:
      spelling = _spellings.DINO_V2
  pre_norm = (
    f'{spelling.pre_norm}.weight' in inside
    if spelling.clip is None
    else spelling.clip
  )
  block = spelling.block.format(0)
  projection = spelling.projection
  projects = pre_norm and projection is not None
  if projects and projection is not None:
    # Hugging Face's projection is beside the trunk.
    projects = projection[0] in inside or (
      spelling is _spellings.HF_CLIP and projection[0] in keys
    )
  return Layout(
    spelling,
    prefix,
    inside,
    pre_norm,
    not pre_norm or f'{spelling.patch}.bias' in inside,
    spelling.gains is not None
    and any(block + gain in inside for gain in spelling.gains),
    projects,
  )


def outside(layout: Layout, keys: Collection[str]) -> list[str]:
  """Keys that a file of this format does not have, besides its heads.

  Args:
    layout: The names in the file.
    keys: Keys that the rules read.
  """
  rest = {layout.prefix + key for key in layout.keys} - set(keys)
  return sorted(
    key
    for key in rest
    if not re.fullmatch(
      layout.spelling.dropped, key.removeprefix(layout.prefix)
    )
  )


def dims_of(
  layout: Layout, entries: Entries, depth: int, num_heads: int
) -> _rules.Dims:
  """Sizes from the shapes of a file; 0 where a tensor is missing.

  Args:
    layout: The names in the file.
    entries: Its tensors.
    depth: Number of blocks.
    num_heads: Number of attention heads.
  """
  names, prefix = layout.spelling, layout.prefix

  def size(key: str, axis: int, num_axes: int) -> int:
    entry = entries.get(key)
    if entry is None or len(entry.shape) != num_axes:
      return 0
    return entry.shape[axis]

  projection, axis = layout.projection_key, 0
  if names.projection is not None and names.projection[1]:
    axis = 1
  rows_axis = max(names.axes - 1, 0)
  return _rules.Dims(
    width=size(prefix + names.class_token, -1, names.axes + 1),
    depth=depth,
    mlp_width=size(f'{prefix}{names.block.format(0)}{names.fc1}.weight', 0, 2),
    patch_size=size(f'{prefix}{names.patch}.weight', -1, 4),
    num_rows=size(prefix + names.positions, rows_axis, rows_axis + 2),
    num_heads=num_heads,
    embedding=0 if projection is None else size(projection, axis, 2),
  )


def rules_of(layout: Layout, dims: _rules.Dims) -> list[Rule]:
  """Where each leaf of our tree comes from.

  Args:
    layout: The names in the file.
    dims: Sizes of the network.
  """
  names, prefix, width = layout.spelling, layout.prefix, dims.width
  patch = dims.patch_size
  rules = [
    _rule(
      'patch_embed/kernel',
      f'{prefix}{names.patch}.weight',
      (width, 3, patch, patch),
      _rules.convolution,
    ),
    _rule(
      'class_token',
      prefix + names.class_token,
      (*(1,) * names.axes, width),
      _rules.reshaped(width),
    ),
    _rule(
      'position_embedding',
      prefix + names.positions,
      (*(1,) * (names.axes > 0), dims.num_rows, width),
      _rules.reshaped(dims.num_rows, width),
    ),
  ]
  if layout.patch_bias:
    rules.append(
      _vector('patch_embed/bias', f'{prefix}{names.patch}.bias', width)
    )
  if layout.pre_norm:
    rules.extend(_norm('pre_norm', f'{prefix}{names.pre_norm}', width))
  for number in range(dims.depth):
    rules.extend(_block(layout, dims, number))
  rules.extend(_norm('norm', prefix + names.norm, width))
  key = layout.projection_key
  if key is not None and names.projection is not None:
    straight = names.projection[1]
    shape = (width, dims.embedding)
    rules.append(
      _rule(
        'projection/kernel',
        key,
        shape if straight else shape[::-1],
        _rules.as_it_is if straight else _rules.transposed,
      )
    )
  return rules


def _block(layout: Layout, dims: _rules.Dims, number: int) -> Iterator[Rule]:
  names, width, heads = layout.spelling, dims.width, dims.num_heads
  before = layout.prefix + names.block.format(number)
  leaf = f'block{number}/'
  gains: tuple[str | None, str | None] = (None, None)
  if layout.gains and names.gains is not None:
    gains = (before + names.gains[0], before + names.gains[1])
  yield from _norm(f'{leaf}norm1', before + names.norm1, width)
  for part, word in enumerate(('query', 'key', 'value')):
    at = f'{leaf}attention/{word}/'
    if names.fused is not None:
      kernel, bias = (before + key for key in names.fused)
      turn, parts = _rules.heads_in(heads, part, 3), 3
    else:
      assert names.query_key_value is not None
      key = before + names.query_key_value[part]
      kernel, bias = f'{key}.weight', f'{key}.bias'
      turn, parts = _rules.heads_in(heads), 1
    yield _rule(f'{at}kernel', kernel, (parts * width, width), turn)
    yield _rule(f'{at}bias', bias, (parts * width,), turn)
  yield _rule(
    f'{leaf}attention/out/kernel',
    f'{before}{names.out}.weight',
    (width, width),
    _rules.heads_out(heads),
    gains[0],
  )
  yield _vector(
    f'{leaf}attention/out/bias', f'{before}{names.out}.bias', width, gains[0]
  )
  yield from _norm(f'{leaf}norm2', before + names.norm2, width)
  for word, key, sizes, gain in (
    ('fc1', names.fc1, (dims.mlp_width, width), None),
    ('fc2', names.fc2, (width, dims.mlp_width), gains[1]),
  ):
    at = f'{leaf}mlp/{word}/'
    yield _rule(
      f'{at}kernel', f'{before}{key}.weight', sizes, _rules.transposed, gain
    )
    yield _vector(f'{at}bias', f'{before}{key}.bias', sizes[0], gain)


def _norm(leaf: str, key: str, width: int) -> Iterator[Rule]:
  yield _vector(f'{leaf}/scale', f'{key}.weight', width)
  yield _vector(f'{leaf}/bias', f'{key}.bias', width)


def _vector(leaf: str, key: str, width: int, gain: str | None = None) -> Rule:
  return _rule(leaf, key, (width,), _rules.as_it_is, gain)


def _rule(
  leaf: str,
  key: str,
  shape: tuple[int, ...],
  turn: _rules.Turn,
  gain: str | None = None,
) -> Rule:
  return Rule(('params', *leaf.split('/')), key, shape, turn, gain)
