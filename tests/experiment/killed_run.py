# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run that may kill itself: `python -m tests.killed_run FOLDER TFDS STEP MS`.

The process ends by SIGKILL, MS milliseconds after the batch of STEP was asked
for; -1 lets it end by itself.
"""

import os
import pathlib
import signal
import sys
import threading
import time

from imbsam_jax import experiment as experiment_lib
from imbsam_jax import training
from imbsam_jax.experiment.recipes import digits_lt

NUM_STEPS = 105


def main() -> None:
  """Trains, from where the last one was killed."""
  folder, tfds_dir, step, milliseconds = sys.argv[1:]
  if int(step) >= 0:
    _kill_at(int(step), int(milliseconds) / 1000)
  config = experiment_lib.replace(
    digits_lt.get_config('imbsam'),
    {
      'model.name': 'mlp',
      'model.norm': 'batch',
      'data.batch_size': 32,
      'data.data_dir': tfds_dir,
      'data.validation_per_class': 5,
      'epochs': 10.0,
      # A checkpoint after every second step or so.
      'save_every': 0.2,
    },
  )
  experiment = experiment_lib.build(config)
  assert experiment.num_steps == NUM_STEPS
  experiment_lib.run(experiment, seed=1, workdir=pathlib.Path(folder))


def _kill_at(step: int, seconds: float) -> None:
  def kill() -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)

  fit = training.fit

  def killed_fit(state, train_step, batches, **arguments):
    moment = max(step, int(state.step))

    class Batches:
      def __getitem__(self, index):
        if index == moment:
          threading.Thread(target=kill).start()
        return batches[index]

    return fit(state, train_step, Batches(), **arguments)

  training.fit = killed_fit


if __name__ == '__main__':
  main()
