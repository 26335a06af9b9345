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
  known = [{id(_inner(leaf))} for leaf in given_leaves]
  if jax.tree.structure(tree) != jax.tree.structure(given):
    known = [set().union(*known)] * len(leaves)
  pairs = list(zip(leaves, known, strict=True))
  if all(id(_inner(leaf)) in ids for leaf, ids in pairs):
    return True
  inner = [_inner(leaf) for leaf in leaves + given_leaves]
  if not any(isinstance(x, jax.core.Tracer) for x in inner):
    return _equal(inner[: len(leaves)], inner[len(leaves) :])
  answers = [_is_known(leaf, ids) for leaf, ids in pairs]
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
      origin = _origin(tracer, equation)
      if origin is None:
        yield None
      elif _is_float(tracer) and _is_float(origin):
        waiting.append(origin)


def _origin(tracer: Any, equation: Any) -> Any:
  """What a tracer is a copy of; a barrier has several, each its own copy."""
  origins = getattr(equation, 'in_tracers', ())
  results = getattr(equation, 'outvars', ())
  variable = getattr(tracer, 'val', None)
  for origin, result in zip(origins, results, strict=False):
    if len(results) == 1 or result is variable:
      return origin
  return None


def _is_float(leaf: Any) -> bool:
  # Integers would have lost what stands behind the point.
  return jnp.issubdtype(leaf.dtype, jnp.floating)


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
    # A cast leaves what it is; to integers it does not.
    and jnp.issubdtype(jnp.result_type(x), jnp.floating)
    and bool(
      jnp.array_equal(x, jnp.asarray(y, jnp.result_type(x)), equal_nan=True)
    )
    for x, y in zip(leaves, given, strict=True)
  )
