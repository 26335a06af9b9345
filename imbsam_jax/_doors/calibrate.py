# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Corrects the classifier of a trained run, or trains it again.

  python -m imbsam_jax calibrate --workdir=runs/sgd \
    --methods=crt,lws,marc,tau_normalization

The network stays as it is. Hyper-parameters are chosen by balanced accuracy on
the validation images of the run; the test set is looked at with the chosen
values only. 'none' is the checkpoint itself. T is the temperature by which the
probabilities of a method are the likeliest on validation; `predict` takes the
method that is best there. A folder of seeds, as `compare` leaves it, gives the
mean +- std over them: --workdir=runs/digits_lt/sgd
"""

import functools
import pathlib

from absl import flags

from imbsam_jax._doors import calls
from imbsam_jax._doors import evaluate


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'workdir', None, 'Folder of a run, or of its seeds.', flag_values=values
  )
  flags.DEFINE_list(
    'methods',
    'none,logit_adjustment,tau_normalization,ncm,lws,marc,crt',
    'Methods; these are all.',
    flag_values=values,
  )
  flags.DEFINE_integer('seed', 0, 'Seed of the fits.', 0, flag_values=values)
  evaluate.define_checkpoint(values)


def main(call: calls.Call) -> None:
  """Restores, fits, chooses, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax._runs import folder

  given = call.flags
  call.require(workdir='FOLDER, the folder of a run')
  workdir = pathlib.Path(given.workdir).expanduser()
  if workdir.exists():  # That there is none is said otherwise.
    try:
      folder.check_writable(workdir)
    except experiment_lib.ConfigError as error:
      raise experiment_lib.ConfigError(
        f'{workdir} cannot be written, and calibration.json goes there. Copy '
        'the run to a folder that can be, and pass that as --workdir.'
      ) from error
  experiment_lib.cache_compilations()
  calibrated = experiment_lib.calibrate_runs(
    given.workdir,
    given.methods,
    checkpoint=given.checkpoint,
    seed=given.seed,
    data_dir=given.data_dir,
    trunk=given.trunk,
    say=functools.partial(print, flush=True),
  )
  print(f'\naccuracy in %\n{calibrated.table()}')
  for path, one in calibrated.runs.items():
    print(f'{path}: selected {one.selected}')
  print(
    'calibration.json and calibration.npz are in the folder of the run; '
    '`predict` takes the selected method'
  )
