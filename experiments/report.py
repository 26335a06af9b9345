# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run says about itself: the header before, the table after."""

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import statistics as statistics_lib
import subprocess
import sys
from typing import Any

import jax

from experiments import build
from experiments import console
from experiments import methods
from experiments import run
from imbsam_jax import metrics

_LAYOUTS = {
  'joint': 'all rows joint',
  'split': 'head and tail rows apart',
  'tail_only': 'perturbed passes of the tail alone (an approximation)',
}
# Metrics of a table, with the headings of their columns.
COLUMNS = {
  'top1': 'top-1',
  'balanced': 'balanced',
  'many': 'many',
  'medium': 'medium',
  'few': 'few',
  'head': 'head',
  'tail': 'tail',
  'worst_class': 'worst',
  'g_mean': 'G-mean',
  'macro_f1': 'macro-F1',
  'ece': 'ECE',
}


def header(experiment: build.Experiment) -> str:
  """What a run is about, on one screen."""
  config, counts = experiment.config, experiment.data.class_counts
  params = experiment.abstract_state.params
  groups = metrics.class_groups(
    counts, many_above=config.many_above, few_below=config.few_below
  )
  tail = counts < config.optimizer.threshold
  num_params = sum(x.size for x in jax.tree.leaves(params))
  validation = experiment.data.validation
  return console.fields(
    {
      'data': f'{config.data.name}, {len(counts)} classes, '
      f'{experiment.num_train} training images '
      f'({counts.max()} to {counts.min()} per class, imbalance factor '
      f'{counts.max() / counts.min():.4g}), '
      f'{0 if validation is None else len(validation.labels)} validation, '
      f'{len(experiment.data.test.labels)} test',
      'groups': f'{groups["many"].sum()} many (> {config.many_above}), '
      f'{groups["medium"].sum()} medium, '
      f'{groups["few"].sum()} few (< {config.few_below}); '
      f'tail (< {config.optimizer.threshold}): {tail.sum()} classes, '
      f'{counts[tail].sum() / counts.sum():.1%} of the images',
      'model': f'{config.model.name}, {config.model.norm} norm, '
      f'{experiment.head} head, {num_params:,} parameters',
      'method': f'{methods.describe(config)}, '
      f'{_LAYOUTS[experiment.layout]}, expected cost '
      f'{run.expected_cost(experiment):.2f} SGD steps',
      'run': f'{config.epochs:g} epochs, {experiment.num_steps} steps of '
      f'{config.data.batch_size} on {experiment.mesh.size} '
      f'{experiment.mesh.devices.flat[0].platform} device(s), '
      f'seed {config.seed}',
    }
  )


def table(scores: dict[str, Any]) -> str:
  """The metrics of one evaluation, in per cent."""
  return console.markdown_table(
    list(COLUMNS.values()),
    [[console.percent(scores[name]) for name in COLUMNS]],
  )


def statistics(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Mean, sample standard deviation and number of runs, by metric."""
  found = {}
  for name, value in summaries[0].items():
    if not (value is None or type(value) in (int, float)) or name == 'seed':
      continue
    values = [s[name] for s in summaries if s[name] is not None]
    found[name] = {
      'mean': statistics_lib.fmean(values) if values else None,
      'std': statistics_lib.stdev(values) if len(values) > 1 else None,
      'runs': len(values),
    }
    if len(values) == 1:
      found[name]['std'] = 0.0
  return found


def mean_std(found: Mapping[str, Any]) -> str:
  """Mean and standard deviation of a fraction, in per cent."""
  if found['mean'] is None:
    return 'n/a'
  return f'{100 * found["mean"]:.1f} +- {100 * found["std"]:.1f}'


def origin(program: str) -> str:
  """Command, date, commit and hardware, for whoever reads the numbers."""
  command = f'python -m {program} ' + ' '.join(sys.argv[1:])
  commit = subprocess.run(
    ['git', 'describe', '--always', '--dirty'],
    capture_output=True,
    text=True,
    check=False,
  ).stdout.strip()
  device = jax.devices()[0].device_kind
  return (
    f'`{command}`, {datetime.date.today().isoformat()}, commit '
    f'{commit or "unknown"}, {jax.device_count()} x {device}.'
  )
