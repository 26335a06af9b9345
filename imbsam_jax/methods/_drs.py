# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Deferred re-sampling: Cao et al., NeurIPS 2019."""

from imbsam_jax import schedules
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'drs',
  axis='sampler',
  about='class-balanced, late (LDAM-DRS, NeurIPS 2019)',
  corrects_prior=True,
)
def drs(setup: _part.Setup, *, start: float = 0.8) -> _part.Part:
  """Equal class probabilities from a share of the run on, natural before."""
  time = setup.time
  return _part.Part(
    probabilities=time.by_epoch(
      lambda epoch: schedules.deferred_resampling(
        epoch, time.class_counts, start=time.at(start)
      )
    ),
  )
