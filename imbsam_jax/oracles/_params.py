# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks that parameters have a gradient."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp

_ADVICE = (
  'Pass the parameters alone, and close over the rest: graph, params, rest = '
  'nnx.split(model, nnx.Param, ...) with Flax NNX, params, rest = '
  'eqx.partition(model, eqx.is_inexact_array) with Equinox.'
)


def check_params(params: Any, *, name: str = 'params') -> None:
  """Refuses whole modules, and leaves that have no gradient.

  Args:
    params: Tree of arrays.
    name: Name of the argument.

  Raises:
    TypeError: If `params` is a module, or a leaf has no gradient; the message
      names the module, or the path of the leaf.
  """
  leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_nnx_module)
  for path, leaf in leaves:
    kind = _kind(leaf)
    if kind is not None:
      place = jax.tree_util.keystr(path)
      raise TypeError(
        f'`{name}` must be a tree of floating-point arrays, got '
        f'{kind}{f" at {place}" if place else ""}'
        f'{_in_module(params) if path else ""}. {_ADVICE}'
      )


def _kind(leaf: Any) -> str | None:
  """What a leaf is that has no gradient; None is one that has."""
  if _is_nnx_module(leaf):
    return f'the whole module {type(leaf).__name__}'
  dtype = getattr(leaf, 'dtype', None)
  if dtype is None:
    if isinstance(leaf, numbers.Real) and not isinstance(
      leaf, numbers.Integral
    ):
      return None
    return f'{leaf!r}'
  if jnp.issubdtype(dtype, jax.dtypes.prng_key):
    return 'a key of `jax.random`'
  if jnp.issubdtype(dtype, jnp.inexact):
    return None
  return f'an array of dtype {dtype}'


def _in_module(params: Any) -> str:
  module = _ancestor(params, 'equinox', 'Module')
  return f' of the whole module {type(params).__name__}' if module else ''


def _is_nnx_module(node: Any) -> bool:
  return _ancestor(node, 'flax', 'Module') and not hasattr(node, 'apply')


def _ancestor(node: Any, package: str, name: str) -> bool:
  # By name: neither package is there with the links alone.
  return any(
    kind.__name__ == name and kind.__module__.split('.')[0] == package
    for kind in type(node).__mro__
  )
