# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two-stage and post-hoc methods, each with the values that are tried."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from imbsam_jax import calibration
from imbsam_jax.experiment import _correction


class Outputs(NamedTuple):
  """What a frozen network gives for a set of examples.

  Attributes:
    features: Float32 ``[N, D]``; None of a network that does not tell them.
    logits: Float32 ``[N, C]``, with the scale of the loss.
    labels: Int ``[N]``.
  """

  features: Any
  logits: np.ndarray
  labels: np.ndarray


class Trained(NamedTuple):
  """What the methods start from.

  Attributes:
    train: Outputs on the training set.
    kernel: Kernel ``[D, C]`` of a linear head, or None.
    class_counts: Int ``[C]``, training images of each class.
    key: Key of `jax.random` for the fits.
  """

  train: Outputs
  kernel: np.ndarray | None
  class_counts: np.ndarray
  key: jax.Array

  @property
  def class_norms(self) -> np.ndarray:
    """Lengths of the class vectors; those of cosines count as 1."""
    if self.kernel is None:
      return np.ones(len(self.class_counts), np.float32)
    return np.linalg.norm(self.kernel, axis=0)


# What a method tries: the values of its hyper-parameter, and what they give.
Candidates = Iterator[tuple[dict[str, Any], _correction.Correction]]

_STRENGTHS = np.round(np.arange(0, 2.01, 0.1), 1)


def _fitted(
  method: str, metric: str | None = None, **arrays: Any
) -> _correction.Correction:
  """A correction by its arrays, float32 on the host."""
  return _correction.Correction(
    method,
    {name: np.asarray(x, np.float32) for name, x in arrays.items()},
    metric=metric,
  )


def _none(trained: Trained) -> Candidates:
  del trained
  yield {}, _correction.NONE


def _logit_adjustment(trained: Trained) -> Candidates:
  log_prior = log_shares(trained.class_counts)
  for tau in _STRENGTHS:
    yield (
      {'tau': float(tau)},
      _fitted('logit_adjustment', tau=tau, log_prior=log_prior),
    )


def log_shares(weights: np.ndarray) -> np.ndarray:
  """Logarithms of shares, float64 ``[C]``; -inf of a share of 0."""
  with np.errstate(divide='ignore'):
    return np.log(weights / np.sum(weights))


def _tau_normalization(trained: Trained) -> Candidates:
  if trained.kernel is None:
    return
  for tau in _STRENGTHS:
    vectors = calibration.tau_normalize(trained.kernel.T, tau=float(tau))
    yield (
      {'tau': float(tau)},
      _fitted('tau_normalization', kernel=np.asarray(vectors).T),
    )


def _ncm(trained: Trained) -> Candidates:
  if trained.train.features is None:
    return
  means = calibration.class_means(
    trained.train.features,
    trained.train.labels,
    num_classes=len(trained.class_counts),
  )
  for metric in ('euclidean', 'cosine'):
    yield {'metric': metric}, _fitted('ncm', metric, means=means)


def _lws(trained: Trained) -> Candidates:
  for learning_rate in (0.002, 0.005, 0.02, 0.05, 0.2):
    scale = calibration.fit_lws(
      trained.key,
      trained.train.logits,
      trained.train.labels,
      trained.class_counts,
      learning_rate=learning_rate,
    )
    yield {'learning_rate': learning_rate}, _fitted('lws', scale=scale)


def _marc(trained: Trained) -> Candidates:
  if trained.train.features is None:
    return
  for learning_rate in (0.001, 0.002, 0.005, 0.01, 0.05):
    scale, offset = calibration.fit_marc(
      trained.key,
      trained.train.logits,
      trained.train.labels,
      trained.class_norms,
      trained.class_counts,
      learning_rate=learning_rate,
    )
    yield (
      {'learning_rate': learning_rate},
      _fitted(
        'marc', scale=scale, shift=np.asarray(offset) * trained.class_norms
      ),
    )


def _crt(trained: Trained) -> Candidates:
  if trained.train.features is None:
    return
  for learning_rate in (0.02, 0.05, 0.2):
    kernel, bias = calibration.fit_crt(
      trained.key,
      trained.train.features,
      trained.train.labels,
      num_classes=len(trained.class_counts),
      learning_rate=learning_rate,
    )
    yield (
      {'learning_rate': learning_rate},
      _fitted('crt', kernel=kernel, bias=bias),
    )


METHODS: dict[str, Callable[[Trained], Candidates]] = {
  'none': _none,
  'logit_adjustment': _logit_adjustment,
  'tau_normalization': _tau_normalization,
  'ncm': _ncm,
  'lws': _lws,
  'marc': _marc,
  'crt': _crt,
}
