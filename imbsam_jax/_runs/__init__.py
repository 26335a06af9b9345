# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs of every kind share: fields, folders, signals, what is printed."""
