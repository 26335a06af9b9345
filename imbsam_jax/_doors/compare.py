# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Trains methods on several seeds and compares them.

  python -m imbsam_jax compare --config=digits_lt --methods=sgd,sam,imbsam \
    --seeds=5 --workdir=runs/digits_lt

Methods combine words with plus signs: --methods=sgd,imbsam+ldam_drw. With
--links=sgd,imbsam every method runs under each of these update rules, and
--methods=all is every word but those that begin with a finished run.

Runs that are complete are not repeated. Fields for all methods:
--config.epochs=100. To choose a radius, use the validation split:
--config.final_split=validation --rhos=0.05,0.1,0.2
"""

import functools
from typing import Any

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import init_from

RECIPES = 'imbsam_jax.experiment.recipes'
EXAMPLE = 'digits_lt'
CONFIG_HELP = 'Recipe or configuration file, no word.'
STOPPED = (
  'stopped outside of a run; the same command again goes on, and does not '
  'repeat those that are complete.'
)


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_list(
    'methods',
    'sgd,sam,imbsam,sse_sam,rsam',
    'Method words; the first is the one that others are compared with.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'links',
    '',
    'Update rules that every method is combined with.',
    flag_values=values,
  )
  flags.DEFINE_list(
    'rhos',
    [],
    'Radii that every method that has one is run with, instead of its own.',
    flag_values=values,
  )
  flags.DEFINE_enum(
    'side_by_side',
    'auto',
    ['auto', 'always', 'never'],
    'Runs that differ in seed and radius alone go through one program '
    'together; auto does so on accelerators, for images that stay there and '
    'networks of at most 100,000 parameters.',
    flag_values=values,
  )
  flags.DEFINE_integer(
    'seeds', 5, 'Number of seeds: 0, 1, ...', 1, flag_values=values
  )
  flags.DEFINE_string(
    'workdir', None, 'Folder of all runs.', flag_values=values
  )
  init_from.define(
    values,
    of=', {word} for the words but those that need such a run (sgd where none '
    'is left)',
  )


def main(call: calls.Call) -> None:
  """Runs what is missing, then writes and prints the comparison."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax import methods
  from imbsam_jax._runs import compilation
  from imbsam_jax.experiment import used_fields

  given = call.flags
  compilation.ask_for_same_bits(call.config.deterministic)
  call.require(
    workdir='FOLDER for the runs', methods='sgd,imbsam or other method words'
  )
  words = methods.combinations(','.join(given.methods), given.links)
  configs = _configs(call, words)
  if given.rhos:
    configs = _with_radii(configs, given.rhos, given.links)
  used_fields.check(call.overrides, configs.values())
  experiment_lib.cache_compilations()
  comparison = experiment_lib.compare(
    configs,
    seeds=given.seeds,
    workdir=given.workdir,
    links=given.links.split(',') if given.links else (),
    stacked={'auto': None, 'always': True, 'never': False}[given.side_by_side],
    command=call.command,
    say=functools.partial(print, flush=True),
    progress=True,
  )
  print(
    f'\n{comparison}\nfiles in {given.workdir}: comparison.json, '
    'comparison.md, accuracy_by_frequency.png, and a folder for each run'
  )


def _configs(call: calls.Call, words: list[str]) -> dict[str, Any]:
  """The configuration of every word, with the same fields."""
  from imbsam_jax import methods
  from imbsam_jax._doors import configs
  from imbsam_jax.experiment import recipes

  reserved = {'optimizer.method': 'methods', 'seed': 'seeds'}
  if call.flags.rhos:
    reserved['optimizer.rho'] = 'rhos'
  needing = [
    word for word in words if any(map(methods.fine_tunes, methods.split(word)))
  ]
  fields = call.overrides
  alone = {k: v for k, v in fields.items() if k != 'init_from'}
  # Of a field it is not asked whom it is for.
  for_some = bool(needing and call.flags.init_from)
  return {
    word: configs.of_word(
      call._replace(
        overrides=alone if for_some and word not in needing else fields
      ),
      word,
      recipes,
      reserved,
    )
    for word in words
  }


def _with_radii(
  configs: dict[str, Any], rhos: list[str], links: str
) -> dict[str, Any]:
  """``{'sam': ...}`` to ``{'sam@0.05': ..., 'sam@0.1': ...}``."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax.experiment import used_fields

  try:
    radii = [float(rho) for rho in rhos]
  except ValueError as error:
    raise experiment_lib.ConfigError(
      f'--rhos must be numbers such as 0.05,0.1, got {",".join(rhos)}.'
    ) from error
  if links:
    raise experiment_lib.ConfigError(
      '--rhos and --links do not go together: a table has one of them in its '
      'columns. Combine words with plus signs: --methods=sam+ldam_drw.'
    )
  rules = {config.optimizer.method for config in configs.values()}
  if not any(used_fields.uses(rule, 'rho') for rule in rules):
    raise experiment_lib.ConfigError(
      f'--rhos={",".join(rhos)} has no effect on {", ".join(configs)}. Leave '
      'it out, or add a method that has a radius, such as imbsam, to --methods.'
    )
  by_radius = {}
  for word, config in configs.items():
    if not used_fields.uses(config.optimizer.method, 'rho'):
      by_radius[word] = config
      continue
    for rho in radii:
      by_radius[f'{word}@{rho:g}'] = experiment_lib.replace(
        config, {'optimizer.rho': rho}
      )
  return by_radius
