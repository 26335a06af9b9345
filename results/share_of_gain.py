# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which share of a rule's gain over SGD another rule keeps, with its interval.

  python -m results.share_of_gain RUNS imbsam momentum_imbsam

RUNS is the folder of a comparison with ``--links=sgd,imbsam,momentum_imbsam``,
or of one of detectors with these methods. For each method, or share of labels,
with the means over seeds, it is

  (other - sgd) / (rule - sgd)

on tail classes, or in AUPRC, mean over the tables. Intervals have 95 % of the
values of 10,000 samples of the seeds, drawn with replacement, the same for all
rules. Where that of the rule's own gain reaches zero there is nothing to have a
share of.
"""

import json
import pathlib
import sys

import numpy as np


def main() -> None:
  """Prints a line for each method of the comparison."""
  folder, rule, other = sys.argv[1:]
  runs = pathlib.Path(folder)
  words = ('sgd', rule, other)
  numbers = {
    method or 'ce': [
      _tail(runs / '+'.join(filter(None, [word, method]))) for word in words
    ]
    for path in sorted(runs.glob('sgd*'))
    for method in [path.name.removeprefix('sgd').removeprefix('+')]
  } or {
    f'{ratio} labeled': [_auprc(runs, ratio, word) for word in words]
    for ratio in sorted({path.parent.name for path in runs.glob('*/*/sgd')})
  }
  for method, (plain, whole, kept) in numbers.items():
    gains = [
      f'{word} {_points(numbers - plain)}'
      for word, numbers in ((rule, whole), (other, kept))
    ]
    print(f'{method}: {", ".join(gains)}, {_share(plain, whole, kept)}')


def _points(gain: np.ndarray) -> str:
  low, high = interval(gain)
  mean, low, high = (100 * number for number in (gain.mean(), low, high))
  return f'{mean:+.1f} ({low:+.1f} to {high:+.1f})'


def _share(plain: np.ndarray, whole: np.ndarray, kept: np.ndarray) -> str:
  seeds = f'{len(plain)} seeds'
  if interval(whole - plain)[0] <= 0:
    return f'no gain to have a share of ({seeds})'
  value, (low, high) = share(plain, whole, kept)
  return f'a share of {value:.2f} ({low:.2f} to {high:.2f}, {seeds})'


def interval(gain: np.ndarray) -> tuple[float, float]:
  """The interval of a mean over seeds.

  >>> interval(np.full(3, 0.5))
  (0.5, 0.5)

  Args:
    gain: A number of each seed.
  """
  low, high = np.percentile(gain[_samples(len(gain))].mean(axis=1), [2.5, 97.5])
  return float(low), float(high)


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
  rows = _samples(len(plain))
  gain, part = (whole - plain), (kept - plain)
  samples = part[rows].mean(axis=1) / gain[rows].mean(axis=1)
  low, high = np.percentile(samples, [2.5, 97.5])
  return float(part.mean() / gain.mean()), (float(low), float(high))


def _samples(number: int) -> np.ndarray:
  return np.random.RandomState(0).randint(number, size=(10_000, number))


def _tail(folder: pathlib.Path) -> np.ndarray:
  paths = sorted(folder.glob('seed_*/summary.json'))
  return np.array([json.loads(path.read_text())['tail'] for path in paths])


def _auprc(runs: pathlib.Path, ratio: str, word: str) -> np.ndarray:
  """Of each seed, the mean over tables."""
  paths = sorted(runs.glob(f'*/{ratio}/{word}/summary.json'))
  return np.mean(
    [
      [run['auprc'] for run in json.loads(path.read_text())['runs']]
      for path in paths
    ],
    axis=0,
  )


if __name__ == '__main__':
  main()
