# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics of a trained state on test or validation examples."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _scores


class Evaluation(NamedTuple):
  """What `evaluate` finds.

  Attributes:
    scores: Metrics of the set, by the names of ``summary.json``.
    per_class: A row for each class, as in ``per_class.csv``.
    split: 'test' or 'validation'.
  """

  scores: dict[str, float | None]
  per_class: list[dict[str, Any]]
  split: str = 'test'

  def table(self) -> str:
    """The metrics in per cent, as a Markdown table."""
    return _scores.scores_table(self.scores)


def evaluate(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  split: str = 'test',
) -> Evaluation:
  """Metrics of a state, of the set and by class.

  Args:
    experiment: The experiment of the state.
    state: The state of a run; where it keeps a moving average of the
      parameters, that is evaluated.
    split: 'test' or 'validation'.

  Raises:
    ConfigError: If the split is unknown, or the run does not have it.
    DivergedError: If the outputs of the network are not finite.
  """
  config = experiment.config
  examples = examples_of(experiment, split)
  predictions, confidences = training.predict(
    experiment.predict_step,
    state.variables,
    examples,
    batch_size=config.data.batch_size,
    mesh=experiment.mesh,
    num_threads=experiment.num_threads,
  )
  if not np.isfinite(confidences).all():
    raise training.DivergedError(
      'the logits of the trained model are not finite. Lower the learning rate '
      'or the radius.'
    )
  return of_predictions(experiment, split, predictions, confidences)


def examples_of(
  experiment: _experiment.Experiment, split: str
) -> data_lib.Examples:
  """The examples of a split.

  Raises:
    ConfigError: If the split is unknown, or the run does not have it.
  """
  if split not in ('test', 'validation'):
    raise _errors.ConfigError(
      f"`split` must be 'test' or 'validation', got {split!r}."
    )
  data = experiment.data
  examples = data.test if split == 'test' else data.validation
  if examples is None:
    raise _errors.ConfigError(
      'this run has no validation split; pass `split=test`, or train with '
      '`data.validation_per_class=20`.'
    )
  return examples


def of_predictions(
  experiment: _experiment.Experiment,
  split: str,
  predictions: np.ndarray,
  confidences: np.ndarray,
) -> Evaluation:
  """Metrics of predictions.

  Args:
    experiment: The experiment.
    split: 'test' or 'validation'.
    predictions: Classes of the examples of the split, int ``[N]``.
    confidences: Largest probabilities, float ``[N]``.
  """
  config, data = experiment.config, experiment.data
  labels = examples_of(experiment, split).labels
  predicted = (labels, predictions, np.clip(confidences, 0.0, 1.0))
  scores = metrics.classification_metrics(
    *predicted,
    class_counts=data.class_counts,
    many_above=config.many_above,
    few_below=config.few_below,
    tail_below=config.optimizer.threshold,
  )
  classes = metrics.per_class_metrics(
    *predicted, class_counts=data.class_counts, class_names=data.class_names
  )
  return Evaluation(scores, classes, split)


class Chooser(NamedTuple):
  """What the best checkpoint is chosen by.

  Attributes:
    metric: The larger, the better.
    evaluate: Metrics of a state.
  """

  metric: str
  evaluate: Callable[[training.TrainState], dict[str, float | None]]


def choose_by(experiment: _experiment.Experiment) -> Chooser | None:
  """The validation set, or with `best_on_test` the test set, or nothing."""
  if experiment.config.best_on_test:
    return Chooser('top1', lambda s: evaluate(experiment, s, 'test').scores)
  if experiment.data.validation is not None:
    return Chooser(
      'balanced', lambda s: evaluate(experiment, s, 'validation').scores
    )
  return None
