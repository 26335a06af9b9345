# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One training run with its folder: header, training, final numbers, files."""

from collections.abc import Callable
import contextlib
import dataclasses
import importlib.metadata
import pathlib
import platform
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from experiments import app
from experiments import build
from experiments import config as config_lib
from experiments import methods
from experiments import signals
from experiments import workdir as workdir_lib
from imbsam_jax import metrics
from imbsam_jax import training

# One more than is needed, should the last be damaged.
KEEP_LAST = 2

_PACKAGES = ('imbsam_jax', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')


def run(
  experiment: build.Experiment,
  seed: int,
  workdir: pathlib.Path,
  *,
  progress: Callable[[list[dict[str, Any]]], None] | None = None,
) -> dict[str, Any]:
  """Trains to the end, from the newest checkpoint if there is one.

  Args:
    experiment: What to train.
    seed: Of parameters, order and noise; replaces that of the configuration.
    workdir: Folder of the run.
    progress: Called with the records of new steps.

  Returns:
    The content of ``summary.json``.

  Raises:
    UsageError: The folder belongs to another configuration.
    DivergedError: Training was given up.
    PreemptedError: SIGTERM or SIGINT came; everything is saved.
    CheckpointError: No checkpoint can be read, or another process is at it.
  """
  with training.WorkdirLock(workdir):
    return _run(experiment, seed, workdir, progress)


def _run(
  experiment: build.Experiment,
  seed: int,
  workdir: pathlib.Path,
  progress: Callable[[list[dict[str, Any]]], None] | None,
) -> dict[str, Any]:
  config = dataclasses.replace(experiment.config, seed=seed)
  workdir_lib.claim(workdir, config, experiment.fingerprint)
  state = experiment.init(seed)
  seconds = 0.0
  chooser = choose_by(experiment)
  marks = evaluation_marks(experiment)
  first_seen: dict[build.Program, int] = {}

  def describe(step, batch):
    first_seen.setdefault(experiment.program(step, batch), step)
    return {'cost': cost(experiment, step, batch)}

  with (
    signals.deferred() as stop,
    training.Checkpoints(
      workdir / 'checkpoints',
      best_metric=chooser.metric if chooser else None,
      keep_last=KEEP_LAST,
    ) as checkpoints,
  ):
    if checkpoints.latest_step is not None:
      state, seconds = checkpoints.restore(state)
    check_replicas(state)
    history = training.History(workdir / 'metrics.jsonl', start=int(state.step))
    training.in_first_process(
      lambda: _check_history(history, int(state.step), workdir)
    )
    state, seconds = training.fit(
      state,
      experiment.train_step,
      experiment.batches(seed),
      num_steps=experiment.num_steps,
      put_batch=experiment.put,
      several=experiment.several,
      num_threads=experiment.num_threads,
      describe=describe,
      evaluate=chooser.evaluate if chooser else None,
      evaluate_at=marks,
      checkpoints=checkpoints,
      checkpoint_at=marks,
      history=history,
      on_progress=progress,
      stop=training.in_any_process(stop),
      seconds=seconds,
    )
  if any(training.from_each_process(stop())):
    raise training.PreemptedError('stopped after the last step.')
  state = state_to_report(experiment, state, workdir)
  planned = experiment.programs()
  first_epoch = experiment.steps(1)
  late = [
    program
    for program, step in first_seen.items()
    if step >= first_epoch and program not in planned
  ]
  return finish(
    experiment,
    state,
    history.records,
    workdir,
    seed=seed,
    seconds=seconds,
    extra={
      'step_programs': len(first_seen),
      'step_programs_after_first_epoch': len(late),
    },
  )


def check_replicas(state: training.TrainState) -> None:
  """Refuses processes that begin with other parameters than the first."""
  if jax.process_count() == 1:
    return
  sums = training.from_each_process(training.params_sha256(state.params))
  if len(set(sums)) > 1:
    raise training.CheckpointError(
      'processes of this run begin with different parameters: '
      + ', '.join(x[:12] for x in sums)
      + '. Run all on the same hardware, with the same versions.'
    )


def _check_history(
  history: training.History, step: int, workdir: pathlib.Path
) -> None:
  if sum('loss' in r for r in history.records) != step:
    raise training.CheckpointError(
      f'{workdir}/metrics.jsonl does not have every step up to the checkpoint '
      f'of step {step}. Put it back, or remove the folder and start again.'
    )


class Chooser(NamedTuple):
  """What the best checkpoint is chosen by.

  Attributes:
    metric: The larger, the better.
    evaluate: Metrics of a state.
  """

  metric: str
  evaluate: Callable[[training.TrainState], dict[str, float | None]]


def choose_by(experiment: build.Experiment) -> Chooser | None:
  """The validation set, or with `best_on_test` the test set, or nothing."""
  if experiment.config.best_on_test:
    return Chooser('top1', lambda s: evaluate(experiment, s, 'test')[0])
  if experiment.data.validation is not None:
    return Chooser(
      'balanced', lambda s: evaluate(experiment, s, 'validation')[0]
    )
  return None


def evaluation_marks(experiment: build.Experiment) -> set[int]:
  """Numbers of completed steps after which to validate and save."""
  config = experiment.config
  return {
    experiment.steps(config.save_every * k)
    for k in range(1, int(config.epochs / config.save_every) + 1)
  }


def state_to_report(
  experiment: build.Experiment,
  state: training.TrainState,
  workdir: pathlib.Path,
) -> training.TrainState:
  """The last state, or with `best_on_test` that of the best checkpoint.

  Call it when the checkpoints are closed, and so complete.
  """
  chooser = choose_by(experiment)
  if chooser is None or not experiment.config.best_on_test:
    return state
  with training.Checkpoints(
    workdir / 'checkpoints', best_metric=chooser.metric, read_only=True
  ) as checkpoints:
    return checkpoints.restore(state, checkpoints.best_step)[0]


def finish(
  experiment: build.Experiment,
  state: training.TrainState,
  records: list[dict[str, Any]],
  workdir: pathlib.Path,
  *,
  seed: int,
  seconds: float,
  extra: dict[str, Any],
) -> dict[str, Any]:
  """Evaluates the state to report, writes and returns the summary."""
  scores, classes = evaluate(experiment, state, experiment.config.final_split)

  def write():
    summary = _summary(experiment, state, scores, records, seconds, seed)
    summary |= extra
    training.write_csv(workdir / 'per_class.csv', classes)
    # Last: a folder with a summary is complete.
    training.write_json(workdir / 'summary.json', summary)
    return summary

  return training.in_first_process(write)


def evaluate(
  experiment: build.Experiment, state: training.TrainState, split: str
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
  """Metrics of a state on 'test' or 'validation': of the set, by class."""
  config, data = experiment.config, experiment.data
  examples = data.test if split == 'test' else data.validation
  if examples is None:
    raise app.UsageError(
      'this run has no validation split; pass --split=test, or train with '
      '--config.data.validation_per_class=20.'
    )
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
  found = (examples.labels, predictions, np.clip(confidences, 0.0, 1.0))
  scores = metrics.classification_metrics(
    *found,
    class_counts=data.class_counts,
    many_above=config.many_above,
    few_below=config.few_below,
    tail_below=config.optimizer.threshold,
  )
  classes = metrics.per_class_metrics(
    *found, class_counts=data.class_counts, class_names=data.class_names
  )
  return scores, classes


def cost(experiment: build.Experiment, step: int, batch: Any) -> float:
  """Cost of one step in SGD steps."""
  return training.step_cost(
    experiment.method.stage(step),
    batch,
    batch_size=experiment.config.data.batch_size,
  )


def plot(experiment: build.Experiment, workdir: pathlib.Path) -> None:
  """Draws per-class accuracy against class frequency from ``per_class.csv``."""
  config = experiment.config
  rows = training.read_csv(workdir / 'per_class.csv')
  metrics.plot_accuracy_by_frequency(
    workdir / 'accuracy_by_frequency.png',
    experiment.data.class_counts,
    {methods.describe(config): [float(r['accuracy'] or 'nan') for r in rows]},
    tail_below=config.optimizer.threshold,
    title=f'{config.data.name}: accuracy on the {config.final_split} set',
  )


def expected_cost(experiment: build.Experiment, *, samples: int = 50) -> float:
  """Mean cost of a step of the run, from batches spread over it."""
  batches = experiment.batches(0, decode=False)
  steps = np.unique(
    np.linspace(0, experiment.num_steps - 1, samples).astype(int)
  )
  return float(
    np.mean([cost(experiment, int(s), batches[int(s)]) for s in steps])
  )


def reporting(config: config_lib.Config) -> str:
  """How numbers are reported, if not as those of the last step."""
  marks = []
  if config.flip_test:
    marks.append('test images and their mirror images')
  if config.best_on_test:
    marks.append('best checkpoint on the test set')
  return ', '.join(marks) or 'last step'


def _summary(
  experiment: build.Experiment,
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
    'method': methods.describe(experiment.config),
    'seed': seed,
    'split': experiment.config.final_split,
    'reporting': reporting(experiment.config),
    'reported_step': int(state.step),
    'params_sha256': training.params_sha256(state.params),
    'device': experiment.mesh.devices.flat[0].device_kind,
    'versions': {'python': platform.python_version(), **_versions()},
  }


def _versions() -> dict[str, str]:
  found = {}
  for package in _PACKAGES:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      found[package] = importlib.metadata.version(package)
  return found
