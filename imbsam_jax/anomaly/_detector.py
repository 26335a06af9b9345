# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A detector to fit, save and score with, in the manner of scikit-learn."""

from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import json
import os
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn import base

from imbsam_jax import _errors
from imbsam_jax import _npz
from imbsam_jax.anomaly import _deep_sad
from imbsam_jax.anomaly import _inputs
from imbsam_jax.anomaly import _networks
from imbsam_jax.anomaly import _recipe
from imbsam_jax.anomaly import _training
from imbsam_jax.anomaly import _weights

_FORMAT = 1
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
    center: Float32 ``[E]``.
    minimum: Float64 ``[D]``, of the rows that it was fitted to.
    extent: Float64 ``[D]``, maximum - minimum, 1 for constant features.
    threshold: Score above which `DeepSAD.predict` calls a row an anomaly.
  """

  encoder: _networks.Encoder
  variables: _training.Variables
  center: np.ndarray
  minimum: np.ndarray
  extent: np.ndarray
  threshold: float


class Pretrained(NamedTuple):
  """Encoders of `pretrain_side_by_side`.

  Attributes:
    variables: Stacked, one for each detector.
    settings: What they were made with, of each detector.
  """

  variables: _training.Variables
  settings: tuple[Any, ...]


class DeepSAD(base.BaseEstimator):
  r"""Deep SAD: anomalies are far from the centre of the embeddings.

  Semi-supervised: most rows have no label, a few are known to be anomalies (or
  normal). With no labels at all it is Deep SVDD. Any update rule of this
  library trains it; under ImbSAM the labelled anomalies are the tail group.

  >>> import numpy as np
  >>> from imbsam_jax import anomaly
  >>> rng = np.random.default_rng(0)
  >>> rows = np.r_[rng.normal(size=(200, 3)), rng.normal(4, 1, size=(5, 3))]
  >>> known = np.r_[np.zeros(200, int), np.ones(5, int)]
  >>> detector = anomaly.DeepSAD(epochs=5, pretrain_epochs=5).fit(rows, known)
  >>> scores = detector.decision_function([[0, 0, 0], [4, 4, 4]])
  >>> bool(scores[0] < scores[1])
  True

  A scikit-learn estimator: `get_params`, `clone` and pipelines work. As in
  PyOD, and unlike scikit-learn's own outlier detectors, a *higher* score is
  more anomalous, and `predict` gives 1 for anomalies and 0 for others.

  Args:
    method: 'sgd', 'sam', 'imbsam', 'sse_sam' or 'rsam'.
    rho: Radius: of all rows (sam), of the anomalies (imbsam, sse_sam), per
      entry (rsam, where 0.005 is usual).
    head_rho: Radius of the other rows (sse_sam).
    switch: Share of the steps after which sse_sam lets go of the other rows.
    normalization: 'group' weighs labelled anomalies by their own number in a
      batch, and the others by theirs, as the published ImbSAM form does;
      'batch' divides all by the batch size, as Deep SAD does.
    eta: Weight of labelled rows.
    hidden_sizes: Units of the hidden layers; None is that of the released code:
      (128, 64) from 100 features on, (32, 16) below.
    embedding_size: None is half of the last hidden layer, but not more than the
      largest power of two in the number of features; that gives the released
      8, 4 for thyroid, 32 for arrhythmia.
    norm: 'batch' or 'none'.
    optimizer: 'sgd' (momentum 0.9) or 'adam', with a cosine to 0.
    learning_rate: At the start.
    weight_decay: Coupled, in pre-training too.
    clip_norm: Largest norm of the gradient; None is any. Anomalies near the
      centre have gradients of any size.
    batch_size: Rows of a batch.
    epochs: Passes over the rows.
    pretrain_epochs: Passes of the autoencoder; 0 leaves it out.
    pretrain_learning_rate: Of its Adam.
    contamination: Share of the training rows, labelled anomalies apart, that
      `predict` calls anomalies: sets the threshold.
    seed: Of initial weights, order and noise.

  Attributes:
    fitted_: A `Fitted`.
    history_: ``loss`` and ``skipped`` by step, arrays.
    n_features_in_: D.

  .. note::
    Scaling to [0, 1] is part of the detector and fitted to the rows that
    `fit` gets; the released code fits it to training anomalies too that it
    then leaves out. The released code drops the last batch of an epoch; here
    it is filled up. Its learning rate (Adam, 1e-4, divided by 10 after 50 of
    150 epochs) is another.

  References:
    Ruff et al., `Deep Semi-Supervised Anomaly Detection
    <https://arxiv.org/abs/1906.02694>`_, ICLR 2020; Zhou et al., `ImbSAM
    <https://arxiv.org/abs/2308.07815>`_, ICCV 2023, whose form for anomalies is
    in github.com/cool-xuan/AnoOnly (SGD without momentum, no pre-training).
  """

  fitted_: Fitted
  history_: dict[str, np.ndarray]
  n_features_in_: int

  def __init__(
    self,
    *,
    method: _recipe.MethodName = 'imbsam',
    rho: float = 0.02,
    head_rho: float = 0.02,
    switch: float = 0.7,
    normalization: _weights.Normalization = 'group',
    eta: float = 1.0,
    hidden_sizes: Sequence[int] | None = None,
    embedding_size: int | None = None,
    norm: _networks.Norm = 'batch',
    optimizer: _recipe.OptimizerName = 'sgd',
    learning_rate: float = 0.01,
    weight_decay: float = 5e-7,
    clip_norm: float | None = 1.0,
    batch_size: int = 128,
    epochs: int = 50,
    pretrain_epochs: int = 50,
    pretrain_learning_rate: float = 1e-3,
    contamination: float = 0.1,
    seed: int = 0,
  ):
    self.method = method
    self.rho = rho
    self.head_rho = head_rho
    self.switch = switch
    self.normalization = normalization
    self.eta = eta
    self.hidden_sizes = hidden_sizes
    self.embedding_size = embedding_size
    self.norm = norm
    self.optimizer = optimizer
    self.learning_rate = learning_rate
    self.weight_decay = weight_decay
    self.clip_norm = clip_norm
    self.batch_size = batch_size
    self.epochs = epochs
    self.pretrain_epochs = pretrain_epochs
    self.pretrain_learning_rate = pretrain_learning_rate
    self.contamination = contamination
    self.seed = seed

  @property
  def cost(self) -> float:
    """Of a training step, averaged over the run, in SGD steps."""
    return self._recipe(num_features=1).cost

  def fit(self, x: ArrayLike, y: ArrayLike | None = None) -> 'DeepSAD':
    """Fits to a table.

    Args:
      x: Real numbers ``[N, D]``, on any scale.
      y: Integers ``[N]``: 1 labelled anomaly, 0 unlabelled, -1 labelled normal.
        None: nothing is known.

    Returns:
      The detector itself.

    Raises:
      ValueError: NaN or infinity in `x` (row and column are named), shapes that
        do not fit, other labels, nothing but labelled anomalies, a
        hyper-parameter out of range.
      DivergedError: More than five updates in a row were not finite.
    """
    labels = None if y is None else [y]
    fit_side_by_side([self], [x], labels)
    return self

  def decision_function(self, x: ArrayLike) -> np.ndarray:
    """Squared distances from the centre, higher is more anomalous.

    Args:
      x: Real numbers ``[N, D]``, on the scale of the rows of `fit`.

    Returns:
      Float32 ``[N]``.

    Raises:
      ValueError: NaN or infinity in `x`, another number of columns.
      NotFittedError: `fit` was not called.
    """
    fitted = self._get_fitted()
    rows = _inputs.check_rows(x, num_features=len(fitted.minimum))
    with np.errstate(over='ignore'):
      rows = (rows - fitted.minimum) / fitted.extent
    rows = np.clip(rows, -_FAR, _FAR).astype(np.float32)
    return _score(fitted.encoder, fitted.variables, fitted.center, rows)

  def score(self, x: ArrayLike, y: Any = None) -> np.ndarray:
    """The same as `decision_function`; `y` is not read."""
    del y
    return self.decision_function(x)

  def predict(self, x: ArrayLike) -> np.ndarray:
    """1 for rows that score above the threshold, 0 for others, int ``[N]``."""
    above = self.decision_function(x) > self._get_fitted().threshold
    return above.astype(int)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes hyper-parameters and everything fitted into one ``.npz`` file."""
    fitted = self._get_fitted()
    _inputs.check_hyperparameters(self.get_params())
    header = {
      'format': _FORMAT,
      'parameters': self.get_params(),
      'encoder': {name: getattr(fitted.encoder, name) for name in _SETTINGS},
    }
    # NumPy's numbers become Python's.
    text = json.dumps(header, default=lambda value: value.item())
    arrays: dict[str, Any] = {'header': np.array(text)}
    arrays |= _flatten('variables', fitted.variables._asdict())
    arrays |= {name: getattr(fitted, name) for name in _ARRAYS}
    path = pathlib.Path(path)
    temporary = path.with_name(f'{path.name}.tmp')
    with temporary.open('wb') as file:
      np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'DeepSAD':
    """Reads what `save` wrote. Nothing is unpickled.

    Raises:
      ValueError: Not such a file, or a broken one.
    """
    arrays = _npz.read(path)
    try:
      header = json.loads(str(arrays['header']))
      if header['format'] != _FORMAT:
        raise ValueError(f'format {header["format"]!r}, not {_FORMAT}')
      detector = cls(**_with_tuples(header['parameters']))
      variables = _unflatten('variables', arrays)
      detector.fitted_ = Fitted(
        _networks.Encoder(**_with_tuples(header['encoder'])),
        _training.Variables(
          variables['params'], variables.get('batch_stats', {})
        ),
        center=arrays['center'],
        minimum=arrays['minimum'],
        extent=arrays['extent'],
        threshold=float(arrays['threshold']),
      )
      num_features = len(detector.fitted_.minimum)
      detector.decision_function(np.zeros([1, num_features]))
    except Exception as error:
      raise ValueError(
        f'{path} is not a detector that DeepSAD.save wrote: {error!r}.'
      ) from error
    detector.n_features_in_ = num_features
    return detector

  def _get_fitted(self) -> Fitted:
    from sklearn.utils import validation

    validation.check_is_fitted(self, 'fitted_')
    return self.fitted_

  def _recipe(self, num_features: int) -> _recipe.Recipe:
    """The hyper-parameters, checked, for tables of a width."""
    _inputs.check_hyperparameters(self.get_params())
    hidden = self.hidden_sizes
    if hidden is None:
      hidden = (128, 64) if num_features >= 100 else (32, 16)
    size = self.embedding_size
    if size is None:
      size = min(hidden[-1] // 2 or 1, 2 ** (num_features.bit_length() - 1))
    return _recipe.Recipe(
      encoder=_networks.Encoder(tuple(hidden), size, self.norm),
      method=self.method,
      rho=self.rho,
      head_rho=self.head_rho,
      switch=self.switch,
      normalization=self.normalization,
      eta=self.eta,
      eps=1e-6,
      optimizer=self.optimizer,
      learning_rate=self.learning_rate,
      weight_decay=self.weight_decay,
      clip_norm=self.clip_norm,
    )


_SETTINGS = ('hidden_sizes', 'embedding_size', 'norm')
_ARRAYS = ('center', 'minimum', 'extent', 'threshold')


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
    first._recipe(features.shape[-1]).encoder,
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
  recipe = first._recipe(features.shape[-1])
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
      _score(recipe.encoder, own, np.asarray(center), rows)
      for own, center, rows in zip(singles, centers, features, strict=True)
    ]
  )
  _check_finite(scores, detectors, 'training', 'learning_rate')
  for i, detector in enumerate(detectors):
    detector.fitted_ = Fitted(
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


def _score(
  encoder: _networks.Encoder,
  variables: _training.Variables,
  center: np.ndarray,
  rows: np.ndarray,
) -> np.ndarray:
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
