# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Further streams of data beside the rows of a batch."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

import grain
import numpy as np

from imbsam_jax.data import _batches
from imbsam_jax.data import _host_share
from imbsam_jax.data import _sources


class Stream(NamedTuple):
  """Rows that come with the batches of a run, in no class group.

  Attributes:
    order: A Grain dataset of `RowChoice`, such as `sampled_order`.
    examples: Which examples the rows are of; they may be others than those
      that are trained on. Their `RandomCrops` want a seed of their own.
    at: ``at(step)`` is whether the batch of a step has such rows; None is
      always.
  """

  order: grain.MapDataset
  examples: _sources.Examples
  at: Callable[[int], bool] | None = None


def with_streams(
  batches: grain.MapDataset,
  streams: Mapping[str, Stream],
  *,
  host_share: _host_share.HostShare = _host_share.WHOLE,
) -> grain.MapDataset:
  """Batches with the rows of further streams in `TrainBatch.streams`.

  Args:
    batches: A Grain dataset of `TrainBatch`.
    streams: The further streams, by name.
    host_share: The rows of this process, of which it decodes the images.

  Returns:
    A Grain dataset of `TrainBatch`.
  """
  if not streams:
    return batches

  def add(step, batch):
    rows = {
      name: _rows(stream, step, host_share)
      for name, stream in streams.items()
      if stream.at is None or stream.at(step)
    }
    return dataclasses.replace(batch, streams={**batch.streams, **rows})

  return batches.map_with_index(add)


def _rows(
  stream: Stream, step: int, host_share: _host_share.HostShare
) -> _batches.Rows:
  choice: Any = stream.order[step]
  number = len(choice.indices)
  return _batches.take_rows(
    stream.examples,
    choice.indices,
    step=step,
    places=np.arange(number),
    own=host_share.rows(number),
  )
