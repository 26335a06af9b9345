# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fitting of several seeds as one program, on plain values."""

from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
from typing import Any
from typing import NamedTuple
import warnings

import jax
import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _errors
from imbsam_jax.anomaly import _deep_sad
from imbsam_jax.anomaly import _fitted
from imbsam_jax.anomaly import _inputs
from imbsam_jax.anomaly import _recipe
from imbsam_jax.anomaly import _training
from imbsam_jax.anomaly import _wild_cells

# Cells that are far from all others count as this many extents away: more
# would decide the statistics of their batches.
_WILD = 10.0
# What an encoder depends on, besides its seed and its rows.
_PRETRAINING = (
  'hidden_sizes',
  'embedding_size',
  'norm',
  'weight_decay',
  'batch_size',
  'pretrain_epochs',
  'pretrain_learning_rate',
)


class Pretrained(NamedTuple):
  """Encoders of `pretrain_stacked`.

  Attributes:
    variables: Variables of the encoders, stacked: one entry per detector.
    settings: Hyper-parameters, seeds and rows that they were made with.
  """

  variables: _training.Variables
  settings: tuple[Any, ...]


class Fit(NamedTuple):
  """What fitting one seed gives.

  Attributes:
    fitted: The fitted detector, which scores rows.
    history: Arrays ``loss`` and ``skipped``, with one entry per step.
  """

  fitted: _fitted.Fitted
  history: dict[str, np.ndarray]


def pretrain_many(
  parameters: Mapping[str, Any],
  seeds: Sequence[int],
  tables: Sequence[ArrayLike],
) -> Pretrained:
  """Autoencoders of several seeds.

  Args:
    parameters: Hyper-parameters of `DeepSAD`, checked; the seed is not read.
    seeds: S seeds, one of each detector.
    tables: Rows for each seed, all of one shape ``[N, D]``.

  Raises:
    ValueError: If no detector can be fitted to the rows.
  """
  features, _, _ = _scaled(seeds, tables)
  return _pretrain(parameters, seeds, features)


def fit_many(
  parameters: Mapping[str, Any],
  seeds: Sequence[int],
  tables: Sequence[ArrayLike],
  labels: Sequence[ArrayLike] | None,
  *,
  pretrained: Pretrained | None = None,
) -> list[Fit]:
  """Detectors of several seeds.

  Args:
    parameters: Hyper-parameters of `DeepSAD`, checked; the seed is not read.
    seeds: S seeds, one of each detector.
    tables: Rows for each seed, all of one shape ``[N, D]``.
    labels: Labels of the rows for each seed; None is 0 everywhere.
    pretrained: Encoders of `pretrain_many`, for the same tables and seeds.

  Returns:
    One result for each seed.

  Raises:
    ValueError: If no detector can be fitted to the rows or labels, or the
      encoders are of other seeds, tables or hyper-parameters.
    DivergedError: If more than five updates in a row of a seed were not finite.
  """
  features, minima, extents = _scaled(seeds, tables)
  known = _inputs.check_labels(labels, features.shape[:2])
  recipe = _recipe.recipe_of(parameters, features.shape[-1])
  if pretrained is None:
    pretrained = _pretrain(parameters, seeds, features)
  elif pretrained.settings != _settings(parameters, seeds, features):
    raise ValueError(
      '`pretrained` was made by detectors or from tables that do not fit '
      'these. Call pretrain_stacked with these.'
    )
  embeddings = _training.embed(recipe.encoder, pretrained.variables, features)
  centers = _centers(embeddings)
  _check_finite(centers, seeds, 'the autoencoder', 'pretrain_learning_rate')
  variables, history = _training.train(
    recipe,
    pretrained.variables,
    centers,
    features,
    known,
    seeds=seeds,
    batch_size=parameters['batch_size'],
    epochs=parameters['epochs'],
  )
  exhausted = np.asarray(history['exhausted'])
  if exhausted.any():
    stopped = [seeds[int(i)] for i in np.flatnonzero(exhausted.any(axis=1))]
    raise _errors.DivergedError(
      f'more than five updates in a row were not finite (seeds {stopped}). '
      'Lower `learning_rate` or `rho`, or set `clip_norm`.'
    )
  variables = jax.device_get(variables)
  singles = [
    jax.tree.map(lambda leaf, i=i: leaf[i], variables)
    for i in range(len(seeds))
  ]
  scores = np.stack(
    [
      _fitted.score_scaled(recipe.encoder, own, np.asarray(center), rows)
      for own, center, rows in zip(singles, centers, features, strict=True)
    ]
  )
  _check_finite(scores, seeds, 'training', 'learning_rate')
  usual = 1 - parameters['contamination']
  return [
    Fit(
      _fitted.Fitted(
        recipe.encoder,
        singles[i],
        np.asarray(centers[i]),
        minima[i],
        extents[i],
        float(np.quantile(scores[i][known[i] <= 0], usual)),
      ),
      {name: history[name][i] for name in ('loss', 'skipped')},
    )
    for i in range(len(seeds))
  ]


def _pretrain(
  parameters: Mapping[str, Any], seeds: Sequence[int], features: np.ndarray
) -> Pretrained:
  variables = _training.pretrain(
    _recipe.recipe_of(parameters, features.shape[-1]).encoder,
    features,
    seeds=seeds,
    learning_rate=parameters['pretrain_learning_rate'],
    weight_decay=parameters['weight_decay'],
    batch_size=parameters['batch_size'],
    epochs=parameters['pretrain_epochs'],
  )
  return Pretrained(variables, _settings(parameters, seeds, features))


def _settings(
  parameters: Mapping[str, Any], seeds: Sequence[int], features: np.ndarray
) -> tuple[Any, ...]:
  """What encoders depend on."""
  return (
    features.shape,
    hashlib.sha256(features.tobytes()).hexdigest(),
    tuple(seeds),
    tuple(parameters[name] for name in _PRETRAINING),
  )


def _check_finite(
  values: ArrayLike, seeds: Sequence[int], what: str, argument: str
) -> None:
  finite = np.isfinite(values).all(axis=1)
  if not finite.all():
    stopped = [seeds[int(i)] for i in np.flatnonzero(~finite)]
    raise _errors.DivergedError(
      f'{what} diverged (seeds {stopped}). Lower `{argument}`.'
    )


@jax.jit
def _centers(embeddings: jax.Array) -> jax.Array:
  return jax.vmap(_deep_sad.center_of)(embeddings)


def _scaled(
  seeds: Sequence[int], tables: Sequence[ArrayLike]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Tables on [0, 1], with their minima and extents."""
  if len(tables) != len(seeds):
    raise ValueError(
      f'`tables` must hold rows for each of {len(seeds)} detectors, got '
      f'{len(tables)}.'
    )
  rows = [_inputs.check_rows(table) for table in tables]
  shapes = {table.shape for table in rows}
  if len(shapes) > 1:
    raise ValueError(
      f'`tables` must have one shape, got {sorted(shapes)}. Fit them one after '
      'the other.'
    )
  names = [_inputs.feature_names(table) for table in tables]
  stacked = np.stack(rows)
  ranges = [_wild_cells.usual_ranges(table) for table in rows]
  minima = np.stack([own.minimum for own in ranges])
  with np.errstate(over='ignore'):
    extents = np.stack([own.maximum for own in ranges]) - minima
  if not np.isfinite(extents).all():
    column = np.argwhere(~np.isfinite(extents))[0, 1]
    raise ValueError(
      f'`x` spans more than float64 can hold in column {column}. Rescale it.'
    )
  for table, own, columns in zip(rows, ranges, names, strict=True):
    _warn(table, own, columns)
  extents = np.where(extents > 0, extents, 1.0)
  with np.errstate(over='ignore'):
    scaled = (stacked - minima[:, None]) / extents[:, None]
  # Other cells are from 0 to 1.
  scaled = np.clip(scaled, -_WILD, 1 + _WILD)
  return scaled.astype(np.float32), minima, extents


def _warn(
  rows: np.ndarray,
  ranges: _wild_cells.Ranges,
  names: Sequence[str] | None,
) -> None:
  if len(ranges.wild):
    text = _wild_cells.describe(rows, ranges.wild, names)
    warnings.warn(
      f'{text}. They are taken as {_WILD:g} times the extent of the others; '
      'repair them if they are wrong.',
      stacklevel=2,
    )
  if len(rows) > 1 and (ranges.minimum == ranges.maximum).all():
    warnings.warn(
      'all columns are constant: no row can be told from another.',
      stacklevel=2,
    )
