# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a finished run leaves: the summary, the classes, their picture."""

from collections.abc import Mapping
import contextlib
import csv
import importlib.metadata
import os
import pathlib
import platform
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import metrics
from imbsam_jax import training
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _outcomes
from imbsam_jax.experiment import _scores
from imbsam_jax.experiment import _test_views

# Numbers that a comparison shows beside the metrics.
_TIMES = ('seconds', 'cost_sgd_steps')
_LARGEST = 1e18
_PACKAGES = ('imbsam_jax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')


class Result(NamedTuple):
  """A finished run; at a prompt and in a notebook it shows its table.

  Attributes:
    state: The state that is reported.
    summary: Content of ``summary.json``.
    per_class: A row for each class, as in ``per_class.csv``.
    history: The records of all steps and validations, as in
      ``metrics.jsonl``.
    workdir: Folder of the run, or None.
  """

  state: training.TrainState
  summary: dict[str, Any]
  per_class: list[dict[str, Any]]
  history: list[dict[str, Any]]
  workdir: pathlib.Path | None

  def table(self) -> str:
    """The metrics in per cent, as a Markdown table."""
    return _scores.scores_table(self.summary)

  def __repr__(self) -> str:
    return self.table()

  def _repr_markdown_(self) -> str:
    return self.table()


def finish(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  records: list[dict[str, Any]],
  workdir: pathlib.Path,
  *,
  seed: int,
  seconds: float,
  extra: dict[str, Any],
) -> Result:
  """Evaluates the state to report, and writes what came out.

  Args:
    experiment: The experiment of the run.
    state: The state to report.
    records: The records of all steps.
    workdir: Folder of the run.
    seed: Seed of the run.
    seconds: Time that training took.
    extra: Further entries of the summary.
  """
  evaluation = _evaluate.evaluate(
    experiment, state, experiment.config.final_split
  )
  scores, classes = evaluation.scores, evaluation.per_class

  def write():
    summary = _summary(experiment, state, scores, records, seconds, seed)
    summary |= extra
    _add_search(summary)
    training.write_csv(workdir / 'per_class.csv', classes)
    if evaluation.outcomes is not None:
      _outcomes.write(workdir, evaluation.outcomes, evaluation.class_names)
    # Last: a folder with a summary is complete.
    training.write_json(workdir / 'summary.json', summary)
    return summary

  summary = training.in_first_process(write)
  return Result(state, summary, classes, records, workdir)


def lacking(
  summary: Mapping[str, Any], workdir: pathlib.Path, num_classes: int
) -> str:
  """What is wrong with the files of a finished run that comparisons read.

  Args:
    summary: The content of its ``summary.json``.
    workdir: Its folder.
    num_classes: Number of classes, C.

  Returns:
    A text, or '' if both are as `finish` writes them.
  """
  for name in (*_scores.ACCURACIES, *_TIMES):
    value = summary.get(name, '')
    # Of classes that have no images there is no accuracy.
    if value is None and name in _scores.ACCURACIES:
      continue
    if type(value) not in (int, float) or abs(value) > _LARGEST:
      return f'summary.json has no number {name!r}'
  try:
    rows = training.read_csv(workdir / 'per_class.csv')
    counts = [int(row['train_count']) for row in rows]
    for row in rows:
      float(row['accuracy'] or 0)
  except OSError as error:
    return f'per_class.csv cannot be read: {error.strerror}'
  except (csv.Error, ValueError, KeyError, TypeError):
    return 'per_class.csv is not what a run writes'
  if len(counts) != num_classes:
    return f'per_class.csv has {len(counts)} of {num_classes} classes'
  return ''


def _add_search(summary: dict[str, Any]) -> None:
  """Adds what the run before the run took to what the method costs."""
  if 'search_steps' in summary:
    share = summary['search_steps'] / summary['steps']
    cost = summary['cost_sgd_steps'] + share * summary['search_cost_sgd_steps']
    summary['cost_sgd_steps'] = round(cost, 4)
    summary['seconds'] = round(
      summary['seconds'] + summary['search_seconds'], 3
    )


def plot(
  experiment: _experiment.Experiment,
  result: Result | _evaluate.Evaluation | list[dict[str, Any]],
  path: str | os.PathLike[str] | None = None,
) -> Any:
  """Draws per-class accuracy against class frequency.

  Args:
    experiment: The experiment of the run.
    result: What `run` or `evaluate` gave; or only its `per_class`, which does
      not tell the title which examples it is about.
    path: File of the picture, a PNG; None writes none.

  Returns:
    The Matplotlib figure.
  """
  config = experiment.config
  if isinstance(result, Result):
    rows, about = result.per_class, f'on the {result.summary["split"]} set'
  elif isinstance(result, _evaluate.Evaluation):
    rows, about = result.per_class, f'on the {result.split} set'
  else:
    rows, about = result, 'by class'
  if path is not None:
    path = pathlib.Path(path).expanduser()
  return metrics.plot_accuracy_by_frequency(
    path,
    experiment.data.class_counts,
    {
      # None, where there are no test examples, is left out; 0 is not.
      _choices.describe(config): [row['accuracy'] for row in rows]
    },
    tail_below=config.optimizer.threshold,
    title=f'{config.data.name}: accuracy {about}',
  )


def reporting(config: _config.Config) -> str:
  """How numbers are reported, if not as those of the last step."""
  marks = []
  if seen := _test_views.about(config.test_views, flip=config.flip_test):
    marks.append(seen)
  if config.best_on_test:
    marks.append('best checkpoint on the test set')
  return ', '.join(marks) or 'last step'


def _summary(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  scores: dict[str, float | None],
  records: list[dict[str, Any]],
  seconds: float,
  seed: int,
) -> dict[str, Any]:
  steps = [record for record in records if 'loss' in record]
  batch_size = experiment.config.data.batch_size
  return {
    **scores,
    'train_loss': steps[-1]['loss'],
    'seconds': round(seconds, 3),
    'images_per_second': round(len(steps) * batch_size / seconds, 1),
    'cost_sgd_steps': round(float(np.mean([r['cost'] for r in steps])), 4),
    'steps': len(steps),
    'skipped_steps': sum(bool(r.get('skipped')) for r in steps),
    'num_train': experiment.num_train,
    'method': _choices.describe(experiment.config),
    'seed': seed,
    'split': experiment.config.final_split,
    'reporting': reporting(experiment.config),
    'reported_step': int(state.step),
    'params_sha256': training.params_sha256(state.params),
    'device': experiment.mesh.devices.flat[0].device_kind,
    'versions': {'python': platform.python_version(), **versions()},
  }


def versions() -> dict[str, str]:
  """Versions of the packages that numbers depend on."""
  by_package = {}
  for package in _PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      by_package[package] = importlib.metadata.version(package)
  return by_package
