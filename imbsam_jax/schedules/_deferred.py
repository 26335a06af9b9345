# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Deferred re-weighting and re-sampling: a switch at one epoch."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import sampling
from imbsam_jax import weights as weights_lib
from imbsam_jax.schedules import _phase


def deferred(
  step: ArrayLike, before: ArrayLike, after: ArrayLike, *, start: ArrayLike
) -> jax.Array:
  """`before` while ``step < start``, then `after`.

  >>> print(deferred(9, [1.0, 1.0], [0.5, 1.5], start=10))
  [1. 1.]
  >>> print(deferred(10, [1.0, 1.0], [0.5, 1.5], start=10))
  [0.5 1.5]

  Args:
    step: Step, one number, may be traced.
    before: Numbers of any shape, the result before `start`.
    after: Numbers of the same shape, the result from `start` on; either may be
      a scalar.
    start: First step of `after`.

  Returns:
    `before` or `after`, in their dtype if it is the same, else float32.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If `step` has axes, or the shapes of `before` and `after`
      differ.
  """
  _checks.number('start', start)
  step = _phase.scalar_step('step', step)
  old: Any = jnp.asarray(before)
  new: Any = jnp.asarray(after)
  if old.shape != new.shape and old.ndim and new.ndim:
    raise ValueError(
      '`before` and `after` must have the same shape, got '
      f'{old.shape} and {new.shape}.'
    )
  if old.dtype != new.dtype:
    old, new = old.astype(jnp.float32), new.astype(jnp.float32)
  return jnp.where(_phase.elapsed(step, start) < 0, old, new)


def deferred_reweighting(
  epoch: ArrayLike,
  class_counts: ArrayLike,
  *,
  beta: float = 0.9999,
  start: ArrayLike = 160,
) -> jax.Array:
  """Class weights of DRW: ones, then `weights.class_balanced_weights`.

  Cao et al., `Learning Imbalanced Datasets with Label-Distribution-Aware Margin
  Loss <https://arxiv.org/abs/1906.07413>`_, NeurIPS 2019. The weighted mean
  divides by the sum of the weights: `losses.class_weighted_loss` as it is.

  >>> print(deferred_reweighting(159, [90, 10], beta=1.0))
  [1. 1.]
  >>> print(deferred_reweighting(160, [90, 10], beta=1.0))
  [0.2 1.8]

  Args:
    epoch: Epoch from 0 on, may be traced.
    class_counts: Positive numbers, shape ``[C]``, concrete.
    beta: Parameter of `weights.effective_number`, from 0 to 1.
    start: First epoch with weights. 160 is meant for 200 epochs; for others
      pass ``0.8 * num_epochs``.

  Returns:
    Float32 array, shape ``[C]``, sum C.

  Raises:
    TypeError: If `class_counts` are traced, or an argument is not a number.
    ValueError: If `beta` is outside of [0, 1], or a count is not positive.

  .. note::
    The released code picks beta by ``epoch // 160``: it never switches in runs
    of up to 160 epochs, and fails after epoch 319.
  """
  # Constants of the host, so that a traced epoch finds nothing to compute.
  weights = weights_lib.class_balanced_weights(class_counts, beta=beta)
  return deferred(epoch, jnp.ones_like(weights), weights, start=start)


def deferred_resampling(
  epoch: ArrayLike, class_counts: ArrayLike, *, start: ArrayLike = 160
) -> jax.Array:
  """Class probabilities of DRS: by count, then the same for every class.

  Cao et al., NeurIPS 2019, for `sampling.sample_indices`; the loss has no class
  weights.

  >>> print(deferred_resampling(159, [90, 10]))
  [0.9 0.1]
  >>> print(deferred_resampling(160, [90, 10]))
  [0.5 0.5]

  Args:
    epoch: Epoch from 0 on, may be traced.
    class_counts: Numbers, shape ``[C]``, concrete. A class with 0 is never
      drawn.
    start: First balanced epoch; for other than 200 epochs pass
      ``0.8 * num_epochs``.

  Returns:
    Float32 array, shape ``[C]``, sum 1.

  Raises:
    TypeError: If `class_counts` are traced, or an argument is not a number.
    ValueError: If counts are negative, not finite or all zero.

  .. note::
    The released code never switches its sampler, and its balanced one is that
    of `sampling.effective_number_probabilities`, not quite uniform. For that
    one use ``deferred(epoch, class_probabilities(class_counts),
    effective_number_probabilities(class_counts), start=160)``.
  """
  return deferred(
    epoch,
    sampling.class_probabilities(class_counts, power=1.0),
    sampling.class_probabilities(class_counts, power=0.0),
    start=start,
  )
