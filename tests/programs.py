# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs in processes of their own."""

from collections.abc import Mapping
import contextlib
import io
import os
import pathlib
import subprocess
import sys
from unittest import mock

import jax

from imbsam_jax._doors import door

_ROOT = pathlib.Path(__file__).parents[1]
# Programs compiled by tests; outside of the working tree, which may be copied
# to a machine with another processor.
CACHE = '/tmp/imbsam_tests'
# What another process is just writing cannot be read, and is compiled.
_HALF_WRITTEN = 'Error reading persistent compilation cache entry'


def start(
  module: str,
  *arguments: str,
  devices: int | None = None,
  environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
  """Starts ``python -m module``, with compiled programs shared by all tests.

  Args:
    module: Its name.
    *arguments: What is on its command line.
    devices: Number of CPU devices.
    environment: Variables besides those of the tests.

  Returns:
    The process, its outputs piped.
  """
  variables = os.environ | {
    'JAX_COMPILATION_CACHE_DIR': CACHE,
    'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'PYTHONWARNINGS': f'ignore:{_HALF_WRITTEN}',
  }
  variables.pop('XLA_FLAGS', None)
  if devices is not None:
    variables['JAX_NUM_CPU_DEVICES'] = str(devices)
  return subprocess.Popen(
    [sys.executable, '-m', module, *arguments],
    cwd=_ROOT,
    env=variables | (environment or {}),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def call(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
  """Calls a program in this process, with its exit code and outputs."""
  out, error = io.StringIO(), io.StringIO()
  with (
    mock.patch.dict(os.environ, {'JAX_COMPILATION_CACHE_DIR': CACHE}),
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(error),
  ):
    code = door.main(name, arguments)
  # Programs keep what took a while to compile, tests keep all.
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  return subprocess.CompletedProcess(
    [name, *arguments], code, out.getvalue(), error.getvalue()
  )


def run(
  module: str,
  *arguments: str,
  devices: int | None = None,
  environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
  """Starts a program as `start` does, and waits for its end."""
  process = start(module, *arguments, devices=devices, environment=environment)
  out, error = process.communicate()
  return subprocess.CompletedProcess(
    process.args, process.returncode, out, error
  )
