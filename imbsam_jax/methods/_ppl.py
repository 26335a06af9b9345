# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progressive weights, sampling and mixing: Xu et al., arXiv 2205.12117."""

from imbsam_jax import data
from imbsam_jax import schedules
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry
from imbsam_jax.methods import _remix


@_registry.word(
  'ppw',
  axis='weights',
  about='from none to 1 / n (PPL, arXiv 2205.12117)',
  corrects_prior=True,
  published_with=frozenset({'pps'}),
)
def ppw(
  setup: _part.Setup,
  *,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 5.0,
) -> _part.Part:
  """Class weights that go from ones to 1 / n."""
  time = setup.time
  by_step = time.by_epoch(
    lambda epoch: schedules.progressive_weights(
      epoch,
      time.class_counts,
      start=time.at(start),
      end=time.at(end),
      power=power,
    )
  )
  return _part.Part(reweighting=data.Reweighting(by_step, 'weighted_mean'))


@_registry.word(
  'pps',
  axis='sampler',
  about='natural, then ever more balanced (PPL)',
  corrects_prior=True,
  published_with=frozenset({'ppw'}),
)
def pps(
  setup: _part.Setup,
  *,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 5.0,
) -> _part.Part:
  """Class probabilities that go from natural to equal."""
  time = setup.time
  return _part.Part(
    probabilities=time.by_epoch(
      lambda epoch: schedules.progressive_probabilities(
        epoch,
        time.class_counts,
        start=time.at(start),
        end=time.at(end),
        power=power,
      )
    ),
  )


@_registry.word('ppmix', axis='mixing', about='from mixup to remix (PPL)')
def ppmix(
  setup: _part.Setup,
  *,
  alpha: float = 1.0,
  kappa: float = 3.0,
  tau: float = 0.5,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 3.0,
) -> _part.Part:
  """Remix whose share of the rarer label rises from that of mixup."""
  time = setup.time

  def progress(step):
    return schedules.phase(
      time.traced_epoch(step),
      start=time.at(start),
      end=time.at(end),
      power=power,
    )

  return _remix.remixing(setup, progress, alpha=alpha, kappa=kappa, tau=tau)
