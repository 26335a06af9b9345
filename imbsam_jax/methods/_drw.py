# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Deferred re-weighting: Cao et al., NeurIPS 2019."""

from imbsam_jax import data
from imbsam_jax import schedules
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'drw',
  axis='weights',
  about='class-balanced, late (LDAM-DRW, NeurIPS 2019)',
  corrects_prior=True,
)
def drw(
  setup: _part.Setup, *, beta: float = 0.9999, start: float = 0.8
) -> _part.Part:
  """Class-balanced weights from a share of the run on, ones before."""
  return _part.Part(
    reweighting=data.Reweighting(
      late_weights(setup.time, beta=beta, start=start), 'weighted_mean'
    )
  )


def late_weights(time: schedules.Timeline, *, beta: float, start: float):
  """Class weights ``[C]`` by step."""
  return time.by_epoch(
    lambda epoch: schedules.deferred_reweighting(
      epoch, time.class_counts, beta=beta, start=time.at(start)
    )
  )
