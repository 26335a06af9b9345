# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progressively balanced sampling: Kang et al., ICLR 2020."""

from imbsam_jax import schedules
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


@_registry.word(
  'progressive_sampling',
  axis='sampler',
  choice_name='progressive',
  about='from natural to class-balanced (ICLR 2020)',
  corrects_prior=True,
)
def progressive_sampling(setup: _part.Setup) -> _part.Part:
  """Class probabilities that go from natural to equal over the whole run."""
  time = setup.time
  return _part.Part(
    probabilities=time.by_epoch(
      lambda epoch: schedules.progressive_probabilities(
        epoch,
        time.class_counts,
        start=0,
        end=max(time.num_epochs - 1, 0),
        power=1.0,
      )
    ),
  )
