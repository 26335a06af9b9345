# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds on one run, in an order that a seed draws.

Kills, signals, full disks, flipped bits, cut files and moved folders: six in
`make test-all`, 200 in `make soak`, and IMBSAM_SOAK_SEED repeats a draw.
"""

import os

import pytest

from tests import programs

pytestmark = [pytest.mark.faults, pytest.mark.extended]

_FAULTS = os.environ.get('IMBSAM_SOAK_FAULTS', '6')
_SEED = os.environ.get('IMBSAM_SOAK_SEED', '1')


def test_run_under_faults_ends_as_alone(tmp_path, tfds_dir):
  print(f'IMBSAM_SOAK_SEED={_SEED}')
  done = programs.run(
    'tests.experiment.soaked_run', str(tmp_path), tfds_dir, _SEED, _FAULTS
  )
  assert done.returncode == 0, done.stderr
  print(done.stdout)
  assert done.stdout.startswith(f'{_FAULTS} faults in ')
