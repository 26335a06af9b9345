# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches: rows and their weights in every class group."""

from typing import Any
from typing import NamedTuple

import grain
import numpy as np

from imbsam_jax.data import _order
from imbsam_jax.data import _sources


class TrainBatch(NamedTuple):
  """One step's rows, with their weights in every class group.

  Attributes:
    rows: ``{'image': [B, ...], 'label': int32 [B]}``, or one such dictionary
      per group where groups bring rows of their own.
    weights: float32 ``[num_groups, B]``, or one ``[rows_k]`` per group.
  """

  rows: Any
  weights: Any


def joint_batches(
  order: grain.MapDataset,
  examples: _sources.Examples,
  class_weights: np.ndarray,
) -> grain.MapDataset:
  """Batches whose rows go through the model together.

  Args:
    order: From `shuffled_order` or `stratified_order`.
    examples: Training examples.
    class_weights: float ``[num_groups, C]``, the weight of a class in each
      group, before the division by the batch size.

  Returns:
    A Grain dataset: ``batches[step]`` is a `TrainBatch`.
  """
  class_weights = np.asarray(class_weights, np.float32)

  def join(choice):
    rows = _rows(examples, choice.indices)
    weights = class_weights[:, rows['label']] * _shares(choice)
    return TrainBatch(rows, weights)

  return order.map(join)


def split_batches(
  order: grain.MapDataset,
  examples: _sources.Examples,
  class_weights: np.ndarray,
  *,
  pad: bool = True,
  row_multiple: int = 1,
) -> grain.MapDataset:
  """The batches of `joint_batches`, their head and tail rows apart.

  Args:
    order: From `shuffled_order` or `stratified_order`.
    examples: Training examples.
    class_weights: float ``[2, C]``: head and tail; every class has a weight in
      one of them at most.
    pad: Fills both groups up to one of few sizes, see `split_sizes`, with rows
      of weight 0. A stratified order has one size anyway.
    row_multiple: All sizes are multiples of it, by rows of weight 0: the number
      of devices, times that of micro-batches.

  Returns:
    A Grain dataset of `TrainBatch`, with pairs for rows and weights. A batch
    without tail rows has a tail of size 0.
  """
  class_weights = np.asarray(class_weights, np.float32)
  if len(class_weights) != 2 or (class_weights != 0).all(axis=0).any():
    raise ValueError(
      'rows can be split between the two groups head and tail, with every '
      'class in one of them. Use `joint_batches` for SAM, RSAM and Focal-SAM.'
    )

  def split(choice):
    is_tail = class_weights[1, examples.labels[choice.indices]] != 0
    num_tail, num_rows = int(is_tail.sum()), len(is_tail)
    if pad:
      sizes = split_sizes(
        num_tail, batch_size=num_rows, row_multiple=row_multiple
      )
    else:
      sizes = (
        _round_up(num_rows - num_tail, row_multiple),
        _round_up(num_tail, row_multiple),
      )
    shares = _shares(choice)
    groups = []
    for group, mask, size in zip(
      (0, 1), (~is_tail, is_tail), sizes, strict=True
    ):
      padding = np.zeros(size - int(mask.sum()), np.int64)
      rows = _rows(examples, np.concatenate([choice.indices[mask], padding]))
      weights = np.zeros(size, np.float32)
      weights[: int(mask.sum())] = shares[mask]
      groups.append((rows, weights * class_weights[group, rows['label']]))
    return TrainBatch(*zip(*groups, strict=True))

  return order.map(split)


def split_sizes(
  num_tail: int, *, batch_size: int, row_multiple: int = 1
) -> tuple[int, int]:
  """Padded numbers of head and tail rows of a batch.

  The tail is padded to a multiple of about B/16, the head to what the smallest
  tail of that size leaves.

  >>> [split_sizes(n, batch_size=64) for n in (0, 1, 4, 5, 64)]
  [(64, 0), (64, 4), (64, 4), (60, 8), (4, 64)]

  Args:
    num_tail: Tail rows of the batch.
    batch_size: All rows of the batch.
    row_multiple: Both sizes are multiples of it.

  Returns:
    Head rows and tail rows; at most 17 different pairs.
  """
  width = _round_up(-(-batch_size // 16), row_multiple)
  tail_size = _round_up(num_tail, width)
  return batch_size - max(tail_size - width, 0), tail_size


def _round_up(number: int, multiple: int) -> int:
  return -(-number // multiple) * multiple


def _rows(
  examples: _sources.Examples, indices: np.ndarray
) -> dict[str, np.ndarray]:
  return {
    'image': examples.images[indices],
    'label': examples.labels[indices],
  }


def _shares(choice: _order.RowChoice) -> np.ndarray:
  """What a row's loss counts in the mean over the batch."""
  return choice.scale / np.float32(len(choice.scale))
