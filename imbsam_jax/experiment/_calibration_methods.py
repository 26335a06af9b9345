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


# New logits of any outputs.
Corrected = Callable[[Outputs], Any]
# What a method tries: the values of its hyper-parameter, and what they give.
Candidates = Iterator[tuple[dict[str, Any], Corrected]]

_STRENGTHS = np.round(np.arange(0, 2.01, 0.1), 1)


def _none(trained: Trained) -> Candidates:
  del trained
  yield {}, lambda outputs: outputs.logits


def _logit_adjustment(trained: Trained) -> Candidates:
  for tau in _STRENGTHS:
    yield (
      {'tau': float(tau)},
      lambda outputs, tau=tau: calibration.post_hoc_logit_adjustment(
        outputs.logits, trained.class_counts, tau=float(tau)
      ),
    )


def _tau_normalization(trained: Trained) -> Candidates:
  if trained.kernel is None:
    return
  for tau in _STRENGTHS:
    vectors = np.asarray(
      calibration.tau_normalize(trained.kernel.T, tau=float(tau))
    )
    yield (
      {'tau': float(tau)},
      lambda outputs, vectors=vectors: outputs.features @ vectors.T,
    )


def _ncm(trained: Trained) -> Candidates:
  if trained.train.features is None:
    return
  means = calibration.class_means(
    trained.train.features,
    trained.train.labels,
    num_classes=len(trained.class_counts),
  )
  choices: tuple[Any, ...] = ('euclidean', 'cosine')
  for metric in choices:
    yield (
      {'metric': metric},
      lambda outputs, metric=metric: calibration.nearest_class_mean(
        outputs.features, means, metric=metric
      ),
    )


def _lws(trained: Trained) -> Candidates:
  for learning_rate in (0.002, 0.005, 0.02, 0.05, 0.2):
    scale = calibration.fit_lws(
      trained.key,
      trained.train.logits,
      trained.train.labels,
      trained.class_counts,
      learning_rate=learning_rate,
    )
    yield (
      {'learning_rate': learning_rate},
      lambda outputs, scale=scale: calibration.lws_logits(
        outputs.logits, scale
      ),
    )


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
      lambda outputs, scale=scale, offset=offset: calibration.marc_logits(
        outputs.logits, trained.class_norms, scale, offset
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
    kernel, bias = np.asarray(kernel), np.asarray(bias)
    yield (
      {'learning_rate': learning_rate},
      lambda outputs, kernel=kernel, bias=bias: (
        outputs.features @ kernel + bias
      ),
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
