# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of class counts, which nearly every method begins with."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax._checks import arrays
from imbsam_jax._checks import numbers

_EXAMPLE = (
  'Pass the number of training images of each class, such as [500, 80, 9] or '
  'np.bincount(labels, minlength=num_classes).'
)


def count_array(
  class_counts: Any,
  *,
  zeros: bool = False,
  all_zero: bool = False,
  whole: bool = False,
  num_classes: int | None = None,
  error: type[Exception] | None = None,
) -> Any:
  """Class counts as an array of their own dtype.

  Args:
    class_counts: Numbers, shape ``[C]``.
    zeros: Whether classes without examples mean something here.
    all_zero: Whether they may all be zero, which leaves no ratios.
    whole: Whether they must be integers, rather than shares of a stream.
    num_classes: Number C of classes, where it is known; None allows any.
    error: Class of all errors, instead of the two below.

  Returns:
    A NumPy array, or traced counts as they came, whose values are not checked.

  Raises:
    TypeError: If the counts are not numbers.
    ValueError: If the counts have another rank or length, there are no classes,
      a count is negative, infinite or NaN, all of them are zero, or single
      counts are zero where that means nothing.
  """
  traced = isinstance(class_counts, jax.core.Tracer)
  counts: Any = class_counts if traced else np.asarray(class_counts)
  if counts.ndim != 1 or not counts.shape[0]:
    raise (error or ValueError)(
      f'`class_counts` must have shape [num_classes], got {counts.shape}. '
      f'{_EXAMPLE}'
    )
  is_whole = jnp.issubdtype(counts.dtype, jnp.integer)
  # bfloat16 is a subtype of JAX's floating only.
  if whole and not is_whole:
    raise (error or TypeError)(
      f'`class_counts` must be integers, got dtype {counts.dtype}. Cast whole '
      'numbers: np.rint(class_counts).astype(np.int64).'
    )
  if not (is_whole or jnp.issubdtype(counts.dtype, jnp.floating)):
    raise (error or TypeError)(
      f'`class_counts` must be numbers, got dtype {counts.dtype}. {_EXAMPLE}'
    )
  if num_classes is not None and counts.shape[0] != num_classes:
    raise (error or ValueError)(
      '`class_counts` must have one entry for each class, got '
      f'{counts.shape[0]} for {num_classes} classes.'
    )
  if traced:
    return counts
  values = arrays.shares_of_classes(
    'class_counts', counts, all_zero=all_zero, error=error
  )
  empty = np.flatnonzero(values == 0)
  if empty.size and not zeros:
    raise (error or ValueError)(
      f'`class_counts` must be positive, got 0 for class {empty[0]} '
      f'({empty.size} such classes). Leave classes without training images out '
      'and number the others from 0.'
    )
  return counts


def host_counts(
  class_counts: Any, *, zeros: bool = False, num_classes: int | None = None
) -> np.ndarray:
  """Class counts as float64 ``[C]``, for functions that compute on the host.

  Raises:
    TypeError: If the counts are traced or not numbers.
    ValueError: If the counts are such that `count_array` refuses them.
  """
  numbers.concrete('class_counts', class_counts)
  counts = count_array(class_counts, zeros=zeros, num_classes=num_classes)
  return counts.astype(np.float64)


def loss_counts(class_counts: Any, num_classes: int | None = None) -> jax.Array:
  """Class counts as float32 ``[C]``, concrete or traced, zeros allowed.

  Raises:
    TypeError: If the counts are not numbers.
    ValueError: If the counts are such that `count_array` refuses them.
  """
  return float32_counts(
    count_array(class_counts, zeros=True, num_classes=num_classes)
  )


def float32_counts(counts: Any) -> jax.Array:
  """Checked counts, or one number of examples, on the device as float32."""
  # On the host first: without x64 JAX reads int64 as int32, and 2**31 or more
  # would wrap around or be refused.
  if not isinstance(counts, jax.Array):
    counts = np.asarray(counts).astype(np.float32)
  return jnp.asarray(counts).astype(jnp.float32)
