# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where numbers come from: command, date, commit, hardware."""

import contextlib
import datetime
import os
import pathlib
import platform
import subprocess

import jax

import imbsam_jax
from imbsam_jax._runs import console


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
  if jax.default_backend() == 'cpu':
    device += f' ({_processor()}, {console.counted(_cores(), "core")})'
  version = f'commit {commit}' if commit else imbsam_jax.__version__
  return (
    f'`{command}`, {datetime.date.today().isoformat()}, {version}, '
    f'{jax.device_count()} x {device}.'
  )


def _processor() -> str:
  """The model of the processor, as well as the system tells."""
  with contextlib.suppress(OSError):  # On Linux.
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      name, _, value = line.partition(':')
      if name.strip() == 'model name':
        return value.strip()
  return platform.processor() or platform.machine()


def _cores() -> int:
  """Cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
