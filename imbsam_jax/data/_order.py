# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rows a step takes: a pure function of (seed, step)."""

import functools
import operator
import typing
from typing import Any
from typing import NamedTuple

import grain
import numpy as np

# Batches never end; Grain wants a length.
_MAX_STEPS = 2**40


class RowChoice(NamedTuple):
  """Rows of one step.

  Attributes:
    indices: int ``[B]``, into the training examples.
    scale: float32 ``[B]``, factors that undo what the choice over-represents.
  """

  indices: np.ndarray
  scale: np.ndarray


def shuffled_order(
  num_examples: int, *, batch_size: int, seed: int
) -> grain.MapDataset:
  """Epoch after epoch, each a permutation of its own.

  Epochs follow one another without a short batch between them.

  Args:
    num_examples: Number of training examples.
    batch_size: Rows of a batch.
    seed: Seed of the order, >= 0.

  Returns:
    A Grain dataset: ``order[step]`` is a `RowChoice`, whatever was asked for
    before.
  """
  scale = np.ones(batch_size, np.float32)
  return _permutations(num_examples, batch_size, [seed]).map(
    lambda indices: RowChoice(indices, scale)
  )


def stratified_order(
  is_tail: np.ndarray,
  *,
  batch_size: int,
  seed: int,
) -> grain.MapDataset:
  """The same number of tail rows in every batch, head rows first.

  Head and tail examples are shuffled apart, epoch after epoch. A batch has
  ``round(B * share)`` tail rows, and the factors make up for the rounding: the
  expected gradient is that of `shuffled_order`. Without head or tail examples
  it is `shuffled_order`.

  Args:
    is_tail: bool ``[N]``, which training examples are of tail classes.
    batch_size: Rows of a batch, at least 2.
    seed: Seed of the order, >= 0.

  Returns:
    A Grain dataset of `RowChoice`.
  """
  members = [np.flatnonzero(~is_tail), np.flatnonzero(is_tail)]
  if not all(len(group) for group in members):
    return shuffled_order(len(is_tail), batch_size=batch_size, seed=seed)
  share = float(np.mean(is_tail))
  if batch_size < 2:
    raise ValueError(
      f'a stratified batch needs head and tail rows, got {batch_size} row. '
      'Pass a batch size of 2 or more.'
    )
  num_tail = min(max(round(batch_size * share), 1), batch_size - 1)
  sizes = (batch_size - num_tail, num_tail)
  expected = (batch_size * (1 - share), batch_size * share)
  scale = np.repeat(np.divide(expected, sizes), sizes).astype(np.float32)
  streams = [
    _permutations(len(group), size, [seed, k])
    for k, (group, size) in enumerate(zip(members, sizes, strict=True))
  ]

  def choose(step):
    parts = [m[s[step]] for m, s in zip(members, streams, strict=True)]
    return RowChoice(np.concatenate(parts), scale)

  return grain.MapDataset.range(_MAX_STEPS).map(choose)


def _permutations(
  num_examples: int, batch_size: int, seeds: list[int]
) -> grain.MapDataset:
  source: Any = _Permutations(num_examples, batch_size, seeds)
  return grain.MapDataset.source(source)


class _Permutations:
  """Indices of whole batches: shuffling row by row costs a call per row.

  `RandomState` is frozen, so the order survives NumPy's releases.
  """

  def __init__(self, num_examples: int, batch_size: int, seeds: list[int]):
    self._num_examples = num_examples
    self._batch_size = batch_size
    self._seeds = seeds
    self._permutation = functools.lru_cache(maxsize=4)(self._permute)

  def __len__(self) -> int:
    return _MAX_STEPS

  def __getitem__(self, step: typing.SupportsIndex, /) -> np.ndarray:
    start = operator.index(step) * self._batch_size
    positions = np.arange(start, start + self._batch_size)
    epochs, offsets = np.divmod(positions, self._num_examples)
    parts = [
      self._permutation(epoch)[offsets[epochs == epoch]]
      for epoch in range(int(epochs[0]), int(epochs[-1]) + 1)
    ]
    return np.concatenate(parts)

  def _permute(self, epoch: int) -> np.ndarray:
    rng = np.random.RandomState([*self._seeds, epoch])
    return rng.permutation(self._num_examples)
