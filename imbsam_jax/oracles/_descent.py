# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells arrays that an oracle gave out from arrays computed otherwise."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Primitives whose result has the numbers of what went in.
_KEEPS = frozenset({
  'convert_element_type',
  'copy',
  'copy_p',
  'device_put',
  'optimization_barrier',
  'pbroadcast',
  'pcast',
  'pvary',
  'reshard',
  'sharding_constraint',
  'stop_gradient',
})  # fmt: skip


def is_given(tree: Any, given: Any) -> bool | None:
  """Whether the leaves of `tree` are among those of `given`.

  Casts and shardings leave a leaf what it is. The leaves may be some of those
  that were given, as where others are frozen.

  Args:
    tree: Tree that a link got.
    given: Tree that the oracle gave out.

  Returns:
    True; False where a leaf was computed otherwise; None where that cannot be
    seen, because a leaf is an argument of a function that is traced by itself,
    as the branches of `jax.lax.cond` are.
  """
  leaves, given_leaves = jax.tree.leaves(tree), jax.tree.leaves(given)
  known = {id(_inner(leaf)) for leaf in given_leaves}
  if all(id(_inner(leaf)) in known for leaf in leaves):
    return True
  if not any(isinstance(x, jax.core.Tracer) for x in leaves + given_leaves):
    return _equal(leaves, given_leaves)
  answers = [_is_known(leaf, known) for leaf in leaves]
  if False in answers:
    return False
  return None if None in answers else True


def _is_known(leaf: Any, known: set[int]) -> bool | None:
  for ancestor in _ancestors(leaf):
    if ancestor is None:
      return None
    if id(ancestor) in known:
      return True
  return False


def _ancestors(leaf: Any) -> Iterator[Any]:
  """The leaf and what it is a copy of; None where the traces of it are lost.

  Tracers tell what they come from by attributes that JAX does not document. A
  version without them leaves us without an answer, not with a wrong one.
  """
  waiting = [leaf]
  while waiting:
    tracer = _inner(waiting.pop())
    yield tracer
    if not isinstance(tracer, jax.core.Tracer):
      continue
    equation = getattr(tracer, 'parent', None)
    name = getattr(getattr(equation, 'primitive', None), 'name', None)
    if name is None:
      yield None
    elif name in _KEEPS:
      waiting.extend(getattr(equation, 'in_tracers', ()))


def _inner(leaf: Any) -> Any:
  """What `jax.vmap` and `jax.grad` have wrapped."""
  while isinstance(leaf, jax.core.Tracer):
    if hasattr(leaf, 'batch_dim'):
      leaf = getattr(leaf, 'val', None)
    elif hasattr(leaf, 'primal'):
      leaf = leaf.primal
    else:
      break
  return leaf


def _equal(leaves: list[Any], given: list[Any]) -> bool | None:
  """Whether arrays have the same numbers, as after a way through NumPy."""
  if len(leaves) != len(given):
    return None
  return all(
    np.shape(x) == np.shape(y)
    and bool(jnp.array_equal(jnp.asarray(x, y.dtype), y, equal_nan=True))
    for x, y in zip(leaves, given, strict=True)
  )
