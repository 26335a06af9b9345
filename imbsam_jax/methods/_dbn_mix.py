# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""DBN-Mix: Baik et al., Pattern Recognition 2024."""

from typing import Literal

from imbsam_jax import models
from imbsam_jax.methods import _model_cost
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'dbn_mix',
  axis='scheme',
  about='two branches on mixed rows, experimental (2024)',
  sets={'objective.mixing': 'bilateral_mix', 'objective.loss': 'cdt'},
  head='linear',
)
def dbn_mix(
  setup: _part.Setup, *, own: Literal['stage', 'block'] = 'stage'
) -> _part.Part:
  """Two branches that see the same mixed rows, and count alike throughout.

  Reconstructed: that each branch sees every mixed row, that their logits are
  averaged at test, and that a branch has the last stage for itself (`own`, or
  the last 'block') are readings of the abstract. The mixing and the loss, of
  class-dependent temperatures, are those of their own fields.
  """
  del setup

  def two_branches(network):
    return models.TwoBranches(network=network, own=own)

  return _part.Part(
    model=two_branches,
    pass_cost=lambda network, images: _model_cost.ratio(
      two_branches(network), network, images
    ),
  )
