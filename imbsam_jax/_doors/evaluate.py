# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a trained run from its checkpoint.

python -m imbsam_jax evaluate --workdir=runs/imbsam --split=test

The metrics go to evaluation_SPLIT.json in the folder of the run too, and those
of the classes to evaluation_SPLIT_per_class.csv.
"""

import pathlib
import sys
from typing import Any

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import door
from imbsam_jax._doors import processes


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)
  flags.DEFINE_enum(
    'split',
    'test',
    ['test', 'validation'],
    'Which examples.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'output',
    None,
    'File of the metrics, .json, if not in the folder of the run.',
    flag_values=values,
  )
  define_checkpoint(values)
  processes.define(values)


def define_checkpoint(values: flags.FlagValues) -> None:
  """Defines the flags of programs that take a trained run and its data."""
  define_step(values)
  flags.DEFINE_string(
    'data_dir',
    None,
    'Folder of prepared data sets, if not that of the run.',
    flag_values=values,
  )


def define_step(values: flags.FlagValues) -> None:
  """Defines the flags of programs that take a trained run."""
  flags.DEFINE_string(
    'checkpoint',
    'last',
    "'last', 'best' on validation, or a number of steps.",
    flag_values=values,
  )
  flags.register_validator(
    'checkpoint',
    lambda value: value in ('last', 'best') or value.isdecimal(),
    "it must be 'last', 'best' or a number of steps.",
    values,
  )
  flags.DEFINE_string(
    'trunk',
    None,
    'File of the pre-trained network, if it was moved.',
    flag_values=values,
  )


def main(call: calls.Call) -> None:
  """Restores, predicts, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax import training
  from imbsam_jax._runs import compilation
  from imbsam_jax._runs import folder

  call.require(workdir='FOLDER, the folder of a run')
  workdir = pathlib.Path(call.flags.workdir).expanduser()
  config = folder.read_config(workdir, experiment_lib.Config)
  # Processes that join begin with JAX.
  compilation.ask_for_same_bits(config.deterministic)
  processes.join(call.flags)
  experiment_lib.cache_compilations(shared=not door.is_one_of_several())
  experiment, state = experiment_lib.restore(
    call.flags.workdir,
    call.flags.checkpoint,
    data_dir=call.flags.data_dir,
    trunk=call.flags.trunk,
  )
  split = call.flags.split
  evaluation = experiment_lib.evaluate(experiment, state, split)
  print(f'step {int(state.step)} of {experiment.num_steps}, {split} set')
  training.in_first_process(
    lambda: _save(evaluation, workdir, call, int(state.step), experiment)
  )
  print(evaluation.table())


def _save(
  evaluation: Any, workdir: pathlib.Path, call: calls.Call, step: int, exp: Any
) -> None:
  """Writes the metrics; a folder that is only read is no mistake."""
  from imbsam_jax import experiment as experiment_lib

  split, output = call.flags.split, call.flags.output
  try:
    path, _ = evaluation.save(
      output or workdir / f'evaluation_{split}.json',
      checkpoint=call.flags.checkpoint,
      step=step,
      num_steps=exp.num_steps,
    )
  except experiment_lib.ConfigError:
    if output:
      raise
    print(
      f'note: {workdir} cannot be written; --output=FILE.json keeps the '
      'metrics elsewhere.',
      file=sys.stderr,
    )
    return
  print(f'kept in {path}')
