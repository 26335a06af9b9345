# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Samplers over classes: which examples a batch takes.

`class_table` sorts examples by class. `class_probabilities` and
`effective_number_probabilities` say how likely a class is, and `sample_indices`
draws by them; `class_aware_indices` cycles over the classes instead.
`sample_labels` draws classes alone, for images that have none:
`complementary_probabilities`.
"""

from imbsam_jax.sampling._class_aware import class_aware_indices
from imbsam_jax.sampling._class_aware import class_aware_positions
from imbsam_jax.sampling._class_table import class_table
from imbsam_jax.sampling._class_table import ClassTable
from imbsam_jax.sampling._complementary import complementary_probabilities
from imbsam_jax.sampling._complementary import sample_labels
from imbsam_jax.sampling._probabilities import class_probabilities
from imbsam_jax.sampling._probabilities import effective_number_probabilities
from imbsam_jax.sampling._sample_indices import sample_indices

__all__ = [
  'ClassTable',
  'class_aware_indices',
  'class_aware_positions',
  'class_probabilities',
  'class_table',
  'complementary_probabilities',
  'effective_number_probabilities',
  'sample_indices',
  'sample_labels',
]
