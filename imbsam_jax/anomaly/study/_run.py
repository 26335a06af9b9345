# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables, splits, detectors and their files."""

from collections.abc import Sequence
import dataclasses
import pathlib
import time
from typing import Any
from typing import NamedTuple
import warnings

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import anomaly
from imbsam_jax import data
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.anomaly import _wild_cells
from imbsam_jax.anomaly.study import _config

# Columns that a line has room for.
_LISTED = 8


class Split(NamedTuple):
  """Rows as the table has them: detectors scale, so that they take any row.

  Attributes:
    train: float64 ``[N, D]``.
    known: int32 ``[N]``, 1 labeled anomaly, 0 unlabeled, -1 labeled normal.
    test: float64 ``[M, D]``.
    labels: int32 ``[M]``, 1 anomaly, 0 normal.
    rows: int64 ``[M]``, which rows of their table the test rows are.
    columns: Names of the D columns, if they have some of their own.
  """

  train: np.ndarray
  known: np.ndarray
  test: np.ndarray
  labels: np.ndarray
  rows: np.ndarray
  columns: tuple[str, ...] | None = None


class Run(NamedTuple):
  """A fitted detector and how well it ranks the rows it has not seen.

  Attributes:
    detector: The fitted detector.
    split: Rows that it was fitted to and tested on.
    scores: Float ``[M]``, scores of the test rows.
    summary: Content of ``summary.json``.
  """

  detector: anomaly.DeepSAD
  split: Split
  scores: np.ndarray
  summary: dict[str, Any]


def read(config: _config.Data) -> data.Table:
  """The table of a configuration.

  Raises:
    ConfigError: If the configuration has neither a path nor a name, or both, or
      the name is unknown.
    DataError: If the table cannot be read.
  """
  if config.name is not None and config.path is None:
    try:
      return data.odds_table(config.name, data_dir=config.data_dir)
    except data.DataError:
      raise
    except ValueError as error:
      raise _errors.ConfigError(
        f'there is no file or folder {config.name} and no such table of ODDS: '
        f'{error}'
      ) from error
  if config.path is None or config.name is not None:
    raise _errors.ConfigError(
      'pass `data.path=FILE` (.npz, .mat or .csv), or '
      '`data.name=cardio` for a table of ODDS.'
    )
  label: Any = config.label
  if label is not None and label.lstrip('-').isdigit():
    label = int(label)
  return data.read_table(pathlib.Path(config.path).expanduser(), label=label)


def split(config: _config.Config, table: data.Table, seed: int) -> Split:
  """Training and test rows; with 'validation' both of the training rows.

  Raises:
    DataError: If the table has too few anomalies for the ratios.
  """
  rows = _split(config.data, table, seed)
  if config.final_split == 'validation':
    table = data.validation_table(table, rows)
    rows = _split(config.data, table, seed)
  return Split(
    table.features[rows.train_rows],
    rows.train_labels,
    table.features[rows.test_rows],
    rows.test_labels,
    rows.test_rows,
    table.columns if table.named else None,
  )


def _split(
  config: _config.Data, table: data.Table, seed: int
) -> data.AnomalySplit:
  ratio = config.labeled_anomaly_ratio
  if config.protocol == 'adbench':
    return data.adbench_split(
      table, seed=seed, labeled_anomaly_ratio=ratio, max_rows=config.max_rows
    )
  return data.deep_sad_split(
    table,
    seed=seed,
    labeled_anomaly_ratio=ratio,
    labeled_normal_ratio=config.labeled_normal_ratio,
    pollution_ratio=config.pollution_ratio,
  )


def make_detector(config: _config.Detector, seed: int) -> anomaly.DeepSAD:
  """The detector of a configuration, not fitted."""
  arguments: dict[str, Any] = dataclasses.asdict(config)
  return anomaly.DeepSAD(**arguments, seed=seed)


def fit(
  config: _config.Config,
  splits: Sequence[Split],
  seeds: Sequence[int],
  *,
  pretrained: anomaly.Pretrained | None = None,
) -> list[Run]:
  """Fits and tests a detector for each seed, all as one program.

  Args:
    config: What is fitted; its own seed is not read.
    splits: Rows for each seed.
    seeds: Seed of each detector.
    pretrained: Encoders to start from, for these rows and seeds.

  Raises:
    ConfigError: If a hyper-parameter is out of range.
    DivergedError: If training was given up.
  """
  detectors = [make_detector(config.detector, seed) for seed in seeds]
  start = time.perf_counter()
  try:
    with warnings.catch_warnings():
      # The header tells of them, by the rows of the table.
      warnings.simplefilter('ignore', UserWarning)
      anomaly.fit_stacked(
        detectors,
        [split.train for split in splits],
        [split.known for split in splits],
        pretrained=pretrained,
      )
  except ValueError as error:
    raise _errors.ConfigError(str(error)) from error
  seconds = (time.perf_counter() - start) / len(seeds)
  return [
    _test(detector, split, config, seconds)
    for detector, split in zip(detectors, splits, strict=True)
  ]


def _test(
  detector: anomaly.DeepSAD,
  split: Split,
  config: _config.Config,
  seconds: float,
) -> Run:
  detector.name_features(split.columns)
  scores = detector.decision_function(split.test)
  summary = metrics.anomaly_metrics(scores, split.labels) | {
    'num_train': len(split.known),
    'num_labeled_anomalies': int((split.known > 0).sum()),
    'num_test': len(split.labels),
    'seed': detector.seed,
    'seconds': seconds,
    'cost_sgd_steps': detector.cost,
    'skipped_steps': int(detector.history_['skipped'].sum()),
    'threshold': detector.fitted_.threshold,
    'final_split': config.final_split,
    'params_sha256': training.params_sha256(detector.fitted_.variables.params),
  }
  return Run(detector, split, scores, summary)


def write(run: Run, workdir: pathlib.Path, title: str) -> None:
  """Scores, detector, picture; the summary last."""
  run.detector.save(workdir / 'detector.npz')
  training.write_csv(
    workdir / 'scores.csv',
    [
      {'row': int(row), 'label': int(label), 'score': float(score)}
      for row, label, score in zip(
        run.split.rows, run.split.labels, run.scores, strict=True
      )
    ],
  )
  metrics.plot_anomaly_scores(
    workdir / 'scores.png',
    run.scores,
    run.split.labels,
    threshold=run.detector.fitted_.threshold,
    title=title,
  )
  training.write_json(workdir / 'summary.json', run.summary)


def header(config: _config.Config, table: data.Table, split: Split) -> str:
  """What is about to happen."""
  rows, columns = table.features.shape
  known = split.known
  counts = {
    'labeled anomalies': (known > 0).sum(),
    'labeled normal rows': (known < 0).sum(),
  }
  named = ', '.join(f'{n} {name}' for name, n in counts.items() if n)
  notes = notes_on(table)
  return console.fields(
    {
      'data': f'{config.data.path or config.data.name}: {rows:,} rows, '
      f'{columns} features, {int(table.labels.sum()):,} anomalies '
      f'({table.labels.mean():.1%})',
      **({} if table.label is None else {'columns': _columns(table)}),
      **({'note': '; '.join(notes)} if notes else {}),
      'split': f'{config.data.protocol}: {len(known):,} training rows, '
      f'{named or "no label known"}; {len(split.labels):,} '
      f'{config.final_split} rows, {int(split.labels.sum()):,} anomalies',
      'detector': f'Deep SAD, {config.detector.method}, '
      f'{make_detector(config.detector, 0).cost:.2f} SGD steps per step, '
      f'{config.detector.epochs} epochs after '
      f'{config.detector.pretrain_epochs} of the autoencoder, seed '
      f'{config.seed}',
    }
  )


def _columns(table: data.Table) -> str:
  """Which columns of a .csv file are what."""
  text = f'label {table.label!r}; features {_listed(table.columns)}'
  if table.left_out:
    text += f'; left out {_listed(table.left_out)} (row numbers)'
  return text


def _listed(names: Sequence[str]) -> str:
  more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
  return ', '.join(map(repr, names[:_LISTED])) + more


def notes_on(table: data.Table) -> list[str]:
  """What is unusual about a table, as sentences."""
  notes = []
  ranges = _wild_cells.usual_ranges(table.features)
  if len(ranges.wild):
    notes.append(
      _wild_cells.describe(table.features, ranges.wild, table.columns)
    )
  constant = [
    name
    for name, low, high in zip(
      table.columns, ranges.minimum, ranges.maximum, strict=True
    )
    if low == high
  ]
  if len(constant) == len(table.columns):
    notes.append('all columns are constant: no row can be told from another')
  elif constant:
    notes.append(f'constant, and of no use: {_listed(constant)}')
  return notes
