# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Groups that ascend along running averages of their own gradients."""

from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _device_axis
from imbsam_jax import _masks
from imbsam_jax.transforms import _oracle_checks
from imbsam_jax.transforms import _perturbation


class GroupAverageState(NamedTuple):
  """State of `group_sam` with `average_decay`.

  Attributes:
    count: Number of completed updates, int32.
    average: Running average of the gradients of the group that has a radius, a
      tree like the parameters, float32 (float64 for float64). A tuple of such
      trees where several groups have one.
  """

  count: jax.Array
  average: Any


def remembering_transform(
  name: str,
  rhos: Mapping[str, _perturbation.Radius | None],
  decay: jax.typing.ArrayLike,
  *,
  mask: _masks.Mask,
  adaptive: bool | _masks.Mask,
  eps: float,
) -> optax.GradientTransformationExtraArgs:
  """`group_sam` with `average_decay`, for radii that have been checked.

  Args:
    name: Name of the method.
    rhos: Radii of the groups. A group of radius None has no average; one of
      radius 0 keeps its own as it is, so that stages have states alike.
    decay: Decay rate of the running averages.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: Whether the perturbation scales with the magnitude of the weights.
    eps: Number that is added to the norm.

  Returns:
    The first link of a chain, see `group_sam`.
  """
  radii = tuple(rhos.values())
  remembering = [group for group, rho in enumerate(radii) if rho is not None]
  moving = {
    group: rho
    for group, rho in enumerate(radii)
    if rho is not None and not _perturbation.is_zero(rho)
  }

  def init_fn(params: optax.Params) -> GroupAverageState:
    averages = [_perturbation.zeros_like(params) for _ in remembering]
    return GroupAverageState(jnp.zeros([], jnp.int32), _packed(averages))

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    *,
    grad_fn: Any = None,
    axis_name: str | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, GroupAverageState]:
    del extra_args
    grad_fn = _oracle_checks.check_grad_fn(name, grad_fn, num_groups=len(radii))
    _perturbation.check_params(name, params)
    count = jnp.asarray(optax.safe_increment(state.count))
    if not moving:
      return updates, GroupAverageState(count, state.average)
    _oracle_checks.check_updates(name, updates, grad_fn)
    masks = _perturbation.resolve_masks(params, mask=mask, adaptive=adaptive)
    own = _unpacked(state.average, remembering)
    averages = dict(zip(remembering, own, strict=True))
    points = [params] * len(radii)
    for group, rho in moving.items():
      points[group], _ = _perturbation.ascend(
        params,
        averages[group],
        _perturbation.radius_at(rho, state.count),
        eps=eps,
        **masks,
      )
    gradients = [_perturbation.wide(g) for g in _apart(grad_fn, points)]
    for group in moving:
      averages[group] = _remembered(
        averages[group],
        _device_axis.summed(gradients[group], axis_name),
        decay,
      )
    total = jax.tree.map(lambda g, *more: sum(more, g), *gradients)
    return (
      _perturbation.cast_like(total, updates),
      GroupAverageState(count, _packed([averages[k] for k in remembering])),
    )

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _packed(averages: list[Any]) -> Any:
  return averages[0] if len(averages) == 1 else tuple(averages)


def _unpacked(average: Any, remembering: list[int]) -> tuple[Any, ...]:
  return (average,) if len(remembering) == 1 else average


def _remembered(
  average: Any, gradient: optax.Updates, decay: jax.typing.ArrayLike
) -> Any:
  """The next average; a batch without rows of the group changes nothing."""
  has_rows = _perturbation.global_norm(gradient) != 0
  return jax.tree.map(
    lambda old, new: jnp.where(has_rows, new, old),
    average,
    _perturbation.running_average(average, gradient, decay),
  )


def _apart(grad_fn: Any, points: list[optax.Params]) -> list[optax.Updates]:
  """The gradient of each group at its point."""
  if hasattr(grad_fn, 'apart'):
    return grad_fn.apart(points)
  # Oracles of one's own, and functions around the library's.
  return [grad_fn(point, group) for group, point in enumerate(points)]
