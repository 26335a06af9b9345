# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, on Orbax: the only module that knows it."""

from collections.abc import Mapping
import concurrent.futures
import contextlib
import json
import pathlib
from typing import Any
import warnings

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from imbsam_jax import _errors
from imbsam_jax.training import _manifest
from imbsam_jax.training import _state

# Typed for more than the trees of this package.
_save_async: Any = ocp.save_async
_load: Any = ocp.load


class Checkpoints:
  """Checkpoints of one run, ``directory/<step>/``; the last and the best stay.

  Each has the checksums of its files beside it, ``<step>.manifest.json``,
  written when all else is on disk. A step without them was interrupted and is
  not offered, one that does not match them is damaged. Only in a folder without
  any manifest, of an earlier version or interrupted in its first save, steps
  are accepted as they are, with a warning; resuming gives them manifests.

  Saving is asynchronous; `close`, or the end of a ``with`` block, waits. What
  goes wrong meanwhile is raised by the next call. An older step is deleted when
  a newer one is complete, so that a good one is on disk at every moment.

  Args:
    directory: Folder of the checkpoints.
    best_metric: Name of the metric, of those given to `save`, whose largest
      value marks the best checkpoint. None keeps the last ones only.
    keep_last: How many of the last stay. With 2, a damaged one can be replaced
      by the one before it.
    read_only: For whoever only restores: what another process is just saving
      is left alone.

  Raises:
    CheckpointError: There is no such folder to read from, or it cannot be made.
  """

  def __init__(
    self,
    directory: Any,
    *,
    best_metric: str | None = None,
    keep_last: int = 1,
    read_only: bool = False,
  ):
    if keep_last < 1:
      raise ValueError(f'keep_last must be at least 1, got {keep_last}.')
    self.directory = pathlib.Path(directory).resolve()
    self._best_metric = best_metric
    self._keep_last = keep_last
    # Of several processes, one takes care of the folder.
    self._writes = not read_only and jax.process_index() == 0
    if read_only and not self.directory.is_dir():
      raise _errors.CheckpointError(f'there is no folder {self.directory}.')
    if not read_only:
      try:
        self.directory.mkdir(parents=True, exist_ok=True)
      except OSError as error:
        raise _errors.CheckpointError(
          f'the folder {self.directory} cannot be made: {_cause(error)}.'
        ) from error
    if self._writes:
      _manifest.sweep(self.directory)
    self._worker = concurrent.futures.ThreadPoolExecutor(1, 'checkpoints')
    self._pending: concurrent.futures.Future[None] | None = None
    # What was found out about files, by their signature.
    self._known: dict[Any, str | None] = {}

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, kind: Any, *exc_info: Any) -> None:
    try:
      self.close()
    except _errors.CheckpointError as error:
      # Not in the place of the error that ends the block; but who was stopped
      # must not believe that all was saved.
      if kind is None or issubclass(kind, _errors.PreemptedError):
        raise
      warnings.warn(str(error), stacklevel=2)

  @property
  def latest_step(self) -> int | None:
    """Step of the newest good checkpoint; None if nothing was saved.

    Raises:
      CheckpointError: There are checkpoints, but none is good: starting again
        must not be an accident.
    """
    newest, damaged = self._newest_good()
    if newest is None and damaged:
      raise self._none_is_good(damaged)
    return None if newest is None else newest.step

  @property
  def best_step(self) -> int | None:
    """Step of the good checkpoint with the largest `best_metric`.

    Warns if a better one is damaged.
    """
    self._wait()
    damaged = []
    for report in _manifest.best_checkpoints(
      self._reports(), self._best_metric
    ):
      report = self._checked(report)
      if report is None:
        continue
      if report.status in ('good', 'unchecked'):
        if damaged:
          warnings.warn(
            f'{self._list(damaged)}. The best of the others is that of step '
            f'{report.step}.',
            stacklevel=2,
          )
        return report.step
      damaged.append(report)
    if damaged:
      raise _errors.CheckpointError(
        f'{self._list(damaged)}. No other has a {self._best_metric!r}; restore '
        'the last one (--checkpoint=last).'
      )
    return None

  def save(
    self,
    state: _state.TrainState,
    *,
    metrics: Mapping[str, float] | None = None,
    seconds: float = 0.0,
  ) -> None:
    """Saves `state` under its step, in the background.

    A step that is there already, and good, is not saved again.

    Args:
      state: The state to save.
      metrics: Validation metrics to judge it by.
      seconds: Training time so far, to go on counting from.

    Raises:
      CheckpointError: A parameter is not finite, nothing is written; or the
        folder has a newer checkpoint; or the last save failed, or this one.
    """
    self._wait()
    step = int(state.step)
    try:
      if self._is_there(step):
        # Whoever saved it may have been killed before this.
        self._pending = self._worker.submit(self._retain, step)
        return
    except OSError as error:
      raise self._not_saved(step, error) from error
    if not _all_finite((state.params, state.model_state, state.ema_params)):
      raise _errors.CheckpointError(
        f'parameters at step {step} are not finite; they were not saved.'
      )
    notes = {
      'metrics': {name: float(v) for name, v in (metrics or {}).items()},
      'seconds': float(seconds),
    }
    context = ocp.Context()
    # In the background, Orbax's threads would wait minutes for a folder that
    # could not be made.
    context.async_options.create_directories_asynchronously = False
    try:
      with context:
        response = _save_async(
          str(self.directory / str(step)), state, custom_metadata=notes
        )
    except Exception as error:
      self._discard()
      raise self._not_saved(step, error) from error
    self._pending = self._worker.submit(self._complete, response, step, notes)

  def restore(
    self, like: _state.TrainState, step: int | None = None
  ) -> tuple[_state.TrainState, float]:
    """The state of a checkpoint, and the training time up to it.

    Args:
      like: A state of the same run: shapes, dtypes and shardings.
      step: Which checkpoint; None is the newest good one. Newer ones that are
        damaged are named in a warning, and renamed unless `read_only`.

    Raises:
      CheckpointError: There is none, or it is damaged, unreadable or of another
        model.
    """
    if step is None:
      report, damaged = self._newest_good()
      if report is None and damaged:
        raise self._none_is_good(damaged)
      if report is not None and damaged:
        self._fall_back(report, damaged)
    else:
      report = self._one(step)
    if report is None:
      raise _errors.CheckpointError(
        f'there is no checkpoint{"" if step is None else f" of step {step}"} '
        f'in {self.directory}.'
      )
    if report.status == 'unchecked':
      warnings.warn(
        f'the checkpoints in {self.directory} have no checksums: they were '
        'written by an earlier version, or the first was interrupted. That of '
        f'step {report.step} is restored unchecked.',
        stacklevel=2,
      )
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      like,
    )
    try:
      state = _load(str(self.directory / str(report.step)), abstract)
    except Exception as error:
      raise _errors.CheckpointError(
        f'the checkpoint of step {report.step} in {self.directory} cannot be '
        f'read: {error}'
      ) from error
    with contextlib.suppress(OSError):  # The next save tries again.
      self._adopt(self._reports())
    return state, report.seconds

  def close(self) -> None:
    """Waits for what is being saved.

    Raises:
      CheckpointError: It could not be saved.
    """
    try:
      self._wait()
    finally:
      self._worker.shutdown()

  def _wait(self) -> None:
    pending, self._pending = self._pending, None
    if pending is not None:
      pending.result()

  def _complete(self, response: Any, step: int, notes: Any) -> None:
    """What is done in the background."""
    try:
      response.result()
      if self._writes:
        _manifest.write(self.directory, step, **notes)
    except Exception as error:
      self._discard()
      raise self._not_saved(step, error) from error
    self._retain(step)

  def _retain(self, step: int) -> None:
    """Deletes what is older than the last and is not the best."""
    if not self._writes:
      return
    try:
      self._delete_old()
    except OSError as error:
      raise _errors.CheckpointError(
        f'older checkpoints in {self.directory} cannot be deleted: '
        f'{_cause(error)}. That of step {step} is saved.'
      ) from error

  def _delete_old(self) -> None:
    reports = self._reports()
    good = [report for report in reports if report.status == 'good']
    keep = {report.step for report in good[-self._keep_last :]}
    keep |= {
      r.step for r in _manifest.best_checkpoints(good, self._best_metric)[:1]
    }
    for report in reports:
      if report.step not in keep and report.step < max(keep):
        self._clear(report)

  def _is_there(self, step: int) -> bool:
    """Whether a step is there already; if not, makes place for it."""
    reports = self._adopt(self._reports())
    newer = [r.step for r in reports if r.status == 'good' and r.step > step]
    if newer:
      raise _errors.CheckpointError(
        f'{self.directory} has a newer checkpoint, of step {newer[-1]}; one of '
        f'step {step} would be deleted as the older one. Restore the newest, '
        'or save into another folder.'
      )
    for report in reports:
      if report.step != step:
        continue
      checked = self._checked(report)
      if checked is not None and checked.status == 'good':
        return True
      if checked is not None and self._writes:
        self._clear(checked)
    return False

  def _clear(self, report: _manifest.StepReport) -> None:
    """Takes a step away: nothing is deleted because it is damaged."""
    if report.status == 'damaged':
      _manifest.set_aside(self.directory, report.step)
    else:
      _manifest.remove(self.directory, report.step)

  def _adopt(
    self, reports: list[_manifest.StepReport]
  ) -> list[_manifest.StepReport]:
    """Gives manifests to steps of a folder that has none, the last first."""
    unchecked = [r for r in reports if r.status == 'unchecked']
    if not unchecked or not self._writes:
      return reports
    for r in reversed(unchecked):
      _manifest.write(
        self.directory, r.step, metrics=r.metrics, seconds=r.seconds
      )
    return self._reports()

  def _fall_back(
    self,
    report: _manifest.StepReport,
    damaged: list[_manifest.StepReport],
  ) -> None:
    moved = ''
    if self._writes:
      with contextlib.suppress(OSError):  # The next save tries again.
        for other in damaged:
          self._clear(other)
        moved = ' Damaged ones were renamed to STEP.damaged.'
    warnings.warn(
      f'{self._list(damaged)}. It goes on from step {report.step}.{moved}',
      stacklevel=3,
    )

  def _newest_good(
    self,
  ) -> tuple[_manifest.StepReport | None, list[_manifest.StepReport]]:
    """The newest good checkpoint, and the damaged ones that are newer."""
    self._wait()
    while True:
      damaged, gone = [], False
      for report in reversed(self._reports()):
        checked = self._checked(report)
        if checked is None:
          gone = True
        elif checked.status in ('good', 'unchecked'):
          return checked, damaged
        elif checked.status == 'damaged':
          damaged.append(checked)
      # Who writes here may have replaced all that were listed.
      if not gone:
        return None, damaged

  def _one(self, step: int) -> _manifest.StepReport | None:
    """A checkpoint that was asked for by its step."""
    self._wait()
    for report in self._reports():
      if report.step != step:
        continue
      checked = self._checked(report)
      if checked is not None and checked.status in ('damaged', 'incomplete'):
        raise _errors.CheckpointError(
          f'the checkpoint of step {step} in {self.directory} is '
          f'{checked.status}: {checked.problem}. Without a step '
          '(--checkpoint=last), the newest good one is restored.'
        )
      return checked
    return None

  def _reports(self) -> list[_manifest.StepReport]:
    reports = _manifest.inspect_checkpoints(self.directory)
    return [
      r._replace(**self._notes(r.step)) if r.status == 'unchecked' else r
      for r in reports
    ]

  def _checked(
    self, report: _manifest.StepReport
  ) -> _manifest.StepReport | None:
    """With its contents compared; None if it was deleted meanwhile."""
    if report.status != 'good':
      return report
    key = _manifest.signature(self.directory, report)
    if key not in self._known:
      problem = _manifest.damage(self.directory, report, contents=True)
      if problem is not None and not _manifest.exists(
        self.directory, report.step
      ):
        return None
      self._known[key] = problem
    problem = self._known[key]
    if problem is None:
      return report
    return report._replace(status='damaged', problem=problem)

  def _notes(self, step: int) -> dict[str, Any]:
    """What Orbax's own files know, for steps without a manifest."""
    folder = self.directory / str(step)
    try:
      found = json.loads((folder / '_CHECKPOINT_METADATA').read_text())
      notes = found['custom_metadata'] or {}
      metrics = notes.get('metrics')
      # Where earlier versions had them.
      path = folder / 'metrics' / 'metrics'
      if metrics is None and path.exists():
        metrics = json.loads(path.read_text())
      return {'metrics': metrics or {}, 'seconds': notes.get('seconds', 0.0)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
      return {'metrics': {}, 'seconds': 0.0}

  def _discard(self) -> None:
    """Frees the place that a failed save has taken."""
    if self._writes:
      with contextlib.suppress(OSError):
        _manifest.sweep(self.directory)

  def _not_saved(self, step: int, error: Exception) -> _errors.CheckpointError:
    return _errors.CheckpointError(
      f'the checkpoint of step {step} could not be saved in {self.directory}: '
      f'{_cause(error)}. Earlier ones are untouched; make place, or see to the '
      'folder, and start the same command again.'
    )

  def _none_is_good(
    self, damaged: list[_manifest.StepReport]
  ) -> _errors.CheckpointError:
    problems = {r.step: r.problem for r in [*self._reports(), *damaged]}
    lines = '\n'.join(f'  step {s}: {problems[s]}' for s in sorted(problems))
    return _errors.CheckpointError(
      f'no checkpoint in {self.directory} is good:\n{lines}\n'
      'Put the files back from a copy; or start again, with another --workdir '
      'or after removing this folder.'
    )

  def _list(self, damaged: list[_manifest.StepReport]) -> str:
    found = '; '.join(f'step {r.step}: {r.problem}' for r in damaged)
    return f'damaged checkpoints in {self.directory}: {found}'


def _cause(error: BaseException) -> str:
  """The first line of an error."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  lines = str(error).splitlines() or [type(error).__name__]
  return lines[0] if len(lines[0]) <= 300 else lines[0][:297] + '...'


def _all_finite(tree: Any) -> bool:
  leaves = [
    x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)
  ]
  return all(bool(jnp.isfinite(x).all()) for x in leaves)
