# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lists the checkpoints of a run, and verifies them.

  python -m experiments.checkpoint list runs/imbsam
  python -m experiments.checkpoint verify runs/imbsam

`list` looks at sizes, `verify` reads every file and compares checksums. Exit
code 5 if one is damaged.
"""

from collections.abc import Sequence
import pathlib

from absl import flags

from experiments import app

_METRIC = flags.DEFINE_string(
  'metric', 'balanced', "What the best is chosen by; 'top1' if on the test set."
)


def main(argv: Sequence[str]) -> None:
  """Looks, prints."""
  if len(argv) != 3 or argv[1] not in ('list', 'verify'):
    raise app.UsageError(
      'pass `list WORKDIR` or `verify WORKDIR`, got '
      f'{" ".join(argv[1:]) or "nothing"}.'
    )
  verify = argv[1] == 'verify'
  folder = pathlib.Path(argv[2]).expanduser() / 'checkpoints'
  if not folder.is_dir():
    raise app.UsageError(f'there is no folder {folder}; is this a run?')
  # Imported here: --help must not wait for JAX.
  from experiments import console
  from imbsam_jax import training

  reports = training.inspect_checkpoints(folder, contents=verify)
  if not reports:
    print(f'no checkpoint in {folder} yet')
    return
  good = [report for report in reports if report.status == 'good']
  best = training.best_checkpoints(good, _METRIC.value)[:1]
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


if __name__ == '__main__':
  app.run(main, positional=True)
