# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fields of configuration dataclasses, by dotted name: ``'data.name'``."""

from collections.abc import Mapping
import dataclasses
import difflib
import json
import pathlib
import typing
from typing import Any
from typing import TypeVar

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _specs
from imbsam_jax import training

Kind = TypeVar('Kind')


def flatten(config: Any) -> dict[str, Any]:
  """Fields by dotted name, ``{'data.name': 'digits', ...}``."""
  fields = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      fields |= {f'{field.name}.{k}': v for k, v in flatten(value).items()}
    else:
      fields[field.name] = value
  return fields


def replace(config: Kind, changes: Mapping[str, Any]) -> Kind:
  """A copy with some fields, by dotted name, changed.

  Lists become tuples and whole numbers floats where the field has these, so
  that equal configurations look alike in ``config.json``.

  Raises:
    ConfigError: If there is no such field; the message names the nearest one.
  """
  hints = types(type(config))
  for name in changes:
    if name not in hints:
      raise _errors.ConfigError(unknown_field(name, config))
  values = flatten(config) | {
    name: _as_stored(value, hints[name]) for name, value in changes.items()
  }
  parts = {
    field.name: type(part)(
      **{
        inner.name: values[f'{field.name}.{inner.name}']
        for inner in dataclasses.fields(part)
      }
    )
    if dataclasses.is_dataclass(part := getattr(config, field.name))
    else values[field.name]
    for field in dataclasses.fields(config)  # pyrefly: ignore
  }
  return type(config)(**parts)


def _as_stored(value: Any, hint: Any) -> Any:
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, list):
    return tuple(value)
  floats = hint is float or float in typing.get_args(hint)
  return float(value) if floats and type(value) is int else value


def unknown_field(name: str, config: Any) -> str:
  """What to say about a field that does not exist."""
  fields = list(flatten(config))
  last = name.rsplit('.', 1)[-1]
  near = difflib.get_close_matches(name, fields, n=1)
  near = near or [f for f in fields if f.rsplit('.', 1)[-1] == last]
  near = near or difflib.get_close_matches(
    last, [f.rsplit('.', 1)[-1] for f in fields], n=1
  )
  hint = f' Did you mean {near[0]!r}?' if near else ''
  return f'there is no field {name!r} in the configuration.{hint}'


def to_json(config: Any) -> dict[str, Any]:
  """The configuration as nested dictionaries, for ``config.json``."""
  return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(path: pathlib.Path, kind: type[Kind]) -> Kind:
  """The configuration that a run wrote.

  Args:
    path: Its ``config.json``.
    kind: Class of the configuration.

  Raises:
    ConfigError: If the file cannot be read, or has unknown fields or values of
      other types.
  """
  try:
    nested = training.read_json(path)
  except training.TornFileError as error:
    raise _errors.ConfigError(
      f'{path} is not a readable config.json: {error}.'
    ) from error
  try:
    return from_nested(nested, kind)
  except _errors.ConfigError as error:
    raise _errors.ConfigError(
      f'{path} is not the config.json of such a run: {error}'
    ) from error


def from_nested(nested: Mapping[str, Any], kind: type[Kind]) -> Kind:
  """The configuration of the content of a ``config.json``.

  Args:
    nested: The fields; those of parts in dictionaries of their own.
    kind: Class of the configuration.

  Raises:
    ConfigError: If there are none, unknown ones, or values of other types.
  """
  if not nested:
    raise _errors.ConfigError('it holds no fields.')
  changes = _values(nested)
  config = replace(kind(), _specs.added(changes) | changes)
  check_types(config)
  return config


def added_since(nested: Mapping[str, Any]) -> dict[str, Any]:
  """Fields that the ``config.json`` of an earlier version lacks.

  Args:
    nested: Its content.

  Returns:
    By dotted name, what that version did.
  """
  return _specs.added(_values(nested))


def _values(nested: Mapping[str, Any]) -> dict[str, Any]:
  """The fields of a ``config.json``, by dotted name."""
  changes = {}
  for name, value in nested.items():
    if isinstance(value, dict):
      changes |= {f'{name}.{k}': v for k, v in value.items()}
    else:
      changes[name] = value
  return {name: _specs.renewed(name, value) for name, value in changes.items()}


def check_types(config: Any) -> None:
  """Refuses values of another type than their field.

  Raises:
    ConfigError: If a value does not fit; the message names the field, the
      value, and what it can be.
  """
  fields = flatten(config)
  for name, hint in types(type(config)).items():
    if not fits(fields[name], hint):
      raise _errors.ConfigError(
        f'`{name}` must be {type_name(hint)}, got {fields[name]!r}.'
      )


def types(kind: type) -> dict[str, Any]:
  """Types of the fields, by dotted name."""
  by_name: dict[str, Any] = {}
  for name, hint in typing.get_type_hints(kind).items():
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
      by_name |= {f'{name}.{k}': v for k, v in types(hint).items()}
    else:
      by_name[name] = hint
  return by_name


def fits(value: Any, hint: Any) -> bool:
  """Whether a value is of the type of a field."""
  arguments = typing.get_args(hint)
  origin = typing.get_origin(hint)
  if origin is tuple:
    return isinstance(value, tuple) and all(
      fits(entry, arguments[0]) for entry in value
    )
  if arguments:  # A union.
    return any(fits(value, argument) for argument in arguments)
  if isinstance(value, bool):
    return hint is bool
  return isinstance(value, (int, float) if hint is float else hint)


def type_name(hint: Any) -> str:
  """The type of a field, as it is written."""
  return str(hint) if typing.get_args(hint) else hint.__name__
