# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs of a small model, stacked and trained as one program.

A step of a small net takes an accelerator less time than the call itself. Not
for CPUs, where XLA runs convolutions with a batch of kernels several times
slower.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp

from imbsam_jax.data import prefetch
from imbsam_jax.data import stack_batches
from imbsam_jax.data import TrainBatch
from imbsam_jax.training import _checkpoint
from imbsam_jax.training import _recorder
from imbsam_jax.training import _scanned
from imbsam_jax.training import _state
from imbsam_jax.training import _writers


def stack_runs(train_step: _scanned.Step) -> _scanned.Step:
  """One step of each of several runs.

  Args:
    train_step: ``train_step(state, batch, *parameters)``, not jitted.

  Returns:
    ``step(states, batches, *parameters) -> (states, metrics)``, not yet jitted:
    all arrays have one entry per run, but for the images that stay on the
    devices, which runs share.
  """

  def step(states, batches, *parameters):
    def one(state, batch, *parameters):
      return train_step(state, batch, *parameters)

    in_axes = dataclasses.replace(
      batches, rows=0, weights=0, resident_images=None, streams=0
    )
    return jax.vmap(one, in_axes=(0, in_axes, *(0 for _ in parameters)))(
      states, batches, *parameters
    )

  return step


def fit_stacked(
  states: Sequence[_state.TrainState],
  train_step: Callable[[int], Any],
  batches: Sequence[Any],
  *,
  num_steps: int,
  put_batches: Callable[[TrainBatch], TrainBatch],
  parameters: Sequence[jax.Array] = (),
  describe: Callable[[int, TrainBatch], Mapping[str, float]] | None = None,
  evaluate: Callable[[_state.TrainState], Mapping[str, float | None]]
  | None = None,
  evaluate_at: Collection[int] = (),
  checkpoints: Sequence[_checkpoint.Checkpoints] | None = None,
  checkpoint_at: Collection[int] = (),
  histories: Sequence[_writers.History] | None = None,
  on_progress: Callable[[list[dict[str, Any]]], None] | None = None,
) -> tuple[list[_state.TrainState], float]:
  """Trains runs from their beginning to `num_steps`, a step of each at a time.

  Runs may differ in seed, order and `parameters`. Each becomes what `fit` makes
  of it alone, to rounding: rows of weight 0 fill groups up to those of the run
  with the most.

  Args:
    states: Initial state of each run.
    train_step: ``train_step(step)`` is the jitted `stack_runs` of that
      moment.
    batches: ``batches[run][step]`` is a `TrainBatch`.
    num_steps: Steps of the runs.
    put_batches: Moves stacked batches to the devices.
    parameters: Further arguments of the step, one entry per run in each.
    describe: What else to note about a step of a run, from its number and the
      batch of that run.
    evaluate: Validation metrics of the state of a run.
    evaluate_at: Numbers of completed steps after which to evaluate.
    checkpoints: Where to save each run.
    checkpoint_at: Numbers of completed steps after which to save, with the
      validation metrics of that moment. The end is always saved.
    histories: Where to note the steps of each run.
    on_progress: Called with the records of the first run.

  Returns:
    The final states, and the time that all took together.

  Raises:
    DivergedError: If more updates in a row are not finite, in one of the runs,
      than the chain accepts.
  """
  begin = time.perf_counter()
  num_runs = len(states)
  stacked: Any = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
  streams = [prefetch(b, start=0, stop=num_steps) for b in batches]
  recorders = [
    _recorder.Recorder(
      num_steps=num_steps,
      elapsed=lambda: (time.perf_counter() - begin) / num_runs,
      evaluate=evaluate,
      evaluate_at=evaluate_at,
      checkpoints=checkpoints[run] if checkpoints else None,
      checkpoint_at=checkpoint_at,
      history=histories[run] if histories else None,
      on_progress=on_progress if run == 0 else None,
      run=run,
    )
    for run in range(num_runs)
  ]
  for step in range(num_steps):
    chunk = stack_batches([next(stream) for stream in streams])
    stacked, metrics = train_step(step)(
      stacked, put_batches(chunk), *parameters
    )
    for run, recorder in enumerate(recorders):
      own = _recorder.entry(chunk, run)
      recorder.note(step, [describe(step, own) if describe else {}], metrics)
    for recorder in recorders:
      recorder.after(step + 1, stacked)
  jax.block_until_ready(stacked)
  seconds = time.perf_counter() - begin
  return [_recorder.entry(stacked, run) for run in range(num_runs)], seconds
