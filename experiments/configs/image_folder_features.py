# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recipe `experiment.recipes.image_folder_features` as a file."""

from imbsam_jax.experiment.recipes import image_folder_features

get_config = image_folder_features.get_config
