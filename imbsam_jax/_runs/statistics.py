# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mean and standard deviation over runs."""

from collections.abc import Mapping
from collections.abc import Sequence
import statistics
from typing import Any


def over_runs(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Mean, sample standard deviation and number of runs, by metric."""
  by_metric = {}
  for name, value in summaries[0].items():
    if not (value is None or type(value) in (int, float)) or name == 'seed':
      continue
    entries: list[Any] = [summary.get(name) for summary in summaries]
    values = [x for x in entries if type(x) in (int, float)]
    by_metric[name] = {
      'mean': statistics.fmean(values) if values else None,
      'std': statistics.stdev(values) if len(values) > 1 else None,
      'runs': len(values),
    }
    if len(values) == 1:
      by_metric[name]['std'] = 0.0
  return by_metric


def mean_std(metric: Mapping[str, Any]) -> str:
  """Mean and standard deviation of a fraction, in per cent."""
  if metric['mean'] is None:
    return 'n/a'
  return f'{100 * metric["mean"]:.1f} +- {100 * metric["std"]:.1f}'
