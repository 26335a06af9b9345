# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""ImbSAM and its momentum form on tables with anomalies, each at its best.

  python -m results.momentum_in_tables FOLDER --workdir=runs/tables

Protocol of ADBench. Radii and decay are those of the highest AUPRC on
validation rows, mean over all tables and the seeds of ``--choosing_seeds``, a
tenth of the anomalies labeled; the test rows are looked at with these alone. In
WORKDIR are ``validation``, ``test`` (for `results.share_of_gain`) and
``chosen.json``. What is complete is not repeated.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import sys
from typing import Any

from imbsam_jax import experiment
from imbsam_jax.anomaly import study
from imbsam_jax.anomaly.study.recipes import anomaly as recipe

_RULES = ('imbsam', 'momentum_imbsam')


def main() -> None:
  """Chooses on validation rows, then tests once."""
  parser = argparse.ArgumentParser()
  parser.add_argument('folder')
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--rhos', default='0.01,0.02,0.05,0.1')
  parser.add_argument('--decays', default='0,0.6,0.9,0.99')
  parser.add_argument('--choosing_seeds', type=int, default=5)
  parser.add_argument('--seeds', type=int, default=10)
  given = parser.parse_args()
  workdir = pathlib.Path(given.workdir)
  files = sorted(pathlib.Path(given.folder).glob('*.npz'))
  tables = {file.stem: study.Data(path=str(file)) for file in files}
  experiment.cache_compilations()
  command = ' '.join(['python -m results.momentum_in_tables', *sys.argv[1:]])
  rhos = [float(rho) for rho in given.rhos.split(',')]
  decays = [float(decay) for decay in given.decays.split(',')]

  fields = {
    'imbsam': [{'detector.rho': rho} for rho in rhos],
    'momentum_imbsam': [
      {'detector.rho': rho, 'detector.average_decay': decay}
      for rho, decay in itertools.product(rhos, decays)
    ],
  }
  candidates = {
    f'{word}@{",".join(f"{value:g}" for value in own.values())}': (word, own)
    for word in _RULES
    for own in fields[word]
  }
  found = study.compare(
    {
      name: _config(word, own | {'final_split': 'validation'})
      for name, (word, own) in candidates.items()
    },
    tables,
    [0.1],
    given.choosing_seeds,
    workdir / 'validation',
    command=command,
    say=_say,
  )['tables']
  chosen = {
    word: max(
      (name for name in candidates if candidates[name][0] == word),
      key=lambda name: _auprc(found, name),
    )
    for word in _RULES
  }
  for name in candidates:
    print(f'{name}: {100 * _auprc(found, name):.1f}')
  (workdir / 'chosen.json').write_text(json.dumps(chosen, indent=2))
  print(chosen)
  study.compare(
    {
      'sgd': _config('sgd', {}),
      **{word: _config(word, candidates[chosen[word]][1]) for word in _RULES},
    },
    tables,
    [0.01, 0.05, 0.1],
    given.seeds,
    workdir / 'test',
    command=command,
    say=_say,
  )


def _config(word: str, fields: dict[str, Any]) -> study.Config:
  return experiment.replace(
    recipe.get_config(word), {'data.protocol': 'adbench', **fields}
  )


def _auprc(found: dict[str, Any], name: str) -> float:
  """Mean over tables."""
  return statistics.fmean(
    table['0.1']['methods'][name]['auprc']['mean'] for table in found.values()
  )


def _say(text: str) -> None:
  print(text, flush=True)


if __name__ == '__main__':
  main()
