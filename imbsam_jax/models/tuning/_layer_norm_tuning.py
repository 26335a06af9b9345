# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`LayerNormTuning`: the normalizations of blocks."""

import dataclasses
from typing import ClassVar

from imbsam_jax.models.tuning import _tuning


@dataclasses.dataclass(frozen=True)
class LayerNormTuning(_tuning.Tuning):
  """Scale and bias of both normalizations of each block are trained.

  As in LIFT the last normalization stays as it is. 36,864 numbers in ViT-B/16.
  """

  needs: ClassVar[_tuning.Needs] = 'blocks'

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    return path[1:2] in (('norm1',), ('norm2',)) and _tuning.in_parts(
      path, parts
    )
