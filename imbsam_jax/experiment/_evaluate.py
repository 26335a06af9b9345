# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Metrics of a trained state on test or validation examples."""

from collections.abc import Callable
import os
import pathlib
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _outcomes
from imbsam_jax.experiment import _scores

# Images of each class that are advised, where there are enough.
_MANY_FOR_VALIDATION = 20


class Evaluation(NamedTuple):
  """What `evaluate` finds.

  Attributes:
    scores: Metrics of the set, by the names of ``summary.json``.
    per_class: A row for each class, as in ``per_class.csv``.
    split: 'test' or 'validation'.
    outcomes: What the network says of each image, as in ``predictions.npz``.
    class_names: One name per class.
  """

  scores: dict[str, float | None]
  per_class: list[dict[str, Any]]
  split: str = 'test'
  outcomes: _outcomes.Outcomes | None = None
  class_names: tuple[str, ...] = ()

  def table(self) -> str:
    """The metrics in per cent, as a Markdown table."""
    return _scores.scores_table(self.scores)

  def confusions(self) -> list[dict[str, Any]]:
    """The most frequent confusions, rows as in ``confusions.csv``."""
    if self.outcomes is None:
      return []
    return _outcomes.confusions(self.outcomes, self.class_names)

  def save(
    self, path: str | os.PathLike[str], **about: Any
  ) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes the metrics as JSON, and those of the classes as CSV beside it.

    Args:
      path: Path of the JSON file. That of the classes is called like it, with
        '_per_class.csv' at its end.
      **about: Further entries of the JSON file.

    Returns:
      The paths of both.

    Raises:
      ConfigError: If they cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    by_class = path.with_name(f'{path.stem}_per_class.csv')
    try:
      training.write_csv(by_class, self.per_class)
      training.write_json(path, {'split': self.split, **about, **self.scores})
    except OSError as error:
      raise _errors.ConfigError(
        f'{error.filename or path} cannot be written: {error.strerror}. Pass '
        'another file, `output=FILE.json`.'
      ) from error
    return path, by_class

  def __repr__(self) -> str:
    return self.table()

  def _repr_markdown_(self) -> str:
    return self.table()


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
  outputs = training.over_examples(
    experiment.predict_step,
    state.variables,
    examples,
    batch_size=config.data.batch_size,
    mesh=experiment.mesh,
    num_threads=experiment.num_threads,
  )
  if not np.isfinite(outputs[1]).all():
    raise training.DivergedError(
      'the logits of the trained model are not finite. Lower the learning rate '
      'or the radius.'
    )
  return of_predictions(experiment, split, *outputs)


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
      'this run has no validation split; pass `split=test`, or train '
      + validation_advice(experiment)
    )
  return examples


def validation_advice(experiment: _experiment.Experiment) -> str:
  """How a run comes to have validation images, after 'train '."""
  number = _MANY_FOR_VALIDATION
  if experiment.config.data.profile == 'natural':
    smallest = int(min(experiment.data.class_counts))
    if smallest < 2:
      return (
        'with a folder or split of validation images, `data.splits`: a class '
        'has one training image alone.'
      )
    number = min(number, max(smallest // 4, 1))
  return f'in another `workdir` with `data.validation_per_class={number}`.'


def of_predictions(
  experiment: _experiment.Experiment,
  split: str,
  predictions: np.ndarray,
  confidences: np.ndarray,
  *others: np.ndarray,
) -> Evaluation:
  """Metrics of predictions.

  Args:
    experiment: The experiment.
    split: 'test' or 'validation'.
    predictions: Classes of the examples of the split, int ``[N]``.
    confidences: Largest probabilities, float ``[N]``.
    *others: What else the step of the predictions gives.
  """
  config, data = experiment.config, experiment.data
  labels = examples_of(experiment, split).labels
  outcomes = _outcomes.of_outputs(labels, (predictions, confidences, *others))
  predicted = (
    labels,
    predictions.astype(np.int64),
    np.clip(confidences.astype(np.float64), 0.0, 1.0),
  )
  scores = metrics.classification_metrics(
    *predicted,
    class_counts=data.class_counts,
    many_above=config.many_above,
    few_below=config.few_below,
    tail_below=config.optimizer.threshold,
  )
  names = tuple(map(str, data.class_names))
  classes = metrics.per_class_metrics(
    *predicted, class_counts=data.class_counts, class_names=data.class_names
  )
  return Evaluation(scores, classes, split, outcomes, names)


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
