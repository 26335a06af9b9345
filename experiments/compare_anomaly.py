# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Fits methods of anomaly detection on several tables and seeds.

  python -m experiments.compare_anomaly \
    --config=experiments/configs/anomaly.py --tables=FOLDER \
    --methods=deep_sad,sgd,sam,imbsam,sse_sam --ratios=0.01,0.05,0.1 \
    --seeds=10 --workdir=runs/anomalies

--tables is a folder of .npz, .mat and .csv files, or a list of files and of
names of ODDS tables. scikit-learn's isolation forest is always beside them.
What is complete is not repeated. Fields for all methods:
--config.data.protocol=adbench. To choose a radius, do not look at the test
rows: --config.final_split=validation
"""

from collections.abc import Sequence
import pathlib

from absl import flags
from ml_collections import config_flags

from experiments import anomaly_config
from experiments import app

_SUFFIXES = ('.npz', '.mat', '.csv')

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Configuration file, no word.'
)
_METHODS = flags.DEFINE_list(
  'methods', 'deep_sad,sgd,sam,imbsam,sse_sam', 'Method words.'
)
_TABLES = flags.DEFINE_list('tables', [], 'A folder, files, or ODDS names.')
_RATIOS = flags.DEFINE_list(
  'ratios', ['0.01', '0.05', '0.1'], 'Shares of labelled anomalies.'
)
_SEEDS = flags.DEFINE_integer('seeds', 10, 'Number of seeds: 0, 1, ...', 1)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of all runs.')


def main(argv: Sequence[str]) -> None:
  """Fits what is missing, then writes and prints the comparison."""
  del argv
  app.read_config(_CONFIG, anomaly_config.Config)
  if not _WORKDIR.value:
    raise app.UsageError('pass --workdir=FOLDER for the runs.')
  tables = _find_tables(_TABLES.value)
  try:
    ratios = [float(ratio) for ratio in _RATIOS.value]
  except ValueError as error:
    raise app.UsageError(
      '--ratios must be numbers such as 0.01,0.1, got '
      f'{",".join(_RATIOS.value)}.'
    ) from error
  reserved = {
    'seed': 'seeds',
    'data.path': 'tables',
    'data.name': 'tables',
    'data.labeled_anomaly_ratio': 'ratios',
    'detector.method': 'methods',
  }
  configs = {
    word: app.config_of_word(_CONFIG, word, reserved) for word in _METHODS.value
  }
  if not configs:
    raise app.UsageError('pass --methods=sgd,imbsam or other method words.')
  for config in configs.values():
    try:
      anomaly_config.check(config)
    except ValueError as error:
      raise app.UsageError(str(error)) from error
  # Imported here: --help must not wait for JAX.
  from experiments import anomaly_comparison

  app.cache_compilations()
  anomaly_comparison.compare(
    configs,
    tables,
    ratios,
    _SEEDS.value,
    pathlib.Path(_WORKDIR.value).expanduser(),
  )


def _find_tables(given: Sequence[str]) -> dict[str, anomaly_config.Data]:
  """Places of tables by name."""
  if not given:
    raise app.UsageError(
      'pass --tables=FOLDER with .npz, .mat or .csv files, or '
      '--tables=cardio,thyroid for tables of ODDS.'
    )
  found: dict[str, anomaly_config.Data] = {}
  for entry in given:
    path = pathlib.Path(entry).expanduser()
    if path.is_dir():
      files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
      if not files:
        raise app.UsageError(
          f'--tables={entry}: there is no {", ".join(_SUFFIXES)} file in that '
          'folder.'
        )
    elif path.suffix in _SUFFIXES:
      files = [path]
    else:
      found[entry] = anomaly_config.Data(name=entry)
      continue
    for file in files:
      if file.stem in found:
        raise app.UsageError(f'--tables names {file.stem} twice.')
      found[file.stem] = anomaly_config.Data(path=str(file))
  return found


if __name__ == '__main__':
  app.run(main, kind=anomaly_config.Config, words=anomaly_config.help_text)
