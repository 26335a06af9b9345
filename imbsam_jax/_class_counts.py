# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of class counts, which nearly every method begins with."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def host_counts(class_counts: Any, *, allow_zero: bool = False) -> np.ndarray:
  """Class counts as float64 ``[C]``, for functions that compute on the host.

  Args:
    class_counts: Numbers ``[C]``, concrete.
    allow_zero: Whether classes without examples mean something here.

  Returns:
    float64 ``[C]``.

  Raises:
    TypeError: Traced counts, or not numbers.
    ValueError: Another rank, no classes, negative, infinite or NaN counts, all
      of them zero, or single zeros where they mean nothing.
  """
  if isinstance(class_counts, jax.core.Tracer):
    raise TypeError(
      '`class_counts` must be concrete here, got a traced array. Call this '
      'outside of `jax.jit` and pass what it returns as an argument.'
    )
  counts = np.asarray(class_counts)
  _check(counts, allow_zero=allow_zero)
  return counts.astype(np.float64)


def loss_counts(class_counts: Any, num_classes: int | None = None) -> jax.Array:
  """Class counts as float32 ``[num_classes]``, concrete or traced.

  Args:
    class_counts: Numbers ``[num_classes]``, or shares of a sampled stream;
      values are checked if concrete. Zeros are allowed.
    num_classes: Number of columns of the logits; None is any.

  Returns:
    float32 ``[num_classes]``.

  Raises:
    TypeError: Not numbers.
    ValueError: As for `host_counts`, or another length.
  """
  if isinstance(class_counts, jax.core.Tracer):
    counts: Any = class_counts
    _check_shape(counts.shape)
  else:
    counts = np.asarray(class_counts)
    _check(counts, allow_zero=True)
  if num_classes is not None and counts.shape[0] != num_classes:
    raise ValueError(
      '`class_counts` must have one entry for each class, got '
      f'{counts.shape[0]} for logits of {num_classes} classes.'
    )
  return jnp.asarray(counts).astype(jnp.float32)


def _check_shape(shape: tuple[int, ...]) -> None:
  if len(shape) != 1 or not shape[0]:
    raise ValueError(
      f'`class_counts` must have shape [num_classes], got {shape}. Pass the '
      'number of training images of each class, such as [500, 80, 9].'
    )


def _check(counts: np.ndarray, *, allow_zero: bool) -> None:
  if counts.dtype == bool or not (
    np.issubdtype(counts.dtype, np.number)
    or jnp.issubdtype(counts.dtype, jnp.floating)  # bfloat16
  ):
    raise TypeError(
      f'`class_counts` must be numbers, got dtype {counts.dtype}. Pass the '
      'number of training images of each class, such as [500, 80, 9].'
    )
  _check_shape(counts.shape)
  counts = counts.astype(np.float64)
  wrong = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))
  if wrong.size:
    raise ValueError(
      f'`class_counts` must be finite and not negative, got '
      f'{counts[wrong[0]]:g} for class {wrong[0]}.'
    )
  if not counts.any():
    raise ValueError('`class_counts` must not all be zero.')
  empty = np.flatnonzero(counts == 0)
  if empty.size and not allow_zero:
    raise ValueError(
      f'`class_counts` must be positive, got 0 for class {empty[0]} '
      f'({empty.size} such classes). Leave classes without training images out '
      'and number the others from 0.'
    )
