# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches whose tail rows go through passes of their own.

Rows come in random numbers, compiled programs in few: both groups are filled up
with rows of weight 0. Which numbers to fill up to decides how much of the gain
is left. Expected cost of an ImbSAM step in SGD steps, for 64 rows of which
2.8 % (CIFAR-100-LT, threshold 20) and 18.7 % (threshold 100) are of the tail;
the bound is 1.028 and 1.187:

=============================================== ===== =====
multiples of B/16, the default                  1.093 1.257
4 sizes of `choose_tail_sizes`                  1.048 1.269
6 sizes of `choose_tail_sizes`                  1.031 1.230
8 sizes of `choose_tail_sizes`                  1.028 1.213
`stratified_order`, one size, another order     1.031 1.188
=============================================== ===== =====

(4,096 binomial draws to choose by, 20,000 others to count.)

One pass over the rows that may be either, with two backward passes, would save
a third of what is left, for a third program in each step: not done.
"""

from collections.abc import Sequence
import math
from typing import Any

import grain
import jax
import numpy as np
from scipy import special

from imbsam_jax.data import _batches
from imbsam_jax.data import _host_share
from imbsam_jax.data import _sources


def split_batches(
  order: grain.MapDataset,
  examples: _sources.Examples,
  group_weights_by_class: np.ndarray,
  *,
  reweighting: _batches.Reweighting | None = None,
  tail_sizes: Sequence[int] | None = None,
  row_multiple: int = 1,
  host_share: _host_share.HostShare = _host_share.WHOLE,
) -> grain.MapDataset:
  """The batches of `joint_batches`, their head and tail rows apart.

  Args:
    order: A Grain dataset of `RowChoice`, such as `shuffled_order`.
    examples: Training examples.
    group_weights_by_class: Float ``[2, C]``: head and tail; every class has a
      weight in one of them at most.
    reweighting: Weights of classes in the loss, see `Reweighting`.
    tail_sizes: Numbers of rows that tails are filled up to, see
      `choose_tail_sizes` and `split_sizes`; None are multiples of about B/16.
    row_multiple: All sizes are multiples of it, by rows of weight 0: the number
      of devices, times that of micro-batches.
    host_share: The rows of this process, of which it decodes the images.

  Returns:
    A Grain dataset of `TrainBatch`, with pairs for rows and weights. A batch
    without tail rows has a tail of size 0.
  """
  group_weights_by_class = _exclusive(group_weights_by_class)
  _batches.check_reweighting(reweighting, group_weights_by_class.shape[1])

  def split(step, choice):
    labels = examples.labels[choice.indices]
    is_tail = group_weights_by_class[1, labels] != 0
    sizes = split_sizes(
      int(is_tail.sum()),
      batch_size=len(labels),
      tail_sizes=tail_sizes,
      row_multiple=row_multiple,
    )
    shares = _batches.row_shares(step, choice, labels, reweighting)
    weights = shares * group_weights_by_class[:, labels]
    groups = [
      _batches.TrainBatch(
        _batches.take_rows(
          examples,
          choice.indices[mask],
          step=step,
          places=np.flatnonzero(mask),
          own=host_share.rows(sizes[group]),
        ),
        weights[group, mask],
      )
      for group, mask in enumerate((~is_tail, is_tail))
    ]
    head, tail = (
      jax.tree.map(lambda x, size=size: _fill_up(x, size), group)
      for group, size in zip(groups, sizes, strict=True)
    )
    return _batches.TrainBatch(
      (head.rows, tail.rows), (head.weights, tail.weights), layout='split'
    )

  return order.map_with_index(split)


def tail_only_batches(
  order: grain.MapDataset,
  examples: _sources.Examples,
  group_weights_by_class: np.ndarray,
  *,
  reweighting: _batches.Reweighting | None = None,
  tail_sizes: Sequence[int] | None = None,
  row_multiple: int = 1,
  host_share: _host_share.HostShare = _host_share.WHOLE,
) -> grain.MapDataset:
  """The batches of `joint_batches`, and their tail rows once more.

  For `tail_only_gradient_oracle`, where these go through passes of their own.

  Args:
    order: A Grain dataset of `RowChoice`, such as `shuffled_order`.
    examples: Training examples.
    group_weights_by_class: Float ``[2, C]``: head and tail; every class has a
      weight in one of them at most.
    reweighting: Weights of classes in the loss, see `Reweighting`.
    tail_sizes: Numbers of rows that tails are filled up to, see
      `choose_tail_sizes` and `split_sizes`; None are multiples of about B/16.
    row_multiple: The size of the tail is a multiple of it, by rows of weight 0:
      the number of devices, times that of micro-batches.
    host_share: The rows of this process, of which it decodes the images.

  Returns:
    A Grain dataset of `TrainBatch`, with pairs for rows and weights: all rows
    with weights ``[2, B]``, and the rows of the tail.
  """
  group_weights_by_class = _exclusive(group_weights_by_class)
  _batches.check_reweighting(reweighting, group_weights_by_class.shape[1])

  def both(step, choice):
    labels = examples.labels[choice.indices]
    is_tail = group_weights_by_class[1, labels] != 0
    _, size = split_sizes(
      int(is_tail.sum()),
      batch_size=len(labels),
      tail_sizes=tail_sizes,
      row_multiple=row_multiple,
    )
    # In their own place, and once more in that among the tail.
    own = np.zeros(len(labels), bool)
    own[host_share.rows(len(labels))] = True
    own[np.flatnonzero(is_tail)[host_share.rows(size)]] = True
    rows = _batches.take_rows(
      examples,
      choice.indices,
      step=step,
      places=np.arange(len(labels)),
      own=own,
    )
    shares = _batches.row_shares(step, choice, labels, reweighting)
    weights = group_weights_by_class[:, labels] * shares
    tail = jax.tree.map(
      lambda x: _fill_up(x[is_tail], size),
      _batches.TrainBatch(rows, weights[1]),
    )
    return _batches.TrainBatch(
      (rows, tail.rows), (weights, tail.weights), layout='tail_only'
    )

  return order.map_with_index(both)


def split_sizes(
  num_tail: int,
  *,
  batch_size: int,
  tail_sizes: Sequence[int] | None = None,
  row_multiple: int = 1,
) -> tuple[int, int]:
  """Numbers of head and tail rows that a batch is filled up to.

  The tail to the next of `tail_sizes`, or to the whole batch beyond the last:
  no row is ever left out. The head to what the smallest such tail leaves.

  >>> [split_sizes(n, batch_size=64) for n in (0, 1, 4, 5, 64)]
  [(64, 0), (63, 4), (63, 4), (59, 8), (3, 64)]
  >>> [split_sizes(n, batch_size=64, tail_sizes=(2, 9)) for n in (0, 3, 10)]
  [(64, 2), (61, 9), (54, 64)]

  Args:
    num_tail: Tail rows of the batch.
    batch_size: All rows of the batch.
    tail_sizes: Rising; None are 0 and the multiples of about B/16.
    row_multiple: Both sizes are filled up to multiples of it.

  Returns:
    Head rows and tail rows.
  """
  if tail_sizes is None:
    width = -(-batch_size // 16)
    tail_sizes = range(0, batch_size, width)
  sizes = [-1, *tail_sizes, batch_size]
  place = next(i for i, size in enumerate(sizes) if size >= num_tail)
  return (
    _round_up(batch_size - sizes[place - 1] - 1, row_multiple),
    _round_up(sizes[place], row_multiple),
  )


def stack_batches(
  batches: Sequence[_batches.TrainBatch],
) -> _batches.TrainBatch:
  """Batches of one layout as one, with a new first axis.

  Groups of different sizes are filled up to the largest with rows of weight 0.
  For steps that one call makes one after the other, or runs side by side.

  Args:
    batches: Batches of host arrays, without images that stay on the devices,
      and whole, not a `HostShare`: where a group is filled up, rows come to
      devices of other processes.

  Returns:
    A `TrainBatch` whose arrays have ``len(batches)`` entries.

  Raises:
    ValueError: If the batches differ in their layout or streams.
  """
  kinds = {(batch.layout, *sorted(batch.streams)) for batch in batches}
  if len(kinds) > 1:
    raise ValueError(
      'batches of one layout with the same streams can be stacked, got '
      f'{", ".join(map(str, sorted(kinds)))}.'
    )

  def stack(*arrays, axis):
    size = max(x.shape[axis] for x in arrays)
    return np.stack([_fill_up(x, size, axis=axis) for x in arrays])

  rows = jax.tree.map(
    lambda *arrays: stack(*arrays, axis=0), *(batch.rows for batch in batches)
  )
  # Rows come last in weights.
  weights = jax.tree.map(
    lambda *arrays: stack(*arrays, axis=-1),
    *(batch.weights for batch in batches),
  )
  streams = jax.tree.map(
    lambda *arrays: np.stack(arrays),
    *(dict(batch.streams) for batch in batches),
  )
  return _batches.TrainBatch(
    rows, weights, streams=streams, layout=batches[0].layout
  )


def choose_tail_sizes(
  num_tail: Sequence[int] | np.ndarray,
  *,
  batch_size: int,
  num_sizes: int = 6,
  row_multiple: int = 1,
) -> tuple[int, ...]:
  """The sizes to fill up to with which an ImbSAM step costs least on average.

  Head rows cost one pass, tail rows two; each size is a program to compile.
  Found by dynamic programming over the numbers that come up.

  >>> choose_tail_sizes([0, 0, 1, 1, 1, 2, 7], batch_size=64, num_sizes=3)
  (0, 2, 7)
  >>> choose_tail_sizes([12, 12, 12], batch_size=64)
  (11, 12)

  Args:
    num_tail: Int ``[steps]``: tail rows of batches of the run, all or a sample.
    batch_size: All rows of a batch.
    num_sizes: How many sizes there may be.
    row_multiple: Head and tail are filled up to multiples of it.

  Returns:
    At most `num_sizes` sizes, rising; the last is the largest of `num_tail`. If
    the smallest is not 0, one less comes first, for batches that have less.
  """
  values, counts = np.unique(np.asarray(num_tail), return_counts=True)
  # Fewest tail rows that the size before leaves.
  lows = [values[0], *(values[:-1] + 1)]
  num_values = len(values)

  def cost(first, last):
    head = _round_up(batch_size - int(lows[first]), row_multiple)
    tail = _round_up(int(values[last]), row_multiple)
    return (head + 2 * tail) * counts[first : last + 1].sum()

  # best[k][j]: cost of the first j values with k sizes, and the sizes.
  best: list[Any] = [[(0.0, ())] + [(np.inf, ())] * num_values]
  for _ in range(min(num_sizes, num_values)):
    before = best[-1]
    row: list[Any] = [(0.0, ())]
    for j in range(1, num_values + 1):
      candidates = [
        (before[i][0] + cost(i, j - 1), (*before[i][1], int(values[j - 1])))
        for i in range(j)
      ]
      row.append(min([before[j], *candidates]))
    best.append(row)
  below = (int(values[0]) - 1,) if values[0] else ()
  return (*below, *best[-1][-1][1])


def one_tail_size(
  num_tail: Sequence[int] | np.ndarray,
  *,
  batch_size: int,
  stratified: bool = False,
) -> tuple[int, ...]:
  """One size that practically every batch of a run fits.

  For accelerators, where one more program takes longer to compile than all rows
  of weight 0 take to compute: on an H100 two batches out of the ordinary cost a
  run of 80 seconds 50 seconds each. The size is the largest of three: what was
  seen, five standard deviations from the mean, and what one batch of ten
  million exceeds if each row is of the tail by chance.

  >>> one_tail_size([15, 16, 16, 15], batch_size=128, stratified=True)
  (14, 16)
  >>> one_tail_size([12, 16, 20], batch_size=128)
  (49,)

  Args:
    num_tail: Int ``[steps]``: tail rows of batches of the run, all or a sample.
    batch_size: Number of rows of a batch.
    stratified: Whether no other batch has more or fewer than these.

  Returns:
    What `split_batches` takes for `tail_sizes`.
  """
  counts = np.asarray(num_tail)
  low, high = int(counts.min()), int(counts.max())
  if not stratified:
    mean, margin = counts.mean(), 5.0 * counts.std()
    # A sample does not tell exactly how rare the tail is.
    error = 3.0 * math.sqrt(mean / len(counts)) + 3.0 / len(counts)
    least, most = _by_chance(mean - error, mean + error, batch_size)
    low = max(min(low, math.floor(mean - margin), least), 0)
    high = min(max(high, math.ceil(mean + margin), most), batch_size)
  return (low - 1, high) if low else (high,)


def _by_chance(
  low_mean: float, high_mean: float, batch_size: int
) -> tuple[int, int]:
  """Numbers beyond which one binomial draw of ten million lies."""
  numbers = np.arange(batch_size + 1)
  low, high = (
    special.bdtr(numbers, batch_size, min(max(mean / batch_size, 0.0), 1.0))
    for mean in (low_mean, high_mean)
  )
  return int((low < 1e-7).sum()), int((high < 1 - 1e-7).sum())


def _exclusive(group_weights_by_class: np.ndarray) -> np.ndarray:
  group_weights_by_class = np.asarray(group_weights_by_class, np.float32)
  if (
    len(group_weights_by_class) != 2
    or (group_weights_by_class != 0).all(axis=0).any()
  ):
    raise ValueError(
      'rows can be split between the two groups head and tail, with every '
      'class in one of them. Use `joint_batches` for SAM, RSAM and Focal-SAM.'
    )
  return group_weights_by_class


def _fill_up(array: np.ndarray, size: int, *, axis: int = 0) -> np.ndarray:
  """Zeros behind what there is."""
  shape = list(array.shape)
  shape[axis] = size - shape[axis]
  return np.concatenate([array, np.zeros(shape, array.dtype)], axis=axis)


def _round_up(number: int, multiple: int) -> int:
  return -(-number // multiple) * multiple
