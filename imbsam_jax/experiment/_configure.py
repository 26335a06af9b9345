# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Configurations from recipes and method words."""

from collections.abc import Mapping
import os
from typing import Any

from imbsam_jax import _errors
from imbsam_jax import methods
from imbsam_jax._runs import fields as fields_lib
from imbsam_jax._runs import recipes as recipes_lib
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import recipes


def config(
  recipe: str | os.PathLike[str],
  words: str = 'sgd',
  fields: Mapping[str, Any] | None = None,
) -> _config.Config:
  """The configuration of a run.

  >>> from imbsam_jax import experiment
  >>> config = experiment.config('digits_lt', 'imbsam,ldam_drw', {'epochs': 20})
  >>> config.optimizer.method, config.objective.loss, config.epochs
  ('imbsam', 'ldam', 20.0)

  Args:
    recipe: Name of a module of `imbsam_jax.experiment.recipes`, such as
      ``'digits_lt'``, or the path of a Python file with a function
      ``get_config(words)`` that returns a `Config`.
    words: Method words, joined by commas or plus signs; `words` lists them.
    fields: Values of single fields by dotted name,
      ``{'optimizer.rho': 0.1}``.

  Returns:
    The configuration, frozen. It is checked by `build`.

  Raises:
    ConfigError: If there is no such recipe, word or field, and the message
      names the nearest one; or if the file has a mistake, and it names the
      line.
  """
  if not isinstance(words, str):
    raise _errors.ConfigError(
      f"`words` must be text such as 'imbsam,ldam_drw', got {words!r}."
    )
  loaded = recipes_lib.load(recipe, words, recipes, _config.Config)
  return fields_lib.replace(loaded, fields or {})


def recipe_names() -> list[str]:
  """Names of the installed recipes."""
  return recipes_lib.names(recipes)


def with_words(
  config: _config.Config,
  words: str,
  presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> _config.Config:
  """A configuration with the fields that method words set; for recipes.

  Args:
    config: What does not depend on the words.
    words: Method words, joined by commas or plus signs.
    presets: By word or words, the fields that were chosen for it on this data
      set. Of several that fit, the one of more words counts.

  Raises:
    ConfigError: If a word is unknown, or two words set the same field.
  """
  return fields_lib.replace(config, methods.field_values(words, presets or {}))
