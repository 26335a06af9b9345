# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two-stage and post-hoc methods on the features of a trained network."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import pathlib
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from experiments import app
from experiments import build
from experiments import console
from experiments import report
from imbsam_jax import calibration
from imbsam_jax import metrics
from imbsam_jax import training

_SHOWN = ('top1', 'balanced', 'many', 'medium', 'few', 'tail', 'ece')


class Outputs(NamedTuple):
  """What a frozen network gives for a set of examples.

  Attributes:
    features: float32 ``[N, D]``.
    logits: float32 ``[N, C]``, with the scale of the loss.
    labels: int ``[N]``.
  """

  features: np.ndarray
  logits: np.ndarray
  labels: np.ndarray


class Trained(NamedTuple):
  """What the methods start from.

  Attributes:
    train: Outputs on the training set.
    kernel: ``[D, C]`` of a linear head, or None.
    class_counts: int ``[C]``.
    key: For the fits.
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


def calibrate(
  experiment: build.Experiment,
  state: training.TrainState,
  names: list[str],
  *,
  seed: int = 0,
) -> dict[str, Any]:
  """Fits every method on the training set and chooses on the validation set.

  Args:
    experiment: The experiment of the run.
    state: The state of a checkpoint.
    names: Of `METHODS`.
    seed: Of the fits.

  Returns:
    For each method ``{'chosen': hyper-parameters, 'validation': metrics,
    'test': metrics}``; None for a method that the head does not have. The test
    set is looked at with the chosen values only.

  Raises:
    UsageError: An unknown method, or a run without validation images.
  """
  check_names(names)
  data = experiment.data
  if data.validation is None:
    raise app.UsageError(
      'this run has set no validation images aside to choose by. Train with '
      '--config.data.validation_per_class=20.'
    )
  kernel = state.variables['params']['classifier'].get('kernel')
  trained = Trained(
    train=_outputs(experiment, state, data.train),
    kernel=None if kernel is None else np.asarray(kernel),
    class_counts=data.class_counts,
    key=jax.random.key(seed),
  )
  sets = {
    'validation': _outputs(experiment, state, data.validation),
    'test': _outputs(experiment, state, data.test),
  }
  return {
    name: _choose(experiment, METHODS[name](trained), sets) for name in names
  }


def check_names(names: Sequence[str]) -> None:
  """Refuses unknown methods, and none."""
  for name in names or ['']:
    if name not in METHODS:
      raise app.UsageError(
        f'unknown method {name!r}; there are {", ".join(METHODS)}.'
      )


def run_folders(workdir: pathlib.Path) -> list[pathlib.Path]:
  """The folder of a run, or those of its seeds as `compare` leaves them."""
  seeds = sorted(workdir.glob('seed_*'))
  return (
    seeds if seeds and not (workdir / 'config.json').exists() else [workdir]
  )


def table(found: Sequence[dict[str, Any]]) -> str:
  """One line per method: what was chosen, and the metrics of the test set.

  Args:
    found: What `calibrate` gave, for one run or for several seeds.
  """
  columns = ['method', 'chosen', 'validation']
  columns += [f'test {report.COLUMNS[name]}' for name in _SHOWN]
  rows = []
  for name in found[0]:
    results = [one[name] for one in found]
    if results[0] is None:
      rows.append([name, 'needs a linear head', *['n/a'] * (len(_SHOWN) + 1)])
      continue
    test = [result['test'] for result in results]
    rows.append(
      [
        name,
        _choices([result['chosen'] for result in results]),
        _percent([result['validation'] for result in results], 'balanced'),
        *(_percent(test, metric) for metric in _SHOWN),
      ]
    )
  return console.markdown_table(columns, rows)


def _choices(chosen: Sequence[dict[str, Any]]) -> str:
  """``tau 1.0``, or of several runs ``tau 0.8, 1.0``."""
  return ' '.join(
    f'{name} {", ".join(map(str, sorted({c[name] for c in chosen})))}'
    for name in chosen[0]
  )


def _percent(scores: Sequence[dict[str, Any]], name: str) -> str:
  if len(scores) == 1:
    return console.percent(scores[0][name])
  values = [{name: score[name]} for score in scores]
  return report.mean_std(report.statistics(values)[name])


def _choose(
  experiment: build.Experiment, candidates: Candidates, sets: dict[str, Outputs]
) -> dict[str, Any] | None:
  """The candidate of the best balanced accuracy on validation, tested."""
  best: tuple[float, Any] = (-1.0, None)
  for chosen, corrected in candidates:
    scores = _scores(experiment, corrected, sets['validation'])
    if scores['balanced'] > best[0]:
      best = scores['balanced'], (chosen, corrected, scores)
  if best[1] is None:
    return None
  chosen, corrected, scores = best[1]
  return {
    'chosen': chosen,
    'validation': scores,
    'test': _scores(experiment, corrected, sets['test']),
  }


def _scores(
  experiment: build.Experiment, corrected: Corrected, outputs: Outputs
) -> dict[str, Any]:
  logits = np.asarray(corrected(outputs), np.float64)
  probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
  confidences = 1 / probabilities.sum(axis=1)
  config = experiment.config
  return metrics.classification_metrics(
    outputs.labels,
    logits.argmax(axis=1),
    confidences,
    class_counts=experiment.data.class_counts,
    many_above=config.many_above,
    few_below=config.few_below,
    tail_below=config.optimizer.threshold,
  )


def _outputs(
  experiment: build.Experiment, state: training.TrainState, examples: Any
) -> Outputs:
  features, logits = training.over_examples(
    experiment.feature_step,
    state.variables,
    examples,
    batch_size=experiment.config.data.batch_size,
    mesh=experiment.mesh,
    num_threads=experiment.num_threads,
  )
  scale = np.float32(experiment.objective.logit_scale)
  return Outputs(features, scale * logits, examples.labels)
