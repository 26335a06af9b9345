# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Several processes on one run, such as one on each machine of a cluster.

One on each machine, or under Slurm and Open MPI one for each GPU. There and on
TPU pods they find each other:

  srun python -m imbsam_jax train --distributed --config=... --workdir=...

Elsewhere each is told its place, and where the first one is:

  python -m imbsam_jax train --coordinator=HOST:PORT --num_processes=2 \
    --process_id=0 --config=... --workdir=...
"""

from typing import Any

from absl import flags

from imbsam_jax import _errors
from imbsam_jax._doors import door


def define(values: flags.FlagValues) -> None:
  """Defines the flags."""
  flags.DEFINE_bool(
    'distributed',
    False,
    'One of several processes on this run, which TPU pods, Slurm or Open MPI '
    'tell of each other.',
    flag_values=values,
  )
  flags.DEFINE_string(
    'coordinator',
    None,
    'HOST:PORT of process 0, where nothing else tells.',
    flag_values=values,
  )
  flags.DEFINE_integer(
    'num_processes',
    None,
    'Number of processes, with --coordinator.',
    1,
    flag_values=values,
  )
  flags.DEFINE_integer(
    'process_id', None, 'From 0, with --coordinator.', 0, flag_values=values
  )
  flags.DEFINE_integer(
    'process_timeout',
    100,
    'Seconds without a sign of life after which a process is given up; then '
    'all end.',
    1,
    flag_values=values,
  )


def join(values: flags.FlagValues) -> bool:
  """Joins the other processes, if flags say so; call it before JAX is used.

  From then on, only the first process prints, but for warnings and errors.

  JAX ends a process that does not find the others within five minutes.

  Args:
    values: Values of the flags.

  Returns:
    Whether there are others.

  Raises:
    ConfigError: If one of the flags is missing, or the processes do not find
      each other.
  """
  given: Any = values
  place = {
    'coordinator': given.coordinator,
    'num_processes': given.num_processes,
    'process_id': given.process_id,
  }
  missing = [name for name, value in place.items() if value is None]
  if len(missing) == len(place) and not given.distributed:
    return False
  if missing and len(missing) < len(place):
    raise _errors.ConfigError(
      '--coordinator=HOST:PORT, --num_processes and --process_id go together; '
      f'--{missing[0]} is missing.'
    )
  import jax

  # JAX's preemption service would catch SIGTERM, which `signals` handles here.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(
      given.coordinator,
      given.num_processes,
      given.process_id,
      heartbeat_timeout_seconds=given.process_timeout,
    )
  except (RuntimeError, ValueError) as error:
    raise _errors.ConfigError(
      f'the processes of this run did not find each other: {error} On TPU '
      'pods, under Slurm and under Open MPI pass --distributed; elsewhere '
      '--coordinator=HOST:PORT, --num_processes and --process_id.'
    ) from error
  door.one_of_several(jax.process_index())
  # Now, while all are here: later, one may be minutes behind the others.
  from imbsam_jax import training

  training.from_each_process(None)
  return True
