# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`fit`: the training loop."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import time
from typing import Any
from typing import NamedTuple

import jax

from imbsam_jax import _errors
from imbsam_jax.data import prefetch
from imbsam_jax.data import stack_batches
from imbsam_jax.data import TrainBatch
from imbsam_jax.training import _checkpoint
from imbsam_jax.training import _recorder
from imbsam_jax.training import _state
from imbsam_jax.training import _writers

TrainStep = Callable[
  [_state.TrainState, TrainBatch],
  tuple[_state.TrainState, dict[str, Any]],
]


class ScannedSteps(NamedTuple):
  """Several steps in one call, see `scan_steps`.

  Attributes:
    number: Number of steps in a call.
    steps: ``steps(step)`` is the jitted `scan_steps` of that moment.
    put_batches: Moves stacked batches to the devices.
  """

  number: int
  steps: Callable[[int], TrainStep]
  put_batches: Callable[[TrainBatch], TrainBatch]


def fit(
  state: _state.TrainState,
  train_step: Callable[[int], TrainStep],
  batches: Any,
  *,
  num_steps: int,
  put_batch: Callable[[TrainBatch], TrainBatch],
  scanned: ScannedSteps | None = None,
  num_threads: int = 0,
  describe: Callable[[int, TrainBatch], Mapping[str, float]] | None = None,
  evaluate: Callable[[_state.TrainState], Mapping[str, float | None]]
  | None = None,
  evaluate_at: Collection[int] = (),
  checkpoints: _checkpoint.Checkpoints | None = None,
  checkpoint_at: Collection[int] = (),
  history: _writers.History | None = None,
  on_progress: Callable[[list[dict[str, Any]]], None] | None = None,
  stop: Callable[[], bool] | None = None,
  seconds: float = 0.0,
) -> tuple[_state.TrainState, float]:
  """Trains from ``state.step`` to `num_steps`.

  Args:
    state: Where to start; a restored state goes on where it stopped.
    train_step: ``train_step(step)`` is the jitted step of that moment: methods
      with stages have one for each. It gives a state, and metrics: scalars that
      are noted by their names, but for the 'skipped' and 'exhausted' of
      `skip_nonfinite`.
    batches: ``batches[step]`` is the `TrainBatch` of a step.
    num_steps: Steps of the whole run.
    put_batch: Moves a batch to the devices.
    scanned: Makes several steps in one call, where nothing comes between them.
    num_threads: Threads that make batches ahead, see `data.prefetch`.
    describe: What else to note about a step, from its number and batch.
    evaluate: Validation metrics of a state.
    evaluate_at: Numbers of completed steps after which to evaluate.
    checkpoints: Where to save.
    checkpoint_at: Numbers of completed steps after which to save, with the
      validation metrics of that moment. The end is always saved.
    history: Where to note every step.
    on_progress: Called with the records of the steps since the last call.
    stop: Whether to stop, such as after a signal. Asked after every call of a
      step; then that step is saved, and nothing else is begun. Of several
      processes, all must be told the same, see `in_any_process`.
    seconds: Training time before this call.

  Returns:
    The final state, and the training time in all.

  Raises:
    DivergedError: If more updates in a row are not finite than the chain
      accepts.
    PreemptedError: If `stop` said so before the end. What was trained is being
      saved; close `checkpoints` to wait for it.
  """
  begin = time.perf_counter() - seconds
  recorder = _recorder.Recorder(
    num_steps=num_steps,
    elapsed=lambda: time.perf_counter() - begin,
    evaluate=evaluate,
    evaluate_at=evaluate_at,
    checkpoints=checkpoints,
    checkpoint_at=checkpoint_at,
    history=history,
    on_progress=on_progress,
  )
  done = int(state.step)
  stream = prefetch(
    batches, start=done, stop=num_steps, num_threads=num_threads
  )
  ahead: list[TrainBatch] = []  # Made, and not yet taken.
  while done < num_steps:
    # One step, or several if nothing comes between them.
    step = done
    number = scanned.number if scanned is not None else 1
    if (
      scanned is not None
      and step + number <= recorder.next_mark(step)
      and all(train_step(step) is train_step(step + k) for k in range(number))
      and _same_streams(_made(ahead, stream, number))
    ):
      chunk = stack_batches(ahead[:number])
      del ahead[:number]
      made = [_recorder.entry(chunk, k) for k in range(number)]
      state, metrics = scanned.steps(step)(state, scanned.put_batches(chunk))
    else:
      made = _made(ahead, stream, 1)
      del ahead[:1]
      state, metrics = train_step(step)(state, put_batch(made[0]))
    done = step + len(made)
    notes = [
      describe(step + k, batch) if describe else {}
      for k, batch in enumerate(made)
    ]
    recorder.note(step, notes, metrics)
    stopping = stop is not None and stop() and done < num_steps
    recorder.after(done, state, stopping=stopping)
    if stopping:
      raise _errors.PreemptedError(f'stopped after step {done} of {num_steps}.')
  jax.block_until_ready(state)
  return state, time.perf_counter() - begin


def _made(
  ahead: list[TrainBatch], stream: Iterator[TrainBatch], number: int
) -> list[TrainBatch]:
  """The next batches, which stay in `ahead`."""
  while len(ahead) < number:
    ahead.append(next(stream))
  return ahead[:number]


def _same_streams(batches: list[TrainBatch]) -> bool:
  """Whether batches have rows of the same further streams."""
  return all(b.streams.keys() == batches[0].streams.keys() for b in batches)
