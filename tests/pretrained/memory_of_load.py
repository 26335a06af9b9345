# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prints by how many bytes `pretrained.load` of a file makes a process grow."""

import pathlib
import re
import sys

import jax.numpy as jnp

from imbsam_jax import pretrained


def _most_held() -> int:
  # Not `ru_maxrss`, which begins with what the process that started us held.
  status = pathlib.Path('/proc/self/status').read_text()
  return 1024 * int(re.findall(r'VmHWM:\s*(\d+) kB', status)[0])


if __name__ == '__main__':
  jnp.zeros(1).block_until_ready()
  before = _most_held()
  trunk = pretrained.load(sys.argv[1])
  print(_most_held() - before)
