# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Update rules by name, and their radii over a run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax.experiment import _config


def make_method(
  config: _config.Optimizer, setup: methods.RuleSetup, num_steps: int
) -> training.Method:
  """The update rule of a configuration.

  Args:
    config: Which rule, with which radii.
    setup: What the rule knows of the run.
    num_steps: Steps of the run.

  Raises:
    ConfigError: If the rule or schedule is unknown, or a value is out of range.
  """
  chosen = methods.bind('update rule', config.method)
  _, own = _specs.parse(config.method)
  for name in own:
    if hasattr(config, name):
      raise _errors.ConfigError(
        f'`optimizer.method`: set `optimizer.{name}={own[name]!r}` instead of '
        f'{config.method}.'
      )
  known = {
    name: getattr(config, name)
    for name in _specs.parameters_of(chosen.function)
    if hasattr(config, name)
  }
  if 'rho' in known:
    known['rho'] = make_radius(config.rho, config.rho_schedule, num_steps)
  return chosen.make(setup, **{**known, **own})


def make_chain(
  config: Any,
  num_steps: int,
  warmup_steps: int,
  link: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
  """The chain that a link begins."""
  learning_rate = training.learning_rate_schedule(
    config.schedule,
    config.learning_rate,
    num_steps=num_steps,
    warmup_steps=warmup_steps,
  )
  return training.make_optimizer(
    link,
    learning_rate,
    momentum=config.momentum,
    weight_decay=config.weight_decay,
    decay=config.decay,
    clip_norm=config.clip_norm,
  )


def make_radius(rho: float, schedule: str, num_steps: int) -> methods.Radius:
  """A radius, or its schedule by step.

  Args:
    rho: The radius that the factors of the schedule refer to.
    schedule: 'constant', 'step(factors=, starts=)' or 'linear(first=, last=)'.
    num_steps: Steps of the run.

  Returns:
    `rho` itself if it is constant, otherwise a function of the step.

  Raises:
    ConfigError: If the schedule is unknown, or its parameters do not fit.
  """
  bound = _specs.bind(
    'optimizer.rho_schedule',
    schedule,
    {'constant': lambda num_steps: None, 'step': _step, 'linear': _linear},
  )
  factor = bound(num_steps)
  return rho if factor is None else methods.scaled(rho, factor)


def _step(
  num_steps: int,
  *,
  factors: tuple[float, ...] = (0.1, 0.2, 1.0, 1.2),
  starts: tuple[float, ...] = (0.025, 0.8, 0.9),
) -> Callable[[Any], jax.Array]:
  """The defaults are those of Saddle-LongTail on CIFAR: .05, .1, .5, .6."""
  tuples = isinstance(factors, tuple) and isinstance(starts, tuple)
  fit = tuples and len(factors) == len(starts) + 1 and min(factors) >= 0
  if not (fit and list(starts) == sorted({0, 1, *starts})[1:-1]):
    raise _errors.ConfigError(
      "`optimizer.rho_schedule` must be like 'step(factors=(0.1, 0.2, "
      "1.0), starts=(0.5, 0.8))', starts rising between 0 and 1, one factor "
      f'more, none negative, got factors={factors}, starts={starts}.'
    )
  # Not searchsorted: a handful of comparisons compile to nothing.
  edges = [round(start * num_steps) for start in starts]

  def factor(count):
    value = jnp.asarray(factors[0], jnp.float32)
    for edge, later in zip(edges, factors[1:], strict=True):
      value = jnp.where(count < edge, value, jnp.float32(later))
    return value

  return factor


def _linear(
  num_steps: int, *, first: float = 0.1, last: float = 1.0
) -> Callable[[Any], jax.Array]:
  if first < 0 or last < 0:
    raise _errors.ConfigError(
      '`optimizer.rho_schedule`: `first` and `last` must be >= 0, got '
      f'{first} and {last}.'
    )

  def factor(count):
    share = jnp.asarray(count).astype(jnp.float32) / max(num_steps - 1, 1)
    return first + (last - first) * jnp.minimum(share, 1.0)

  return factor
