# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Trains one model.

  python -m imbsam_jax train --config=digits_lt:imbsam --workdir=runs/imbsam

The same command again goes on where it stopped. Single fields:
--config.optimizer.rho=0.1 --config.data.data_dir=DIR
--config=digits_lt:help lists the method words.
"""

import functools
import pathlib
from typing import Any

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import door
from imbsam_jax._doors import init_from
from imbsam_jax._doors import processes

RECIPES = 'imbsam_jax.experiment.recipes'
EXAMPLE = 'digits_lt:imbsam'
CONFIG_HELP = 'Recipe, or configuration file, and method words: NAME:WORDS.'
STOPPED = 'stopped before the first step; nothing new was saved.'
_REHEARSAL_STOPPED = (
  'stopped; a dry run saves nothing, and begins anew with the same command.'
)


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)
  flags.DEFINE_bool(
    'dry_run',
    False,
    'Two steps, evaluation, save and restore; estimates time and memory.',
    flag_values=values,
  )
  init_from.define(values)
  processes.define(values)


def main(call: calls.Call) -> None:
  """Builds, trains, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax import training
  from imbsam_jax._runs import compilation
  from imbsam_jax._runs import folder
  from imbsam_jax._runs import signals
  from imbsam_jax.experiment import used_fields

  # Processes that join begin with JAX.
  compilation.ask_for_same_bits(call.config.deterministic)
  workdir = pathlib.Path(call.flags.workdir or '').expanduser()
  if not call.flags.workdir and not call.flags.dry_run:
    raise experiment_lib.ConfigError(
      'pass --workdir=FOLDER for what the run leaves.'
    )
  used_fields.check(call.overrides, [call.config])
  if processes.join(call.flags) and call.flags.dry_run:
    raise experiment_lib.ConfigError(
      '--dry_run is for one process: it saves on its machine alone.'
    )
  experiment_lib.cache_compilations(shared=not door.is_one_of_several())
  if call.flags.dry_run:
    with signals.leaving(_REHEARSAL_STOPPED):
      experiment = experiment_lib.build(call.config)
      print(f'{experiment}\ncompiling, then two steps ...', flush=True)
      print(experiment_lib.dry_run(experiment))
    return
  # Before the data are read, which may take minutes.
  training.in_first_process(lambda: folder.check_writable(workdir))
  experiment = experiment_lib.build(
    folder.as_begun(workdir, call.config, call.overrides)
  )
  print(experiment, flush=True)
  # Of a complete run no step is taken.
  if not (workdir / 'summary.json').exists():
    say = functools.partial(print, flush=True)
    compilation.compile_ahead([experiment], say=say)
  result = experiment_lib.run(experiment, workdir=workdir, progress=True)
  if not training.is_first_process():
    return
  with signals.leaving('stopped after the run, which is saved.'):
    path = workdir / 'accuracy_by_frequency.png'
    experiment_lib.plot(experiment, result, path)
    print(f'\n{result.table()}\n')
    print(_closing(result.summary))
    if result.summary['reporting'] != 'last step':
      print(
        'not comparable with the usual numbers: ' + result.summary['reporting']
      )
    print(f'{workdir}: {", ".join(sorted(p.name for p in workdir.iterdir()))}')


def _closing(summary: dict[str, Any]) -> str:
  """How training went; what is as usual is left out."""
  from imbsam_jax._runs import console

  if not summary['step_programs']:
    return 'complete before; nothing was trained'
  parts = [
    f'{summary["seconds"]:.1f} s',
    f'{summary["images_per_second"]:.0f} images/s',
    f'{summary["cost_sgd_steps"]:.2f} SGD steps per step',
  ]
  skipped = summary['skipped_steps']
  if skipped:
    parts.append(f'{console.counted(skipped, "step")} skipped')
  late = summary['step_programs_after_first_epoch']
  if late:
    programs = console.counted(late, 'step')
    parts.append(f'{programs} compiled after the first epoch')
  return ', '.join(parts)
