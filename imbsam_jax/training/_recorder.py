# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind as it trains: history, validations, checkpoints."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax.training import _checkpoint
from imbsam_jax.training import _state
from imbsam_jax.training import _writers

# Calls whose metrics may wait on the device before they are read.
FLUSH_EVERY = 50


class _Call(NamedTuple):
  """Steps that were made in one call.

  Attributes:
    step: The first of these steps.
    notes: What is known of each without the device.
    metrics: What the call gave, on the device.
  """

  step: int
  notes: Sequence[Mapping[str, float]]
  metrics: Mapping[str, Any]


class Recorder:
  """Records one run.

  Args:
    num_steps: Steps of the whole run.
    elapsed: Seconds of training so far.
    evaluate: Validation metrics of a state.
    evaluate_at: Steps after which to evaluate.
    checkpoints: Where to save.
    checkpoint_at: Steps after which to save.
    history: Where to note every step.
    on_progress: Called with new records.
    run: Place of the run in metrics and states of several; None is one alone.
  """

  def __init__(
    self,
    *,
    num_steps: int,
    elapsed: Callable[[], float],
    evaluate: Callable[[_state.TrainState], Mapping[str, float | None]] | None,
    evaluate_at: Collection[int],
    checkpoints: _checkpoint.Checkpoints | None,
    checkpoint_at: Collection[int],
    history: _writers.History | None,
    on_progress: Callable[[list[dict[str, Any]]], None] | None,
    run: int | None = None,
  ):
    self._num_steps = num_steps
    self._elapsed = elapsed
    self._evaluate = evaluate
    self._evaluate_at = evaluate_at
    self._checkpoints = checkpoints
    self._checkpoint_at = checkpoint_at
    self._history = history
    self._on_progress = on_progress
    self._run = run
    self._waiting: list[_Call] = []
    before = history.records if history is not None else []
    self._skipped = [r['step'] for r in before if r.get('skipped')]

  def next_mark(self, step: int) -> int:
    """Completed steps, more than `step`, after which something may be due."""
    marks = {*self._evaluate_at, *self._checkpoint_at, self._num_steps}
    return min(mark for mark in marks if mark > step)

  def note(
    self,
    step: int,
    notes: Sequence[Mapping[str, float]],
    metrics: Mapping[str, Any],
  ) -> None:
    """Takes what a call of the device gave, and does not wait for it.

    Args:
      step: First step of the call.
      notes: What else to note of each of its steps.
      metrics: Scalars, with an axis of steps if the call made several, and one
        of runs if there are several. 'skipped' and 'exhausted' are those of
        `skip_nonfinite`; all others are noted by their names.
    """
    self._waiting.append(_Call(step, notes, metrics))

  def after(
    self, done: int, state: _state.TrainState, *, stopping: bool = False
  ) -> None:
    """Does what is due after a call.

    Metrics are read seldom enough that the device never waits for it. Then the
    run is validated, and saved with what was found.

    Args:
      done: Completed steps.
      state: The state after them.
      stopping: Whether the run ends here, so that it is to be saved.

    Raises:
      DivergedError: If the chain gave up.
    """
    last = done == self._num_steps
    evaluating = last or done in self._evaluate_at
    saving = last or stopping or done in self._checkpoint_at
    evaluate = self._evaluate if evaluating else None
    checkpoints = self._checkpoints if saving else None
    marked = evaluate is not None or checkpoints is not None
    full = len(self._waiting) >= FLUSH_EVERY
    if marked or full or last or stopping:
      self._flush()
    if marked and self._run is not None:
      state = entry(state, self._run)
    scores = None
    if evaluate is not None:
      scores = evaluate(state)
      if self._history is not None:
        self._history.append([{'step': done, 'validation': dict(scores)}])
    if checkpoints is not None:
      checkpoints.save(state, metrics=_defined(scores), seconds=self._elapsed())

  def _flush(self) -> None:
    """Reads the metrics that wait."""
    records, given_up = self._read()
    self._waiting.clear()
    self._skipped += [r['step'] for r in records if r.get('skipped')]
    if self._history is not None:
      self._history.append(records)
    if self._on_progress is not None:
      self._on_progress(records)
    if given_up is not None:
      raise _errors.DivergedError(_divergence(self._skipped, given_up))

  def _read(self) -> tuple[list[dict[str, Any]], int | None]:
    """Records of the waiting steps, and the one at which the chain gave up."""
    fetched = jax.device_get([call.metrics for call in self._waiting])
    if self._run is not None:
      fetched = entry(fetched, self._run)
    records, given_up = [], None
    for call, metrics in zip(self._waiting, fetched, strict=True):
      columns = {name: np.atleast_1d(value) for name, value in metrics.items()}
      for k, note in enumerate(call.notes):
        values = {name: column[k] for name, column in columns.items()}
        skipped = values.pop('skipped', False)
        exhausted = values.pop('exhausted', False)
        record: dict[str, Any] = {'step': call.step + k + 1, **note}
        record |= {name: float(value) for name, value in values.items()}
        if skipped:
          # JSON has no NaN, and a loss may be that of another pass.
          record |= {
            name: None
            for name, value in values.items()
            if name == 'loss' or not np.isfinite(value)
          }
          record['skipped'] = True
        if exhausted and given_up is None:
          given_up = record['step']
        records.append(record)
    return records, given_up


def entry(tree: Any, index: int) -> Any:
  """One of the things that were stacked."""
  return jax.tree.map(lambda x: x[index], tree)


def _divergence(skipped: list[int], last: int) -> str:
  first = last
  while first - 1 in skipped:
    first -= 1
  return (
    f'too many updates in a row were not finite: those of steps {first} to '
    f'{last}. None was applied. Lower the learning rate or the radius, clip '
    'the gradient (`clip_norm=1.0`), or look at the data of these steps.'
  )


def _defined(
  scores: Mapping[str, float | None] | None,
) -> dict[str, float] | None:
  """The metrics that have a value."""
  if scores is None:
    return None
  return {name: value for name, value in scores.items() if value is not None}
