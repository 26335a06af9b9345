# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory that a process keeps: page faults of arrays that come and go."""

import platform
import subprocess
import sys
from unittest import mock

import pytest

from imbsam_jax import _memory
from imbsam_jax._doors import door

# Threads, as XLA's, because the C library gives them memory of their own.
_SCRIPT = """
import ctypes, resource, sys, threading
import imbsam_jax
if sys.argv[1] == 'kept':
  assert imbsam_jax.keep_memory()
c_library = ctypes.CDLL(None)
c_library.malloc.restype = ctypes.c_void_p
def step():
  size = 64 << 20
  memory = c_library.malloc(ctypes.c_size_t(size))
  ctypes.memset(memory, 1, size)
  c_library.free(ctypes.c_void_p(memory))
def steps(number):
  for _ in range(number):
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
steps(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps(5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(kind: str) -> int:
  done = subprocess.run(
    [sys.executable, '-c', _SCRIPT, kind],
    capture_output=True,
    text=True,
    check=True,
  )
  return int(done.stdout)


@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='there is no glibc here'
)
def test_freed_memory_is_taken_again():
  pages = (64 << 20) // 4096
  assert _faults('kept') < 0.1 * pages
  assert _faults('given back') > 4 * pages


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    ([], True),
    (['--config=digits_lt', '--dry_run', '--keep_memory'], True),
    (['--keep_memory=false', '--workdir=x'], False),
    (['--nokeep_memory'], False),
    (['list', 'x', '--keep_memory=maybe'], False),
  ],
)
def test_flag_is_read_before_the_others(arguments, expected):
  assert door._keeps_memory(arguments) is expected


@pytest.mark.parametrize(
  ('platforms', 'plugins', 'expected'),
  [
    ('', [], True),
    ('', ['cuda13'], False),
    ('cpu', ['cuda13'], True),
    ('cuda,cpu', [], False),
  ],
)
def test_where_it_pays(monkeypatch, platforms, plugins, expected):
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  with mock.patch.object(
    _memory.importlib.metadata, 'entry_points', return_value=plugins
  ):
    assert _memory.pays() is expected
