# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where numbers come from: command, date, commit, hardware."""

import datetime
import subprocess

import jax


def origin(command: str) -> str:
  """Command, date, commit and hardware, for whoever reads the numbers.

  Args:
    command: What made them, as it was typed.
  """
  commit = subprocess.run(
    ['git', 'describe', '--always', '--dirty'],
    capture_output=True,
    text=True,
    check=False,
  ).stdout.strip()
  device = jax.devices()[0].device_kind
  return (
    f'`{command}`, {datetime.date.today().isoformat()}, commit '
    f'{commit or "unknown"}, {jax.device_count()} x {device}.'
  )
