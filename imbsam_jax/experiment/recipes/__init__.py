# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recipes: one module a data set, each with ``get_config(words)``.

`imbsam_jax.experiment.config` finds them by name; their docstrings tell the
protocol, where it differs from the published one, and how values were chosen.
"""
