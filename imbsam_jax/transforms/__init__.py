# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Links of an optax chain: the update rules.

`group_sam` is the core, and `sam`, `imbsam`, `sse_sam` and `focal_sam` are
instances of it; `rsam` stands by itself. `stage_switch` makes schedules of a
radius, and `skip_nonfinite` guards a whole chain.
"""

from imbsam_jax.transforms._focal_sam import focal_sam
from imbsam_jax.transforms._group_sam import group_sam
from imbsam_jax.transforms._group_sam import GroupSamState
from imbsam_jax.transforms._imbsam import imbsam
from imbsam_jax.transforms._rsam import rsam
from imbsam_jax.transforms._rsam import RsamState
from imbsam_jax.transforms._sam import sam
from imbsam_jax.transforms._skip_nonfinite import skip_nonfinite
from imbsam_jax.transforms._skip_nonfinite import SkipNonfiniteState
from imbsam_jax.transforms._sse_sam import sse_sam
from imbsam_jax.transforms._stage_switch import stage_switch

__all__ = [
  'GroupSamState',
  'RsamState',
  'SkipNonfiniteState',
  'focal_sam',
  'group_sam',
  'imbsam',
  'rsam',
  'sam',
  'skip_nonfinite',
  'sse_sam',
  'stage_switch',
]
