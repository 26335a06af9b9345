# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fitting detectors that differ in their seeds as one program."""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
from typing import Any
from typing import NamedTuple
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _errors
from imbsam_jax.anomaly import _deep_sad
from imbsam_jax.anomaly import _fitted
from imbsam_jax.anomaly import _inputs
from imbsam_jax.anomaly import _recipe
from imbsam_jax.anomaly import _training

if TYPE_CHECKING:
  from imbsam_jax.anomaly._detector import DeepSAD


class Pretrained(NamedTuple):
  """Encoders of `pretrain_side_by_side`.

  Attributes:
    variables: Stacked, one for each detector.
    settings: What they were made with, of each detector.
  """

  variables: _training.Variables
  settings: tuple[Any, ...]


def pretrain_side_by_side(
  detectors: Sequence[DeepSAD], tables: Sequence[ArrayLike]
) -> Pretrained:
  """Autoencoders of several detectors, for more than one `fit_side_by_side`.

  Args:
    detectors: Alike but for their seeds.
    tables: Rows for each, all of one shape ``[N, D]``.

  Returns:
    The encoders, for detectors that differ from these in the training only.
  """
  _check_alike(detectors)
  features, _, _ = _scaled(detectors, tables)
  return _pretrain(detectors, features)


def _pretrain(detectors: Sequence[DeepSAD], features: np.ndarray) -> Pretrained:
  first = detectors[0]
  variables = _training.pretrain(
    _recipe.recipe_of(first.get_params(), features.shape[-1]).encoder,
    features,
    seeds=[detector.seed for detector in detectors],
    learning_rate=first.pretrain_learning_rate,
    weight_decay=first.weight_decay,
    batch_size=first.batch_size,
    epochs=first.pretrain_epochs,
  )
  return Pretrained(variables, _pretrain_settings(detectors, features))


def fit_side_by_side(
  detectors: Sequence[DeepSAD],
  tables: Sequence[ArrayLike],
  labels: Sequence[ArrayLike] | None = None,
  *,
  pretrained: Pretrained | None = None,
) -> None:
  """Fits detectors that differ in their seeds as one program.

  Each result is that of `DeepSAD.fit` to float tolerance; on small tables ten
  seeds take little longer than one.

  Args:
    detectors: Alike but for their seeds; they are changed.
    tables: Rows for each, all of one shape ``[N, D]``.
    labels: Labels of the rows of each, see `DeepSAD.fit`.
    pretrained: Of the same tables and seeds.

  Raises:
    ValueError: As for `DeepSAD.fit`; detectors that differ in more; encoders of
      other detectors or tables.
    DivergedError: More than five updates in a row of a detector were not
      finite.
  """
  _check_alike(detectors)
  first = detectors[0]
  features, minima, extents = _scaled(detectors, tables)
  known = _inputs.check_labels(labels, features.shape[:2])
  recipe = _recipe.recipe_of(first.get_params(), features.shape[-1])
  if pretrained is None:
    pretrained = _pretrain(detectors, features)
  elif pretrained.settings != _pretrain_settings(detectors, features):
    raise ValueError(
      '`pretrained` was made by detectors or from tables that do not fit '
      'these. Call pretrain_side_by_side with these.'
    )
  embeddings = _training.embed(recipe.encoder, pretrained.variables, features)
  centers = _centers(embeddings)
  _check_finite(centers, detectors, 'the autoencoder', 'pretrain_learning_rate')
  variables, history = _training.train(
    recipe,
    pretrained.variables,
    centers,
    features,
    known,
    seeds=[detector.seed for detector in detectors],
    batch_size=first.batch_size,
    epochs=first.epochs,
  )
  exhausted = np.asarray(history['exhausted'])
  if exhausted.any():
    stopped = np.flatnonzero(exhausted.any(axis=1))
    seeds = [detectors[int(i)].seed for i in stopped]
    raise _errors.DivergedError(
      f'more than five updates in a row were not finite (seeds {seeds}). Lower '
      '`learning_rate` or `rho`, or set `clip_norm`.'
    )
  variables = jax.device_get(variables)
  singles = [
    jax.tree.map(lambda leaf, i=i: leaf[i], variables)
    for i in range(len(detectors))
  ]
  scores = np.stack(
    [
      _fitted.score_scaled(recipe.encoder, own, np.asarray(center), rows)
      for own, center, rows in zip(singles, centers, features, strict=True)
    ]
  )
  _check_finite(scores, detectors, 'training', 'learning_rate')
  for i, detector in enumerate(detectors):
    detector.fitted_ = _fitted.Fitted(
      recipe.encoder,
      singles[i],
      np.asarray(centers[i]),
      minima[i],
      extents[i],
      float(np.quantile(scores[i][known[i] <= 0], 1 - detector.contamination)),
    )
    detector.history_ = {name: history[name][i] for name in ('loss', 'skipped')}
    detector.n_features_in_ = features.shape[-1]


def _check_alike(detectors: Sequence[DeepSAD]) -> None:
  if not detectors:
    raise ValueError('`detectors` must hold one detector or more, got none.')
  for detector in detectors:
    _inputs.check_hyperparameters(detector.get_params())
  differing = {
    name
    for detector in detectors
    for name, value in detector.get_params().items()
    if name != 'seed' and value != getattr(detectors[0], name)
  }
  if differing:
    raise ValueError(
      '`detectors` may differ in their seeds only, but differ in '
      f'{", ".join(sorted(differing))}. Fit them one after the other.'
    )


def _check_finite(
  values: ArrayLike, detectors: Sequence[DeepSAD], what: str, argument: str
) -> None:
  finite = np.isfinite(values).all(axis=1)
  if not finite.all():
    seeds = [detectors[int(i)].seed for i in np.flatnonzero(~finite)]
    raise _errors.DivergedError(
      f'{what} diverged (seeds {seeds}). Lower `{argument}`.'
    )


@jax.jit
def _centers(embeddings: jax.Array) -> jax.Array:
  return jax.vmap(_deep_sad.center_of)(embeddings)


def _pretrain_settings(
  detectors: Sequence[DeepSAD], features: np.ndarray
) -> tuple[Any, ...]:
  """What encoders depend on."""
  names = (
    'seed',
    'hidden_sizes',
    'embedding_size',
    'norm',
    'weight_decay',
    'batch_size',
    'pretrain_epochs',
    'pretrain_learning_rate',
  )
  return (
    features.shape,
    hashlib.sha256(features.tobytes()).hexdigest(),
    *(tuple(getattr(d, name) for name in names) for d in detectors),
  )


def _scaled(
  detectors: Sequence[DeepSAD], tables: Sequence[ArrayLike]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Tables on [0, 1], with their minima and extents."""
  if len(tables) != len(detectors):
    raise ValueError(
      f'`tables` must hold rows for each of {len(detectors)} detectors, got '
      f'{len(tables)}.'
    )
  rows = [_inputs.check_rows(table) for table in tables]
  shapes = {table.shape for table in rows}
  if len(shapes) > 1:
    raise ValueError(
      f'`tables` must have one shape, got {sorted(shapes)}. Fit them one after '
      'the other.'
    )
  stacked = np.stack(rows)
  minima = stacked.min(axis=1)
  with np.errstate(over='ignore'):
    extents = stacked.max(axis=1) - minima
  if not np.isfinite(extents).all():
    column = np.argwhere(~np.isfinite(extents))[0, 1]
    raise ValueError(
      f'`x` spans more than float64 can hold in column {column}. Rescale it.'
    )
  extents = np.where(extents > 0, extents, 1.0)
  scaled = (stacked - minima[:, None]) / extents[:, None]
  return scaled.astype(np.float32), minima, extents
