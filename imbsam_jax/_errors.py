# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors of training, of its folders and of its configuration."""


class DivergedError(RuntimeError):
  """Too many updates in a row were not finite."""


class PreemptedError(RuntimeError):
  """Training was asked to stop, and did so between two steps."""


class OtherProcessError(RuntimeError):
  """Of several processes on one run, another one has failed."""


class CheckpointError(RuntimeError):
  """A checkpoint is missing, unreadable, or of another model."""


class ConfigError(ValueError):
  """Something that can be set differently: what it is, and what it can be.

  Texts name fields and arguments in backticks, `` `data.batch_size=64` ``, as
  Python has them. A program writes them as flags of its own.
  """
