# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compilation of the programs of runs ahead of them, and its cache."""

from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import os
import pathlib
from typing import Any

import jax

from imbsam_jax import _errors
from imbsam_jax import data
from imbsam_jax._runs import console

_DETERMINISTIC = '--xla_gpu_deterministic_ops=true'


def compile_ahead(
  experiments: Sequence[Any], *, say: Callable[[str], Any] | None = None
) -> None:
  """Compiles the programs of experiments into the compilation cache.

  XLA compiles a program on one core, so several at once.

  Args:
    experiments: Experiments whose programs are compiled.
    say: Called with a line on how many programs these are; None says nothing.
  """

  def compile_one(experiment, program, step):
    batch = experiment.batches(0)[step]
    train_step = experiment.train_steps[program.kind]
    train_step.lower(experiment.abstract_state, experiment.put(batch)).compile()

  def compile_scanned(experiment, program, step):
    batches = [experiment.batches(0)[step]] * experiment.steps_per_call
    scanned = experiment.scanned_steps[program.kind]
    scanned.lower(
      experiment.abstract_state,
      experiment.put_stacked(data.stack_batches(batches)),
    ).compile()

  # Those that come before are trained by the same calls.
  experiments = [
    part
    for one in experiments
    for part in ((one.search.experiment, one) if one.search else (one,))
  ]
  jobs: list[tuple[Any, ...]] = [(one.init, 0) for one in experiments]
  for experiment in experiments:
    for program, step in experiment.programs().items():
      jobs.append((compile_one, experiment, program, step))
      if experiment.steps_per_call > 1:
        jobs.append((compile_scanned, experiment, program, step))
  if jobs and say is not None:
    say(f'compiling {console.counted(len(jobs), "program")} ...')
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for one in [pool.submit(*job) for job in jobs]:
      one.result()


def cache_compilations(*, shared: bool = True) -> None:
  """Keeps compiled programs on disk: a second run starts at once.

  In ``$JAX_COMPILATION_CACHE_DIR``, or else in ``~/.cache/imbsam_jax``.
  Programs are found by their content, so that methods share what they have in
  common.

  Args:
    shared: Whether to take the second folder where the variable is not set. Of
      several processes only the first writes, for all who see the folder, so
      that these leave it.
  """
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    if not shared:
      return
    folder = pathlib.Path('~/.cache/imbsam_jax').expanduser()
    jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)


def ask_for_same_bits(deterministic: bool) -> None:
  """Hands the field `deterministic` to XLA, which reads it when JAX begins.

  Args:
    deterministic: Value of the field.

  Raises:
    ConfigError: If the field is set and JAX has begun without it, on GPUs;
      other devices give the same bits anyway.
  """
  flags = os.environ.get('XLA_FLAGS', '')
  if not deterministic or _DETERMINISTIC in flags.split():
    return
  if not _has_begun():
    os.environ['XLA_FLAGS'] = f'{flags} {_DETERMINISTIC}'.strip()
  elif jax.default_backend() == 'gpu':
    raise _errors.ConfigError(
      '`deterministic=True` comes too late for XLA, because JAX has used its '
      'GPUs already. Start Python with the environment variable '
      f'XLA_FLAGS={_DETERMINISTIC}, or build the experiment before anything '
      'else is computed.'
    )


def _has_begun() -> bool:
  """Whether JAX has made its devices, and XLA has read its flags."""
  config: Any = jax.config
  number = config.jax_num_cpu_devices
  try:
    config.update('jax_num_cpu_devices', number + 1)
  except RuntimeError:  # From then on it does not change.
    return True
  config.update('jax_num_cpu_devices', number)
  return False
