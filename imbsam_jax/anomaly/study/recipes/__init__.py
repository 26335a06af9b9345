# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recipes of anomaly detection, each a module with `get_config(word)`."""
