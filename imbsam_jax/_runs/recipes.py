# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recipes by name or by file."""

import difflib
import importlib
import os
import pkgutil
import runpy
from typing import Any

from imbsam_jax import _errors


def get_config(recipe: str | os.PathLike[str], package: Any) -> Any:
  """The function ``get_config(words)`` of a recipe.

  Args:
    recipe: Name of a module of `package`, or path of a Python file.
    package: Package of installed recipes.

  Raises:
    ConfigError: There is no such recipe or file, or it has no such function.
  """
  path = os.path.expanduser(os.fspath(recipe))
  if path.endswith('.py'):
    try:
      module = runpy.run_path(path)
    except OSError as error:
      raise _errors.ConfigError(
        f'the configuration file {path} cannot be read: {error.strerror}.'
      ) from error
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
  if 'get_config' not in module:
    raise _errors.ConfigError(
      f'{path} has no function get_config(words) that returns a configuration.'
    )
  return module['get_config']


def names(package: Any) -> list[str]:
  """Names of the recipes of a package."""
  found = [module.name for module in pkgutil.iter_modules(package.__path__)]
  return [name for name in found if not name.startswith('_')]
