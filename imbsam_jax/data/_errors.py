# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with data says so by type."""


class DataError(ValueError):
  """Data are missing, broken, or not what was asked for."""
