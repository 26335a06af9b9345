# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Corrects the classifier of a trained run, or trains it again.

  python -m experiments.calibrate --workdir=runs/sgd \
    --methods=crt,lws,marc,tau_normalization

The network stays as it is. Hyper-parameters are chosen by balanced accuracy on
the validation images of the run; the test set is looked at with the chosen
values only. 'none' is the checkpoint itself. A folder of seeds, as `compare`
leaves it, gives the mean +- std over them: --workdir=runs/digits_lt/sgd
"""

from collections.abc import Sequence
import pathlib

from absl import flags

from experiments import app

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of a run, or of its seeds.'
)
_METHODS = flags.DEFINE_list(
  'methods',
  'none,logit_adjustment,tau_normalization,ncm,lws,marc,crt',
  'Methods; these are all.',
)
_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'last', "'last', 'best' on validation, or a number of steps."
)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the fits.')
_DATA_DIR = flags.DEFINE_string(
  'data_dir', None, 'Folder of prepared data sets, if not that of the run.'
)


def main(argv: Sequence[str]) -> None:
  """Restores, fits, chooses, prints."""
  del argv
  if not _WORKDIR.value:
    raise app.UsageError('pass --workdir=FOLDER, the folder of a run.')
  # Imported here: --help must not wait for JAX.
  from experiments import calibration
  from experiments import restore
  from imbsam_jax import training

  calibration.check_names(_METHODS.value)
  workdir = pathlib.Path(_WORKDIR.value).expanduser()
  found = []
  for folder in calibration.run_folders(workdir):
    experiment, state = restore.restore(
      folder, _CHECKPOINT.value, data_dir=_DATA_DIR.value
    )
    found.append(
      calibration.calibrate(experiment, state, _METHODS.value, seed=_SEED.value)
    )
    training.write_json(
      folder / 'calibration.json',
      {'step': int(state.step), 'methods': found[-1]},
    )
    print(f'{folder}: step {int(state.step)} of {experiment.num_steps}')
  print(f'\naccuracy in %\n{calibration.table(found)}')
  print('calibration.json is in the folder of the run')


if __name__ == '__main__':
  app.run(main)
