# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recipes by name or by file."""

from collections.abc import Callable
import difflib
import importlib
import inspect
import os
import pkgutil
import runpy
import sys
import traceback
from typing import Any
from typing import TypeVar

from imbsam_jax import _errors

Kind = TypeVar('Kind')


def load(
  recipe: str | os.PathLike[str],
  words: str | None,
  package: Any,
  kind: type[Kind],
) -> Kind:
  """The configuration of a recipe or file.

  Args:
    recipe: Name of a module of `package`, or path of a Python file.
    words: Method words, or None to call ``get_config()`` without any.
    package: Package of installed recipes.
    kind: What the configuration has to be.

  Raises:
    ConfigError: If there is no such recipe or file, or it gives no such
      configuration; for an error in a file, the message names the line.
  """
  get_config = find(recipe, package)
  arguments = () if words is None else (words,)
  place = _definition(get_config, os.fspath(recipe))
  try:
    inspect.signature(get_config).bind(*arguments)
  except TypeError as error:
    raise _errors.ConfigError(
      f'{place}: get_config is called with '
      f'{"no words" if words is None else f"the words {words!r}"}: {error}. '
      "Write it as def get_config(words='sgd')."
    ) from error
  config = _told(recipe, lambda: get_config(*arguments))
  if not isinstance(config, kind):
    got = 'None' if config is None else _name(type(config))
    raise _errors.ConfigError(
      f'{place}: get_config gives {got}; here it must give {_name(kind)}.'
    )
  return config


def find(recipe: str | os.PathLike[str], package: Any) -> Callable[..., Any]:
  """The function ``get_config(words)`` of a recipe or file.

  Args:
    recipe: Name of a module of `package`, or path of a Python file.
    package: Package of installed recipes.

  Raises:
    ConfigError: If there is no such recipe or file, or it has no function
      ``get_config``.
  """
  path = os.path.expanduser(os.fspath(recipe))
  if path.endswith('.py'):
    module = run_file(path)
  else:
    known = names(package)
    if path not in known:
      near = difflib.get_close_matches(path, known, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      raise _errors.ConfigError(
        f'there is no recipe {path!r}.{hint} Recipes are {", ".join(known)}, '
        'or a file of your own whose name ends in .py.'
      )
    module = vars(importlib.import_module(f'{package.__name__}.{path}'))
  if not callable(module.get('get_config')):
    raise _errors.ConfigError(
      f'{path} has no function get_config(words) that returns a configuration.'
    )
  return module['get_config']


def run_file(path: str | os.PathLike[str]) -> dict[str, Any]:
  """Runs a Python file of one's own, such as one that registers method words.

  Args:
    path: The file. Others in its folder can be imported by it.

  Returns:
    Its names.

  Raises:
    ConfigError: If there is no such file, or it has a mistake; the message
      names the line.
  """
  path = os.path.expanduser(os.fspath(path))
  if not os.path.isfile(path):
    raise _errors.ConfigError(
      f'the file {path} cannot be read: '
      f'{"it is a folder" if os.path.isdir(path) else "there is none"}.'
    )
  folder = os.path.dirname(os.path.abspath(path))
  sys.path.insert(0, folder)
  try:
    return _told(path, lambda: runpy.run_path(path))
  finally:
    sys.path.remove(folder)


def names(package: Any) -> list[str]:
  """Names of the recipes of a package."""
  modules = [module.name for module in pkgutil.iter_modules(package.__path__)]
  return [name for name in modules if not name.startswith('_')]


def _told(recipe: str | os.PathLike[str], call: Callable[[], Any]) -> Any:
  """Calls; errors are told with the line of the file that they come from."""
  path = os.path.expanduser(os.fspath(recipe))
  try:
    return call()
  except Exception as error:  # Whatever the code of a user raises.
    ours = isinstance(error, _errors.ConfigError)
    if not path.endswith('.py'):
      if ours or not isinstance(error, ValueError | TypeError):
        raise
      raise _errors.ConfigError(str(error)) from error
    line = _line(error, path)
    if line is None and ours:  # It goes on in a recipe of the library.
      raise
    place = path if line is None else f'{path}:{line}'
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    if not ours:
      text = f'{type(error).__name__}: {text}'.removesuffix(': ')
    raise _errors.ConfigError(f'{place}: {text}') from error


def _line(error: Exception, path: str) -> int | None:
  """The last line of a file that an error has gone through."""
  if isinstance(error, SyntaxError) and _same(error.filename or '', path):
    return error.lineno
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if _same(frame.filename, path)
  ]
  return lines[-1] if lines else None


def _definition(get_config: Callable[..., Any], path: str) -> str:
  """Where a function is defined, if that is known."""
  code = getattr(get_config, '__code__', None)
  path = os.path.expanduser(path)
  if code is None or not _same(code.co_filename, path):
    return path
  return f'{path}:{code.co_firstlineno}'


def _same(one: str, other: str) -> bool:
  return os.path.abspath(one) == os.path.abspath(other)


def _name(kind: type) -> str:
  """``imbsam_jax.experiment.Config``, without its private module."""
  module = kind.__module__.partition('._')[0]
  return kind.__name__ if module == 'builtins' else f'{module}.{kind.__name__}'
