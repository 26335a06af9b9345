# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""F1: kill -9 at random moments, and the run ends bit for bit the same.

Once in `make test` and twenty times in `make test-all`; `make soak` does it
fifty times, and IMBSAM_SOAK_SEED repeats one of its draws.
"""

import os
import pathlib
import random
import signal

import pytest

from imbsam_jax import training
from tests import programs
from tests.experiment import killed_run
from tests.experiment import runs

pytestmark = pytest.mark.faults

_ROOT = pathlib.Path(__file__).parents[2]
_KILLS = int(os.environ.get('IMBSAM_SOAK_KILLS', '20'))
_SEED = int(os.environ.get('IMBSAM_SOAK_SEED', '1'))


def _run(folder, tfds_dir, step=-1, milliseconds=0):
  arguments = (str(folder), tfds_dir, str(step), str(milliseconds))
  return programs.run('tests.experiment.killed_run', *arguments)


@pytest.mark.parametrize(
  'wanted', [1, pytest.param(_KILLS, marks=pytest.mark.extended)]
)
def test_f1_killed_at_random_moments(wanted, tmp_path, tfds_dir):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  done = _run(whole, tfds_dir)
  assert done.returncode == 0, done.stderr
  print(f'IMBSAM_SOAK_SEED={_SEED}')
  draw = random.Random(_SEED)
  steps = sorted(draw.choices(range(killed_run.NUM_STEPS), k=wanted))
  num_kills = 0
  for step in steps:
    # Long enough to be in the middle of a save, of an evaluation, or later.
    done = _run(killed, tfds_dir, step, draw.choice([0, 0, 5, 20, 80]))
    if done.returncode == 0:
      break  # It was over before.
    assert done.returncode == -signal.SIGKILL, done.stderr
    num_kills += 1
  assert num_kills >= max(wanted // 2, 1)
  done = _run(killed, tfds_dir)
  assert done.returncode == 0, done.stderr
  runs.assert_same_summary(runs.read_summary(killed), runs.read_summary(whole))
  runs.assert_same_files(killed, whole)
  records = training.read_history(killed / 'metrics.jsonl')
  steps = [record['step'] for record in records if 'loss' in record]
  assert steps == list(range(1, killed_run.NUM_STEPS + 1))
