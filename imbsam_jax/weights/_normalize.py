# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Normalization of class weights: mean, sum, length or maximum 1."""

from types import ModuleType
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks

Norm = Literal['mean', 'sum', 'l2', 'max']

_NORMS = ('mean', 'sum', 'l2', 'max')


def normalize_weights(weights: ArrayLike, *, norm: Norm = 'mean') -> jax.Array:
  """Scales class weights.

  ======  ===================  ============================================
  'mean'  mean 1, so sum C     class-balanced loss, LDAM-DRW, MARC, PPW
  'sum'   sum 1                GCL, second stage
  'l2'    Euclidean length 1   AutoBalance, of N/n, for its validation loss
  'max'   largest 1
  ======  ===================  ============================================

  The scale cancels under ``reduction='weighted_mean'``; under 'mean' and 'sum'
  it is a factor of the learning rate.

  >>> print(normalize_weights([1.0, 2.0, 5.0], norm='sum'))
  [0.125 0.25  0.625]

  Args:
    weights: Numbers >= 0, shape ``[C]``, not all zero. May be traced.
    norm: One of the words in the table.

  Returns:
    Float32 array, shape ``[C]``; NaN for traced weights that are all zero.

  Raises:
    TypeError: If `weights` are not numbers.
    ValueError: If `norm` is unknown, `weights` does not have one axis, or
      concrete weights are negative, not finite or all zero.
  """
  if norm not in _NORMS:
    raise ValueError(
      f'`norm` must be one of {", ".join(map(repr, _NORMS))}, got {norm!r}.'
    )
  if not isinstance(weights, jax.core.Tracer):
    weights = np.asarray(weights)
  _checks.real_dtype('weights', weights)
  if weights.ndim != 1 or not weights.shape[0]:
    raise ValueError(
      f'`weights` must have shape [num_classes], got {weights.shape}.'
    )
  if isinstance(weights, jax.core.Tracer):
    return _normalized(weights.astype(jnp.float32), norm, jnp)
  weights = _checks.shares_of_classes('weights', weights)
  return jnp.asarray(host_normalized(weights, norm), jnp.float32)


def host_normalized(weights: np.ndarray, norm: Norm = 'mean') -> np.ndarray:
  """`normalize_weights` in float64, of checked weights."""
  return _normalized(weights, norm, np)


def _normalized(weights: Any, norm: Norm, numpy: ModuleType) -> Any:
  # By the largest first: then neither sum nor squares leave the range.
  weights = weights / weights.max()
  if norm == 'mean':
    return weights / weights.mean()
  if norm == 'sum':
    return weights / weights.sum()
  if norm == 'l2':
    return weights / numpy.sqrt(numpy.square(weights).sum())
  return weights
