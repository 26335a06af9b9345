# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Fits a detector of anomalies in a table, and tests it.

  python -m imbsam_jax anomaly --config=anomaly:imbsam \
    --config.data.path=FILE --workdir=runs/anomaly

FILE is an .npz or .mat with X and y, or a .csv; labels are 1 and 0.
--config=anomaly:help lists the methods.
"""

import pathlib

from absl import flags

from imbsam_jax._doors import calls

RECIPES = 'imbsam_jax.anomaly.study.recipes'
EXAMPLE = 'anomaly:imbsam'
CONFIG_HELP = 'Recipe, or configuration file, and method word: NAME:WORD.'


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)


def main(call: calls.Call) -> None:
  """Reads, splits, fits, tests, writes, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax._runs import console
  from imbsam_jax._runs import folder
  from imbsam_jax.anomaly import study

  config = call.config
  call.require(workdir='FOLDER for what the run leaves')
  workdir = pathlib.Path(call.flags.workdir).expanduser()
  study.check(config)
  folder.check_writable(workdir)
  experiment_lib.cache_compilations()
  table = study.read(config.data)
  split = study.split(config, table, config.seed)
  print(study.header(config, table, split), flush=True)
  folder.claim(workdir, config)
  (run,) = study.fit(config, [split], [config.seed])
  title = pathlib.Path(config.data.path or config.data.name).name
  study.write_columns(table, workdir)
  study.write(run, workdir, f'{title}, {config.detector.method}')
  names = {'auroc': 'AUROC', 'auprc': 'AUPRC', 'precision_at_n': 'precision@n'}
  cells = [console.percent(run.summary[name]) for name in names]
  print(f'\n{console.markdown_table(list(names.values()), [cells])}\n')
  print(
    f'{run.summary["seconds"]:.1f} s, n = '
    f'{int(run.split.labels.sum())} anomalies, a random ranking has an '
    f'AUPRC of {console.percent(run.summary["prevalence"])}'
  )
  print(f'{workdir}: {", ".join(sorted(p.name for p in workdir.iterdir()))}')
