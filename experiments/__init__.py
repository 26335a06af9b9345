# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The programs of ``python -m imbsam_jax`` by other names."""
