# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class-aware sampling: a cycle over the classes, on the host."""

from collections.abc import Sequence
import functools
import threading
from typing import Any

import jax
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.sampling import _class_table


def class_aware_indices(
  key: jax.Array,
  table: _class_table.ClassTable,
  *,
  num_samples: int,
  samples_per_class: int = 4,
) -> np.ndarray:
  """Examples in a cycle over the classes, several of each in a row.

  The sampler of cRT (Kang et al., Decoupling Representation and Classifier for
  Long-Tailed Recognition, ICLR 2020). Each cycle visits all classes in a random
  order; the examples of a class come in a random order too, all of them before
  any comes again. Classes without examples are left out.

  >>> from imbsam_jax import sampling
  >>> table = sampling.class_table([0, 0, 0, 1, 2, 2], num_classes=3)
  >>> indices = class_aware_indices(
  ...   jax.random.key(0), table, num_samples=18, samples_per_class=2
  ... )
  >>> print(sorted(indices.tolist()))  # 6 of each class
  [0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5]

  Args:
    key: One key, concrete.
    table: `class_table` of the data set, concrete.
    num_samples: Number of examples. The authors' epoch has max(n) * C, many
      more than the data set.
    samples_per_class: Examples of a class in a row; 4 is the authors'.

  Returns:
    int32 ``[num_samples]``, in NumPy. More samples begin with the same ones.

  Raises:
    TypeError: Traced arguments, no key or table, sizes that are no integers.
    ValueError: Sizes below 1, or several keys.
  """
  _checks.integer('num_samples', num_samples)
  return class_aware_positions(
    _seed_words(key), table, np.arange(num_samples), samples_per_class
  )


def class_aware_positions(
  seed_words: Sequence[int],
  table: _class_table.ClassTable,
  positions: ArrayLike,
  samples_per_class: int,
) -> np.ndarray:
  """Examples at any positions of the endless sequence.

  Args:
    seed_words: Numbers in ``[0, 2**32)``.
    table: `class_table` of the data set, concrete.
    positions: Int ``[n]``, >= 0, in any order.
    samples_per_class: Examples of a class in a row.

  Returns:
    int32 ``[n]``: entry i depends on ``positions[i]`` alone.

  Raises:
    TypeError: A traced table, or positions and sizes that are no integers.
    ValueError: Negative positions, or sizes below 1.
  """
  indices, counts = _host_table(table)
  _checks.integer('samples_per_class', samples_per_class)
  places = np.asarray(positions)
  if not np.issubdtype(places.dtype, np.integer):
    raise TypeError(f'`positions` must be integers, got {places.dtype}.')
  if places.ndim != 1 or (places < 0).any():
    raise ValueError('`positions` must have shape [n] and be >= 0.')
  words = tuple(int(word) for word in seed_words)
  visited = np.flatnonzero(counts)

  visits, nth = np.divmod(places.astype(np.int64), int(samples_per_class))
  cycles, ranks = np.divmod(visits, len(visited))
  classes = np.empty_like(cycles)
  for rows in _groups(cycles):
    seed = (*words, *_two_words(cycles[rows[0]]))
    order = _permutation(seed, len(visited))
    classes[rows] = visited[order[ranks[rows]]]

  # A class has had samples_per_class draws in each earlier cycle.
  epochs, offsets = np.divmod(
    cycles * int(samples_per_class) + nth, counts[classes]
  )
  drawn = np.empty(places.shape, np.int32)
  for rows in _groups(classes, epochs):
    label = int(classes[rows[0]])
    # One word more than for a cycle: a seed of its own.
    seed = (*words, label, *_two_words(epochs[rows[0]]))
    order = _permutation(seed, int(counts[label]))
    drawn[rows] = indices[label, order[offsets[rows]]]
  return drawn


def _groups(*values: np.ndarray) -> list[np.ndarray]:
  """The rows that have the same values, for each that occur."""
  order = np.lexsort(values)
  if not order.size:
    return []
  changes = [np.diff(value[order]) != 0 for value in values]
  return np.split(order, np.flatnonzero(np.any(changes, axis=0)) + 1)


def _two_words(number: Any) -> tuple[int, int]:
  return int(number) >> 32, int(number) & 0xFFFFFFFF


_LOCAL = threading.local()


# Room for one permutation of each class of ImageNet.
@functools.lru_cache(maxsize=1024 + 64)
def _permutation(seed: tuple[int, ...], size: int) -> np.ndarray:
  # `RandomState` is frozen, so the order survives NumPy's releases. Seeding an
  # old one gives the same numbers as a new one, which takes ten times as long;
  # one per thread, since loaders have several.
  if not hasattr(_LOCAL, 'generator'):
    _LOCAL.generator = np.random.RandomState(0)
  _LOCAL.generator.seed(seed)
  order = _LOCAL.generator.permutation(size).astype(np.int32)
  order.flags.writeable = False
  return order


def _host_table(
  table: _class_table.ClassTable,
) -> tuple[np.ndarray, np.ndarray]:
  _class_table.check_table(table)
  if any(isinstance(leaf, jax.core.Tracer) for leaf in table):
    raise TypeError(
      '`table` must be concrete: this sampler runs on the host, outside of '
      '`jax.jit`. `sample_indices` runs anywhere.'
    )
  counts = np.asarray(table.counts).astype(np.int64)
  if not counts.any():
    raise ValueError('`table` must have examples, got none in any class.')
  return np.asarray(table.indices), counts


def _seed_words(key: Any) -> list[int]:
  if isinstance(key, jax.core.Tracer):
    raise TypeError(
      '`key` must be concrete: this sampler runs on the host, outside of '
      '`jax.jit`. `sample_indices` runs anywhere.'
    )
  is_new_style = isinstance(key, jax.Array) and jax.dtypes.issubdtype(
    key.dtype, jax.dtypes.prng_key
  )
  with jax.ensure_compile_time_eval():  # The key may be a constant of a trace.
    words = np.asarray(jax.random.key_data(key) if is_new_style else key)
  if words.dtype != np.uint32:
    raise TypeError(
      f'`key` must be a key, got {key!r}. Pass jax.random.key(seed).'
    )
  if words.ndim != 1:
    raise ValueError(
      f'`key` must be one key, got shape {np.shape(key)}. Pass one of them.'
    )
  return words.tolist()
