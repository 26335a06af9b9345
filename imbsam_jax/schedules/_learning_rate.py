# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The learning rate that LDAM and its successors train with."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.schedules import _phase


def ldam_learning_rate(
  epoch: ArrayLike,
  *,
  base_rate: float = 0.1,
  warmup_epochs: int = 5,
  boundaries: Sequence[float] = (160, 180),
  factors: Sequence[float] = (0.01, 0.0001),
) -> jax.Array:
  r"""Learning rate by epoch: a linear warm-up, then steps.

  .. math::
    base \cdot \frac{t + 1}{warmup} \; (t < warmup), \qquad
    base \cdot factor_k \; (t \ge boundary_k)

  and the base rate between them. The released code of Cao et al. (NeurIPS
  2019), used by MM, VS, CMO and Open-sampling as well. Factors are of the base,
  not of one another.

  >>> for epoch in (0, 4, 159, 160, 180):
  ...   print(f'{ldam_learning_rate(epoch):.0e}', end=' ')
  2e-02 1e-01 1e-01 1e-03 1e-05

  As an Optax schedule, which counts steps::

    schedule = lambda step: ldam_learning_rate(step // steps_per_epoch)

  Args:
    epoch: Epoch from 0 on, may be traced. A fraction counts as its epoch.
    base_rate: Rate after the warm-up, >= 0.
    warmup_epochs: Epochs of the warm-up, which comes before any boundary; 0 is
      none.
    boundaries: Increasing epochs, one for each factor.
    factors: Factors >= 0 from each boundary on.

  Returns:
    Float32 array of the shape of `epoch`.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If a number is negative or not finite, or `boundaries` do not
      increase or are not as many as `factors`.
  """
  _check(base_rate, warmup_epochs, boundaries, factors)
  since_warmup = _phase.elapsed(epoch, warmup_epochs)
  base: Any = jnp.asarray(base_rate).astype(jnp.float32)
  rate = jnp.broadcast_to(base, since_warmup.shape)
  for boundary, factor in zip(boundaries, factors, strict=True):
    has_come = _phase.elapsed(epoch, boundary) >= 0
    rate = jnp.where(has_come, base * factor, rate)
  if not warmup_epochs:
    return rate
  warmed = (jnp.floor(since_warmup) + (warmup_epochs + 1.0)) / warmup_epochs
  return jnp.where(since_warmup < 0, base * warmed, rate)


def _check(
  base_rate: float,
  warmup_epochs: int,
  boundaries: Sequence[float],
  factors: Sequence[float],
) -> None:
  _checks.number('base_rate', base_rate, low=0.0)
  _checks.number('warmup_epochs', warmup_epochs, low=0.0)
  if len(boundaries) != len(factors):
    raise ValueError(
      '`boundaries` and `factors` must have the same length, got '
      f'{len(boundaries)} and {len(factors)}.'
    )
  for boundary in boundaries:
    _checks.number('boundaries', boundary, low=0.0)
  for factor in factors:
    _checks.number('factors', factor, low=0.0)
  if any(a >= b for a, b in zip(boundaries, boundaries[1:], strict=False)):
    raise ValueError(f'`boundaries` must increase, got {tuple(boundaries)}.')
