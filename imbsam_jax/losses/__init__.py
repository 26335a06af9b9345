# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses: one value per example, in float32."""

from imbsam_jax.losses._cross_entropy import cross_entropy

__all__ = ['cross_entropy']
