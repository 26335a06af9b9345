# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`Probe`: nothing of the trunk."""

import dataclasses

from imbsam_jax.models.tuning import _tuning


@dataclasses.dataclass(frozen=True)
class Probe(_tuning.Tuning):
  """No leaf of the trunk is trained: the head alone, on features that stay.

  A step costs one forward pass, also with a perturbation of the head: within
  one program both of its passes have the same features.
  """

  def trains(self, path: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """See `Tuning.trains`."""
    del path, parts
    return False
