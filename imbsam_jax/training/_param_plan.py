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
    begins_anew: ``begins_anew(path)`` of a parameter is whether it begins as
      the model makes it, in a run that begins with another run. None takes all
      parameters over.
    frozen_dtype: Dtype of the kernels that are not trained, such as 'bfloat16'
      where the network computes in that; vectors and what is trained keep
      theirs. None leaves all as they are.
  """

  load: Callable[[Variables], Variables] | None = None
  trains: Callable[[tuple[str, ...]], bool] | None = None
  begins_anew: Callable[[tuple[str, ...]], bool] | None = None
  frozen_dtype: str | None = None


# Differences that a message has room for.
_LISTED = 6

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


def begun_with(plan: ParamPlan, other: Variables) -> ParamPlan:
  """The plan of a run that begins with the variables of another run.

  Args:
    plan: The plan of a run that begins with its own.
    other: Variables of the other run.

  Returns:
    The plan, whose `load` takes `other` over. It raises a ValueError where a
    variable is missing, new or of another shape, and names those.
  """

  def load(initial):
    initial = loaded(initial, plan)
    ours = traverse_util.flatten_dict(initial)
    theirs = traverse_util.flatten_dict(other)
    kept = {path for path in {**ours, **theirs} if _is_new(plan, path)}
    wrong = [
      _difference(path, ours.get(path), theirs.get(path))
      for path in {**ours, **theirs}
      if path not in kept and _shape(ours.get(path)) != _shape(theirs.get(path))
    ]
    if wrong:
      raise ValueError(
        'the run that this one begins with has another network:\n  '
        + '\n  '.join(wrong[:_LISTED])
        + (f'\n  and {len(wrong) - _LISTED} more' if wrong[_LISTED:] else '')
        + '\nBegin with a run of the same `model` fields, such as '
        '`model.norm` or `model.tuning`, of a loss with the same head, and '
        'without a cache of features or a scheme that makes another network, '
        'as bbn, dbn_mix and rescom do.'
      )
    return traverse_util.unflatten_dict(
      {path: x if path in kept else theirs[path] for path, x in ours.items()}
    )

  return plan._replace(load=load)


def _is_new(plan: ParamPlan, path: tuple[str, ...]) -> bool:
  return (
    # Of a head also what is no parameter: fixed class vectors.
    plan.begins_anew is not None and plan.begins_anew(path[1:])
  )


def _shape(x: Any) -> tuple[int, ...] | None:
  return None if x is None else jnp.shape(x)


def _difference(path: tuple[str, ...], ours: Any, theirs: Any) -> str:
  there, here = (
    'none' if x is None else str(list(jnp.shape(x))) for x in (theirs, ours)
  )
  return f'{"/".join(path)}: {there} there, {here} here'


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
  frozen = {
    path: _cast(path[-1], x, plan)
    for path, x in flat.items()
    if path not in trained
  }
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


def _cast(name: str, leaf: Any, plan: ParamPlan) -> Any:
  """A leaf that is not trained, in the dtype of such ones."""
  if plan.frozen_dtype is None or name != 'kernel':
    return leaf
  return leaf.astype(plan.frozen_dtype)
