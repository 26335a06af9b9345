# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mixing of DBN-Mix alone: Baik et al., Pattern Recognition 2024."""

from imbsam_jax import augment
from imbsam_jax.methods import _part
from imbsam_jax.methods import _partners
from imbsam_jax.methods import _registry


@_registry.word(
  'bilateral_mix',
  axis='mixing',
  about='natural with reversed rows, experimental (2024)',
  corrects_prior=True,
  published_with=frozenset({'cdt'}),
  own_stream=True,
)
def bilateral_mix(
  setup: _part.Setup, *, alpha: float = 1.0, power: float = -1.0
) -> _part.Part:
  """Mixup with rows drawn with class probabilities n^power."""
  return _part.Part(
    mix=lambda key, step, batch, partner: augment.dbn_mix(
      key, batch, partner, alpha=alpha
    ),
    partners=_partners.sampled_partners(setup, power),
  )
