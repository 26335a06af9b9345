# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Update rules by name, and their radii over a run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import training
from imbsam_jax import transforms
from imbsam_jax.experiment import _config

Radius = float | Callable[[Any], jax.Array]


def make_method(
  config: _config.Optimizer,
  class_counts: np.ndarray,
  switch_step: int,
  num_steps: int,
  key: jax.Array,
) -> training.Method:
  """The update rule of a configuration.

  Args:
    config: Which rule, with which radii.
    class_counts: int ``[C]``.
    switch_step: Step of SSE-SAM's second stage and of RSAM's half radius.
    num_steps: Steps of the run.
    key: For RSAM's noise.

  Raises:
    ConfigError: An unknown rule or schedule, or a value out of range.
  """
  rules = training.update_rules
  name: Any = config.method
  if name not in rules.NAMES:
    raise _errors.ConfigError(f'unknown `optimizer.method` {name!r}.')
  if name in ('imbsam', 'sse_sam'):
    _check_tail(config, class_counts)
  rho = make_radius(config.rho, config.rho_schedule, num_steps)
  if name == 'rsam':
    halves = transforms.stage_switch(1.0, 0.5, boundary=switch_step)
    rho = scaled(rho, halves)
  return training.Method(
    rules.class_weights(
      name,
      class_counts,
      threshold=config.threshold,
      tail_weight=config.tail_weight,
      gamma=config.focal_gamma,
      lam=config.focal_lam,
    ),
    rules.stages(
      name,
      rho=rho,
      head_rho=config.head_rho,
      switch_step=switch_step,
      adaptive=config.adaptive,
      key=key,
    ),
  )


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


def _check_tail(config: _config.Optimizer, class_counts: np.ndarray) -> None:
  smallest = int(class_counts.min())
  if smallest >= config.threshold:
    raise _errors.ConfigError(
      f'`optimizer.threshold={config.threshold}` leaves no tail class '
      f'to {config.method}: the smallest class has {smallest} images. Pass '
      f'`optimizer.threshold={smallest + 1}` or more.'
    )


def make_radius(rho: float, schedule: str, num_steps: int) -> Radius:
  """A radius, or its schedule by step.

  Args:
    rho: The radius that the factors of the schedule refer to.
    schedule: 'constant', 'step(factors=, starts=)' or 'linear(first=, last=)'.
    num_steps: Steps of the run.

  Returns:
    `rho` itself if it is constant, otherwise a function of the step.

  Raises:
    ConfigError: An unknown schedule, or parameters that do not fit.
  """
  bound = _specs.bind(
    'optimizer.rho_schedule',
    schedule,
    {'constant': lambda num_steps: None, 'step': _step, 'linear': _linear},
  )
  factor = bound(num_steps)
  return rho if factor is None else scaled(rho, factor)


def scaled(rho: Radius, factor: Callable[[Any], Any]) -> Radius:
  """The product of a radius and a factor by step."""

  def schedule(count):
    base = rho(count) if callable(rho) else jnp.asarray(rho, jnp.float32)
    return base * jnp.asarray(factor(count)).astype(jnp.float32)

  return schedule


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
