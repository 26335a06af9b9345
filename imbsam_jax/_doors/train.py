# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Trains one model.

  python -m imbsam_jax train --config=digits_lt:imbsam --workdir=runs/imbsam

The same command again goes on where it stopped. Single fields:
--config.optimizer.rho=0.1 --config.data.data_dir=DIR
--config=digits_lt:help lists the method words.
"""

import pathlib
from typing import Any

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import door
from imbsam_jax._doors import processes

RECIPES = 'imbsam_jax.experiment.recipes'
EXAMPLE = 'digits_lt:imbsam'
CONFIG_HELP = 'Recipe, or configuration file, and method words: NAME:WORDS.'


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)
  flags.DEFINE_bool(
    'dry_run',
    False,
    'Two steps, evaluation, save and restore; estimates time and memory.',
    flag_values=values,
  )
  processes.define(values)


def main(call: calls.Call) -> None:
  """Builds, trains, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax import training
  from imbsam_jax._runs import compilation

  # Processes that join begin with JAX.
  compilation.ask_for_same_bits(call.config.deterministic)
  workdir = pathlib.Path(call.flags.workdir or '').expanduser()
  if not call.flags.workdir and not call.flags.dry_run:
    raise experiment_lib.ConfigError(
      'pass --workdir=FOLDER for what the run leaves.'
    )
  if processes.join(call.flags) and call.flags.dry_run:
    raise experiment_lib.ConfigError(
      '--dry_run is for one process: it saves on its machine alone.'
    )
  experiment_lib.cache_compilations(shared=not door.is_one_of_several())
  experiment = experiment_lib.build(call.config)
  print(experiment)
  if call.flags.dry_run:
    print(experiment_lib.dry_run(experiment))
    return
  compilation.compile_ahead([experiment])
  result = experiment_lib.run(experiment, workdir=workdir, progress=True)
  if not training.is_first_process():
    return
  experiment_lib.plot(experiment, result, workdir / 'accuracy_by_frequency.png')
  print(f'\n{result.table()}\n')
  print(_closing(result.summary))
  if result.summary['reporting'] != 'last step':
    print(
      'not comparable with the usual numbers: ' + result.summary['reporting']
    )
  print(f'{workdir}: {", ".join(sorted(p.name for p in workdir.iterdir()))}')


def _closing(summary: dict[str, Any]) -> str:
  return (
    f'{summary["seconds"]:.1f} s, {summary["images_per_second"]:.0f} images/s, '
    f'{summary["cost_sgd_steps"]:.2f} SGD steps per step, '
    f'{summary["skipped_steps"]} steps skipped, '
    f'{summary["step_programs"]} compiled steps '
    f'({summary["step_programs_after_first_epoch"]} after the first epoch)'
  )
