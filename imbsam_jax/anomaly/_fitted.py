# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What fitting gives: scores of rows, and a file."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from imbsam_jax import _npz
from imbsam_jax.anomaly import _deep_sad
from imbsam_jax.anomaly import _networks
from imbsam_jax.anomaly import _training

_FORMAT = 1
_SETTINGS = ('hidden_sizes', 'embedding_size', 'norm')
_ARRAYS = ('center', 'minimum', 'extent', 'threshold')
# Rows that are embedded at once, so that scoring a long table takes no more
# memory than a short one, and compiles once.
_ROWS_PER_CALL = 4096
# Rows further off, in extents of the fitted rows, count as that far: float32
# ends somewhere.
_FAR = 1e6


class Fitted(NamedTuple):
  """What fitting gives.

  Attributes:
    encoder: The network.
    variables: Its parameters and BatchNorm statistics, NumPy.
    center: float32 ``[E]``, the center that distances are taken from.
    minimum: Float64 ``[D]``, of the rows that it was fitted to, without cells
      that are far from all others.
    extent: Float64 ``[D]``, maximum - minimum, 1 for constant features.
    threshold: Score above which `DeepSAD.predict` calls a row an anomaly.
    feature_names: Names of the D columns, if they had some.
  """

  encoder: _networks.Encoder
  variables: _training.Variables
  center: np.ndarray
  minimum: np.ndarray
  extent: np.ndarray
  threshold: float
  feature_names: tuple[str, ...] | None = None


def score(fitted: Fitted, rows: np.ndarray) -> np.ndarray:
  """Squared distances from the center, of rows as they come."""
  with np.errstate(over='ignore'):
    rows = (rows - fitted.minimum) / fitted.extent
  rows = np.clip(rows, -_FAR, _FAR).astype(np.float32)
  return score_scaled(fitted.encoder, fitted.variables, fitted.center, rows)


def score_scaled(
  encoder: _networks.Encoder,
  variables: _training.Variables,
  center: np.ndarray,
  rows: np.ndarray,
) -> np.ndarray:
  """Squared distances from the center, of rows on the scale of training."""
  stacked = jax.tree.map(lambda leaf: leaf[None], variables)
  scores = []
  for start in range(0, len(rows), _ROWS_PER_CALL):
    part = rows[start : start + _ROWS_PER_CALL]
    padding = 0 if len(rows) <= _ROWS_PER_CALL else _ROWS_PER_CALL - len(part)
    part = np.pad(part, [(0, padding), (0, 0)])
    embeddings = _training.embed(encoder, stacked, part[None])[0]
    distances = np.asarray(_deep_sad.squared_distances(embeddings, center))
    scores.append(distances[: len(part) - padding])
  return np.concatenate(scores)


def save(
  path: str | os.PathLike[str], parameters: Mapping[str, Any], fitted: Fitted
) -> None:
  """Writes hyper-parameters and everything fitted into one ``.npz`` file."""
  header: dict[str, Any] = {
    'format': _FORMAT,
    'parameters': dict(parameters),
    'encoder': {name: getattr(fitted.encoder, name) for name in _SETTINGS},
  }
  if fitted.feature_names is not None:
    header['feature_names'] = list(fitted.feature_names)
  # NumPy's numbers become Python's.
  text = json.dumps(header, default=lambda value: value.item())
  arrays: dict[str, Any] = {'header': np.array(text)}
  arrays |= _flatten('variables', fitted.variables._asdict())
  arrays |= {name: getattr(fitted, name) for name in _ARRAYS}
  path = pathlib.Path(path).expanduser()
  temporary = path.with_name(f'{path.name}.tmp')
  with temporary.open('wb') as file:
    np.savez(file, allow_pickle=False, **arrays)
  temporary.replace(path)


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Fitted]:
  """Hyper-parameters and what was fitted. Nothing is unpickled.

  Raises:
    ValueError: If the file is missing, is broken, or was not written by
      `DeepSAD.save`.
  """
  arrays = _npz.read(pathlib.Path(path).expanduser())
  try:
    header = json.loads(str(arrays['header']))
    if header['format'] != _FORMAT:
      raise ValueError(f'format {header["format"]!r}, not {_FORMAT}')
    variables = _unflatten('variables', arrays)
    fitted = Fitted(
      _networks.Encoder(**_with_tuples(header['encoder'])),
      _training.Variables(
        variables['params'], variables.get('batch_stats', {})
      ),
      center=arrays['center'],
      minimum=arrays['minimum'],
      extent=arrays['extent'],
      threshold=float(arrays['threshold']),
      feature_names=_names_of(header, len(arrays['minimum'])),
    )
    score(fitted, fitted.minimum[None])  # Whether the parts fit together.
    return _with_tuples(header['parameters']), fitted
  except Exception as error:
    raise ValueError(
      f'{path} is not a detector that DeepSAD.save wrote: {error!r}.'
    ) from error


def _names_of(header: Mapping[str, Any], number: int) -> tuple[str, ...] | None:
  names = header.get('feature_names')
  if names is None:
    return None
  if len(names) != number or not all(isinstance(x, str) for x in names):
    raise ValueError(f'feature_names {names!r}')
  return tuple(names)


def _with_tuples(parameters: Mapping[str, Any]) -> dict[str, Any]:
  """JSON knows no tuples."""
  return {
    name: tuple(value) if isinstance(value, list) else value
    for name, value in parameters.items()
  }


def _flatten(prefix: str, tree: Any) -> dict[str, np.ndarray]:
  if not isinstance(tree, Mapping):
    return {prefix: np.asarray(tree)}
  return {
    name: leaf
    for key, part in tree.items()
    for name, leaf in _flatten(f'{prefix}/{key}', part).items()
  }


def _unflatten(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  tree: dict[str, Any] = {}
  for name, leaf in arrays.items():
    first, *path = name.split('/')
    if first == prefix and path:
      node = tree
      for part in path[:-1]:
        node = node.setdefault(part, {})
      node[path[-1]] = leaf
  return tree
