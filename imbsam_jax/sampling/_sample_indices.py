# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws of examples by class probabilities, with replacement."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.sampling import _class_table
from imbsam_jax.sampling import _draws


def sample_indices(
  key: jax.Array,
  table: _class_table.ClassTable,
  probabilities: ArrayLike,
  *,
  num_samples: int,
) -> jax.Array:
  """Draws a class by its probability, then any of its examples.

  >>> from imbsam_jax import sampling
  >>> table = sampling.class_table([0, 0, 0, 1], num_classes=2)
  >>> indices = sample_indices(
  ...   jax.random.key(0), table, [0.0, 1.0], num_samples=5
  ... )
  >>> print(indices)
  [3 3 3 3 3]

  Args:
    key: Key of `jax.random`.
    table: `class_table` of the data set; may be traced.
    probabilities: Numbers >= 0, shape ``[C]``, such as `class_probabilities`;
      may be traced, so that a schedule changes them without recompilation. They
      are divided by their sum.
    num_samples: Number of draws.

  Returns:
    Int32 array, shape ``[num_samples]``, with replacement. Traced probabilities
    that leave no class with examples give 2147483647, an index no data set has.

  Raises:
    TypeError: If `table` is not a `ClassTable`, `probabilities` are not real
      numbers, or `num_samples` is not an integer.
    ValueError: If `num_samples` < 1, there is not one probability per class, or
      concrete probabilities are negative, not finite, all zero or positive for
      a class without examples.
  """
  _class_table.check_table(table)
  _checks.integer('num_samples', num_samples)
  if not isinstance(probabilities, jax.core.Tracer):
    probabilities = np.asarray(probabilities)
  _check_probabilities(probabilities, table)
  return _draw(
    key,
    jnp.asarray(table.indices),
    jnp.asarray(table.counts),
    jnp.asarray(probabilities).astype(jnp.float32),
    num_samples=int(num_samples),
  )


@functools.partial(jax.jit, static_argnames='num_samples')
def _draw(
  key: jax.Array,
  indices: jax.Array,
  counts: jax.Array,
  probabilities: jax.Array,
  *,
  num_samples: int,
) -> jax.Array:
  class_key, slot_key = jax.random.split(key)
  probabilities = jnp.where(counts > 0, probabilities, 0.0)
  classes = _draws.draw_classes(class_key, probabilities, num_samples)
  slots = jax.random.randint(
    slot_key, (num_samples,), 0, jnp.maximum(counts, 1)[classes], jnp.int32
  )
  is_nothing = classes == _draws.NOTHING
  return jnp.where(is_nothing, _draws.NOTHING, indices[classes, slots])


def _check_probabilities(
  probabilities: Any, table: _class_table.ClassTable
) -> None:
  _checks.real_dtype('probabilities', probabilities)
  if probabilities.shape != table.counts.shape:
    raise ValueError(
      '`probabilities` must be one per class of the table, '
      f'{table.counts.shape}, got {probabilities.shape}.'
    )
  if isinstance(probabilities, jax.core.Tracer):
    return
  probabilities = _checks.shares_of_classes('probabilities', probabilities)
  if isinstance(table.counts, jax.core.Tracer):
    return
  wrong = np.flatnonzero((np.asarray(table.counts) == 0) & (probabilities > 0))
  if wrong.size:
    raise ValueError(
      f'`probabilities` must be 0 for classes without examples, got '
      f'{probabilities[wrong[0]]:g} for class {wrong[0]}. Pass '
      '`class_probabilities(table.counts, power=...)`.'
    )
