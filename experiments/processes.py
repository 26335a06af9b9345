# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Several processes on one run, such as one on each machine of a cluster.

One on each machine, or under Slurm and Open MPI one for each GPU. There and on
TPU pods they find each other:

  srun python -m experiments.train --distributed --config=... --workdir=...

Elsewhere each is told its place, and where the first one is:

  python -m experiments.train --coordinator=HOST:PORT --num_processes=2 \
    --process_id=0 --config=... --workdir=...
"""

from absl import flags

from experiments import app

_DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'One of several processes on this run, which TPU pods, Slurm or Open MPI '
  'tell of each other.',
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'HOST:PORT of process 0, where nothing else tells.'
)
_NUM_PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'Number of processes, with --coordinator.', 1
)
_PROCESS_ID = flags.DEFINE_integer(
  'process_id', None, 'From 0, with --coordinator.', 0
)
_TIMEOUT = flags.DEFINE_integer(
  'process_timeout',
  100,
  'Seconds without a sign of life after which a process is given up; then all '
  'end.',
  1,
)


def join() -> bool:
  """Joins the other processes, if flags say so; call it before JAX is used.

  From then on, only the first process prints, but for warnings and errors.

  JAX ends a process that does not find the others within five minutes.

  Returns:
    Whether there are others.

  Raises:
    UsageError: Flags do not fit, or nothing tells who the others are.
  """
  given = {
    'coordinator': _COORDINATOR.value,
    'num_processes': _NUM_PROCESSES.value,
    'process_id': _PROCESS_ID.value,
  }
  missing = [name for name, value in given.items() if value is None]
  if len(missing) == len(given) and not _DISTRIBUTED.value:
    return False
  if missing and len(missing) < len(given):
    raise app.UsageError(
      '--coordinator=HOST:PORT, --num_processes and --process_id go together; '
      f'--{missing[0]} is missing.'
    )
  import jax

  # It would take SIGTERM, and nothing here asks it.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    jax.distributed.initialize(
      _COORDINATOR.value,
      _NUM_PROCESSES.value,
      _PROCESS_ID.value,
      heartbeat_timeout_seconds=_TIMEOUT.value,
    )
  except (RuntimeError, ValueError) as error:
    raise app.UsageError(
      f'the processes of this run did not find each other: {error} On TPU '
      'pods, under Slurm and under Open MPI pass --distributed; elsewhere '
      '--coordinator=HOST:PORT, --num_processes and --process_id.'
    ) from error
  app.one_of_several(jax.process_index())
  # Now, while all are here: later, one may be minutes behind the others.
  from imbsam_jax import training

  training.from_each_process(None)
  return True
