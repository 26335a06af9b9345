# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Full`: all of the trunk."""

import dataclasses

from imbsam_jax.models.tuning import _tuning


@dataclasses.dataclass(frozen=True)
class Full(_tuning.Tuning):
  """All leaves of the trunk are trained, 85,798,656 in ViT-B/16.

  .. note::
    LIFT's full fine-tuning is that of the blocks alone, ``Partial(blocks=12)``:
    it leaves out patches, positions, class token and the last normalization.
  """

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del path, parts
    return True
