# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What compiled programs are of a run, and where they are kept."""

from collections.abc import Sequence
from concurrent import futures
import os
import pathlib

import jax

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _experiment


def compile_ahead(experiments: Sequence[_experiment.Experiment]) -> None:
  """Compiles the programs of runs into the compilation cache.

  XLA compiles a program on one core, so several at once.
  """

  def compile_one(experiment, program, step):
    batch = experiment.put(experiment.batches(0)[step])
    train_step = experiment.train_steps[program.kind]
    train_step.lower(experiment.abstract_state, batch).compile()

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    waiting = [pool.submit(experiment.init, 0) for experiment in experiments]
    waiting += [
      pool.submit(compile_one, experiment, program, step)
      for experiment in experiments
      for program, step in experiment.programs().items()
    ]
    for one in waiting:
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


def set_xla_flags(config: _config.Config) -> None:
  """Hands a configuration's wishes to XLA; call it before JAX is used."""
  if config.deterministic:
    flags_before = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = (
      f'{flags_before} --xla_gpu_deterministic_ops=true'.strip()
    )
