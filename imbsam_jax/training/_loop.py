# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import time
from typing import Any

import jax

from imbsam_jax.data import TrainBatch
from imbsam_jax.training import _checkpoint
from imbsam_jax.training import _errors
from imbsam_jax.training import _state
from imbsam_jax.training import _writers

TrainStep = Callable[
  [_state.TrainState, TrainBatch],
  tuple[_state.TrainState, dict[str, Any]],
]

# Steps whose metrics may wait on the device before they are read.
_FLUSH_EVERY = 50


def fit(
  state: _state.TrainState,
  train_step: Callable[[int], TrainStep],
  batches: Any,
  *,
  num_steps: int,
  put_batch: Callable[[TrainBatch], TrainBatch],
  describe: Callable[[int, TrainBatch], Mapping[str, float]] | None = None,
  evaluate: Callable[[_state.TrainState], Mapping[str, float | None]]
  | None = None,
  evaluate_at: Collection[int] = (),
  checkpoints: _checkpoint.Checkpoints | None = None,
  checkpoint_at: Collection[int] = (),
  history: _writers.History | None = None,
  on_progress: Callable[[list[dict[str, Any]]], None] | None = None,
  seconds: float = 0.0,
) -> tuple[_state.TrainState, float]:
  """Trains from ``state.step`` to `num_steps`.

  Args:
    state: Where to start; a restored state goes on where it stopped.
    train_step: ``train_step(step)`` is the jitted step of that moment: methods
      with stages have one for each.
    batches: ``batches[step]`` is the `TrainBatch` of a step.
    num_steps: Steps of the whole run.
    put_batch: Moves a batch to the devices.
    describe: What else to note about a step, from its number and batch.
    evaluate: Validation metrics of a state.
    evaluate_at: Numbers of completed steps after which to evaluate.
    checkpoints: Where to save.
    checkpoint_at: Numbers of completed steps after which to save, with the
      validation metrics of that moment. The end is always saved.
    history: Where to note every step.
    on_progress: Called with the records of the steps since the last call.
    seconds: Training time before this call.

  Returns:
    The final state, and the training time in all.

  Raises:
    DivergedError: More non-finite updates in a row than the chain accepts.
  """
  begin = time.perf_counter() - seconds
  waiting: list[tuple[int, Mapping[str, float], dict[str, jax.Array]]] = []
  skipped: list[int] = []
  for step in range(int(state.step), num_steps):
    # One step.
    batch = batches[step]
    note = describe(step, batch) if describe else {}
    state, metrics = train_step(step)(state, put_batch(batch))
    done = step + 1
    waiting.append((done, note, metrics))

    # Read the metrics, seldom enough that the device never waits for it.
    last = done == num_steps
    evaluating = evaluate is not None and (last or done in evaluate_at)
    saving = checkpoints is not None and (last or done in checkpoint_at)
    if len(waiting) >= _FLUSH_EVERY or evaluating or saving or last:
      records, given_up = _read(waiting)
      waiting.clear()
      skipped += [r['step'] for r in records if r.get('skipped')]
      if history:
        history.append(records)
      if on_progress:
        on_progress(records)
      if given_up is not None:
        raise _errors.DivergedError(_divergence(skipped, given_up))

    # Validate, then save with what was found.
    scores = evaluate(state) if evaluate is not None and evaluating else None
    if scores is not None and history:
      history.append([{'step': done, 'validation': dict(scores)}])
    if checkpoints is not None and saving:
      elapsed = time.perf_counter() - begin
      checkpoints.save(state, metrics=_numbers(scores), seconds=elapsed)
  jax.block_until_ready(state)
  return state, time.perf_counter() - begin


def _read(waiting: list) -> tuple[list[dict[str, Any]], int | None]:
  """Records of the waiting steps, and the step at which the chain gave up."""
  fetched = jax.device_get([metrics for _, _, metrics in waiting])
  records, given_up = [], None
  for (done, note, _), metrics in zip(waiting, fetched, strict=True):
    record: dict[str, Any] = {'step': done, **note}
    record['loss'] = float(metrics['loss'])
    record['train_accuracy'] = float(metrics['train_accuracy'])
    if metrics['skipped']:
      record |= {'loss': None, 'skipped': True}
    if metrics['exhausted'] and given_up is None:
      given_up = done
    records.append(record)
  return records, given_up


def _divergence(skipped: list[int], last: int) -> str:
  first = last
  while first - 1 in skipped:
    first -= 1
  return (
    f'too many updates in a row were not finite: those of steps {first} to '
    f'{last}. None was applied. Lower the learning rate or the radius, clip '
    'the gradient (--config.optimizer.clip_norm=1.0), or look at the data of '
    'these steps.'
  )


def _numbers(
  scores: Mapping[str, float | None] | None,
) -> dict[str, float] | None:
  if scores is None:
    return None
  return {name: value for name, value in scores.items() if value is not None}
