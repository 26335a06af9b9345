# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches: rows and their weights in every class group."""

from collections.abc import Callable
from typing import Any
from typing import Literal
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


class Reweighting(NamedTuple):
  """Class weights of the loss, as they are at each step.

  Attributes:
    weights: ``weights(step)`` is ``[C]``.
    reduction: 'weighted_mean' divides by the weights of the batch's rows,
      'mean' by their number; see `losses.reduce_loss`.
  """

  weights: Callable[[int], np.ndarray]
  reduction: Literal['mean', 'weighted_mean']


def joint_batches(
  order: grain.MapDataset,
  examples: _sources.Examples,
  class_weights: np.ndarray,
  *,
  reweighting: Reweighting | None = None,
) -> grain.MapDataset:
  """Batches whose rows go through the model together.

  Args:
    order: A Grain dataset of `RowChoice`, such as `shuffled_order`.
    examples: Training examples.
    class_weights: float ``[num_groups, C]``, the weight of a class in each
      group, before the division by the batch size.
    reweighting: Weights of classes in the loss; they are in the batch, so that
      they change without recompiling.

  Returns:
    A Grain dataset: ``batches[step]`` is a `TrainBatch`.
  """
  class_weights = np.asarray(class_weights, np.float32)
  _check_reweighting(reweighting, class_weights.shape[1])

  def join(step, choice):
    rows = _rows(examples, choice.indices)
    shares = _shares(step, choice, rows['label'], reweighting)
    return TrainBatch(rows, class_weights[:, rows['label']] * shares)

  return order.map_with_index(join)


def paired_batches(
  order: grain.MapDataset,
  partner_order: grain.MapDataset,
  examples: _sources.Examples,
  class_weights: np.ndarray,
  *,
  reweighting: Reweighting | None = None,
) -> grain.MapDataset:
  """Two streams side by side: every row with a partner, for mixing.

  Rows 2i and 2i + 1 are a pair, the partner second; so pairs stay together when
  rows are sharded. Each stream has the weights of a batch of its own, which the
  mixture multiplies by its shares.

  Args:
    order: Of the rows, such as `shuffled_order`.
    partner_order: Of their partners: `permuted_order` of the same rows, or a
      re-balanced stream such as `sampled_order`.
    examples: Training examples.
    class_weights: As for `joint_batches`.
    reweighting: As for `joint_batches`.

  Returns:
    A Grain dataset of `TrainBatch` with ``2 B`` rows.
  """
  streams = [
    joint_batches(one, examples, class_weights, reweighting=reweighting)
    for one in (order, partner_order)
  ]

  def pair(step):
    one, two = (stream[step] for stream in streams)
    rows = {
      name: _interleave(one.rows[name], two.rows[name], axis=0)
      for name in one.rows
    }
    return TrainBatch(rows, _interleave(one.weights, two.weights, axis=1))

  return grain.MapDataset.range(len(order)).map(pair)


def split_batches(
  order: grain.MapDataset,
  examples: _sources.Examples,
  class_weights: np.ndarray,
  *,
  reweighting: Reweighting | None = None,
  pad: bool = True,
  row_multiple: int = 1,
) -> grain.MapDataset:
  """The batches of `joint_batches`, their head and tail rows apart.

  Args:
    order: A Grain dataset of `RowChoice`, such as `shuffled_order`.
    examples: Training examples.
    class_weights: float ``[2, C]``: head and tail; every class has a weight in
      one of them at most.
    reweighting: As for `joint_batches`.
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

  _check_reweighting(reweighting, class_weights.shape[1])

  def split(step, choice):
    labels = examples.labels[choice.indices]
    is_tail = class_weights[1, labels] != 0
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
    shares = _shares(step, choice, labels, reweighting)
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

  return order.map_with_index(split)


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


def _interleave(one: np.ndarray, two: np.ndarray, *, axis: int) -> np.ndarray:
  pairs = np.stack([one, two], axis=axis + 1)
  shape = list(one.shape)
  shape[axis] *= 2
  return pairs.reshape(shape)


def _check_reweighting(
  reweighting: Reweighting | None, num_classes: int
) -> None:
  if reweighting is None:
    return
  if reweighting.reduction not in ('mean', 'weighted_mean'):
    raise ValueError(
      "`reduction` of a Reweighting must be 'mean' or 'weighted_mean', got "
      f'{reweighting.reduction!r}.'
    )
  shape = np.shape(reweighting.weights(0))
  if shape != (num_classes,):
    raise ValueError(
      f'`weights` of a Reweighting must give one weight for each of the '
      f'{num_classes} classes, got shape {shape}.'
    )


def _shares(
  step: int,
  choice: _order.RowChoice,
  labels: np.ndarray,
  reweighting: Reweighting | None,
) -> np.ndarray:
  """What a row's loss counts in the mean over the batch."""
  if reweighting is None:
    return choice.scale / np.float32(len(choice.scale))
  weights = np.asarray(reweighting.weights(step), np.float64)
  weights = weights[labels] * choice.scale
  mean = reweighting.reduction == 'mean'
  return (weights / (len(weights) if mean else weights.sum())).astype(
    np.float32
  )
