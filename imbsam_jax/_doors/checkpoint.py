# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lists the checkpoints of a run, and verifies them.

  python -m imbsam_jax checkpoint list runs/imbsam
  python -m imbsam_jax checkpoint verify runs/imbsam

`list` looks at sizes, `verify` reads every file and compares checksums. Exit
code 5 if one is damaged.
"""

import pathlib

from absl import flags

from imbsam_jax._doors import calls

POSITIONAL = True


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_string(
    'metric',
    'balanced',
    "What the best is chosen by; 'top1' if on the test set.",
    flag_values=values,
  )


def main(call: calls.Call) -> None:
  """Looks, prints."""
  from imbsam_jax import _errors
  from imbsam_jax import training
  from imbsam_jax._runs import console

  arguments = call.arguments
  if len(arguments) != 2 or arguments[0] not in ('list', 'verify'):
    raise _errors.ConfigError(
      'pass `list WORKDIR` or `verify WORKDIR`, got '
      f'{" ".join(arguments) or "nothing"}.'
    )
  verify = arguments[0] == 'verify'
  folder = pathlib.Path(arguments[1]).expanduser() / 'checkpoints'
  if not folder.is_dir():
    raise _errors.ConfigError(f'there is no folder {folder}; is this a run?')
  reports = training.inspect_checkpoints(folder)
  if not reports:
    print(f'no checkpoint in {folder} yet')
    return
  if call.flags['metric'].present:
    _check_metric(call.flags.metric, reports)
  if verify:
    reports = training.inspect_checkpoints(folder, contents=True)
  good = [report for report in reports if report.status == 'good']
  best = training.best_checkpoints(good, call.flags.metric)[:1]
  print(console.markdown_table(_COLUMNS, _rows(reports, best)))
  if not verify:
    print('sizes only; `verify` compares checksums')
  damaged = [report for report in reports if report.status == 'damaged']
  if damaged:
    raise training.CheckpointError(
      f'{len(damaged)} of {len(reports)} checkpoints are damaged. Training '
      'goes on from the newest good one; put files back from a copy to use '
      'the others.'
    )


_COLUMNS = ('step', 'state', 'MiB', 'best', 'what is wrong')


def _check_metric(metric, reports):
  """Refuses one that no checkpoint has."""
  from imbsam_jax import _errors

  known = sorted({name for report in reports for name in report.metrics})
  if metric not in known:
    raise _errors.ConfigError(
      f'no checkpoint has a metric {metric!r}; '
      + (f'they have {", ".join(known)}.' if known else 'they have none.')
    )


def _rows(reports, best):
  return [
    (
      str(report.step),
      report.status,
      f'{report.size / 2**20:.1f}',
      'best' if report in best else '',
      report.problem,
    )
    for report in reports
  ]
