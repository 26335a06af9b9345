# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program `python -m imbsam_jax benchmark`, by its other name."""

from imbsam_jax._doors import door

if __name__ == '__main__':
  door.run('benchmark', called='python -m experiments.benchmark')
