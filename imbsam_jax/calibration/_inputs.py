# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of the sizes that all fits share."""

from typing import Any

from imbsam_jax import _checks


def check_fit(
  name: str, num_rows: int, num_steps: Any, batch_size: Any
) -> None:
  """Refuses a fit without rows, without steps, or with empty batches."""
  if not num_rows:
    raise ValueError(f'`{name}` must have at least one row, got none.')
  _checks.integer('num_steps', num_steps)
  _checks.integer('batch_size', batch_size)
