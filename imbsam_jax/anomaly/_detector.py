# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A detector to fit, save and score with, in the manner of scikit-learn."""

from collections.abc import Sequence
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import base
from sklearn.utils import validation

from imbsam_jax.anomaly import _fit
from imbsam_jax.anomaly import _fitted
from imbsam_jax.anomaly import _inputs
from imbsam_jax.anomaly import _networks
from imbsam_jax.anomaly import _recipe
from imbsam_jax.anomaly import _weights


class DeepSAD(base.BaseEstimator):
  r"""Deep SAD: anomalies are far from the center of the embeddings.

  Semi-supervised: most rows have no label, a few are known to be anomalies (or
  normal). With no labels at all it is Deep SVDD. Any update rule of this
  library trains it; under ImbSAM the labeled anomalies are the tail group.

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
    method: Name of the update rule: 'sgd', 'sam', 'imbsam', 'sse_sam',
      'rsam' or 'momentum_imbsam'.
    rho: Radius of the perturbation: for all rows (sam), for the anomalies
      (imbsam, momentum_imbsam, sse_sam), or per entry of the parameters (rsam,
      where 0.005 is usual).
    head_rho: Radius of the perturbation for the other rows (sse_sam).
    switch: Share of the steps after which sse_sam no longer perturbs for the
      other rows.
    average_decay: Decay rate, from 0 to 1, without 1, of the running average
      of the anomalies' gradients (momentum_imbsam). A step whose batch has no
      labeled anomaly leaves it as it is.
    normalization: 'group' weighs labeled anomalies by their own number in a
      batch, and the others by theirs, as the published ImbSAM form does;
      'batch' divides all by the batch size, as Deep SAD does.
    eta: Weight of labeled rows in the loss.
    hidden_sizes: Units of the hidden layers; None is that of the released code:
      (128, 64) from 100 features on, (32, 16) below.
    embedding_size: Units of the last layer; None is half of the last hidden
      layer, but not more than the largest power of two in the number of
      features; that gives the released 8, 4 for thyroid, 32 for arrhythmia.
    norm: Normalization layers: 'batch' or 'none'.
    optimizer: 'sgd' (momentum 0.9) or 'adam'; the learning rate falls to 0 by a
      cosine.
    learning_rate: Learning rate at the start.
    weight_decay: Factor with which the parameters are added to their gradient,
      in pre-training too.
    clip_norm: Largest norm of the gradient; None is any. Anomalies near the
      center have gradients of any size.
    batch_size: Rows of a batch.
    epochs: Passes over the rows.
    pretrain_epochs: Passes over the rows that pre-train the autoencoder; 0
      leaves it out.
    pretrain_learning_rate: Learning rate of Adam in pre-training.
    contamination: Share of the training rows, labeled anomalies apart, that
      `predict` calls anomalies: sets the threshold.
    seed: Seed of the initial weights, the order of the rows and the noise.

  Attributes:
    fitted_: The fitted detector, a `Fitted`.
    history_: Arrays ``loss`` and ``skipped``, with one entry per step.
    n_features_in_: Number of features, D.
    feature_names_in_: Names of the features, if `fit` got a frame whose columns
      are texts. Later frames are reordered by them.

  .. note::
    A cell that is more than 1000 times farther from the median of its column
    than all others, of which a hundredth of the rows at most may be, does not
    count in the scaling, and is taken as 10 extents away while fitting: else
    all other rows would become one. A warning names it.

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

  fitted_: _fitted.Fitted
  history_: dict[str, np.ndarray]
  n_features_in_: int
  feature_names_in_: np.ndarray

  def __init__(
    self,
    *,
    method: _recipe.MethodName = 'imbsam',
    rho: float = 0.02,
    head_rho: float = 0.02,
    switch: float = 0.7,
    average_decay: float = 0.99,
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
    self.average_decay = average_decay
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
    return _recipe.recipe_of(self.get_params(), num_features=1).cost

  def fit(self, x: ArrayLike, y: ArrayLike | None = None) -> 'DeepSAD':
    """Fits to a table.

    Args:
      x: Real numbers ``[N, D]``, on any scale; an array, or a frame such as
        of pandas.
      y: Integers ``[N]`` or ``[N, 1]``: 1 labeled anomaly, 0 unlabeled, -1
        labeled normal. None: nothing is known.

    Returns:
      The detector itself.

    Raises:
      ValueError: If `x` has NaN or infinity (the message names row and column),
        shapes do not fit, there are other labels or nothing but labeled
        anomalies, or a hyper-parameter is out of range.
      DivergedError: If more than five updates in a row were not finite.
    """
    fit_stacked([self], [x], None if y is None else [y])
    return self

  def decision_function(self, x: ArrayLike) -> np.ndarray:
    """Squared distances from the center, higher is more anomalous.

    Args:
      x: Real numbers ``[N, D]``, on the scale of the rows of `fit`. Columns
        of a frame are brought into the order of those of `fit`.

    Returns:
      Float32 ``[N]``.

    Raises:
      ValueError: If `x` has NaN or infinity, or another number of columns, or
        columns of other names.
      NotFittedError: If `fit` was not called.
    """
    fitted = self._get_fitted()
    x = _inputs.in_order(x, fitted.feature_names)
    rows = _inputs.check_rows(x, num_features=len(fitted.minimum))
    return _fitted.score(fitted, rows)

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
    _inputs.check_hyperparameters(self.get_params())
    _fitted.save(path, self.get_params(), self._get_fitted())

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'DeepSAD':
    """Reads what `save` wrote. Nothing is unpickled.

    Raises:
      ValueError: If the file is missing, is broken, or was not written by
        `save`.
    """
    parameters, fitted = _fitted.load(path)
    detector = cls(**parameters)
    detector.fitted_ = fitted
    detector._tell_features(fitted)
    return detector

  def name_features(self, names: Sequence[str] | None) -> None:
    """Names the columns, where `fit` got an array; None has no names.

    Args:
      names: D names, in the order of the columns.

    Raises:
      ValueError: If there is not one name for each column, or one is no text.
      NotFittedError: If `fit` was not called.
    """
    fitted = self._get_fitted()
    if names is not None and (
      isinstance(names, str)
      or len(names) != len(fitted.minimum)
      or not all(isinstance(name, str) for name in names)
    ):
      raise ValueError(
        f'`names` must be a text for each of {len(fitted.minimum)} columns, '
        f'got {names!r}.'
      )
    self.fitted_ = fitted._replace(
      feature_names=None if names is None else tuple(names)
    )
    self._tell_features(self.fitted_)

  def _tell_features(self, fitted: _fitted.Fitted) -> None:
    self.n_features_in_ = len(fitted.minimum)
    if fitted.feature_names is not None:
      self.feature_names_in_ = np.array(fitted.feature_names, object)
    elif hasattr(self, 'feature_names_in_'):  # Of an earlier fit.
      del self.feature_names_in_

  def _get_fitted(self) -> _fitted.Fitted:
    validation.check_is_fitted(self, 'fitted_')
    return self.fitted_


def pretrain_stacked(
  detectors: Sequence[DeepSAD], tables: Sequence[ArrayLike]
) -> _fit.Pretrained:
  """Autoencoders of several detectors, for more than one `fit_stacked`.

  Args:
    detectors: Alike but for their seeds.
    tables: Rows for each, all of one shape ``[N, D]``.

  Returns:
    The encoders, for detectors that differ from these in the training only.

  Raises:
    ValueError: If no detector can be fitted with the rows or hyper-parameters,
      or the detectors differ in more than their seeds.
  """
  parameters, seeds = _common_parameters(detectors)
  return _fit.pretrain_many(parameters, seeds, tables)


def fit_stacked(
  detectors: Sequence[DeepSAD],
  tables: Sequence[ArrayLike],
  labels: Sequence[ArrayLike] | None = None,
  *,
  pretrained: _fit.Pretrained | None = None,
) -> None:
  """Fits detectors that differ in their seeds as one program.

  Each result is that of `DeepSAD.fit` to float tolerance; on small tables ten
  seeds take little longer than one.

  Args:
    detectors: Alike but for their seeds; they are changed.
    tables: Rows for each, all of one shape ``[N, D]``.
    labels: Labels of the rows of each, see `DeepSAD.fit`.
    pretrained: Encoders of `pretrain_stacked`, for the same tables and seeds.

  Raises:
    ValueError: If no detector can be fitted with the rows, labels or
      hyper-parameters, the detectors differ in more than their seeds, or the
      encoders are of other detectors or tables.
    DivergedError: If more than five updates in a row of a detector were not
      finite.
  """
  parameters, seeds = _common_parameters(detectors)
  names = _inputs.feature_names(tables[0]) if len(tables) else None
  tables = [_inputs.in_order(table, names) for table in tables]
  fits = _fit.fit_many(parameters, seeds, tables, labels, pretrained=pretrained)
  for detector, (fitted, history) in zip(detectors, fits, strict=True):
    detector.fitted_ = fitted._replace(feature_names=names)
    detector.history_ = history
    detector._tell_features(detector.fitted_)


def _common_parameters(
  detectors: Sequence[DeepSAD],
) -> tuple[dict[str, Any], list[int]]:
  """Hyper-parameters of all of these, and the seed of each."""
  if not detectors:
    raise ValueError('`detectors` must hold one detector or more, got none.')
  for detector in detectors:
    _inputs.check_hyperparameters(detector.get_params())
  first = detectors[0].get_params()
  differing = {
    name
    for detector in detectors
    for name, value in detector.get_params().items()
    if name != 'seed' and value != first[name]
  }
  if differing:
    raise ValueError(
      '`detectors` may differ in their seeds only, but differ in '
      f'{", ".join(sorted(differing))}. Fit them one after the other.'
    )
  return first, [detector.seed for detector in detectors]
