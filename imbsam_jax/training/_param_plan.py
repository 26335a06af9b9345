# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which parameters a run begins with, and which of them it trains."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from flax import traverse_util
import jax
import jax.numpy as jnp

Variables = dict[str, Any]


class ParamPlan(NamedTuple):
  """Parameters that come from elsewhere, and those that stay as they are.

  Attributes:
    load: ``load(variables) -> variables``, between the initialization of the
      model and that of the optimizer: the tree of ``model.init`` with some of
      its arrays replaced; they get the types of the initial ones. A file is
      read before, not in it: it is also called while shapes are traced. None
      leaves the initial ones.
    trains: ``trains(path)`` of a parameter such as ``('classifier', 'kernel')``
      is whether it is trained. The others are ``state.frozen``: no gradient of
      theirs is computed, and no checkpoint holds them. None trains all.
  """

  load: Callable[[Variables], Variables] | None = None
  trains: Callable[[tuple[str, ...]], bool] | None = None


# Trains all parameters, from where the model begins.
ALL = ParamPlan()


def loaded(initial: Variables, plan: ParamPlan) -> Variables:
  """What the plan makes of the variables of ``model.init``, as arrays of JAX.

  Raises:
    ValueError: If the plan gives another tree, or arrays of other shapes.
  """
  if plan.load is None:
    return initial
  expected = dict(jax.tree.leaves_with_path(initial))
  given = dict(jax.tree.leaves_with_path(plan.load(initial)))
  wrong = [
    jax.tree_util.keystr(path)
    for path in {**expected, **given}
    if path not in expected
    or path not in given
    or jnp.shape(expected[path]) != jnp.shape(given[path])
  ]
  if wrong:
    raise ValueError(
      '`load` must give the tree of `model.init` with arrays of the same '
      f'shapes; these are missing, new or of another shape: {", ".join(wrong)}.'
    )
  # Copies: states are donated, and what was read is there for the next run.
  return jax.tree.unflatten(
    jax.tree.structure(initial),
    [jnp.array(given[path], x.dtype) for path, x in expected.items()],
  )


def split(params: Any, plan: ParamPlan) -> tuple[Any, Any]:
  """Trained and frozen parameters.

  Raises:
    ValueError: If no parameter would be trained.
  """
  if plan.trains is None:
    return params, {}
  flat = traverse_util.flatten_dict(params)
  trained = {path: x for path, x in flat.items() if plan.trains(path)}
  if not trained:
    raise ValueError(
      'no parameter would be trained: `trains` is False for all of '
      f'{", ".join("/".join(map(str, path)) for path in flat)}.'
    )
  frozen = {path: x for path, x in flat.items() if path not in trained}
  return (
    traverse_util.unflatten_dict(trained),
    traverse_util.unflatten_dict(frozen),
  )


def merged(params: Any, frozen: Any) -> Any:
  """All parameters, of the two trees of `split`."""
  if not frozen:
    return params
  if not isinstance(params, Mapping) or not isinstance(frozen, Mapping):
    raise ValueError('a parameter cannot be both trained and frozen.')
  return {
    name: merged(params.get(name, {}), frozen.get(name, {}))
    if name in params and name in frozen
    else params[name]
    if name in params
    else frozen[name]
    for name in {**params, **frozen}
  }
