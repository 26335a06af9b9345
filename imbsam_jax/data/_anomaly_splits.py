# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training and test parts for semi-supervised anomaly detection on tables."""

import math
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _errors
from imbsam_jax.data import _tables


class AnomalySplit(NamedTuple):
  """A training part of which few labels are known, and a test part.

  .. note:: The sign of the training labels is not that of Deep SAD's paper,
    which writes -1 for labeled anomalies and +1 for labeled normals. Here a
    0/1 array of known anomalies can be passed as it is.

  Attributes:
    train_features: float32 ``[N, D]``, scaled to [0, 1] by the training part.
    train_labels: int32 ``[N]``: 1 labeled anomaly, 0 unlabeled, -1 labeled
      normal.
    test_features: float32 ``[M, D]``, scaled likewise and not clipped.
    test_labels: int32 ``[M]``: 1 anomaly, 0 normal.
    train_rows: int64 ``[N]``, rows of the table.
    test_rows: int64 ``[M]``, rows of the table.
  """

  train_features: np.ndarray
  train_labels: np.ndarray
  test_features: np.ndarray
  test_labels: np.ndarray
  train_rows: np.ndarray
  test_rows: np.ndarray


def deep_sad_split(
  table: _tables.Table,
  *,
  seed: int,
  labeled_anomaly_ratio: float = 0.01,
  labeled_normal_ratio: float = 0.0,
  pollution_ratio: float = 0.0,
  test_share: float = 0.4,
) -> AnomalySplit:
  r"""The protocol of Deep SAD (Ruff et al., ICLR 2020).

  Normal rows and anomalies are each divided at random: of n rows of a kind,
  ``ceil(test_share * n)`` are for testing, as in scikit-learn's
  ``train_test_split``. All n normal rows of the training part are used, and as
  many of its anomalies as solve

  .. math::
    k_n + u_n = n, \quad k_n = r_n T, \quad k_a = r_a T, \quad
    u_a = p \, (u_a + u_n), \quad T = k_n + u_n + k_a + u_a

  with k labeled and u unlabeled rows, r_n = `labeled_normal_ratio`, r_a =
  `labeled_anomaly_ratio` and p = `pollution_ratio`. k_n, k_a and u_a are
  truncated to whole rows, as in the released code.

  The test part depends on `seed` and `test_share` only. Of one seed, the
  labeled anomalies for a small ratio are among those for a larger one. How
  many rows of each kind there are does not depend on the seed. Training rows
  are shuffled, test rows in the order of the table.

  >>> table = _tables.make_table(np.eye(200), np.arange(200) < 50)
  >>> split = deep_sad_split(table, seed=0, labeled_anomaly_ratio=0.1)
  >>> np.bincount(split.train_labels), np.bincount(split.test_labels)
  (array([90, 10]), array([60, 20]))

  .. note:: The released code draws labeled and unlabeled anomalies
    independently from the same rows, so that a row can be both; here they are
    disjoint. It labels no anomaly where truncation leaves none; here one is
    labeled if `labeled_anomaly_ratio` is positive. Its loader of the ODDS
    tables draws the training and the test part from two different splits (both
    use up one RandomState), so that most test rows are training rows; here no
    row is both.

  .. note:: Features are scaled to [0, 1] by the whole training part, before
    anomalies are left out of it. The released code standardizes them first,
    which after the scaling to [0, 1] makes no difference but for rounding.
    What is constant in the training part becomes 0 there; in the test part it
    becomes the difference from that constant.

  Args:
    table: The table that is split.
    seed: Seed of the divisions, and of which rows are labeled.
    labeled_anomaly_ratio: Labeled anomalies, as a share of all training rows.
      The default is the paper's.
    labeled_normal_ratio: Labeled normal rows, of all rows of the training set.
    pollution_ratio: Anomalies among the unlabeled rows of the training set.
    test_share: Share of each kind of rows that is for testing.

  Raises:
    DataError: If the training part has fewer anomalies than needed, or a part
      has only one kind of rows; and as for `make_table`.
    TypeError: If `table` is no `Table`, or a number is none.
    ValueError: If a ratio or the seed is out of range.
  """
  table = _check_table(table)
  rng = _make_rng(seed)
  r_a = _checks.share('labeled_anomaly_ratio', labeled_anomaly_ratio, one=False)
  r_n = _checks.share('labeled_normal_ratio', labeled_normal_ratio, one=False)
  pollution = _checks.share('pollution_ratio', pollution_ratio, one=False)
  test_share = _checks.share('test_share', test_share, zero=False, one=False)
  if r_a + r_n > 1 + 1e-9:
    raise ValueError(
      '`labeled_anomaly_ratio` + `labeled_normal_ratio` must be at most 1, got '
      f'{r_a} + {r_n}.'
    )
  parts = []
  for label in (0, 1):
    rows = np.flatnonzero(table.labels == label)
    parts.append(
      _divide(rng, rows, math.ceil(test_share * len(rows)), label, test_share)
    )
  (normals, test_normals), (anomalies, test_anomalies) = parts

  num_normals = len(normals)
  odds = pollution / (1 - pollution)  # u_a / u_n.
  total = num_normals * (1 + odds) / (1 - r_a + odds * r_n)
  num_labeled_normals = min(_truncate(r_n * total), num_normals)
  num_labeled = _truncate_but_one(r_a * total, r_a)
  num_unlabeled = _truncate(odds * max(num_normals - r_n * total, 0))
  needed = num_labeled + num_unlabeled
  if needed > len(anomalies):
    raise _errors.DataError(
      f'this split needs {needed} anomalies in the training part, has '
      f'{len(anomalies)} ({num_unlabeled} are to be unlabeled, {num_labeled} '
      'labeled); lower `pollution_ratio` or `labeled_anomaly_ratio`.'
    )
  # From the two ends: disjoint, and for other ratios the same ones first.
  labeled = anomalies[:num_labeled]
  unlabeled = anomalies[len(anomalies) - num_unlabeled :]
  rows = np.concatenate([labeled, unlabeled, normals])
  labels = np.zeros(len(rows), np.int32)
  labels[:num_labeled] = 1
  labels[needed : needed + num_labeled_normals] = -1
  return _make_split(
    table,
    rng,
    scaled_by=np.concatenate([normals, anomalies]),
    train_rows=rows,
    train_labels=labels,
    test_rows=np.concatenate([test_normals, test_anomalies]),
  )


def adbench_split(
  table: _tables.Table,
  *,
  seed: int,
  labeled_anomaly_ratio: float = 0.1,
  test_share: float = 0.3,
  max_rows: int = 10_000,
) -> AnomalySplit:
  """The protocol of ADBench (Han et al., NeurIPS 2022).

  All rows of the training part are used: of its anomalies the share
  `labeled_anomaly_ratio`, truncated to whole rows, is labeled; the others stay
  as unlabeled contamination. The division is stratified: with the numbers of
  rows of scikit-learn's ``train_test_split(stratify=labels)``, where a half row
  of anomalies counts as one for training.

  The test part does not depend on `labeled_anomaly_ratio`, nor the number of
  rows of each kind on the seed. Of one seed, the labeled anomalies for a small
  ratio are among those for a larger one. Training rows are shuffled, test rows
  in the order of the table.

  >>> table = _tables.make_table(np.eye(200), np.arange(200) < 50)
  >>> split = adbench_split(table, seed=0)
  >>> np.bincount(split.train_labels), np.bincount(split.test_labels)
  (array([137, 3]), array([45, 15]))

  .. note:: Of a larger table ADBench draws `max_rows` rows whatever they are;
    here the drawn rows have the table's share of anomalies, rounded, so that
    runs with different seeds have the same shapes. ADBench labels no anomaly
    where truncation leaves none; here one is labeled if the ratio is positive.
    It repeats rows of tables with fewer than 1,000 rows, which then are in both
    parts; here no row is repeated.

  .. note:: Features are scaled to [0, 1] by the training part. What is constant
    there becomes 0; in the test part it becomes the difference from that
    constant.

  Args:
    table: The table that is split.
    seed: Seed of the division, and of which rows are labeled.
    labeled_anomaly_ratio: Share of the training anomalies that is labeled.
    test_share: Share of the rows that is for testing.
    max_rows: Number of rows that are drawn first from a table with more.

  Raises:
    DataError: If a part has only one kind of rows; and as for `make_table`.
    TypeError: If `table` is no `Table`, or a number is none.
    ValueError: If a ratio, `max_rows` or the seed is out of range.
  """
  table = _check_table(table)
  rng = _make_rng(seed)
  ratio = _checks.share('labeled_anomaly_ratio', labeled_anomaly_ratio)
  test_share = _checks.share('test_share', test_share, zero=False, one=False)
  _checks.integer('max_rows', max_rows, low=4)
  normals = np.flatnonzero(table.labels == 0)
  anomalies = np.flatnonzero(table.labels == 1)
  num_rows, drawn = len(table.labels), 'the table has'
  if num_rows > max_rows:
    kept = _round_half_up(max_rows * len(anomalies), num_rows)
    anomalies = rng.permutation(anomalies)[:kept]
    normals = rng.permutation(normals)[: max_rows - kept]
    num_rows = int(max_rows)
    drawn = f'of {len(table.labels)} rows {num_rows} are drawn, which have'
  num_test = math.ceil(test_share * num_rows)
  num_test_anomalies = len(anomalies) - _round_half_up(
    (num_rows - num_test) * len(anomalies), num_rows
  )
  anomalies, test_anomalies = _divide(
    rng, anomalies, num_test_anomalies, 1, test_share, drawn
  )
  normals, test_normals = _divide(
    rng, normals, num_test - num_test_anomalies, 0, test_share, drawn
  )
  rows = np.concatenate([anomalies, normals])
  labels = np.zeros(len(rows), np.int32)
  labels[: _truncate_but_one(ratio * len(anomalies), ratio)] = 1
  return _make_split(
    table,
    rng,
    scaled_by=rows,
    train_rows=rows,
    train_labels=labels,
    test_rows=np.concatenate([test_normals, test_anomalies]),
  )


def validation_table(
  table: _tables.Table, split: AnomalySplit
) -> _tables.Table:
  """The training rows of a split as a table of their own.

  A split of this table has training and test parts that never saw the test rows
  of `split`: what is best on them can be chosen freely. Row i of the new table
  is row ``split.train_rows[i]`` of the old. Its labels are the true ones, also
  of rows that `split` leaves unlabeled.

  .. note:: A split of the new table by the same ratios of `deep_sad_split` can
    lack an anomaly through rounding, and then says so: lower the ratio a bit.

  Args:
    table: The table that was split.
    split: A split of `deep_sad_split` or `adbench_split`.

  Raises:
    DataError: If the training rows have no anomalies, or `split` is of another
      table.
    TypeError: If `table` is no `Table`, or `split` no `AnomalySplit`.
  """
  table = _check_table(table)
  if not isinstance(split, AnomalySplit):
    raise TypeError(
      '`split` must be an AnomalySplit, such as of `deep_sad_split`, got '
      f'{type(split).__name__}.'
    )
  largest = max(split.train_rows.max(), split.test_rows.max())
  if largest >= len(table.labels) or not np.array_equal(
    table.labels[split.test_rows], split.test_labels
  ):
    raise _errors.DataError(
      '`split` is not a split of `table`: its test labels are not those of its '
      'test rows. Pass the table that was split.'
    )
  rows = split.train_rows
  if not table.labels[rows].any():
    raise _errors.DataError(
      f'the {len(rows)} training rows of this split have no anomalies, so '
      'nothing can be validated on them. Raise `labeled_anomaly_ratio` or '
      '`pollution_ratio`.'
    )
  return _tables.Table(table.features[rows], table.labels[rows], table.columns)


def _check_table(table: Any) -> _tables.Table:
  if not isinstance(table, _tables.Table):
    raise TypeError(
      '`table` must be a Table, such as of `make_table` or `read_table`, got '
      f'{type(table).__name__}.'
    )
  # Tables can be made without the checks.
  return _tables.make_table(table.features, table.labels, columns=table.columns)


def _make_rng(seed: int) -> np.random.RandomState:
  return np.random.RandomState(_checks.seed('seed', seed))


def _truncate(value: float) -> int:
  # The small excess keeps 0.29 * 100 from being 28.
  return int(value + 1e-9)


def _truncate_but_one(value: float, ratio: float) -> int:
  return max(_truncate(value), int(ratio > 0))


def _round_half_up(numerator: int, denominator: int) -> int:
  return int((2 * numerator + denominator) // (2 * denominator))


def _divide(
  rng: np.random.RandomState,
  rows: np.ndarray,
  num_test: int,
  label: int,
  test_share: float,
  drawn: str = 'the table has',
) -> tuple[np.ndarray, np.ndarray]:
  """Training and test rows of one kind, in random order."""
  if not 0 < num_test < len(rows):
    one, many = (('normal row', 'normal rows'), ('anomaly', 'anomalies'))[label]
    what = f'{len(rows)} {one if len(rows) == 1 else many}'
    if len(rows) < 2:
      raise _errors.DataError(
        f'{drawn} {what}: cannot be on both sides, training and test. At least '
        '2 are needed.'
      )
    raise _errors.DataError(
      f'{drawn} {what}: test_share={test_share:g} puts {num_test} into the '
      f'test part and {len(rows) - num_test} into the training part; both need '
      'some. Change `test_share`, or add rows.'
    )
  rows = rng.permutation(rows)
  return rows[num_test:], rows[:num_test]


def _make_split(
  table: _tables.Table,
  rng: np.random.RandomState,
  *,
  scaled_by: np.ndarray,
  train_rows: np.ndarray,
  train_labels: np.ndarray,
  test_rows: np.ndarray,
) -> AnomalySplit:
  """Scales the features and shuffles the training rows."""
  from sklearn import preprocessing

  order = rng.permutation(len(train_rows))
  train_rows, test_rows = train_rows[order], np.sort(test_rows)
  with np.errstate(over='ignore', invalid='ignore'):
    scaler = preprocessing.MinMaxScaler().fit(table.features[scaled_by])
    train, test = (
      scaler.transform(table.features[rows]).astype(np.float32)
      for rows in (train_rows, test_rows)
    )
  for features, rows in ((train, train_rows), (test, test_rows)):
    wrong = np.argwhere(~np.isfinite(features))
    if wrong.size:
      row, column = rows[wrong[0, 0]], wrong[0, 1]
      raise _errors.DataError(
        f'`features` cannot be scaled to float32: {table.columns[column]!r} is '
        f'{table.features[row, column]:g} in row {row}, too far from the '
        'others. Repair it, or take logarithms of that column.'
      )
  return AnomalySplit(
    train_features=train,
    train_labels=train_labels[order],
    test_features=test,
    test_labels=table.labels[test_rows],
    train_rows=train_rows,
    test_rows=test_rows,
  )
