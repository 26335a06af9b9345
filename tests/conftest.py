# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns the screws for the whole suite."""

import jax

# Eight fake devices: what is sharded must equal what is not.
jax.config.update('jax_num_cpu_devices', 8)
# Silent promotions are how bf16 and float64 surprises begin.
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_numpy_dtype_promotion', 'strict')
