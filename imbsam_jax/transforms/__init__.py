# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Links of an optax chain: the update rules.

`group_sam` is the core, and `sam`, `imbsam`, `sse_sam` and `focal_sam` are
instances of it. `rsam`, `look_sam`, `friendly_sam` and `gsam` are rules for the
whole batch, and `momentum_imbsam` is ImbSAM for the price of SGD, `group_sam`
with an `average_decay`.
`stage_switch` makes schedules of a radius, and `skip_nonfinite` guards a whole
chain.
"""

from imbsam_jax.transforms._focal_sam import focal_sam
from imbsam_jax.transforms._friendly_sam import friendly_sam
from imbsam_jax.transforms._friendly_sam import FriendlySamState
from imbsam_jax.transforms._group_sam import group_sam
from imbsam_jax.transforms._group_sam import GroupSamState
from imbsam_jax.transforms._gsam import gsam
from imbsam_jax.transforms._imbsam import imbsam
from imbsam_jax.transforms._look_sam import look_sam
from imbsam_jax.transforms._look_sam import LookSamState
from imbsam_jax.transforms._momentum_imbsam import momentum_imbsam
from imbsam_jax.transforms._remembered_ascent import GroupAverageState
from imbsam_jax.transforms._rsam import rsam
from imbsam_jax.transforms._rsam import RsamState
from imbsam_jax.transforms._sam import sam
from imbsam_jax.transforms._skip_nonfinite import skip_nonfinite
from imbsam_jax.transforms._skip_nonfinite import SkipNonfiniteState
from imbsam_jax.transforms._sse_sam import sse_sam
from imbsam_jax.transforms._stage_switch import stage_switch

__all__ = [
  'FriendlySamState',
  'GroupAverageState',
  'GroupSamState',
  'LookSamState',
  'RsamState',
  'SkipNonfiniteState',
  'focal_sam',
  'friendly_sam',
  'group_sam',
  'gsam',
  'imbsam',
  'look_sam',
  'momentum_imbsam',
  'rsam',
  'sam',
  'skip_nonfinite',
  'sse_sam',
  'stage_switch',
]
