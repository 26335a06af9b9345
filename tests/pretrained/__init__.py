# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
