# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One file per data set, its argument the method: ``digits_lt.py:imbsam``."""
