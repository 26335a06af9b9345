# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe `imbsam_jax.experiment.recipes.cifar100_lt_features` as a file."""

from imbsam_jax.experiment.recipes.cifar100_lt_features import get_config  # noqa: F401
