# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`BitFit`: biases."""

import dataclasses
from typing import ClassVar

from imbsam_jax.models.tuning import _tuning


@dataclasses.dataclass(frozen=True)
class BitFit(_tuning.Tuning):
  """All biases of the blocks are trained, those of normalizations too.

  Ben Zaken et al., `BitFit: Simple Parameter-efficient Fine-tuning
  <https://arxiv.org/abs/2106.10199>`_, ACL 2022; as in LIFT, without the biases
  of the patches and of the last normalization. 101,376 numbers in ViT-B/16. Of
  a residual network they are those of the normalizations of its stages, since
  convolutions have none.
  """

  needs: ClassVar[_tuning.Needs] = 'parts'

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    return path[-1] == 'bias' and _tuning.in_parts(path, parts)
