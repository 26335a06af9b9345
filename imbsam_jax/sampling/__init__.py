# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which examples a batch takes: samplers over classes."""

from imbsam_jax.sampling._class_aware import class_aware_indices
from imbsam_jax.sampling._class_aware import class_aware_positions
from imbsam_jax.sampling._class_table import class_table
from imbsam_jax.sampling._class_table import ClassTable
from imbsam_jax.sampling._probabilities import class_probabilities
from imbsam_jax.sampling._probabilities import effective_number_probabilities
from imbsam_jax.sampling._sample_indices import sample_indices

__all__ = [
  'ClassTable',
  'class_aware_indices',
  'class_aware_positions',
  'class_probabilities',
  'class_table',
  'effective_number_probabilities',
  'sample_indices',
]
