# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe `imbsam_jax.experiment.recipes.image_folder_vit` as a file."""

from imbsam_jax.experiment.recipes.image_folder_vit import get_config  # noqa: F401
