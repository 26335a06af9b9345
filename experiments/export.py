# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program `python -m imbsam_jax export`, by its other name."""

import pathlib
import sys

if __name__ == '__main__':
  if not __package__:  # As a file: Python looks in its folder, not in this one.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
  from imbsam_jax._doors import door

  door.run('export', called='python -m experiments.export')
