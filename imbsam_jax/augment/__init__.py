# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentations that mix two batches, with the labels of both.

They take ``(batch, partner)`` and never sample: the sampler decides who the
partner is, the same rows in another order or a stream of its own.
"""

from imbsam_jax.augment._cmo import cmo
from imbsam_jax.augment._dbn_mix import dbn_mix
from imbsam_jax.augment._mixup import mixup
from imbsam_jax.augment._remix import remix
from imbsam_jax.augment._remix import remix_label_weight

__all__ = ['cmo', 'dbn_mix', 'mixup', 'remix', 'remix_label_weight']
