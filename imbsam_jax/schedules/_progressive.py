# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradual transitions from the natural to the balanced distribution."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import sampling
from imbsam_jax import weights as weights_lib
from imbsam_jax.schedules import _phase


def progressive_weights(
  epoch: ArrayLike,
  class_counts: ArrayLike,
  *,
  start: ArrayLike = 100,
  end: ArrayLike = 160,
  power: ArrayLike = 5.0,
) -> jax.Array:
  r"""Class weights of PPW, :math:`w_c \propto n_c^{-e}`, with sum C.

  With e = `phase` of the epoch: ones until `start`, inverse frequencies from
  `end` on. Xu et al., `Phased Progressive Learning with
  Coupling-Regulation-Imbalance Loss for Imbalanced Data Classification
  <https://arxiv.org/abs/2205.12117>`_, arXiv 2022.

  >>> print(progressive_weights(0, [3, 1]), progressive_weights(160, [3, 1]))
  [1. 1.] [0.5 1.5]

  Args:
    epoch: Epoch from 0 on, may be traced.
    class_counts: Positive numbers, shape ``[C]``, concrete; only ratios count.
    start: Epoch at which the transition begins, see `phase`. The defaults are
      the authors', for 200 epochs.
    end: Epoch from which on it is over, >= `start`.
    power: Exponent >= 0 of the progress, see `phase`.

  Returns:
    Float32 array, shape ``[C]``.

  Raises:
    TypeError: If `class_counts` are traced, or an argument is not a number.
    ValueError: If a count is not positive, `start` > `end`, or `power` is
      negative or not finite.
  """
  inverse = weights_lib.power_weights(class_counts, power=1.0)
  logs = np.log(_checks.host_counts(class_counts))
  # Around the middle, where float32 is densest; the scale cancels below.
  logs = jnp.asarray(logs - (logs.max() + logs.min()) / 2, jnp.float32)
  epoch = _phase.scalar_step('epoch', epoch)
  exponent = _phase.phase(epoch, start=start, end=end, power=power)
  weights = jnp.exp(-exponent * logs)
  weights = weights / jnp.mean(weights)
  return jnp.where(exponent < 1, weights, inverse)  # Exact at the end.


def progressive_probabilities(
  epoch: ArrayLike,
  class_counts: ArrayLike,
  *,
  start: ArrayLike = 100,
  end: ArrayLike = 160,
  power: ArrayLike = 5.0,
) -> jax.Array:
  r"""Class probabilities of PPS, :math:`(1 - e) \, n_c / N + e / C`.

  With e = `phase` of the epoch. Xu et al., arXiv 2205.12117. The progressive
  sampler of Kang et al. (ICLR 2020) is ``start=0, end=num_epochs - 1,
  power=1``.

  >>> for epoch in range(3):
  ...   print(progressive_probabilities(epoch, [9, 1], start=0, end=2, power=1))
  [0.9 0.1]
  [0.7 0.3]
  [0.5 0.5]

  Args:
    epoch: Epoch from 0 on, may be traced.
    class_counts: Numbers, shape ``[C]``, concrete; only ratios count. A class
      with 0 has probability 0 throughout, and C does not count it.
    start: Epoch at which the transition begins, see `phase`. The defaults are
      the authors', for 200 epochs.
    end: Epoch from which on it is over, >= `start`.
    power: Exponent >= 0 of the progress, see `phase`.

  Returns:
    Float32 array, shape ``[C]``, sum 1.

  Raises:
    TypeError: If `class_counts` are traced, or an argument is not a number.
    ValueError: If counts are negative, not finite or all zero, `start` > `end`,
      or `power` is negative or not finite.
  """
  instance = sampling.class_probabilities(class_counts, power=1.0)
  balanced = sampling.class_probabilities(class_counts, power=0.0)
  epoch = _phase.scalar_step('epoch', epoch)
  share = _phase.phase(epoch, start=start, end=end, power=power)
  return (1.0 - share) * instance + share * balanced
