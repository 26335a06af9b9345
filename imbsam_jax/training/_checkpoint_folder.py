# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder of the checkpoints of a run: which are good, which go.

For one process at a time, and without Orbax.
"""

from collections.abc import Mapping
import contextlib
import json
import os
import pathlib
import re
from typing import Any
import warnings

from imbsam_jax import _errors
from imbsam_jax.training import _manifest

_UNREADABLE = (
  OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
)  # fmt: skip


class CheckpointFolder:
  """Steps on disk, see `Checkpoints`.

  Args:
    directory: Folder of the checkpoints.
    best_metric: Metric whose largest value marks the best, or None.
    keep_last: Number of the newest checkpoints that stay.
    read_only: Whether nothing is to be changed.
    about: What the run is of, for the manifests.
  """

  def __init__(
    self,
    directory: str | os.PathLike[str],
    *,
    best_metric: str | None,
    keep_last: int,
    read_only: bool,
    about: Mapping[str, Any] | None = None,
  ):
    self.path = pathlib.Path(directory).resolve()
    self._best_metric = best_metric
    self._keep_last = keep_last
    self._read_only = read_only
    self._about = about
    # What was found out about files, by their signature.
    self._known: dict[Any, str | None] = {}

  def open(self) -> None:
    """Makes the folder, and removes what killed processes have left.

    Raises:
      ConfigError: If the path is one that cannot be read again.
      CheckpointError: If there is no such folder, or it cannot be made.
    """
    _check_path(self.path)
    if self._read_only:
      if not self.path.is_dir():
        raise _errors.CheckpointError(f'there is no folder {self.path}.')
      return
    try:
      self.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise _errors.CheckpointError(
        f'the folder {self.path} cannot be made: {_cause(error)}. Remove or '
        'rename what is in its place, or pass another `workdir`.'
      ) from error
    _manifest.sweep(self.path)

  def latest_step(self) -> int | None:
    """Step of the newest good checkpoint; None if nothing was saved."""
    newest, damaged = self._newest_good()
    if newest is None and damaged:
      raise self._none_is_good(damaged)
    return None if newest is None else newest.step

  def best_step(self) -> int | None:
    """Step of the good checkpoint with the largest `best_metric`."""
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
        "the last one (`checkpoint='last'`)."
      )
    return None

  def choose(self, step: int | None) -> tuple[int, float]:
    """The checkpoint to restore: its step, and the training time up to it."""
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
        f'in {self.path}.'
      )
    if report.status == 'unchecked':
      warnings.warn(
        f'the checkpoints in {self.path} have no checksums: they were '
        'written by an earlier version, or the first was interrupted. That of '
        f'step {report.step} is restored unchecked.',
        stacklevel=2,
      )
    return report.step, report.seconds

  def make_place(self, step: int) -> bool:
    """Makes place for a step; False if it is there already, and good."""
    if self._read_only:
      raise _errors.CheckpointError(f'{self.path} was opened to read only.')
    try:
      return self._make_place(step)
    except OSError as error:
      raise self.not_saved(step, error) from error

  def complete(
    self, step: int, *, metrics: Mapping[str, float], seconds: float
  ) -> None:
    """Gives a step its manifest, when all else is on disk."""
    _manifest.write(
      self.path, step, metrics=metrics, seconds=seconds, about=self._about
    )

  def delete_old(self, step: int) -> None:
    """Deletes what is older than the last, such as `step`, and not the best."""
    try:
      self._delete_old()
    except OSError as error:
      raise _errors.CheckpointError(
        f'older checkpoints in {self.path} cannot be deleted: {_cause(error)}. '
        f'That of step {step} is saved.'
      ) from error

  def adopt(self) -> None:
    """Gives manifests to steps of a folder that has none, the last first."""
    if self._read_only:
      return
    for r in reversed(self._reports()):
      if r.status == 'unchecked':
        self.complete(r.step, metrics=r.metrics, seconds=r.seconds)

  def go_back(self, step: int) -> bool:
    """Renames good ones newer than `step` to ``<step>.later``, if one stays."""
    reports = [self._checked(report) for report in self._reports()]
    good = [r for r in reports if r is not None and r.status == 'good']
    newer = [r.step for r in good if r.step > step]
    if len(newer) == len(good):
      return False
    try:
      for number in reversed(newer):
        _manifest.set_aside(self.path, number, 'later')
    except OSError as error:
      raise _errors.CheckpointError(
        f'checkpoints after step {step} in {self.path} cannot be renamed: '
        f'{_cause(error)}.'
      ) from error
    return True

  def discard(self) -> None:
    """Frees the place that a failed save has taken."""
    with contextlib.suppress(OSError):
      _manifest.sweep(self.path)

  def not_saved(self, step: int, error: Exception) -> _errors.CheckpointError:
    """The error of a step that could not be saved, with its cause."""
    return _errors.CheckpointError(
      f'the checkpoint of step {step} could not be saved in {self.path}: '
      f'{_cause(error)}. Earlier ones are untouched; make place, or see to the '
      'folder, and start the same command again.'
    )

  def _make_place(self, step: int) -> bool:
    self.adopt()
    reports = self._reports()
    newer = [r.step for r in reports if r.status == 'good' and r.step > step]
    if newer:
      raise _errors.CheckpointError(
        f'{self.path} has a newer checkpoint, of step {newer[-1]}; one of '
        f'step {step} would be deleted as the older one. Restore the newest, '
        'or save into another folder.'
      )
    for report in reports:
      checked = self._checked(report) if report.step == step else None
      if checked is not None and checked.status == 'good':
        return False
      if checked is not None:
        self._clear(checked)
    return True

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

  def _clear(self, report: _manifest.StepReport) -> None:
    """Takes a step away: nothing is deleted because it is damaged."""
    if report.status == 'damaged':
      _manifest.set_aside(self.path, report.step)
    else:
      _manifest.remove(self.path, report.step)

  def _fall_back(
    self,
    report: _manifest.StepReport,
    damaged: list[_manifest.StepReport],
  ) -> None:
    moved = ''
    if not self._read_only:
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
      # List again: a process that saves may have replaced all that were listed.
      if not gone:
        return None, damaged

  def _one(self, step: int) -> _manifest.StepReport | None:
    """A checkpoint that was asked for by its step."""
    for report in self._reports():
      if report.step != step:
        continue
      checked = self._checked(report)
      if checked is not None and checked.status in ('damaged', 'incomplete'):
        raise _errors.CheckpointError(
          f'the checkpoint of step {step} in {self.path} is '
          f'{checked.status}: {checked.problem}. Without a step '
          "(`checkpoint='last'`), the newest good one is restored."
        )
      return checked
    return None

  def _reports(self) -> list[_manifest.StepReport]:
    reports = _manifest.inspect_checkpoints(self.path)
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
    key = _manifest.signature(self.path, report)
    if key not in self._known:
      problem = _manifest.damage(self.path, report, contents=True)
      if problem is not None and not _manifest.exists(self.path, report.step):
        return None
      self._known[key] = problem
    problem = self._known[key]
    if problem is None:
      return report
    return report._replace(status='damaged', problem=problem)

  def _notes(self, step: int) -> dict[str, Any]:
    """What Orbax's own files know, for steps without a manifest."""
    folder = self.path / str(step)
    try:
      metadata = json.loads((folder / '_CHECKPOINT_METADATA').read_text())
      notes = metadata['custom_metadata'] or {}
      metrics = notes.get('metrics')
      # Where earlier versions had them.
      path = folder / 'metrics' / 'metrics'
      if metrics is None and path.exists():
        metrics = json.loads(path.read_text())
      return {'metrics': metrics or {}, 'seconds': notes.get('seconds', 0.0)}
    except _UNREADABLE:
      return {'metrics': {}, 'seconds': 0.0}

  def _none_is_good(
    self, damaged: list[_manifest.StepReport]
  ) -> _errors.CheckpointError:
    problems = {r.step: r.problem for r in [*self._reports(), *damaged]}
    lines = '\n'.join(f'  step {s}: {problems[s]}' for s in sorted(problems))
    return _errors.CheckpointError(
      f'no checkpoint in {self.path} is good:\n{lines}\n'
      'Put the files back from a copy; or start again, with another `workdir` '
      'or after removing this folder.'
    )

  def _list(self, damaged: list[_manifest.StepReport]) -> str:
    problems = '; '.join(f'step {r.step}: {r.problem}' for r in damaged)
    return f'damaged checkpoints in {self.path}: {problems}'


def _check_path(path: pathlib.Path) -> None:
  """Refuses paths that Orbax writes to, and does not read."""
  # In which a backslash separates nothing, as it does on Windows.
  text = path.as_posix()
  pattern = re.search(r'\[[^/]*\]|\\', text)
  bad = pattern and repr(pattern[0])
  try:
    text.encode()
  except UnicodeEncodeError:
    bad = 'what is not UTF-8'
  if bad is not None:
    # As it can be printed.
    shown = text.encode(errors='backslashreplace').decode()
    raise _errors.ConfigError(
      f'checkpoints cannot be kept in {shown}, since Orbax reads no path with '
      f'{bad}. Rename that folder, or pass another `workdir`.'
    )


def _cause(error: BaseException) -> str:
  """The first line of an error."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  lines = str(error).splitlines() or [type(error).__name__]
  return lines[0] if len(lines[0]) <= 300 else lines[0][:297] + '...'
