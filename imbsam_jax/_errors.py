# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors that more than one sub-package raises."""


class DivergedError(RuntimeError):
  """Too many updates in a row were not finite."""


class PreemptedError(RuntimeError):
  """Training was asked to stop, and did so between two steps."""
