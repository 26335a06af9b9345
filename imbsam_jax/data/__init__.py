# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources, long-tailed subsets and training batches."""

from imbsam_jax.data._batches import joint_batches
from imbsam_jax.data._batches import paired_batches
from imbsam_jax.data._batches import Reweighting
from imbsam_jax.data._batches import split_batches
from imbsam_jax.data._batches import split_sizes
from imbsam_jax.data._batches import TrainBatch
from imbsam_jax.data._errors import DataError
from imbsam_jax.data._long_tail import long_tail_class_counts
from imbsam_jax.data._long_tail import long_tail_indices
from imbsam_jax.data._order import class_aware_order
from imbsam_jax.data._order import permuted_order
from imbsam_jax.data._order import RowChoice
from imbsam_jax.data._order import sampled_order
from imbsam_jax.data._order import shuffled_order
from imbsam_jax.data._order import stratified_order
from imbsam_jax.data._sources import ArraySource
from imbsam_jax.data._sources import Examples
from imbsam_jax.data._sources import Source
from imbsam_jax.data._sources import TfdsSource
from imbsam_jax.data._splits import long_tailed
from imbsam_jax.data._splits import LongTailedData

__all__ = [
  'ArraySource',
  'DataError',
  'Examples',
  'LongTailedData',
  'Reweighting',
  'RowChoice',
  'Source',
  'TfdsSource',
  'TrainBatch',
  'class_aware_order',
  'joint_batches',
  'long_tail_class_counts',
  'long_tail_indices',
  'long_tailed',
  'paired_batches',
  'permuted_order',
  'sampled_order',
  'split_batches',
  'split_sizes',
  'shuffled_order',
  'stratified_order',
]
