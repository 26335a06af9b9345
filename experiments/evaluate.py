# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluates a trained run from its checkpoint.

python -m experiments.evaluate --workdir=runs/imbsam --split=test
"""

from collections.abc import Sequence
import pathlib

from absl import flags

from experiments import app
from experiments import processes

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'validation'], 'Which examples.'
)
_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'last', "'last', 'best' on validation, or a number of steps."
)
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Folder of prepared data sets, if not that of the run.'
)


def main(argv: Sequence[str]) -> None:
  """Restores, predicts, prints."""
  del argv
  if not _WORKDIR.value:
    raise app.UsageError('pass --workdir=FOLDER, the folder of a run.')
  processes.join()
  # Imported here: --help must not wait for JAX.
  from experiments import report
  from experiments import restore
  from experiments import run

  experiment, state = restore.restore(
    pathlib.Path(_WORKDIR.value).expanduser(),
    _CHECKPOINT.value,
    data_dir=_DATA_DIR.value,
  )
  scores, _ = run.evaluate(experiment, state, _SPLIT.value)
  print(f'step {int(state.step)} of {experiment.num_steps}, {_SPLIT.value} set')
  print(report.table(scores))


if __name__ == '__main__':
  app.run(main)
