# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Remix: Chou et al., ECCV Workshops 2020."""

from collections.abc import Callable
from typing import Any

import jax

from imbsam_jax import augment
from imbsam_jax.methods import _part
from imbsam_jax.methods import _partners
from imbsam_jax.methods import _registry


@_registry.word(
  'remix',
  axis='mixing',
  about='mixup, labels to the rarer (ECCV-W 2020)',
)
def remix(
  setup: _part.Setup,
  *,
  alpha: float = 1.0,
  kappa: float = 3.0,
  tau: float = 0.5,
) -> _part.Part:
  """Mixup whose label goes to the rarer class."""
  return remixing(setup, lambda step: 1.0, alpha=alpha, kappa=kappa, tau=tau)


def remixing(
  setup: _part.Setup,
  progress: Callable[[jax.Array], Any],
  **parameters: float,
) -> _part.Part:
  """Remix with a share of the rarer label by step."""

  def mix(key, step, batch, partner):
    return augment.remix(
      key,
      batch,
      partner,
      setup.class_counts,
      progress=progress(step),
      **parameters,
    )

  return _part.Part(mix=mix, partners=_partners.batch_partners)
