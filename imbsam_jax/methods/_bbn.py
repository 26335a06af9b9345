# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""BBN, two branches and cumulative learning: Zhou et al., CVPR 2020."""

from typing import Any
from typing import Literal

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax.methods import _part
from imbsam_jax.methods import _partners
from imbsam_jax.methods import _registry


class Bbn(training.WrappedObjective):
  """The loss of pairs, one row of each stream, by their shares of the epoch.

  Args:
    base: The loss of one label.
    time: Epochs of the run.
  """

  base: Any  # A `training.Supervised`.

  def __init__(self, base: training.Supervised, time: schedules.Timeline):
    super().__init__(base)
    self.coupled = True  # The rows of a pair go through each pass together.
    self.pass_cost = 2.0
    self._time = time

  def prepare(self, ctx, rows):
    rows = self.base.prepare(ctx, rows)
    conventional, rebalancing = data.pair_halves(rows['label'])
    alpha = schedules.bbn_alpha(
      self._time.traced_epoch(ctx.step), num_epochs=self._time.num_epochs
    )
    labels = losses.MixedLabels(conventional, rebalancing, alpha)
    return {**rows, 'mixed': labels}

  def __call__(self, ctx, apply, rows):
    alpha = rows['mixed'].lam
    images = data.pair_halves(rows['image'])
    logits = apply(*images, alpha, method='fused')
    return self.base.outcome(ctx, apply.params, rows, logits)


@_registry.word(
  'bbn',
  axis='scheme',
  about='two branches, from natural to reversed rows (CVPR 2020)',
  head='linear',
  corrects_prior=True,
  own_stream=True,
  pairs=True,
)
def bbn(
  setup: _part.Setup,
  *,
  own: Literal['stage', 'block'] = 'stage',
  power: float = -1.0,
) -> _part.Part:
  """Two branches, the second on rows drawn with probabilities n^power.

  The share of the conventional branch falls from 1 by `schedules.bbn_alpha` of
  the whole epochs; an epoch is one of the natural stream, and a step has as
  many rows of each. `own` is what a branch has for itself: the last 'stage', or
  the last 'block' as in the paper.
  """
  return _part.Part(
    objective=lambda base: Bbn(base, setup.time),
    partners=_partners.sampled_partners(setup, power),
    model=lambda network: models.TwoBranches(network=network, own=own),
  )
