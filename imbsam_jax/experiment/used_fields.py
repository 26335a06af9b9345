# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which fields the methods of a configuration have a use for."""

from collections.abc import Iterable
import inspect

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import methods
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config

_RULE = 'update rule'
_AUXILIARY = 'data.auxiliary'
_MOMENTUM = 'optimizer.momentum'
# Whatever the rule: batches and tables tell the tail apart too.
_FOR_ALL = ('threshold',)
# What comes to a rule in its `methods.RuleSetup`, by name there.
_OF_SETUP = {'switch': 'switch_step', 'perturb': 'mask'}


def uses(method: str, field: str) -> bool:
  """Whether an update rule has a use for a field that is made for rules.

  By the parameters of its function, and by what that asks of its setup.

  Args:
    method: The text of `optimizer.method`.
    field: Name of a field of the optimizer.

  Raises:
    ConfigError: If the rule is unknown.
  """
  function = inspect.unwrap(methods.bind(_RULE, method).function)
  if field in _OF_SETUP:
    code = getattr(function, '__code__', None)
    # One's own may hand the setup on.
    own = code is None or not methods.is_of_library(function)
    return own or _OF_SETUP[field] in code.co_names
  field = {'rho_schedule': 'rho'}.get(field, field)
  return field in _specs.parameters_of(function)


def check(given: Iterable[str], configs: Iterable[_config.Config]) -> None:
  """Refuses fields that were set by hand and have no effect.

  Args:
    given: Their dotted names.
    configs: What they were set in: one, or all those of a comparison, of which
      one has to have a use for each of them.

  Raises:
    ConfigError: If a field has no effect; the message names it, and the rules
      that it is for.
  """
  configs = list(configs)
  chosen = list(dict.fromkeys(one.optimizer.method for one in configs))
  for name in given:
    if name == _AUXILIARY:
      _check_auxiliary(configs)
    if name == _MOMENTUM:
      _check_momentum(configs)
    part, _, field = name.partition('.')
    users = [rule for rule in methods.AXES[_RULE].choices if uses(rule, field)]
    # Of other fields it is not the rule that decides.
    if part != 'optimizer' or field in _FOR_ALL or not users:
      continue
    if not any(uses(method, field) for method in chosen):
      who = chosen[0] if len(chosen) == 1 else f'any of {", ".join(chosen)}'
      raise _errors.ConfigError(
        f'`{name}` has no effect on {who}. Leave it out, or choose a method '
        f'that it is for: {", ".join(sorted(users))}.'
      )


def _check_momentum(configs: list[_config.Config]) -> None:
  """Refuses the momentum of SGD where none of the optimizers is SGD."""
  names = [one.optimizer.name for one in configs]
  if all(_specs.name(name) != 'sgd' for name in names):
    raise _errors.ConfigError(
      f'`{_MOMENTUM}` has no effect on {names[0]}. Leave it out, or set '
      "`optimizer.name='adamw(b1=0.9)'`, which is its decay rate, or "
      '`optimizer.name=sgd`.'
    )


def _check_auxiliary(configs: list[_config.Config]) -> None:
  """Refuses auxiliary images that no method takes."""
  if any(methods.takes_auxiliary(_choices.choices_of(one)) for one in configs):
    return
  users = [
    methods.typed(axis, name)
    for axis, entry in methods.AXES.items()
    for name, choice in entry.choices.items()
    if choice.traits.auxiliary
  ]
  raise _errors.ConfigError(
    f'`{_AUXILIARY}` has no effect on methods that take no auxiliary images. '
    f'Leave it out, or choose a method that does: {", ".join(users)}.'
  )
