# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A rehearsal: every part of a run once, on two steps."""

import pathlib
import re
import tempfile
import time
from typing import Any

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _memory
from imbsam_jax import training
from imbsam_jax._runs import console
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment


def dry_run(experiment: _experiment.Experiment) -> str:
  """Two steps, evaluation, save and restore; what a run would take.

  Args:
    experiment: What would be trained.

  Returns:
    A text with estimates of time and memory.

  Raises:
    ConfigError: If the state takes more memory than there is.
    CheckpointError: If the restored state is not the saved one.
  """
  _check_memory(experiment.abstract_state)
  seed = experiment.config.seed
  state = experiment.init(seed)
  batches = experiment.batches(seed)
  begin = time.perf_counter()
  state = _steps(experiment, state, batches)
  compiled = time.perf_counter() - begin
  # Once more, now without compiling, on a copy that is thrown away.
  again = jax.tree.map(lambda x: x.copy(), state).replace(step=0 * state.step)
  begin = time.perf_counter()
  jax.block_until_ready(_steps(experiment, again, batches))
  seconds_per_step = (time.perf_counter() - begin) / 2
  _evaluate.evaluate(experiment, state, experiment.config.final_split)
  num_bytes = _save_and_restore(state)
  # The run that comes before, if there is one, at the same price of a pass.
  work = experiment.expected_work() / experiment.expected_cost()
  seconds = compiled + seconds_per_step * work
  return (
    f'dry run: 2 steps, evaluation, save and restore went well\n'
    f'time     {seconds_per_step * 1e3:.1f} ms per step, about '
    f'{console.duration(seconds)} for {experiment.num_steps} steps '
    f'{"and the search before " if experiment.search else ""}'
    f'({compiled:.1f} s to compile)\n'
    f'memory   {_peak_memory() / 2**20:.0f} MiB at most so far, '
    f'{num_bytes / 2**20:.1f} MiB per checkpoint'
    + _remembered(experiment.abstract_state.loss_state)
  )


def _remembered(loss_state: Any) -> str:
  """How much of it is the method's own, if that is worth a word."""
  number = _bytes(loss_state)
  if number < 2**20:
    return ''
  return f', {number / 2**20:.1f} MiB of the state is what the method remembers'


def _check_memory(state: training.TrainState) -> None:
  """Refuses a state that does not fit, before it is made."""
  whole, remembered = _bytes(state), _bytes(state.loss_state)
  free = _free_memory()
  if free is None or whole <= free:
    return
  what, advice = '', 'Pass a smaller network.'
  if 2 * remembered > whole:
    what = f', {_gibibytes(remembered)} of it what the method remembers'
    advice = 'Give it less to remember, such as a queue of a smaller `size`.'
  raise _errors.ConfigError(
    f'the state of this run takes {_gibibytes(whole)}{what}, and '
    f'{_gibibytes(free)} are free. {advice}'
  )


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _gibibytes(number: int) -> str:
  return f'{number / 2**30:.1f} GiB'


def _free_memory() -> int | None:
  """Bytes of the device where it tells, else of this machine, if it tells."""
  stats = jax.local_devices()[0].memory_stats()
  if stats and 'bytes_limit' in stats:
    return stats['bytes_limit'] - stats['bytes_in_use']
  # With what the system would give back, such as cached files.
  meminfo = pathlib.Path('/proc/meminfo')
  if not meminfo.exists():
    return None
  available = re.search(r'MemAvailable:\s+(\d+) kB', meminfo.read_text())
  return int(available[1]) * 1024 if available else None


def _steps(experiment, state, batches):
  for step in range(2):
    batch = experiment.put(batches[step])
    state, _ = experiment.train_step(step)(state, batch)
  return jax.block_until_ready(state)


def _save_and_restore(state: training.TrainState) -> int:
  with tempfile.TemporaryDirectory() as folder:
    with training.Checkpoints(folder) as checkpoints:
      checkpoints.save(state)
    with training.Checkpoints(folder) as checkpoints:
      restored, _ = checkpoints.restore(state)
    same = jax.tree.map(np.array_equal, state, restored)
    if not all(jax.tree.leaves(same)):
      raise training.CheckpointError(
        'the restored state is not the saved one; the disk of '
        f'{folder} cannot be trusted.'
      )
    files = pathlib.Path(folder).rglob('*')
    return sum(file.stat().st_size for file in files if file.is_file())


def _peak_memory() -> int:
  """Bytes: of the device where it tells, else of this process."""
  stats = jax.devices()[0].memory_stats()
  if stats and 'peak_bytes_in_use' in stats:
    return stats['peak_bytes_in_use']
  return _memory.peak()
