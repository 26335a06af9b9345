# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``python -m imbsam_jax PROGRAM``: train, evaluate, compare and others."""

from imbsam_jax._doors import door

if __name__ == '__main__':
  door.run()
