# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Trains one model.

  python -m experiments.train --config=experiments/configs/digits_lt.py:imbsam \
    --workdir=runs/imbsam

The same command again goes on where it stopped. Single fields:
--config.optimizer.rho=0.1 --config.data.data_dir=DIR
"""

from collections.abc import Sequence
import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import app
from experiments import processes

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Configuration file and method word, FILE.py:WORD.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')
_DRY_RUN = flags.DEFINE_bool(
  'dry_run',
  False,
  'Two steps, evaluation, save and restore; estimates time and memory.',
)


def main(argv: Sequence[str]) -> None:
  """Builds, trains, prints."""
  del argv
  config = app.read_config(_CONFIG)
  app.set_xla_flags(config)
  workdir = pathlib.Path(_WORKDIR.value or '').expanduser()
  if not _WORKDIR.value and not _DRY_RUN.value:
    raise app.UsageError('pass --workdir=FOLDER for what the run leaves.')
  if processes.join() and _DRY_RUN.value:
    raise app.UsageError(
      '--dry_run is for one process: it saves on its machine alone.'
    )
  # Imported here: --help must not wait for JAX.
  from experiments import build
  from experiments import console
  from experiments import dry_run
  from experiments import methods
  from experiments import report
  from experiments import run
  from imbsam_jax import training

  app.cache_compilations()
  experiment = build.build(config)
  print(report.header(experiment))
  if _DRY_RUN.value:
    print(dry_run.dry_run(experiment))
    return
  build.compile_ahead([experiment])
  progress = None
  if training.is_first_process():
    progress = console.Progress(experiment.num_steps, methods.describe(config))
  summary = run.run(experiment, config.seed, workdir, progress=progress)
  if progress is None:
    return
  progress.close()
  run.plot(experiment, workdir)
  print(f'\n{report.table(summary)}\n')
  print(
    f'{summary["seconds"]:.1f} s, {summary["images_per_second"]:.0f} images/s, '
    f'{summary["cost_sgd_steps"]:.2f} SGD steps per step, '
    f'{summary["skipped_steps"]} steps skipped, '
    f'{summary["step_programs"]} compiled steps '
    f'({summary["step_programs_after_first_epoch"]} after the first epoch)'
  )
  if summary['reporting'] != 'last step':
    print(f'not comparable with the usual numbers: {summary["reporting"]}')
  print(f'{workdir}: {", ".join(sorted(p.name for p in workdir.iterdir()))}')


if __name__ == '__main__':
  app.run(main)
