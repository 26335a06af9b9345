# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods x tables x ratios x seeds: runs, mean +- std, and tables of them."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
import statistics as statistics_lib
import time
from typing import Any
from typing import NamedTuple

from sklearn import ensemble

from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import fields
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax._runs import origin
from imbsam_jax._runs import statistics
from imbsam_jax.anomaly.study import _config
from imbsam_jax.anomaly.study import _run

FOREST = 'isolation_forest'
_HEADINGS = {'auroc': 'AUROC', 'auprc': 'AUPRC'}

Statistics = dict[str, dict[str, Any]]


class Cell(NamedTuple):
  """One table at one ratio.

  Attributes:
    table: Its name.
    ratio: Share of labeled anomalies.
    methods: Statistics by method; empty if the table has too few anomalies.
    reason: Why it is empty.
  """

  table: str
  ratio: float
  methods: dict[str, Statistics]
  reason: str = ''


def compare(
  configs: Mapping[str, _config.Config],
  tables: Mapping[str, _config.Data],
  ratios: Sequence[float],
  num_seeds: int,
  workdir: pathlib.Path,
  *,
  command: str = 'imbsam_jax.anomaly.study.compare',
  say: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
  """Fits every method on every table, ratio and seed, and compares them.

  Args:
    configs: A configuration for each method word.
    tables: Path or name of each table; all else comes from `configs`.
    ratios: Shares of labeled anomalies.
    num_seeds: Seeds 0 .. num_seeds - 1, of splits and detectors; those of one
      cell are fitted as one program.
    workdir: ``<table>/<ratio>/<word>/`` hold the numbers of each seed,
      ``comparison.json`` and ``comparison.md`` what came out.
    command: What is told as the origin of the numbers.
    say: Called with a line for each cell of the tables and then with the
      tables, such as ``print``.

  Returns:
    The content of ``comparison.json``.
  """
  say = say or (lambda text: None)
  start = time.perf_counter()
  workdir.mkdir(parents=True, exist_ok=True)
  cells = []
  for name, place in tables.items():
    read = _once(_run.read, name, say)
    cells += [
      _cell(configs, name, place, ratio, num_seeds, workdir, read, say)
      for ratio in ratios
    ]
  content: dict[str, Any] = {'tables': {}}
  for cell in cells:
    ratios_of = content['tables'].setdefault(cell.table, {})
    ratios_of[f'{cell.ratio:g}'] = {'methods': cell.methods}
  training.write_json(workdir / 'comparison.json', content)
  text = '\n\n'.join(_ratio_tables(cells, ratio) for ratio in ratios)
  minutes = (time.perf_counter() - start) / 60
  first = next(iter(configs.values()))
  text += (
    f'\n\nMean +- std over {num_seeds} seeds, in per cent, on the '
    f'{first.final_split} rows; {minutes:.1f} minutes.'
  )
  training.write_text(
    workdir / 'comparison.md',
    f'# Anomaly detection, protocol of {first.data.protocol}\n\n{text}\n\n'
    f'{origin.origin(command)}\n',
  )
  say(f'\n{text}\n\nfiles in {workdir}: comparison.json, comparison.md')
  return content


def _cell(
  configs: Mapping[str, _config.Config],
  name: str,
  place: _config.Data,
  ratio: float,
  num_seeds: int,
  workdir: pathlib.Path,
  read: Callable[[_config.Data], data.Table],
  say: Callable[[str], Any],
) -> Cell:
  """What is missing of a cell is fitted."""
  folder = workdir / name / f'{ratio:g}'
  configs = {
    word: _at(config, place, ratio) for word, config in configs.items()
  }
  first = next(iter(configs.values()))
  seeds = range(num_seeds)
  done: dict[str, list[dict[str, Any]]] = {}
  missing: dict[str, _config.Config] = {}
  for word, config in {FOREST: first, **configs}.items():
    summary = folder_lib.read_summary(folder / word, config)
    runs = (summary or {}).get('runs')
    if isinstance(runs, list) and len(runs) == num_seeds:
      done[word] = runs
    else:
      missing[word] = config
  if missing:
    table = read(first.data)
    try:
      starts = _starts(missing.values(), table, seeds)
    except data.DataError as error:
      say(f'{name} {ratio:g}: {error}')
      return Cell(name, ratio, {}, str(error))
    for word, config in missing.items():
      start = starts[config.data.labeled_anomaly_ratio]
      if word == FOREST:
        runs = [
          _forest(*pair) for pair in zip(start.splits, seeds, strict=True)
        ]
      else:
        runs = start.fit(config, seeds)
      folder_lib.claim(folder / word, config)
      training.write_json(folder / word / 'summary.json', {'runs': runs})
      done[word] = runs
      say(_line(name, ratio, word, runs))
  return Cell(
    name,
    ratio,
    {word: statistics.over_runs(done[word]) for word in (FOREST, *configs)},
  )


def _once(
  read: Callable[[_config.Data], data.Table],
  name: str,
  say: Callable[[str], Any],
) -> Callable[[_config.Data], data.Table]:
  """Reads when a table is first asked for, and tells what is unusual about it.

  All ratios share it.
  """
  tables: list[data.Table] = []

  def read_once(place):
    if not tables:
      tables.append(read(place))
      for note in _run.notes_on(tables[0]):
        say(f'{name}: {note}')
    return tables[0]

  return read_once


def _at(
  config: _config.Config, place: _config.Data, ratio: float
) -> _config.Config:
  changes: dict[str, Any] = {'data.path': place.path, 'data.name': place.name}
  if config.data.labeled_anomaly_ratio:  # Deep SVDD keeps none.
    changes['data.labeled_anomaly_ratio'] = ratio
  return fields.replace(config, changes)


class _Start:
  """Rows of all seeds, and encoders that methods share."""

  def __init__(self, splits: list[_run.Split]):
    self.splits = splits
    self._pretrained: anomaly.Pretrained | None = None

  def fit(
    self, config: _config.Config, seeds: Sequence[int]
  ) -> list[dict[str, Any]]:
    if self._pretrained is None:
      self._pretrained = anomaly.pretrain_stacked(
        [_run.make_detector(config.detector, seed) for seed in seeds],
        [split.train for split in self.splits],
      )
    runs = _run.fit(config, self.splits, seeds, pretrained=self._pretrained)
    return [run.summary for run in runs]


def _starts(
  configs: Iterable[_config.Config],
  table: data.Table,
  seeds: Sequence[int],
) -> dict[float, _Start]:
  """By share of labeled anomalies, the only one in which methods differ."""
  by_ratio = {config.data.labeled_anomaly_ratio: config for config in configs}
  return {
    ratio: _Start([_run.split(config, table, seed) for seed in seeds])
    for ratio, config in by_ratio.items()
  }


def _forest(split: _run.Split, seed: int) -> dict[str, Any]:
  """scikit-learn's isolation forest, which has no use for known anomalies."""
  start = time.perf_counter()
  forest = ensemble.IsolationForest(random_state=seed)
  forest.fit(split.train[split.known <= 0])
  scores = -forest.score_samples(split.test)
  return metrics.anomaly_metrics(scores, split.labels) | {
    'seed': seed,
    'seconds': time.perf_counter() - start,
  }


def _line(
  name: str, ratio: float, word: str, runs: Sequence[Mapping[str, Any]]
) -> str:
  means = [
    console.percent(statistics_lib.fmean(run[metric] for run in runs))
    for metric in _HEADINGS
  ]
  seconds = sum(run['seconds'] for run in runs)
  return (
    f'{name} {ratio:g} {word:<16}  AUROC {means[0]}  AUPRC {means[1]}  '
    f'{seconds:.1f} s'
  )


def _ratio_tables(cells: Sequence[Cell], ratio: float) -> str:
  """A table for each metric: methods in rows, data in columns."""
  own = [cell for cell in cells if cell.ratio == ratio]
  words = next((list(cell.methods) for cell in own if cell.methods), [])
  parts = []
  for metric in _HEADINGS:
    rows = [
      [
        word,
        *(_shown(cell, word, metric) for cell in own),
        _mean(own, word, metric),
      ]
      for word in words
    ]
    columns = [
      f'{_HEADINGS[metric]}, {ratio:g} labeled',
      *(cell.table for cell in own),
      'mean',
    ]
    parts.append(console.markdown_table(columns, rows))
  reasons = [f'{cell.table}: {cell.reason}' for cell in own if cell.reason]
  return '\n\n'.join(parts + reasons)


def _shown(cell: Cell, word: str, metric: str) -> str:
  if not cell.methods:
    return 'n/a'
  return statistics.mean_std(cell.methods[word][metric])


def _mean(cells: Sequence[Cell], word: str, metric: str) -> str:
  """Over the tables that there are numbers for."""
  return console.percent(
    statistics_lib.fmean(
      cell.methods[word][metric]['mean'] for cell in cells if cell.methods
    )
  )
