# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Context-rich minority oversampling: Park et al., CVPR 2022."""

import math

import jax.numpy as jnp

from imbsam_jax import _checks
from imbsam_jax import augment
from imbsam_jax.methods import _part
from imbsam_jax.methods import _partners
from imbsam_jax.methods import _registry


@_registry.word(
  'cmo',
  axis='mixing',
  about='boxes of rare on frequent images (CVPR 2022)',
  own_stream=True,
)
def cmo(
  setup: _part.Setup,
  *,
  beta: float = 1.0,
  probability: float = 0.5,
  power: float = 0.0,
  idle_epochs: float = 3.0,
) -> _part.Part:
  """Boxes of rows drawn with class probabilities n^power, between epochs."""
  # Traced below, where it could not be refused.
  _checks.number('probability', probability, low=0, high=1)
  _checks.number('idle_epochs', idle_epochs, low=0)
  time = setup.time
  if not math.floor(idle_epochs) + 1 < time.num_epochs - idle_epochs:
    raise ValueError(
      f'cmo does not mix in the first and last {idle_epochs:g} epochs, which '
      f'are all of {time.num_epochs:g}. Pass '
      "`objective.mixing='cmo(idle_epochs=0)'`, or train longer."
    )

  def mix(key, step, batch, partner):
    epoch = time.traced_epoch(step)
    active = (epoch > idle_epochs) & (epoch < time.num_epochs - idle_epochs)
    return augment.cmo(
      key,
      batch,
      partner,
      beta=beta,
      probability=jnp.where(active, probability, 0.0),
    )

  return _part.Part(mix=mix, partners=_partners.sampled_partners(setup, power))
