# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a folder of runs says so by type."""


class CheckpointError(RuntimeError):
  """A checkpoint is missing, unreadable, or of another model."""
