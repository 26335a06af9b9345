# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint of a run is meant by 'last', 'best' or a number of steps."""

import pathlib
from typing import Any

from imbsam_jax import _errors
from imbsam_jax import training
from imbsam_jax.experiment import _config


def check_checkpoint(checkpoint: str | int) -> str | int:
  """'last', 'best' or a whole number.

  Raises:
    ConfigError: If it is anything else.
  """
  text = str(checkpoint)
  if text in ('last', 'best'):
    return text
  if not text.isdecimal():
    raise _errors.ConfigError(
      "`checkpoint` must be 'last', 'best' or a number of steps, got "
      f'{checkpoint!r}.'
    )
  return int(text)


def check_step(checkpoints: pathlib.Path, wanted: str | int) -> None:
  """Says which checkpoints there are, where another one was asked for.

  Args:
    checkpoints: Folder of the checkpoints.
    wanted: From `check_checkpoint`.

  Raises:
    CheckpointError: If `wanted` is a number of steps without a checkpoint.
  """
  if not isinstance(wanted, int):
    return
  steps = training.in_first_process(
    lambda: [r.step for r in training.inspect_checkpoints(checkpoints)]
  )
  if wanted not in steps:
    there = ', '.join(map(str, steps)) or 'none'
    raise training.CheckpointError(
      f'there is no checkpoint of step {wanted} in {checkpoints}; the steps '
      f'with one are: {there}.'
    )


def chosen_step(
  checkpoints: training.Checkpoints, wanted: str | int
) -> int | None:
  """The step that is meant; None is that of the newest good checkpoint.

  Args:
    checkpoints: The checkpoints of the run, opened with its `best_metric`.
    wanted: From `check_checkpoint`.

  Raises:
    ConfigError: If the best is wanted and the run was not validated.
  """
  if wanted != 'best':
    return wanted if isinstance(wanted, int) else None
  step = checkpoints.best_step
  if step is None:
    raise _errors.ConfigError(
      'this run was not validated, so none of its checkpoints is the best; '
      'pass `checkpoint=last`.'
    )
  return step


def variables(
  workdir: pathlib.Path, config: _config.Config, wanted: str | int
) -> tuple[int, dict[str, Any]]:
  """The step of a checkpoint of a run, and what it is evaluated with.

  Args:
    workdir: Folder of the run.
    config: Its configuration.
    wanted: From `check_checkpoint`.

  Raises:
    ConfigError: If the best is wanted and the run was not validated.
    CheckpointError: If there is no such checkpoint, or it cannot be read.
  """
  check_step(workdir / 'checkpoints', wanted)
  with training.Checkpoints(
    workdir / 'checkpoints',
    # As `_evaluate.choose_by`; a run without either has no best one.
    best_metric='top1' if config.best_on_test else 'balanced',
    read_only=True,
  ) as checkpoints:
    return checkpoints.variables(chosen_step(checkpoints, wanted))
