# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Partial`: the last blocks."""

import dataclasses
from typing import ClassVar

from imbsam_jax import _checks
from imbsam_jax.models.tuning import _tuning


@dataclasses.dataclass(frozen=True)
class Partial(_tuning.Tuning):
  """The last k blocks are trained, of residual networks the last k stages.

  7,087,872 k numbers in ViT-B/16. With k of L blocks a step costs 1 + 2 k / L
  forward passes, and one of SAM 1 + 5 k / L, since the frozen blocks are passed
  once.

  .. note::
    As in LIFT the last normalization stays as it is; visual prompt tuning's
    ``partial`` trains it too.

  Attributes:
    blocks: Number k of blocks, from 1 to those of the trunk.
  """

  needs: ClassVar[_tuning.Needs] = 'parts'

  blocks: int = 1

  def __post_init__(self) -> None:
    """Checks the number."""
    _checks.integer(
      'blocks',
      self.blocks,
      hint='Pass blocks=1, for example; tuning.Probe() trains none.',
    )

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`.

    Args:
      path: Names of the leaf within the parameters of the trunk.
      parts: Names of its blocks or stages.

    Raises:
      ValueError: If the trunk does not have as many.
    """
    if self.blocks > len(parts):
      raise ValueError(
        f'`blocks` must be at most {len(parts)}, the blocks or stages of the '
        f'trunk, got {self.blocks}. tuning.Full() trains all of it.'
      )
    return _tuning.in_parts(path, parts[-self.blocks :])
