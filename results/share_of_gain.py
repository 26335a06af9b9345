# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which share of a rule's gain over SGD another rule keeps, with its interval.

  python -m results.share_of_gain RUNS imbsam momentum_imbsam

RUNS is the folder of a comparison with ``--links=sgd,imbsam,momentum_imbsam``.
For each method, with the means over seeds, it is

  (other - sgd) / (rule - sgd)

on tail classes; the interval has 95 % of the values of 10,000 samples of the
seeds, drawn with replacement, the same for all rules.
"""

import json
import pathlib
import sys

import numpy as np


def main() -> None:
  """Prints a line for each method of the comparison."""
  folder, rule, other = sys.argv[1:]
  runs = pathlib.Path(folder)
  for path in sorted(runs.glob('sgd*')):
    method = path.name.removeprefix('sgd').removeprefix('+')
    plain, whole, kept = (
      _tail(runs / '+'.join(filter(None, [word, method])))
      for word in ('sgd', rule, other)
    )
    value, (low, high) = share(plain, whole, kept)
    print(
      f'{method or "ce"}: {rule} {100 * (whole - plain).mean():+.1f} points, '
      f'{other} {100 * (kept - plain).mean():+.1f}, a share of {value:.2f} '
      f'({low:.2f} to {high:.2f}, {len(plain)} seeds)'
    )


def share(
  plain: np.ndarray, whole: np.ndarray, kept: np.ndarray
) -> tuple[float, tuple[float, float]]:
  """The share that is kept, and its interval.

  >>> value, _ = share(np.zeros(3), np.ones(3), np.full(3, 0.5))
  >>> value
  0.5

  Args:
    plain: Numbers without either rule, a seed each.
    whole: Numbers of the rule that gains.
    kept: Numbers of the other one.
  """
  rows = np.random.RandomState(0).randint(len(plain), size=(10_000, len(plain)))
  gain, part = (whole - plain), (kept - plain)
  samples = part[rows].mean(axis=1) / gain[rows].mean(axis=1)
  low, high = np.percentile(samples, [2.5, 97.5])
  return float(part.mean() / gain.mean()), (float(low), float(high))


def _tail(folder: pathlib.Path) -> np.ndarray:
  paths = sorted(folder.glob('seed_*/summary.json'))
  return np.array([json.loads(path.read_text())['tail'] for path in paths])


if __name__ == '__main__':
  main()
