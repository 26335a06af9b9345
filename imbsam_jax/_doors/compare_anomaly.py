# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Fits methods of anomaly detection on several tables and seeds.

  python -m imbsam_jax compare_anomaly --config=anomaly --tables=FOLDER \
    --methods=deep_sad,sgd,sam,imbsam,sse_sam --ratios=0.01,0.05,0.1 \
    --seeds=10 --workdir=runs/anomalies

--tables is a folder of .npz, .mat and .csv files, or a list of files and of
names of ODDS tables. scikit-learn's isolation forest is always beside them.
What is complete is not repeated. Fields for all methods:
--config.data.protocol=adbench. To choose a radius, do not look at the test
rows: --config.final_split=validation
"""

from collections.abc import Sequence
import functools
import pathlib
from typing import Any

from absl import flags

from imbsam_jax._doors import calls

RECIPES = 'imbsam_jax.anomaly.study.recipes'
EXAMPLE = 'anomaly'
CONFIG_HELP = 'Recipe or configuration file, no word.'

_SUFFIXES = ('.npz', '.mat', '.csv')


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_list(
    'methods',
    'deep_sad,sgd,sam,imbsam,sse_sam',
    'Method words.',
    flag_values=values,
  )
  flags.DEFINE_list(
    'tables', [], 'A folder, files, or ODDS names.', flag_values=values
  )
  flags.DEFINE_list(
    'ratios',
    ['0.01', '0.05', '0.1'],
    'Shares of labeled anomalies.',
    flag_values=values,
  )
  flags.DEFINE_integer(
    'seeds', 10, 'Number of seeds: 0, 1, ...', 1, flag_values=values
  )
  flags.DEFINE_string(
    'workdir', None, 'Folder of all runs.', flag_values=values
  )


def main(call: calls.Call) -> None:
  """Fits what is missing, then writes and prints the comparison."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax._doors import configs as configs_lib
  from imbsam_jax._runs import folder
  from imbsam_jax.anomaly import study
  from imbsam_jax.anomaly.study import recipes

  given = call.flags
  call.require(workdir='FOLDER for the runs')
  tables = _find_tables(given.tables)
  try:
    ratios = [float(ratio) for ratio in given.ratios]
  except ValueError as error:
    raise experiment_lib.ConfigError(
      '--ratios must be numbers such as 0.01,0.1, got '
      f'{",".join(given.ratios)}.'
    ) from error
  reserved = {
    'seed': 'seeds',
    'data.path': 'tables',
    'data.name': 'tables',
    'data.labeled_anomaly_ratio': 'ratios',
    'detector.method': 'methods',
  }
  configs = {
    word: configs_lib.of_word(call, word, recipes, reserved)
    for word in given.methods
  }
  if not configs:
    raise experiment_lib.ConfigError(
      'pass --methods=sgd,imbsam or other method words.'
    )
  for config in configs.values():
    study.check(config)
  workdir = pathlib.Path(given.workdir).expanduser()
  folder.check_writable(workdir)
  experiment_lib.cache_compilations()
  study.compare(
    configs,
    tables,
    ratios,
    given.seeds,
    workdir,
    command=call.command,
    say=functools.partial(print, flush=True),
  )


def _find_tables(given: Sequence[str]) -> dict[str, Any]:
  """Places of tables by name."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax.anomaly import study

  if not given:
    raise experiment_lib.ConfigError(
      'pass --tables=FOLDER with .npz, .mat or .csv files, or '
      '--tables=cardio,thyroid for tables of ODDS.'
    )
  places: dict[str, study.Data] = {}
  for entry in given:
    path = pathlib.Path(entry).expanduser()
    if path.is_dir():
      files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES)
      if not files:
        raise experiment_lib.ConfigError(
          f'--tables={entry}: there is no {", ".join(_SUFFIXES)} file in that '
          'folder.'
        )
    elif path.suffix in _SUFFIXES:
      files = [path]
    else:
      places[entry] = study.Data(name=entry)
      continue
    for file in files:
      if file.stem in places:
        raise experiment_lib.ConfigError(f'--tables names {file.stem} twice.')
      places[file.stem] = study.Data(path=str(file))
  return places
