# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A radius with two stages."""

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
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
    ValueError: If a radius or the boundary is negative.
    TypeError: If `boundary` is not an int.
  """
  _checks.radius('before', before)
  _checks.radius('after', after)
  _checks.integer(
    'boundary',
    boundary,
    low=0,
    hint='It is a number of updates: multiply epochs by the steps per epoch.',
  )

  def schedule(count: jax.typing.ArrayLike) -> jax.Array:
    return jnp.where(
      jnp.asarray(count) < boundary,
      _perturbation.radius_at(before, count),
      _perturbation.radius_at(after, count),
    )

  return schedule
