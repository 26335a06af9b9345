# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The flag ``--config``: recipes, words, and fields of the command line."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import importlib
import itertools
import typing
from typing import Any

from absl import flags
from ml_collections import config_flags

from imbsam_jax import _errors
from imbsam_jax._doors import calls
from imbsam_jax._runs import fields
from imbsam_jax._runs import recipes as recipes_lib


def imports(arguments: Sequence[str]) -> list[str]:
  """The files of ``--import=FILE`` or ``--import FILE``."""
  files = []
  for place, argument in enumerate(arguments):
    name, given, path = argument.partition('=')
    if name in ('--import', '-import'):
      files += [path] if given else list(arguments[place + 1 : place + 2])
  return files


def take(
  arguments: Sequence[str], example: str
) -> tuple[str, str | None, list[str]]:
  """Takes ``--config=SOURCE:WORDS`` out of a command line.

  Args:
    arguments: Arguments of the command line.
    example: A recipe, with words where the program takes them.

  Returns:
    The source, the words or None, and the other arguments.

  Raises:
    ConfigError: If the arguments have no ``--config``.
  """
  given, rest = '', []
  waiting = False
  for argument in arguments:
    name, equals, value = argument.partition('=')
    if waiting and not argument.startswith('-'):
      given, waiting = argument, False
    elif name in ('--config', '-config'):
      given, waiting = value, not equals
    else:
      rest.append(argument)
  if not given:
    _, colon, words = example.partition(':')
    raise _errors.ConfigError(
      f'Pass a configuration, such as --config={example} or '
      f'--config=FILE.py{colon}{words}'
      + ('.' if words else '; method words go into --methods.')
    )
  source, colon, words = given.partition(':')
  return source, words if colon else None, rest


def load(source: str, words: str | None, recipes: Any, kind: type) -> Any:
  """The configuration of a recipe or file.

  Args:
    source: Its name or path.
    words: Method words, or None.
    recipes: The package of recipes.
    kind: What the configuration has to be.

  Raises:
    ConfigError: If the recipe or file cannot be read, or gives a configuration
      of another kind.
  """
  with _naming_the_flag(source):
    return recipes_lib.load(source, words, recipes, kind)


def check_source(source: str, recipes: Any) -> None:
  """Refuses what is neither a recipe nor a configuration file.

  Args:
    source: Its name or path.
    recipes: The package of recipes.

  Raises:
    ConfigError: If there is no such recipe or file, or it has no function
      ``get_config``.
  """
  with _naming_the_flag(source):
    recipes_lib.find(source, recipes)


def define(
  values: flags.FlagValues, config: Any, arguments: Sequence[str]
) -> None:
  """Defines the flags ``--config.FIELD`` that a command line has.

  Raises:
    ConfigError: If there is no such field, or it cannot be set so.
  """
  try:
    config_flags.DEFINE_config_dataclass(
      'config',
      _mutable(config),
      flag_values=values,
      sys_argv=['', *arguments],
    )
  except KeyError as error:
    # ml_collections names the field without its path.
    raise _errors.ConfigError(_unknown(arguments, config, error)) from error
  except (flags.Error, ValueError, TypeError, AttributeError) as error:
    raise _errors.ConfigError(str(error)) from error


def take_nones(
  arguments: Sequence[str], config: Any
) -> tuple[list[str], dict[str, None]]:
  """Takes ``--config.FIELD=None`` out of a command line.

  The parsers of numbers do not know None, and to those of texts it is a text.

  Args:
    arguments: Arguments of the command line.
    config: The configuration without its fields of the command line.

  Returns:
    The other arguments, and the fields that are None.

  Raises:
    ConfigError: If a field is set to None that cannot be None; the message
      names what it can be.
  """
  hints, values = fields.types(type(config)), fields.flatten(config)
  rest: list[str] = []
  nones: dict[str, None] = {}
  waiting = iter(arguments)
  for argument in waiting:
    flag, equals, value = argument.partition('=')
    name = flag.lstrip('-').removeprefix('config.')
    if not flag.startswith(('--config.', '-config.')) or name not in hints:
      rest.append(argument)
      continue
    parts = [argument]
    if not equals and hints[name] is not bool:
      parts += itertools.islice(waiting, 1)
      value = parts[-1]
    # Of several values the last one counts.
    nones.pop(name, None)
    if value != 'None':
      rest += parts
    elif fields.fits(None, hints[name]):
      nones[name] = None
    else:
      raise _errors.ConfigError(
        f'`{name}` must be {fields.type_name(hints[name])}, such as '
        f'{values[name]!r}, got None.'
      )
  return rest, nones


def overrides(values: flags.FlagValues) -> dict[str, Any]:
  """The fields that the parsed command line sets."""
  return dict(config_flags.get_override_values(values['config']))


def of_word(
  call: calls.Call, word: str, recipes: Any, reserved: Mapping[str, str]
) -> Any:
  """The configuration of a method word, with fields of the command line.

  Args:
    call: What was typed.
    word: Method words.
    recipes: The package of recipes.
    reserved: Fields that flags of the program set.

  Raises:
    ConfigError: If `call` has method words, or sets a reserved field.
  """
  if call.words is not None:
    raise _errors.ConfigError(
      f'--config={call.source}:{call.words} names a method word; here words go '
      'into --methods.'
    )
  for name, instead in reserved.items():
    if name in call.overrides:
      raise _errors.ConfigError(f'--config.{name} is set by --{instead} here.')
  config = load(call.source, word, recipes, type(call.config))
  return fields.replace(config, call.overrides)


def field_names(recipes: str) -> list[str]:
  """Dotted names of the fields of a program's configurations."""
  study = importlib.import_module(recipes.rpartition('.')[0])
  return list(fields.flatten(study.Config()))


def _mutable(config: Any) -> Any:
  """The same fields in classes that are not frozen, as ml_collections sets."""
  hints = typing.get_type_hints(type(config))
  values = {
    field.name: getattr(config, field.name)
    for field in dataclasses.fields(config)
  }
  for name, value in values.items():
    if dataclasses.is_dataclass(value):
      values[name] = _mutable(value)
      hints[name] = type(values[name])
  kind = dataclasses.make_dataclass(
    type(config).__name__, [(name, hints[name]) for name in values]
  )
  return kind(**values)


def _unknown(arguments: Sequence[str], config: Any, error: KeyError) -> str:
  known = fields.flatten(config)
  for argument in arguments:
    name = argument.lstrip('-').split('=')[0].removeprefix('no')
    if name.startswith('config.') and name[len('config.') :] not in known:
      return fields.unknown_field(name[len('config.') :], config)
  return str(error)


@contextlib.contextmanager
def _naming_the_flag(source: str) -> Iterator[None]:
  """Names the flag in errors that do not begin with the file."""
  try:
    yield
  except _errors.ConfigError as error:
    if str(error).startswith(source):
      raise
    raise _errors.ConfigError(f'--config={source}: {error}') from error
