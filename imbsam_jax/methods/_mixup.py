# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""mixup: Zhang et al., ICLR 2018."""

from imbsam_jax import augment
from imbsam_jax.methods import _part
from imbsam_jax.methods import _partners
from imbsam_jax.methods import _registry


@_registry.word(
  'mixup',
  axis='mixing',
  about='pairs of the batch (ICLR 2018)',
)
def mixup(setup: _part.Setup, *, alpha: float = 1.0) -> _part.Part:
  """Convex combinations of the rows of a batch."""
  del setup
  return _part.Part(
    mix=lambda key, step, batch, partner: augment.mixup(
      key, batch, partner, alpha=alpha
    ),
    partners=_partners.batch_partners,
  )
