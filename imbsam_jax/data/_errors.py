# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`DataError`, for data that cannot be used."""


class DataError(ValueError):
  """Data are missing, broken, or not what was asked for."""
