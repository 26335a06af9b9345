# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Update rules by name, and their radii over a run."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax.experiment import _config

_HEAD = 'classifier'


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
  *,
  epoch_starts: Sequence[int] | None = None,
) -> optax.GradientTransformationExtraArgs:
  """The chain that a link begins.

  Args:
    config: The optimizer.
    num_steps: Steps of the run.
    warmup_steps: Steps of the warm-up.
    link: The first of the chain.
    epoch_starts: First step of each epoch, for schedules by epoch.

  Raises:
    ConfigError: If the optimizer or schedule is unknown, or a parameter of it.
    ValueError: If the schedule does not fit the run.
  """
  name, numbers = optimizer_of(config.name)
  return training.make_optimizer(
    link,
    learning_rate(config, num_steps, warmup_steps, epoch_starts=epoch_starts),
    optimizer=name,
    momentum=config.momentum,
    weight_decay=config.weight_decay,
    decay=config.decay,
    clip_norm=config.clip_norm,
    layer_decay=config.layer_decay,
    **numbers,
  )


def learning_rate(
  config: Any,
  num_steps: int,
  warmup_steps: int,
  *,
  epoch_starts: Sequence[int] | None = None,
) -> optax.Schedule:
  """Learning rate by step.

  Args:
    config: The optimizer.
    num_steps: Steps of the run.
    warmup_steps: Steps of the warm-up.
    epoch_starts: First step of each epoch, for schedules by epoch.

  Raises:
    ConfigError: If the schedule is unknown, or a parameter of it.
    ValueError: If the schedule does not fit the run.
  """
  schedule: Any = _specs.name(config.schedule)
  return training.learning_rate_schedule(
    schedule,
    config.learning_rate,
    num_steps=num_steps,
    warmup_steps=warmup_steps,
    epoch_starts=epoch_starts,
    **schedule_parameters(config.schedule),
  )


def optimizer_of(text: str) -> tuple[Any, dict[str, Any]]:
  """Name and numbers of the optimizer: ``'adamw(b2=0.95)'``.

  Raises:
    ConfigError: If it is unknown, or a number is or is out of range.
  """
  numbers = _specs.bind(
    'optimizer.name', text, {'sgd': lambda: {}, 'adamw': _adamw}
  )()
  return _specs.name(text), numbers


def schedule_parameters(text: str) -> dict[str, Any]:
  """Parameters of the learning rate's schedule: ``'cosine(from_zero=True)'``.

  Raises:
    ConfigError: If the schedule is unknown, or a parameter is or does not fit.
  """
  table = dict.fromkeys(('cosine', 'step', 'ldam', 'constant'), _by_step)
  return _specs.bind(
    'optimizer.schedule', text, {**table, 'cosine_by_epoch': _by_epoch}
  )()


def _adamw(
  *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> dict[str, float]:
  error = _errors.ConfigError
  for name, value in (('b1', b1), ('b2', b2)):
    _checks.number(
      f'optimizer.name: {name}', value, low=0, below=1, error=error
    )
  _checks.number('optimizer.name: eps', eps, above=0, error=error)
  return {'b1': float(b1), 'b2': float(b2), 'eps': float(eps)}


def _by_step(*, from_zero: bool = False) -> dict[str, Any]:
  if not isinstance(from_zero, bool):
    raise _errors.ConfigError(
      f'`optimizer.schedule: from_zero` must be True or False, got '
      f'{from_zero!r}.'
    )
  return {'from_zero': from_zero}


def _by_epoch(*, from_zero: bool = False, lag: int = 0) -> dict[str, Any]:
  _checks.integer(
    'optimizer.schedule: lag', lag, low=0, error=_errors.ConfigError
  )
  return {**_by_step(from_zero=from_zero), 'lag': lag}


def make_mask(perturb: str) -> Callable[[Any], Any] | None:
  """Which parameters are perturbed, for `methods.RuleSetup`.

  Args:
    perturb: 'all', 'tuned' or 'head'.

  Returns:
    None for all; or a function from the parameters that are trained to a tree
    of bools like them. It raises a ConfigError where there are no others than
    those that are to stay.
  """
  if perturb == 'all':
    return None

  def mask(params):
    is_head = jax.tree.map_with_path(
      lambda path, _: jax.tree_util.keystr(path[:1], simple=True) == _HEAD,
      params,
    )
    _check_parts(perturb, jax.tree.leaves(is_head))
    return jax.tree.map(lambda one: one == (perturb == 'head'), is_head)

  return mask


def _check_parts(perturb: str, is_head: list[bool]) -> None:
  """Refuses parameters that are not of a head and something else.

  Without a head 'tuned' would be all, under another name.
  """
  if not any(is_head):
    raise _errors.ConfigError(
      f'`optimizer.perturb={perturb}` tells the head from the rest, and no '
      f"parameter that is trained is of a head named '{_HEAD}'. Name the head "
      f"of your network '{_HEAD}', as a models.Classifier does, or leave "
      '`optimizer.perturb=all`.'
    )
  if perturb == 'tuned' and all(is_head):
    raise _errors.ConfigError(
      '`optimizer.perturb=tuned` leaves nothing to perturb: of this run the '
      'head alone is trained. Leave `optimizer.perturb=all`, or train more: a '
      'word such as vpt_deep or adaptformer instead of probe, without '
      '`model.feature_cache`.'
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
