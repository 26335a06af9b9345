# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trained run from its folder."""

import pathlib

import jax

from experiments import app
from experiments import build
from experiments import config as config_lib
from experiments import run
from experiments import workdir as workdir_lib
from imbsam_jax import training


def restore(
  workdir: pathlib.Path, checkpoint: str, *, data_dir: str | None = None
) -> tuple[build.Experiment, training.TrainState]:
  """The experiment of a run and the state of one of its checkpoints.

  Args:
    workdir: Folder of the run.
    checkpoint: 'last', 'best' on validation (on the test set with the field
      `best_on_test`), or a number of steps.
    data_dir: Folder of prepared data sets, if not that of the run.

  Raises:
    UsageError: The folder holds no run, or there is no such checkpoint.
    CheckpointError: The checkpoint cannot be read.
  """
  try:
    config = config_lib.from_json(workdir / 'config.json')
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  if data_dir:
    config = config_lib.replace(config, {'data.data_dir': data_dir})
  app.cache_compilations()
  experiment = build.build(config)
  if jax.process_count() > 1:
    workdir_lib.compare_processes(config, experiment.fingerprint)
  chooser = run.choose_by(experiment)
  with training.Checkpoints(
    workdir / 'checkpoints',
    best_metric=chooser.metric if chooser else None,
    read_only=True,
  ) as checkpoints:
    match checkpoint:
      case 'last':
        step = None
      case 'best':
        step = checkpoints.best_step
        if step is None:
          raise app.UsageError(
            'this run was not validated, so none of its checkpoints is the '
            'best; pass --checkpoint=last.'
          )
      case _ if checkpoint.isdecimal():
        step = int(checkpoint)
      case _:
        raise app.UsageError(
          "--checkpoint must be 'last', 'best' or a number of steps, got "
          f'{checkpoint!r}.'
        )
    state, _ = checkpoints.restore(experiment.init(config.seed), step)
  return experiment, state
