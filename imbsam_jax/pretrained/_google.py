# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of a ViT's arrays in Google's ``.npz`` files.

Those of google-research/vision_transformer before Linen, which AugReg's files
have; those of its Linen module; and those of google-research/big_vision, whose
positions have no row for the class token, which has its position in it, and
which may stack all blocks along a first axis.
"""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import re
from typing import NamedTuple

import numpy as np

from imbsam_jax.pretrained import _rules
from imbsam_jax.pretrained import _safetensors

Rule = _rules.Rule
Entries = Mapping[str, _safetensors.Entry]

NAME = 'Google ViT'
MARKER = 'embedding/kernel'
PREFIXES = ('', 'opt/target/', 'params/', 'params/img/', 'opt/target/params/')
_DROPPED = r'head/.*|pre_logits/.*'
_POSITIONS = 'Transformer/posembed_input/pos_embedding'
# Second normalization, MLP and attention of a block, before and in Linen.
_OLD = ('LayerNorm_2', 'MlpBlock_3', 'MultiHeadDotProductAttention_1')
_LINEN = ('LayerNorm_1', 'MlpBlock_0', 'MultiHeadDotProductAttention_0')


class Layout(NamedTuple):
  """The names in a file.

  Attributes:
    prefix: What the names of the trunk begin with.
    keys: Keys of the trunk, and of what is dropped of it, without the prefix.
    block: Names within a block.
    stacked: Whether the blocks are stacked.
    apart: Whether the positions have no row for the class token.
  """

  prefix: str
  keys: frozenset[str]
  block: tuple[str, str, str]
  stacked: bool
  apart: bool

  @property
  def positions_key(self) -> str:
    """Whole key of the position embeddings."""
    return self.prefix + ('pos_embedding' if self.apart else _POSITIONS)

  def key_in_block(self, number: int, key: str) -> str:
    """Whole key of an array of a block."""
    name = '' if self.stacked else f'_{number}'
    return f'{self.prefix}Transformer/encoderblock{name}/{key}'


def layout_of(keys: Collection[str], prefix: str) -> Layout:
  """What the names in a file tell of it.

  Args:
    keys: All keys of the file.
    prefix: What stands before the marker.
  """
  inside = frozenset(
    key.removeprefix(prefix) for key in keys if key.startswith(prefix)
  )
  old = any('/MlpBlock_3/' in key for key in inside)
  return Layout(
    prefix,
    inside,
    _OLD if old else _LINEN,
    any(key.startswith('Transformer/encoderblock/') for key in inside),
    'pos_embedding' in inside,
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
    if not re.fullmatch(_DROPPED, key.removeprefix(layout.prefix))
  )


def dims_of(layout: Layout, entries: Entries, depth: int) -> _rules.Dims:
  """Sizes from the shapes of a file; 0 where an array is missing.

  Args:
    layout: The names in the file.
    entries: Its arrays.
    depth: Number of blocks where they are apart.
  """

  def size(key: str, axis: int, num_axes: int) -> int:
    entry = entries.get(key)
    if entry is None or len(entry.shape) != num_axes:
      return 0
    return entry.shape[axis]

  stack = int(layout.stacked)
  attention = layout.key_in_block(0, f'{layout.block[2]}/query/bias')
  fc1 = layout.key_in_block(0, f'{layout.block[1]}/Dense_0/bias')
  return _rules.Dims(
    width=size(f'{layout.prefix}cls', 2, 3),
    depth=size(fc1, 0, 2) if stack else depth,
    mlp_width=size(fc1, -1, 1 + stack),
    patch_size=size(layout.prefix + MARKER, 0, 4),
    num_rows=size(layout.positions_key, 1, 3) + layout.apart,
    num_heads=size(attention, -2, 2 + stack),
  )


def rules_of(layout: Layout, dims: _rules.Dims) -> list[Rule]:
  """Where each leaf of our tree comes from.

  Args:
    layout: The names in the file.
    dims: Sizes of the network.
  """
  prefix, width, patch = layout.prefix, dims.width, dims.patch_size
  rules = [
    _rule('patch_embed/kernel', f'{prefix}{MARKER}', (patch, patch, 3, width)),
    _rule('patch_embed/bias', f'{prefix}embedding/bias', (width,)),
    _rule('class_token', f'{prefix}cls', (1, 1, width), _rules.reshaped(width)),
    _rule(
      'position_embedding',
      layout.positions_key,
      (1, dims.num_rows - layout.apart, width),
      _with_class_row if layout.apart else lambda array: array[0],
    ),
  ]
  for number in range(dims.depth):
    rules.extend(_block(layout, dims, number))
  for word in ('scale', 'bias'):
    rules.append(
      _rule(
        f'norm/{word}', f'{prefix}Transformer/encoder_norm/{word}', (width,)
      )
    )
  return rules


def _with_class_row(array: np.ndarray) -> np.ndarray:
  """Positions with zeros for the class token."""
  if not array.strides[-1]:  # Of a tensor without memory.
    return np.broadcast_to(array[0, :1], (1 + array.shape[1], array.shape[2]))
  return np.concatenate([np.zeros_like(array[0, :1]), array[0]])


def _block(layout: Layout, dims: _rules.Dims, number: int) -> Iterator[Rule]:
  norm2, mlp, attention = layout.block
  width, heads = dims.width, dims.num_heads
  by_head = (heads, width // max(heads, 1))
  shapes: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    'norm1': ('LayerNorm_0', {'scale': (width,), 'bias': (width,)}),
    'norm2': (norm2, {'scale': (width,), 'bias': (width,)}),
    'mlp/fc1': (
      f'{mlp}/Dense_0',
      {'kernel': (width, dims.mlp_width), 'bias': (dims.mlp_width,)},
    ),
    'mlp/fc2': (
      f'{mlp}/Dense_1',
      {'kernel': (dims.mlp_width, width), 'bias': (width,)},
    ),
    'attention/out': (
      f'{attention}/out', {'kernel': (*by_head, width), 'bias': (width,)}
    ),
  }  # fmt: skip
  for word in ('query', 'key', 'value'):
    shapes[f'attention/{word}'] = (
      f'{attention}/{word}', {'kernel': (width, *by_head), 'bias': by_head}
    )  # fmt: skip
  for leaf, (key, kinds) in shapes.items():
    for kind, shape in kinds.items():
      whole = layout.key_in_block(number, f'{key}/{kind}')
      at = f'block{number}/{leaf}/{kind}'
      if layout.stacked:
        yield _rule(at, whole, (dims.depth, *shape), _layer(number))
      else:
        yield _rule(at, whole, shape)


def _layer(number: int) -> _rules.Turn:
  return lambda array: array[number]


def _rule(
  leaf: str,
  key: str,
  shape: tuple[int, ...],
  turn: _rules.Turn = _rules.as_it_is,
) -> Rule:
  return Rule(('params', *leaf.split('/')), key, shape, turn)
