# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One training run with its folder, from the newest checkpoint if any."""

from collections.abc import Callable
import contextlib
import os
import pathlib
import re
import tempfile
from typing import Any
import warnings

import jax

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax._runs import folder
from imbsam_jax._runs import signals
from imbsam_jax.experiment import _choices
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _event_files
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _model_file
from imbsam_jax.experiment import _search
from imbsam_jax.experiment import _summary

# One more than is needed, should the last be damaged.
KEEP_LAST = 2

_Interruption = contextlib.AbstractContextManager[Callable[[], bool]]


def run(
  experiment: _experiment.Experiment,
  *,
  seed: int | None = None,
  workdir: str | os.PathLike[str] | None = None,
  progress: bool | console.Report | None = None,
) -> _summary.Result:
  """Trains to the end, from the newest checkpoint if there is one.

  Args:
    experiment: What to train.
    seed: Seed of the initial parameters, the order of the images and the noise;
      None is that of the configuration.
    workdir: Folder of the run; the same call goes on where it stopped. None
      leaves no files.
    progress: True shows a line over the steps in a terminal or a notebook; a
      function is called with the records of new steps, as `metrics.jsonl` has
      them: ``[{'step': 1, 'loss': .., 'train_accuracy': .., ..}, ..]``.

  Returns:
    The final state, its metrics, and how training went.

  Raises:
    ConfigError: If the folder belongs to another configuration, network or
      loss.
    DivergedError: If training was given up.
    PreemptedError: If SIGTERM or SIGINT came; everything is saved in `workdir`.
      Without one, KeyboardInterrupt goes through.
    CheckpointError: If no checkpoint can be read, or another process uses the
      folder.
  """
  if not isinstance(experiment, _experiment.Experiment):
    raise _errors.ConfigError(
      '`run` takes an experiment, got '
      f'{type(experiment).__name__}. Write '
      'experiment.run(experiment.build(config)).'
    )
  seed = experiment.config.seed if seed is None else seed
  _checks.integer(
    'seed', seed, low=0, high=2**32 - 1, error=_errors.ConfigError
  )
  console.check_progress(progress)
  if workdir is None:
    # What is interrupted is lost, and so is not held back.
    def not_held_back():
      return contextlib.nullcontext(lambda: False)

    with tempfile.TemporaryDirectory() as temporary:
      path = pathlib.Path(temporary)
      result = _whole(experiment, int(seed), path, progress, not_held_back)
    return result._replace(workdir=None)
  path = pathlib.Path(workdir).expanduser()
  with training.WorkdirLock(path):
    return _whole(experiment, int(seed), path, progress, signals.deferred)


def _whole(
  experiment: _experiment.Experiment,
  seed: int,
  workdir: pathlib.Path,
  progress: bool | console.Report | None,
  interruption: Callable[[], _Interruption],
  prefix: str = '',
) -> _summary.Result:
  """A run, and before it the one that finds what it begins with."""
  folder.claim(
    workdir, experiment.config_of(seed), experiment.fingerprint, experiment.own
  )
  write_model_file(experiment, workdir)
  write_file_report(experiment, workdir)
  loss_state = None
  if experiment.search is not None and not _search.is_over(workdir):
    loss_state = experiment.search.begin(
      _whole(
        experiment.search.experiment,
        seed,
        workdir / _search.FOLDER,
        # A function gets the records of the run alone.
        progress is True,
        interruption,
        'before the run: ',
      ).state.loss_state
    )
    _search.write(workdir, loss_state)
  # What a line has room for.
  title = prefix + re.sub(
    r'\([^()]*\)', '', _choices.describe(experiment.config)
  )
  with (
    console.shown(progress, experiment.num_steps, title) as report,
    _event_files.opened(experiment, workdir) as events,
  ):
    result = _run(
      experiment, seed, workdir, report, interruption(), loss_state, events.add
    )
    events.finish(result.summary)
    return result


def _run(
  experiment: _experiment.Experiment,
  seed: int,
  workdir: pathlib.Path,
  report: console.Report | None,
  interruption: _Interruption,
  loss_state: Any,
  also: Callable[[list[dict[str, Any]]], None],
) -> _summary.Result:
  state = experiment.init(seed)
  if loss_state is not None:
    state = state.replace(
      loss_state=training.replicate(experiment.mesh, loss_state)
    )
  seconds = 0.0
  chooser = _evaluate.choose_by(experiment)
  marks = evaluation_marks(experiment)
  first_seen: dict[_experiment.Program, int] = {}

  def describe(step, batch):
    first_seen.setdefault(experiment.program(step, batch), step)
    return {'cost': experiment.cost(step, batch)}

  with (
    interruption as stop,
    training.Checkpoints(
      workdir / 'checkpoints',
      best_metric=chooser.metric if chooser else None,
      keep_last=KEEP_LAST,
      about=folder.about(
        experiment.config_of(seed), experiment.fingerprint, experiment.own
      ),
    ) as checkpoints,
  ):
    if checkpoints.latest_step is not None:
      validated_at = {*marks, experiment.num_steps} if chooser else set()
      _go_back(checkpoints, validated_at, workdir)
      state, seconds = checkpoints.restore(state)
    elif experiment.search is not None and loss_state is None:
      raise training.CheckpointError(
        f'the first checkpoint in {workdir} cannot be read. Remove '
        f'{workdir}/checkpoints; the search before the run is kept.'
      )
    check_replicas(state)
    history = training.History(
      workdir / 'metrics.jsonl', start=int(state.step), also=also
    )
    state, seconds = training.fit(
      state,
      experiment.train_step,
      experiment.batches(seed),
      num_steps=experiment.num_steps,
      put_batch=experiment.put,
      scanned=experiment.scanned,
      num_threads=experiment.num_threads,
      describe=describe,
      evaluate=chooser.evaluate if chooser else None,
      evaluate_at=marks,
      checkpoints=checkpoints,
      checkpoint_at=marks,
      history=history,
      on_progress=report,
      stop=training.in_any_process(stop),
      seconds=seconds,
    )
  if any(training.from_each_process(stop())):
    raise training.PreemptedError('stopped after the last step.')
  state = state_to_report(experiment, state, workdir)
  write_model_file(experiment, workdir, state)
  planned = experiment.programs()
  first_epoch = experiment.steps(1)
  late = [
    program
    for program, step in first_seen.items()
    if step >= first_epoch and program not in planned
  ]
  return _summary.finish(
    experiment,
    state,
    history.records,
    workdir,
    seed=seed,
    seconds=seconds,
    extra={
      'step_programs': len(first_seen),
      'step_programs_after_first_epoch': len(late),
      **(_search.summary(workdir) if experiment.search else {}),
    },
  )


def write_model_file(
  experiment: _experiment.Experiment,
  workdir: pathlib.Path,
  state: training.TrainState | None = None,
) -> None:
  """Writes ``model.json``, at the end with the state that is reported."""
  training.in_first_process(
    lambda: _model_file.write(workdir, experiment, _summary.versions(), state)
  )


def write_file_report(
  experiment: _experiment.Experiment, workdir: pathlib.Path
) -> None:
  """Writes ``files.json``, if the examples are files."""
  files = experiment.data.files
  if files is not None:
    training.in_first_process(
      lambda: training.write_json(workdir / 'files.json', files.content())
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


def _go_back(
  checkpoints: training.Checkpoints,
  validated_at: set[int],
  workdir: pathlib.Path,
) -> None:
  """Chooses a checkpoint up to which ``metrics.jsonl`` has every step.

  Steps after it are made again, to the same bits, and give the same lines.
  """
  path = workdir / 'metrics.jsonl'
  latest = checkpoints.latest_step
  whole, problem = training.in_first_process(
    lambda: training.whole_steps(path, validated_at)
  )
  if latest is None or whole >= latest:
    return
  lacking = (
    f'{path} does not have every step up to the checkpoint of step {latest}: '
    f'{problem or f"what follows step {whole} is missing"}.'
  )
  if not checkpoints.go_back(whole):
    raise training.CheckpointError(
      f'{lacking} There is no earlier one to go on from. Put the file back, or '
      f'remove {workdir} and start again.'
    )
  warnings.warn(
    f'{lacking} It goes on from the checkpoint of step '
    f'{checkpoints.latest_step}, and makes the steps after it again.',
    stacklevel=2,
  )


def evaluation_marks(experiment: _experiment.Experiment) -> set[int]:
  """Numbers of completed steps after which to validate and save."""
  config = experiment.config
  return {
    experiment.steps(config.save_every * k)
    for k in range(1, int(config.epochs / config.save_every) + 1)
  }


def state_to_report(
  experiment: _experiment.Experiment,
  state: training.TrainState,
  workdir: pathlib.Path,
) -> training.TrainState:
  """The last state, or with `best_on_test` that of the best checkpoint.

  Call it when the checkpoints are closed, and so complete.
  """
  chooser = _evaluate.choose_by(experiment)
  if chooser is None or not experiment.config.best_on_test:
    return state
  with training.Checkpoints(
    workdir / 'checkpoints', best_metric=chooser.metric, read_only=True
  ) as checkpoints:
    return checkpoints.restore(state, checkpoints.best_step)[0]
