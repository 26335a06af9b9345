# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Fits a detector of anomalies in a table, and tests it.

  python -m experiments.anomaly \
    --config=experiments/configs/anomaly.py:imbsam \
    --config.data.path=FILE --workdir=runs/anomaly

FILE is an .npz or .mat with X and y, or a .csv; labels are 1 and 0.
--config=experiments/configs/anomaly.py:help lists the methods.
"""

from collections.abc import Sequence
import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import anomaly_config
from experiments import app

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Configuration file and method word, FILE.py:WORD.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')


def main(argv: Sequence[str]) -> None:
  """Reads, splits, fits, tests, writes, prints."""
  del argv
  config = app.read_config(_CONFIG, anomaly_config.Config)
  if not _WORKDIR.value:
    raise app.UsageError('pass --workdir=FOLDER for what the run leaves.')
  workdir = pathlib.Path(_WORKDIR.value).expanduser()
  try:
    anomaly_config.check(config)
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  # Imported here: --help must not wait for JAX.
  from experiments import anomaly_run
  from experiments import console
  from experiments import workdir as workdir_lib

  app.cache_compilations()
  table = anomaly_run.read(config.data)
  part = anomaly_run.split(config, table, config.seed)
  print(anomaly_run.header(config, table, part), flush=True)
  workdir_lib.claim(workdir, config)
  (run,) = anomaly_run.fit(config, [part], [config.seed])
  title = pathlib.Path(config.data.path or config.data.name).name
  anomaly_run.write(run, workdir, f'{title}, {config.detector.method}')
  names = {'auroc': 'AUROC', 'auprc': 'AUPRC', 'precision_at_n': 'precision@n'}
  cells = [console.percent(run.summary[name]) for name in names]
  print(f'\n{console.markdown_table(list(names.values()), [cells])}\n')
  print(
    f'{run.summary["seconds"]:.1f} s, n = '
    f'{int(run.part.labels.sum())} anomalies, a random ranking has an '
    f'AUPRC of {console.percent(run.summary["prevalence"])}'
  )
  print(f'{workdir}: {", ".join(sorted(p.name for p in workdir.iterdir()))}')


if __name__ == '__main__':
  app.run(main, kind=anomaly_config.Config, words=anomaly_config.help_text)
