# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Scores new rows of a table by the detector of an anomaly run.

python -m imbsam_jax score --workdir=runs/anomaly --source=new.csv \
  --output=scores.csv
"""

import pathlib
import sys

from absl import flags

from imbsam_jax._doors import calls


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'workdir', None, 'Folder of a run of anomaly.', flag_values=values
  )
  flags.DEFINE_string(
    'source',
    None,
    'Table of new rows: a .csv, whose columns are found by their names, or a '
    '.npz or .mat with X. Labels are not needed, and not read.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'output',
    None,
    "File to write, .csv; '-' is the standard output.",
    flag_values=values,
  )
  flags.DEFINE_enum(
    'on_error',
    'fail',
    ['fail', 'skip'],
    'What to do about a row that cannot be read: stop, or write why.',
    flag_values=values,
  )


def main(call: calls.Call) -> None:
  """Loads, scores, writes, prints."""
  from imbsam_jax import experiment as experiment_lib
  from imbsam_jax.anomaly import study

  given = call.flags
  call.require(
    workdir='FOLDER, the folder of a run of anomaly',
    source='TABLE, such as new.csv',
    output='FILE.csv',
  )
  experiment_lib.cache_compilations()
  summary = study.score(
    pathlib.Path(given.workdir).expanduser(),
    given.source,
    given.output,
    skip=given.on_error == 'skip',
  )
  # What is on the standard output is read by programs.
  print(summary, file=sys.stderr if given.output == '-' else sys.stdout)
