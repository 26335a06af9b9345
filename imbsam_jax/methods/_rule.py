# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`RuleSetup`, what an update rule knows of a run, and what rules share."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _errors

Radius = float | Callable[[Any], jax.Array]


class RuleSetup(NamedTuple):
  """What the function of an update rule is called with.

  Its keyword-only parameters are fields of the optimizer, such as ``rho``, or
  its own. It gives a `training.Method`.

  Attributes:
    class_counts: Training images of each class, int ``[C]``.
    switch_step: Step at which the share `optimizer.switch` of the run is over.
    key: Key of `jax.random` for rules that draw.
    mask: Which parameters are perturbed, as `training.update_rules` take it, by
      `optimizer.perturb`. None is all.
  """

  class_counts: np.ndarray
  switch_step: int
  key: jax.Array
  mask: Callable[[Any], Any] | None = None


def check_tail(name: str, setup: RuleSetup, threshold: int) -> None:
  """Refuses a threshold that leaves no tail class.

  Raises:
    ConfigError: If no class is tail; the message says which threshold leaves
      one.
  """
  smallest = int(setup.class_counts.min())
  if smallest >= threshold:
    raise _errors.ConfigError(
      f'`optimizer.threshold={threshold}` leaves no tail class to {name}: the '
      f'smallest class has {smallest} images. Pass '
      f'`optimizer.threshold={smallest + 1}` or more.'
    )


def scaled(rho: Radius, factor: Callable[[Any], Any]) -> Radius:
  """The product of a radius and a factor by step."""

  def schedule(count):
    base = rho(count) if callable(rho) else jnp.asarray(rho, jnp.float32)
    return base * jnp.asarray(factor(count)).astype(jnp.float32)

  return schedule
