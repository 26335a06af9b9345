# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Factors of the learning rate by layer, and which leaves decay."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks

# Leaves that do not decay, however many axes they have: biases of queries are
# [heads, width].
_NOT_DECAYED = (
  'bias', 'scale', 'shift', 'class_token', 'position_embedding',
)  # fmt: skip
_BLOCK = re.compile(r'block(\d+)')
_HEAD = 'classifier'
_FIRST = ('class_token', 'position_embedding', 'patch_embed', 'pre_norm')
_LAST = 'norm'
# Leaves that a tuning adds within layers of the trunk begin anew.
_NEW = re.compile('prompt|adapt|lora|ssf')


def layer_factors(params: Any, decay: float) -> Any:
  r"""Factors of the learning rate, smaller the nearer a leaf is to the input.

  .. math::
    decay^{L + 1 - id}

  of a transformer with L blocks, as timm numbers layers: 0 are the patch
  embedding, the tokens, the positions and the norm before the blocks; l + 1 is
  block l, L also the norm after the blocks; L + 1 is the head. What a tuning
  adds (prompts, adapters) has the factor 1.

  Note:
    BEiT and MAE give the last norm L + 1, and so the factor 1.

  >>> import jax.numpy as jnp
  >>> w = jnp.ones(1)
  >>> trunk = {'class_token': w, 'block0': {'mlp': w}, 'block1': {'mlp': w}}
  >>> layer_factors({'trunk': trunk, 'classifier': w}, 0.5)['trunk']
  {'block0': {'mlp': 0.25}, 'block1': {'mlp': 0.5}, 'class_token': 0.125}

  Args:
    params: Parameters that are trained: the blocks 'block0', 'block1', ... and
      the head 'classifier', at whatever depth. L is one more than the last
      block among them.
    decay: Factor from layer to layer, in (0, 1].

  Returns:
    The tree of `params`, with a float for each leaf.

  Raises:
    ValueError: If `decay` is out of range, if there is no block, if a leaf
      belongs to no layer, or if none of the trunk's own leaves is trained.
    TypeError: If `decay` is not a number.
  """
  _checks.number('layer_decay', decay, above=0, high=1)
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
  names = [_names(path) for path in paths]
  matches = [_BLOCK.fullmatch(name) for path in names for name in path]
  blocks = [int(match[1]) for match in matches if match]
  if not blocks:
    listed = ', '.join(dict.fromkeys(path[0] for path in names if path))
    raise ValueError(
      '`layer_decay` needs a network of blocks that are numbered, block0, '
      'block1, ..., such as a vision transformer, to know how near to the '
      f'input a parameter is. Those trained here are in {listed or "no layer"}.'
      ' Leave `layer_decay=None`.'
    )
  depth = 1 + max(blocks)
  ids = [_layer(path, depth) for path in names]
  if all(number is None or number == depth + 1 for number in ids):
    raise ValueError(
      '`layer_decay` has no effect: of the trunk no parameter of its own is '
      'trained, and the head and what was added to it have the factor 1. Leave '
      '`layer_decay=None`.'
    )
  factors = [
    1.0 if number is None else float(decay ** (depth + 1 - number))
    for number in ids
  ]
  return jax.tree.unflatten(jax.tree.structure(params), factors)


def scale_by_layer(decay: float) -> optax.GradientTransformation:
  """Multiplies updates by `layer_factors`; keeps no state.

  Args:
    decay: Factor from layer to layer, in (0, 1].
  """

  def init(params):
    layer_factors(params, decay)  # Refused before the first step.
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    factors = layer_factors(updates, decay)
    scaled = jax.tree.map(
      lambda x, factor: x * jnp.asarray(factor, x.dtype), updates, factors
    )
    return scaled, state

  return optax.GradientTransformation(init, update)


def decays(params: optax.Params) -> Any:
  """Whether each leaf is a kernel: two or more axes, and not of another name.

  Names decide before axes: biases and scales, the class token and the position
  embedding do not decay whatever their shape, as in timm. Prompts do.

  Args:
    params: Parameters.

  Returns:
    The tree of `params`, with a bool for each leaf.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: (
      leaf.ndim > 1 and not set(_names(path)[-1:]) & set(_NOT_DECAYED)
    ),
    params,
  )


def _names(path: Any) -> tuple[str, ...]:
  """Names of the layers down to a leaf."""
  return tuple(
    str(getattr(key, 'key', getattr(key, 'name', getattr(key, 'idx', ''))))
    for key in path
  )


def _layer(path: tuple[str, ...], depth: int) -> int | None:
  """Number of the layer of a leaf; None if a tuning added it.

  Raises:
    ValueError: If the leaf belongs to no layer.
  """
  if any(_NEW.match(name) for name in path):
    return None
  for name in path:
    if name == _HEAD:
      return depth + 1
    if name in _FIRST:
      return 0
    if name == _LAST:
      return depth
    if match := _BLOCK.fullmatch(name):
      return int(match[1]) + 1
  raise ValueError(
    f'`layer_decay`: it is not known how near to the input {"/".join(path)} '
    f'is. It knows {", ".join(_FIRST)}, block0, block1, ..., {_LAST} and '
    f'{_HEAD}. Leave `layer_decay=None`.'
  )
