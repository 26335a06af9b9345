# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a command would take: its parts, once each, in other processes."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any
from typing import NamedTuple

import jax
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _memory
from imbsam_jax import training
from imbsam_jax._runs import compilation
from imbsam_jax._runs import fields
from imbsam_jax.experiment import _build
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _evaluate
from imbsam_jax.experiment import _experiment
from imbsam_jax.experiment import _run

_PROGRAM = (
  'import imbsam_jax, sys\n'
  'from imbsam_jax import _memory\n'
  '_memory.pays() and _memory.keep_memory()\n'
  'from imbsam_jax.experiment import _rehearsal\n'
  '_rehearsal.main(sys.argv[1], sys.argv[2], float(sys.argv[3]))\n'
)
_MAX_TEST_IMAGES = 512
_FIRST_STEPS = 4
_SECONDS_OF_STEPS = 3.0
_MAX_STEPS = 100
# To import matplotlib and draw the picture at the end.
_PLOT_SECONDS = 1.5
_MAX_SECONDS = 900.0


class Estimate(NamedTuple):
  """What a training command takes on this machine.

  Attributes:
    seconds: From its start to its end, its programs compiled before.
    compile_seconds: To compile them, if that was not done before.
    seconds_per_step: A step.
    num_steps: Steps of the run.
    memory_bytes: Largest size of the process.
    device_memory_bytes: Largest use of the device's memory, if it tells.
  """

  seconds: float
  compile_seconds: float
  seconds_per_step: float
  num_steps: int
  memory_bytes: int
  device_memory_bytes: int | None


def estimate(config: _config.Config) -> Estimate:
  """Rehearses a run in processes of their own, and keeps what was compiled.

  One compiles, and the next one measures: to compile takes more memory than to
  train.

  Args:
    config: Its configuration.

  Raises:
    ConfigError: If the rehearsal fails; the message says why.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'config.json'
    path.write_text(json.dumps(fields.to_json(config)))
    compiled = _in_process(folder, 'compile')
    measured = _in_process(folder, 'measure')
    measured['compile_seconds'] = max(
      compiled['compile_seconds'] - measured['compile_seconds'], 0.0
    )
    return Estimate(**measured)


def _in_process(folder: str, part: str) -> dict[str, Any]:
  """What one process finds out."""
  command = [sys.executable, '-c', _PROGRAM, folder, part, str(time.time())]
  try:
    done = subprocess.run(
      command, capture_output=True, timeout=_MAX_SECONDS, check=False
    )
  except subprocess.TimeoutExpired as error:
    raise _errors.ConfigError(
      f'the rehearsal took longer than {_MAX_SECONDS:.0f} s.'
    ) from error
  if done.returncode:
    lines = done.stderr.decode(errors='replace').strip().splitlines()
    raise _errors.ConfigError(lines[-1] if lines else 'the rehearsal failed.')
  return json.loads((pathlib.Path(folder) / f'{part}.json').read_text())


def main(folder: str, part: str, begin: float) -> None:
  """Rehearses the run of the ``config.json`` in a folder.

  Args:
    folder: Where ``compile.json`` or ``measure.json`` is written too.
    part: 'compile' or 'measure'.
    begin: Time when the process was started, in seconds since 1970.
  """
  path = pathlib.Path(folder)
  compilation.cache_compilations()
  config = fields.from_json(path / 'config.json', _config.Config)
  if part == 'compile':
    data = _data_sets.load(config.data)
    experiment = _build.build_on(config, data)
    seconds = _timed(lambda: compilation.compile_ahead([experiment]))
    result = {'compile_seconds': seconds}
  else:
    result = _measure(config, path, begin)._asdict()
  (path / f'{part}.json').write_text(json.dumps(result))


def _measure(
  config: _config.Config, folder: pathlib.Path, begin: float
) -> Estimate:
  data = _data_sets.load(config.data)
  num_test = len(data.test.labels)
  # Spread over all: files of a class lie together.
  some = np.unique(
    np.linspace(0, num_test - 1, min(num_test, _MAX_TEST_IMAGES)).astype(int)
  )
  experiment = _build.build_on(config, data._replace(test=data.test.at(some)))
  start = time.time() - begin
  loaded = _timed(lambda: compilation.compile_ahead([experiment]))
  state, stepping, per_step = _some_steps(experiment)
  evaluated = [
    _timed(lambda: _evaluate.evaluate(experiment, state, config.final_split))
    for _ in range(2)
  ]
  saved = _timed(lambda: _save(state, folder / 'checkpoints'))
  num_marks = len(_run.evaluation_marks(experiment))
  seconds = (
    (start + loaded + stepping)
    + (evaluated[0] + evaluated[1] * (num_test / len(some) - 1))
    + (num_marks * saved + _PLOT_SECONDS)
  )
  stats = jax.local_devices()[0].memory_stats() or {}
  return Estimate(
    seconds=seconds,
    compile_seconds=loaded,
    seconds_per_step=per_step,
    num_steps=experiment.num_steps,
    memory_bytes=_memory.peak(),
    device_memory_bytes=stats.get('peak_bytes_in_use'),
  )


def _some_steps(
  experiment: _experiment.Experiment,
) -> tuple[training.TrainState, float, float]:
  """A state, the time of all steps of a run, and the time of one."""
  seed, total = experiment.config.seed, experiment.num_steps
  batches = experiment.batches(seed)
  state = experiment.init(seed)

  def until(step):
    nonlocal state
    begin = time.perf_counter()
    state, _ = training.fit(
      state,
      experiment.train_step,
      batches,
      num_steps=step,
      put_batch=experiment.put,
      scanned=experiment.scanned,
      num_threads=experiment.num_threads,
    )
    jax.block_until_ready(state)
    return time.perf_counter() - begin

  # The first ones load programs.
  taken = min(_FIRST_STEPS, total)
  spent = until(taken)
  per_step = spent / taken
  begin = time.perf_counter()
  while taken < min(total, _MAX_STEPS) and (
    time.perf_counter() - begin < _SECONDS_OF_STEPS
  ):
    step = min(2 * taken, total)
    seconds = until(step)
    per_step = seconds / (step - taken)
    taken, spent = step, spent + seconds
  return state, spent + per_step * (total - taken), per_step


def _timed(function: Any) -> float:
  begin = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - begin


def _save(state: training.TrainState, folder: pathlib.Path) -> None:
  with training.Checkpoints(folder) as checkpoints:
    checkpoints.save(state)
