# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Orders of the training rows, each a pure function of (seed, step)."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import operator
import typing
from typing import Any
from typing import NamedTuple

import grain
import numpy as np

from imbsam_jax import sampling

# Batches never end; Grain wants a length.
_MAX_STEPS = 2**40


class RowChoice(NamedTuple):
  """Rows of one step.

  Attributes:
    indices: Int ``[B]``, into the training examples.
    scale: Float32 ``[B]``, factors that undo what the choice over-represents.
  """

  indices: np.ndarray
  scale: np.ndarray


def shuffled_order(
  num_examples: int, *, batch_size: int, seed: int | Sequence[int]
) -> grain.MapDataset:
  """Epoch after epoch, each a permutation of its own.

  Epochs follow one another without a short batch between them.

  Args:
    num_examples: Number of training examples.
    batch_size: Rows of a batch.
    seed: Seed of the order, >= 0, or words of one.

  Returns:
    A Grain dataset: ``order[step]`` is a `RowChoice`, whatever was asked for
    before.
  """
  scale = np.ones(batch_size, np.float32)
  return _permutations(num_examples, batch_size, _words(seed)).map(
    lambda indices: RowChoice(indices, scale)
  )


def whole_order(num_examples: int) -> grain.MapDataset:
  """All examples, in every step, in their own order.

  Args:
    num_examples: Number of examples.

  Returns:
    A Grain dataset of `RowChoice`.
  """
  everything = RowChoice(
    np.arange(num_examples), np.ones(num_examples, np.float32)
  )
  return grain.MapDataset.range(_MAX_STEPS).map(lambda step: everything)


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
    is_tail: Bool ``[N]``, which training examples are of tail classes.
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


def sampled_order(
  labels: np.ndarray,
  probabilities: Callable[[int], np.ndarray],
  *,
  batch_size: int,
  seed: int | Sequence[int],
  is_tail: np.ndarray | None = None,
) -> grain.MapDataset:
  """Rows drawn with replacement: a class, then one of its examples.

  Args:
    labels: Int ``[N]``, of the training examples.
    probabilities: ``probabilities(step)`` is ``[C]``, such as
      `sampling.class_probabilities` or, changing with the epoch,
      `schedules.progressive_probabilities`.
    batch_size: Rows of a batch.
    seed: Seed of the draws, >= 0, or words of one.
    is_tail: Bool ``[C]``, which classes are tail; then head and tail rows are
      drawn apart, head rows first, in numbers that are multiples of about B/16
      (so that few shapes come up), and the factors make up for the rounding.

  Returns:
    A Grain dataset of `RowChoice`; a step is a pure function of (seed, step).
  """
  if is_tail is not None and batch_size < 2:
    raise ValueError(
      f'a stratified batch needs head and tail rows, got {batch_size} row. '
      'Pass a batch size of 2 or more.'
    )
  num_classes = len(probabilities(0))
  table = sampling.class_table(labels, num_classes=num_classes)
  indices, counts = np.asarray(table.indices), np.asarray(table.counts)

  # Drawn on the host, like the other orders; `sampling.sample_indices` draws on
  # the device.
  def draw(rng, chances, size):
    # A class is drawn where a random number falls into its interval of the
    # cumulated chances.
    edges = np.cumsum(chances / chances.sum())
    classes = np.searchsorted(edges, rng.random_sample(size), side='right')
    classes = np.minimum(classes, np.flatnonzero(chances)[-1])
    places = rng.random_sample(size) * counts[classes]
    return indices[classes, places.astype(np.int64)].astype(np.int64)

  def choose(step):
    rng = np.random.RandomState([*_words(seed), step])
    chances = _chances(probabilities(step), counts)
    parts = [chances]
    if is_tail is not None:
      parts = [np.where(is_tail, 0, chances), np.where(is_tail, chances, 0)]
    shares = np.array([part.sum() for part in parts]) / chances.sum()
    sizes = _sizes(shares, batch_size)
    rows = [
      draw(rng, part, size)
      for part, size in zip(parts, sizes, strict=True)
      if size
    ]
    scale = np.divide(
      batch_size * shares, sizes, out=np.zeros_like(shares), where=sizes > 0
    )
    return RowChoice(
      np.concatenate(rows), np.repeat(scale, sizes).astype(np.float32)
    )

  return grain.MapDataset.range(_MAX_STEPS).map(choose)


def class_aware_order(
  labels: np.ndarray,
  *,
  batch_size: int,
  seed: int,
  samples_per_class: int = 4,
) -> grain.MapDataset:
  """Cycles over shuffled classes, see `sampling.class_aware_indices`.

  Args:
    labels: Int ``[N]``, of the training examples.
    batch_size: Rows of a batch.
    seed: Seed of the order, >= 0.
    samples_per_class: Rows of a class in a row.

  Returns:
    A Grain dataset of `RowChoice`; batches follow one another without a gap.
  """
  table = sampling.class_table(labels, num_classes=int(labels.max()) + 1)
  scale = np.ones(batch_size, np.float32)

  def choose(step):
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    indices = sampling.class_aware_positions(
      [seed], table, positions, samples_per_class
    )
    return RowChoice(np.asarray(indices, np.int64), scale)

  return grain.MapDataset.range(_MAX_STEPS).map(choose)


def permuted_order(
  order: grain.MapDataset, *, seed: int | Sequence[int]
) -> grain.MapDataset:
  """The rows of each batch in another order: partners for mixup."""

  def permute(step, choice):
    rng = np.random.RandomState([*_words(seed), step])
    places = rng.permutation(len(choice.indices))
    return RowChoice(choice.indices[places], choice.scale[places])

  return order.map_with_index(permute)


def _chances(probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
  chances = np.where(counts > 0, np.asarray(probabilities, np.float64), 0.0)
  if not (chances >= 0).all() or not 0 < chances.sum() < np.inf:
    raise ValueError(
      '`probabilities` must not be negative, and positive for a class with '
      f'examples, got {np.asarray(probabilities).tolist()}.'
    )
  return chances


def _words(seed: int | Sequence[int]) -> list[int]:
  return [int(word) for word in np.atleast_1d(seed)]


def _sizes(shares: np.ndarray, batch_size: int) -> np.ndarray:
  """Rows of head and tail, tail rows in multiples of about B/16."""
  if len(shares) == 1 or not shares.all():
    return np.where(shares > 0, batch_size, 0)
  width = -(-batch_size // 16)
  num_tail = max(round(batch_size * shares[1] / width), 1) * width
  num_tail = min(num_tail, batch_size - 1)
  return np.array([batch_size - num_tail, num_tail])


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
