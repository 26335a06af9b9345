# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ways in which a training run ends early."""


class DivergedError(RuntimeError):
  """Too many updates in a row were not finite."""


class CheckpointError(RuntimeError):
  """A checkpoint is missing, unreadable, or of another model."""
