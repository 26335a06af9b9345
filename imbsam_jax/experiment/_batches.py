# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches of a run, and how their rows are cut."""

from typing import Any
import zlib

import grain
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import training

# Steps of which the tail rows are counted to choose sizes by.
_OBSERVED = 4096
# Steps from which on a closer fit is worth more programs to compile.
_LONG_RUN = 5000


def choose_layout(
  rows: str,
  method: training.Method,
  *,
  rule: str,
  batch_norm: bool,
  num_microbatches: int,
  coupled: bool,
) -> data_lib.Layout:
  """Which rows go through the model together, see `data.TrainBatch`.

  Args:
    rows: What was asked for, 'auto' or a layout.
    method: Class groups and update rules.
    rule: Name of the update rule, for messages.
    batch_norm: Whether rows depend on each other within the model.
    num_microbatches: Parts of a batch that go through one after the other.
    coupled: Whether the loss of a row depends on other rows.

  Raises:
    ConfigError: If what was asked for is not exact, or not possible.
  """
  if batch_norm and num_microbatches > 1:
    raise _errors.ConfigError(
      '`optimizer.num_microbatches` would change what BatchNorm sees. '
      'Pass `model.norm=group`, or leave it.'
    )
  if rows in ('split', 'tail_only') and not method.exclusive:
    raise _errors.ConfigError(
      f'`optimizer.rows={rows}` needs the groups head and tail, which '
      f'{rule} has not. Use imbsam, momentum_imbsam or sse_sam, or leave it.'
    )
  if rows == 'split' and batch_norm:
    raise _errors.ConfigError(
      '`optimizer.rows=split` is not exact with BatchNorm, whose '
      'statistics tie the rows of a batch together. Pass '
      '`model.norm=group`, leave it, or accept an approximation with '
      '`optimizer.rows=tail_only`.'
    )
  if rows == 'tail_only' and not batch_norm:
    raise _errors.ConfigError(
      '`optimizer.rows=tail_only` is for BatchNorm; without it '
      '`optimizer.rows=split` is exact and cheaper.'
    )
  if rows == 'tail_only':
    return 'tail_only'
  split = (
    rows != 'joint' and method.exclusive and not batch_norm and not coupled
  )
  return 'split' if split else 'joint'


def indexed(examples: data_lib.Examples) -> data_lib.Examples:
  """Examples that have int32 ``[N]`` indices for images."""
  indices = np.arange(len(examples.labels), dtype=np.int32)
  return examples._replace(images=indices)


class Batches:
  """Batches of a run by its seed.

  Args:
    data: Training examples, and others that streams are of.
    combined: What the words of the run bring.
    method: Class groups and update rules.
    layout: From `choose_layout`.
    batch_size: Rows of a batch.
    num_steps: Steps of a run.
    is_tail: Bool ``[C]`` to have head and tail rows in fixed numbers, or None.
    outer: The outer step of the objective, whose stream only its steps have.
    row_multiple: Devices times micro-batches.
    resident: Whether training images stay on the devices, and batches say which
      theirs are.
    scanned: Whether several steps share a call. Its batches have one size, so
      that there would be a program for each pair of the largest head and the
      largest tail among them; then all are filled up to one size.
    host_share: The rows of this process.

  Attributes:
    one_of_each: Steps whose batches of seed 0 have all shapes between them.
  """

  def __init__(
    self,
    data: data_lib.LongTailedData,
    combined: methods.Combined,
    method: training.Method,
    *,
    layout: data_lib.Layout,
    batch_size: int,
    num_steps: int,
    is_tail: np.ndarray | None,
    outer: training.Outer | None,
    row_multiple: int,
    resident: bool,
    scanned: bool,
    host_share: data_lib.HostShare,
  ):
    self._data = data
    self._combined = combined
    self._method = method
    self._layout = layout
    self._is_tail = is_tail
    self._outer = outer
    self._row_multiple = row_multiple
    self._resident = resident
    self._host_share = host_share
    self._tail_sizes = None
    steps = [0]
    if layout != 'joint':
      # Sizes are chosen by seed 0 for all seeds, which share compiled programs.
      observed, num_tail = self._count_tail_rows(self._order(0), num_steps)
      self._tail_sizes = (
        data_lib.one_tail_size(
          num_tail, batch_size=batch_size, stratified=is_tail is not None
        )
        if scanned
        else data_lib.choose_tail_sizes(
          num_tail,
          batch_size=batch_size,
          num_sizes=4 if num_steps < _LONG_RUN else 8,
          row_multiple=row_multiple,
        )
      )
      sizes = [
        data_lib.split_sizes(
          number, batch_size=batch_size, tail_sizes=self._tail_sizes
        )
        for number in num_tail
      ]
      steps = list(dict(zip(sizes, observed, strict=True)).values())
    elif outer is not None:
      # The first step without an outer step, and the first with one.
      steps = [step for step in range(outer.start + 2) if not outer.at(step)][
        :1
      ]
      steps += [outer.start] if outer.start < num_steps else []
    self.one_of_each = steps

  def __call__(self, seed: int, *, decode: bool = True) -> grain.MapDataset:
    """``batches(seed)[step]`` is a `TrainBatch`, a function of both.

    Without `decode` the images are their indices, where only sizes matter.
    """
    order = self._order(seed)
    examples = self._stored(self._data.train, seed, decode)
    weights = self._method.group_weights_by_class
    combined = self._combined
    shared: dict[str, Any] = {
      'reweighting': combined.reweighting,
      'host_share': self._host_share,
    }
    if combined.partners is not None:
      partners = combined.partners(order, examples.labels, seed)
      batches = data_lib.paired_batches(
        order, partners, examples, weights, **shared
      )
    elif self._layout == 'joint':
      batches = data_lib.joint_batches(order, examples, weights, **shared)
    else:
      make = (
        data_lib.split_batches
        if self._layout == 'split'
        else data_lib.tail_only_batches
      )
      batches = make(
        order,
        examples,
        weights,
        tail_sizes=self._tail_sizes,
        row_multiple=self._row_multiple,
        **shared,
      )
    return data_lib.with_streams(
      batches, self._streams(seed, decode), host_share=self._host_share
    )

  def _streams(self, seed: int, decode: bool) -> dict[str, data_lib.Stream]:
    streams = {}
    for name, make in self._combined.streams.items():
      stream = make(seed)
      at = stream.at
      if self._outer is not None and self._outer.stream == name:
        at = self._outer.at
      # Images that are decoded are cropped with a seed of the stream's own.
      own = (seed + zlib.crc32(name.encode())) % 2**32
      streams[name] = stream._replace(
        examples=self._stored(stream.examples, own, decode), at=at
      )
    return streams

  def _stored(
    self, examples: data_lib.Examples, seed: int, decode: bool
  ) -> data_lib.Examples:
    """Examples as the batches have them."""
    if not decode or (self._resident and examples is self._data.train):
      return indexed(examples)
    if isinstance(examples.images, data_lib.EncodedImages):
      crops = data_lib.RandomCrops(examples.images, seed)
      return examples._replace(images=crops)
    return examples

  def _order(self, seed: int) -> grain.MapDataset:
    return self._combined.order(self._data.train.labels, self._is_tail, seed)

  def _count_tail_rows(
    self, order: grain.MapDataset, num_steps: int
  ) -> tuple[list[int], list[int]]:
    """Some steps, and how many tail rows they have."""
    in_tail = self._method.group_weights_by_class[1] != 0
    steps = np.unique(np.linspace(0, num_steps - 1, _OBSERVED).astype(int))
    choices: list[Any] = [order[int(step)] for step in steps]
    labels = [self._data.train.labels[choice.indices] for choice in choices]
    return steps.tolist(), [int(in_tail[row].sum()) for row in labels]
