# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where numbers come from: command, date, commit, hardware."""

import contextlib
import datetime
import pathlib
import subprocess

import jax

import imbsam_jax


def origin(command: str) -> str:
  """Command, date, commit and hardware, for whoever reads the numbers.

  Args:
    command: What made them, as it was typed.
  """
  commit = ''
  with contextlib.suppress(OSError):  # Without git.
    commit = subprocess.run(
      ['git', 'describe', '--always', '--dirty'],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      text=True,
      check=False,
    ).stdout.strip()
  device = jax.devices()[0].device_kind
  version = f'commit {commit}' if commit else imbsam_jax.__version__
  return (
    f'`{command}`, {datetime.date.today().isoformat()}, {version}, '
    f'{jax.device_count()} x {device}.'
  )
