# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a trained run from its checkpoint.

python -m experiments.evaluate --workdir=runs/imbsam --split=test
"""

from collections.abc import Sequence
import pathlib

from absl import flags

from experiments import app
from experiments import config as config_lib

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'validation'], 'Which examples.'
)
_CHECKPOINT = flags.DEFINE_enum(
  'checkpoint', 'last', ['last', 'best'], 'Last, or best on validation.'
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Folder of prepared data sets, if not that of the run.'
)


def main(argv: Sequence[str]) -> None:
  """Restores, predicts, prints."""
  del argv
  if not _WORKDIR.value:
    raise app.UsageError('pass --workdir=FOLDER, the folder of a run.')
  # Imported here: --help must not wait for JAX.
  from experiments import build
  from experiments import report
  from experiments import run
  from imbsam_jax import training

  workdir = pathlib.Path(_WORKDIR.value).expanduser()
  try:
    config = config_lib.from_json(workdir / 'config.json')
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  if _DATA_DIR.value:
    config = config_lib.replace(config, {'data.data_dir': _DATA_DIR.value})
  app.cache_compilations()
  experiment = build.build(config)
  with training.Checkpoints(
    workdir / 'checkpoints', best_metric='balanced', read_only=True
  ) as checkpoints:
    step = (
      checkpoints.best_step
      if _CHECKPOINT.value == 'best'
      else checkpoints.latest_step
    )
    if _CHECKPOINT.value == 'best' and step is None:
      raise app.UsageError(
        'this run was not validated, so none of its checkpoints is the best; '
        'pass --checkpoint=last.'
      )
    state, _ = checkpoints.restore(experiment.init(config.seed), step)
  scores, _ = run.evaluate(experiment, state, _SPLIT.value)
  print(f'step {int(state.step)} of {experiment.num_steps}, {_SPLIT.value} set')
  print(report.table(scores))


if __name__ == '__main__':
  app.run(main)
