# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A radius with two stages."""

import numbers

import jax
import jax.numpy as jnp
import optax

from imbsam_jax.transforms import _perturbation


def stage_switch(
  before: _perturbation.Radius,
  after: _perturbation.Radius,
  boundary: int,
) -> optax.Schedule:
  """One radius up to a number of updates, another from there on.

  >>> schedule = stage_switch(0.05, 0.0, boundary=140)
  >>> [float(f'{schedule(count):.2f}') for count in (0, 139, 140)]
  [0.05, 0.05, 0.0]

  Args:
    before: Value, or schedule, while ``count < boundary``.
    after: Value, or schedule, from then on. Both see the same count.
    boundary: Number of completed updates at which to switch; 0 means `after`
      from the start. SSE-SAM switches after ``ceil(gamma * epochs)`` epochs.

  Returns:
    An `optax.Schedule`: count (0-based, completed updates) to float32 scalar.

  Raises:
    ValueError: A negative radius or boundary.
    TypeError: A boundary that is not an int.
  """
  _perturbation.check_radius('before', before)
  _perturbation.check_radius('after', after)
  if isinstance(boundary, bool) or not isinstance(boundary, numbers.Integral):
    raise TypeError(
      f'`boundary` must be an int, a number of updates, got {boundary!r}. '
      'Multiply epochs by the steps per epoch.'
    )
  if boundary < 0:
    raise ValueError(
      f'`boundary` must be >= 0, got {boundary}. Pass 0 to start with `after`.'
    )

  def schedule(count: jax.typing.ArrayLike) -> jax.Array:
    return jnp.where(
      jnp.asarray(count) < boundary,
      _perturbation.radius_at(before, count),
      _perturbation.radius_at(after, count),
    )

  return schedule
