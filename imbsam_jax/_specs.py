# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Choices with parameters, as text: ``ldam`` or ``ldam(max_margin=0.3)``."""

import ast
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import difflib
import functools
import inspect
import re
from typing import Any

from imbsam_jax import _errors

# Parameters that the trainer gives; a user cannot set them.
_GIVEN = ('key', 'axis_name')

# By field, what choices were called in earlier versions, and are called now.
_RENAMED = {'objective.mixing': {'dbn_mix': 'bilateral_mix'}}

# Fields that earlier versions did not have, and what they did.
ADDED = {'data.exif_orientation': False}


def parse(text: str) -> tuple[str, dict[str, Any]]:
  """Name and parameters.

  >>> parse('vs(gamma=0.1, tau=1.2)')
  ('vs', {'gamma': 0.1, 'tau': 1.2})

  Raises:
    ConfigError: If `text` is neither a name nor a name with keyword parameters.
  """
  try:
    node = ast.parse(text.strip(), mode='eval').body
    if isinstance(node, ast.Name):
      return node.id, {}
    if (
      isinstance(node, ast.Call)
      and isinstance(node.func, ast.Name)
      and not node.args
      and all(keyword.arg for keyword in node.keywords)
    ):
      return node.func.id, {
        str(keyword.arg): ast.literal_eval(keyword.value)
        for keyword in node.keywords
      }
  except (SyntaxError, ValueError):
    pass
  raise _errors.ConfigError(
    f'{text!r} cannot be read. Write a name, or a name with parameters, such '
    "as 'ldam(max_margin=0.3)'."
  )


def name(text: str) -> str:
  """The name alone."""
  return parse(text)[0]


def new_name(field: str, old: str) -> str | None:
  """What a choice is called that had another name in an earlier version."""
  return _RENAMED.get(field, {}).get(old)


def renewed(field: str, value: Any) -> Any:
  """The value of a field that an earlier version wrote, as it is written now.

  >>> renewed('objective.mixing', 'dbn_mix(alpha=0.5)')
  'bilateral_mix(alpha=0.5)'
  """
  for old, new in _RENAMED.get(field, {}).items():
    if isinstance(value, str) and re.match(rf'\s*{old}\b', value):
      return value.replace(old, new, 1)
  return value


def added(names: Collection[str]) -> dict[str, Any]:
  """Fields that the configuration of an earlier version lacks.

  Args:
    names: Dotted names of the fields that it has.

  Returns:
    By name, what that version did.
  """
  # What a version of the program wrote has all the fields of a part.
  if not {'data.subset_seed', 'data.workers'} <= set(names):
    return {}
  return {name: value for name, value in ADDED.items() if name not in names}


def bind(
  field: str,
  text: str,
  table: Mapping[str, Callable[..., Any]],
) -> Callable[..., Any]:
  """The function of a choice, its parameters filled in.

  Args:
    field: Field of the configuration, for messages.
    text: Text of the choice.
    table: Functions by name; their keyword-only parameters can be set.

  Returns:
    The function with these parameters.

  Raises:
    ConfigError: If the name or a parameter is unknown; the message lists those
      that exist.
  """
  chosen, parameters = parse(text)
  if chosen not in table:
    near = difflib.get_close_matches(chosen, table, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    raise _errors.ConfigError(
      f'`{field}` must be one of {", ".join(table)}, got {chosen!r}.' + hint
    )
  known = parameters_of(table[chosen])
  for parameter in parameters:
    if parameter not in known:
      # Those without a default are fields of the configuration.
      listed = ', '.join(
        f'{n}={v!r}'
        for n, v in known.items()
        if v is not inspect.Parameter.empty
      )
      of_fields = [n for n, v in known.items() if v is inspect.Parameter.empty]
      why = (
        ' Label smoothing has no meaning for losses with margins; use '
        'cross_entropy, balanced_softmax, logit_adjustment, cdt or vs.'
        if parameter == 'label_smoothing'
        else ''
      )
      raise _errors.ConfigError(
        f'`{field}`: {chosen} has no parameter {parameter!r}.{why} It '
        + (f'has {listed}.' if listed else 'has none.')
        + (
          f' Fields of their own are {", ".join(of_fields)}.'
          if of_fields
          else ''
        )
      )
  return functools.partial(table[chosen], **parameters)


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
  """Keyword-only parameters that a user can set, with their defaults."""
  return {
    parameter.name: parameter.default
    for parameter in inspect.signature(function).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _GIVEN
  }
