# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Share of BBN's conventional branch over the epochs."""

import jax
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.schedules import _phase


def bbn_alpha(epoch: ArrayLike, *, num_epochs: ArrayLike) -> jax.Array:
  r"""Share of the conventional branch, :math:`1 - (t / E)^2`.

  1 in the first epoch, then ever more of the re-balancing branch. Zhou et al.,
  `BBN: Bilateral-Branch Network with Cumulative Learning for Long-Tailed Visual
  Recognition <https://arxiv.org/abs/1912.02413>`_, CVPR 2020. It is `alpha` of
  `models.bbn_logits` and ``lam`` of the labels,
  ``MixedLabels(conventional, rebalancing, alpha)``.

  >>> print([float(bbn_alpha(epoch, num_epochs=4)) for epoch in range(5)])
  [1.0, 0.9375, 0.75, 0.4375, 0.0]

  Args:
    epoch: Epoch t from 0 on, a scalar or an array, may be traced.
    num_epochs: Number E of epochs, above 0. From there on the share is 0.

  Returns:
    Float32 array of the shape of `epoch`.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If `num_epochs` is not positive and finite.

  .. note::
    The paper's T counts from 1, so that t = T - 1. On iNaturalist the released
    code divides by 100 for 90 epochs and by 200 for 180: pass those as
    `num_epochs` to have the same, and the share then does not reach 0.
  """
  _checks.number('num_epochs', num_epochs, above=0)
  return 1.0 - _phase.phase(epoch, start=0, end=num_epochs, power=2.0)
