# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`restore`: a trained run from its folder."""

import os
import pathlib
from typing import Any

import jax

from imbsam_jax import training
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder
from imbsam_jax._runs import own
from imbsam_jax.experiment import _build
from imbsam_jax.experiment import _chosen_checkpoint
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _trunk


def restore(
  workdir: str | os.PathLike[str],
  checkpoint: str | int = 'last',
  *,
  model: Any = None,
  data: Any = None,
  loss: Any = None,
  data_dir: str | None = None,
  trunk: str | None = None,
) -> tuple[_experiment.Experiment, training.TrainState]:
  """The experiment of a run and the state of one of its checkpoints.

  Args:
    workdir: Folder of the run.
    checkpoint: 'last', 'best' on validation (on the test set with the field
      `best_on_test`), or a number of steps.
    model: The network that was passed to `build`, if it is one's own.
    data: The data that were passed to `build`, if they are one's own.
    loss: The loss that was passed to `build`, if it is one's own.
    data_dir: Folder of prepared data sets, if not that of the run.
    trunk: File of the pre-trained network, if it was moved.

  Raises:
    ConfigError: If the folder holds no run, or that of another network or loss,
      or there is no such checkpoint.
    CheckpointError: If the checkpoint cannot be read.
  """
  wanted = _chosen_checkpoint.check_checkpoint(checkpoint)
  workdir = pathlib.Path(workdir).expanduser()
  config = folder.read_config(workdir, _config.Config)
  _chosen_checkpoint.check_step(workdir / 'checkpoints', wanted)
  if data_dir:
    config = fields.replace(config, {'data.data_dir': data_dir})
  if trunk:
    config = fields.replace(config, {'model.trunk': trunk})
  if config.model.trunk is not None:
    _trunk.check_there(config.model, field='trunk')
  experiment = _build.build_again(config, model=model, data=data, loss=loss)
  folder.check_data(workdir, experiment.fingerprint)
  own.check(workdir, experiment.own, 'pass what that run was trained with')
  if jax.process_count() > 1:
    folder.compare_processes(config, experiment.fingerprint)
  chooser = _evaluate.choose_by(experiment)
  with training.Checkpoints(
    workdir / 'checkpoints',
    best_metric=chooser.metric if chooser else None,
    read_only=True,
  ) as checkpoints:
    step = _chosen_checkpoint.chosen_step(checkpoints, wanted)
    state, _ = checkpoints.restore(experiment.init(config.seed), step)
  return experiment, state
