# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe `imbsam_jax.anomaly.study.recipes.anomaly` as a file."""

from imbsam_jax.anomaly.study.recipes.anomaly import get_config  # noqa: F401
