# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches: rows and their weights in every class group."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import Literal
from typing import NamedTuple

import grain
import jax
import numpy as np

from imbsam_jax.data import _host_share
from imbsam_jax.data import _order
from imbsam_jax.data import _random_crops
from imbsam_jax.data import _sources

Layout = Literal['joint', 'split', 'tail_only']
Rows = dict[str, np.ndarray]


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=['rows', 'weights', 'resident_images', 'streams'],
  meta_fields=['layout'],
)
@dataclasses.dataclass(frozen=True)
class TrainBatch:
  """One step's rows, with their weights in every class group.

  A tree of arrays for JAX; its layout is known while tracing.

  Attributes:
    rows: ``{'image': [B, ...], 'label': int32 [B], 'place': int32 [B],
      'example': int32 [B]}``, or a pair of such dictionaries, see `layout`. The
      place of a row in its batch is the same in every layout; its augmentation
      is drawn by it. The example says which of the training examples it is.
    weights: float32 ``[num_groups, B]``, or a pair, see `layout`.
    resident_images: All images ``[N, ...]``, where they stay on the devices and
      the rows have int32 ``[B]`` places among them for images; else None.
    streams: By name the rows of further streams of data, see `with_streams`;
      they are in no class group.
    layout: Which rows go through the model together. 'joint': all. 'split': the
      groups apart, rows and weights ``[rows_k]`` of each. 'tail_only': all with
      their weights ``[2, B]``, and once more those of the tail with weights
      ``[rows_1]``.
  """

  rows: Any
  weights: Any
  resident_images: Any = None
  streams: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  layout: Layout = 'joint'


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
  group_weights_by_class: np.ndarray,
  *,
  reweighting: Reweighting | None = None,
  first_place: int = 0,
  host_share: _host_share.HostShare = _host_share.WHOLE,
) -> grain.MapDataset:
  """Batches whose rows go through the model together.

  Args:
    order: A Grain dataset of `RowChoice`, such as `shuffled_order`.
    examples: Training examples.
    group_weights_by_class: Float ``[num_groups, C]``, the weight of a class in
      each group, before the division by the batch size.
    reweighting: Weights of classes in the loss; they are in the batch, so that
      they change without recompiling.
    first_place: Place of the first row, where batches are parts of larger ones.
    host_share: The rows of this process, of which it decodes the images.

  Returns:
    A Grain dataset: ``batches[step]`` is a `TrainBatch`.
  """
  group_weights_by_class = np.asarray(group_weights_by_class, np.float32)
  check_reweighting(reweighting, group_weights_by_class.shape[1])

  def join(step, choice):
    num_rows = len(choice.indices)
    rows = take_rows(
      examples,
      choice.indices,
      step=step,
      places=first_place + np.arange(num_rows),
      own=host_share.rows(num_rows),
    )
    shares = row_shares(step, choice, rows['label'], reweighting)
    return TrainBatch(rows, group_weights_by_class[:, rows['label']] * shares)

  return order.map_with_index(join)


def paired_batches(
  order: grain.MapDataset,
  partner_order: grain.MapDataset,
  examples: _sources.Examples,
  group_weights_by_class: np.ndarray,
  *,
  reweighting: Reweighting | None = None,
  host_share: _host_share.HostShare = _host_share.WHOLE,
) -> grain.MapDataset:
  """Two streams side by side: every row with a partner, for mixing.

  Rows 2i and 2i + 1 are a pair, the partner second; so pairs stay together when
  rows are sharded. Each stream has the weights of a batch of its own, which the
  mixture multiplies by its shares.

  Args:
    order: The order of the rows, such as `shuffled_order`.
    partner_order: The order of their partners: `permuted_order` of the same
      rows, or a re-balanced stream such as `sampled_order`.
    examples: Training examples.
    group_weights_by_class: Float ``[num_groups, C]``, the weight of a class in
      each group, before the division by the batch size.
    reweighting: Weights of classes in the loss, see `Reweighting`.
    host_share: The rows of this process, of which it decodes the images.

  Returns:
    A Grain dataset of `TrainBatch` with ``2 B`` rows.
  """
  first: Any = order[0]
  streams = [
    joint_batches(
      one,
      examples,
      group_weights_by_class,
      reweighting=reweighting,
      first_place=first_place,
      host_share=host_share,
    )
    for one, first_place in ((order, 0), (partner_order, len(first.indices)))
  ]

  def pair(step):
    one, two = (stream[step] for stream in streams)
    rows = {
      name: _interleave(one.rows[name], two.rows[name], axis=0)
      for name in one.rows
    }
    return TrainBatch(rows, _interleave(one.weights, two.weights, axis=1))

  return grain.MapDataset.range(len(order)).map(pair)


def pair_halves(array: Any) -> tuple[Any, Any]:
  """The rows of `paired_batches` and their partners.

  Args:
    array: ``[2 B, ...]`` with pairs next to each other, such as images or the
      weights of one group.

  Returns:
    Two arrays ``[B, ...]``.
  """
  return array[0::2], array[1::2]


def take_rows(
  examples: _sources.Examples,
  indices: np.ndarray,
  *,
  step: int,
  places: np.ndarray,
  own: slice | np.ndarray,
) -> Rows:
  """Rows of a batch, see `TrainBatch`; only images of `own` rows are there."""
  stored = examples.images

  def take(at):
    if isinstance(stored, _random_crops.RandomCrops):
      return stored.rows(indices[at], step=step, places=places[at])
    return stored[indices[at]]

  return {
    'image': _host_share.take_own(take, len(indices), own, stored),
    'label': examples.labels[indices],
    'place': places.astype(np.int32),
    'example': np.asarray(indices, np.int32),
  }


def _interleave(one: np.ndarray, two: np.ndarray, *, axis: int) -> np.ndarray:
  pairs = np.stack([one, two], axis=axis + 1)
  shape = list(one.shape)
  shape[axis] *= 2
  return pairs.reshape(shape)


def check_reweighting(
  reweighting: Reweighting | None, num_classes: int
) -> None:
  """Refuses weights that are not one for each class."""
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


def row_shares(
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
