# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training batches of a run, and how their rows are cut."""

from typing import Any

import grain
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import schedules
from imbsam_jax import training
from imbsam_jax.experiment import _config

# Steps of which the tail rows are counted to choose sizes by.
_OBSERVED = 4096
# Steps from which on a closer fit is worth more programs to compile.
_LONG_RUN = 5000


def choose_layout(
  config: _config.Config, method: training.Method, coupled: bool
) -> data_lib.Layout:
  """Which rows go through the model together, see `data.TrainBatch`.

  Args:
    config: The configuration.
    method: Class groups and update rules.
    coupled: Whether the loss of a row depends on other rows.

  Raises:
    ConfigError: What was asked for is not exact, or not possible.
  """
  batch_norm = config.model.norm == 'batch'
  rows = config.optimizer.rows
  if batch_norm and config.optimizer.num_microbatches > 1:
    raise _errors.ConfigError(
      '`optimizer.num_microbatches` would change what BatchNorm sees. '
      'Pass `model.norm=group`, or leave it.'
    )
  if rows in ('split', 'tail_only') and not method.exclusive:
    raise _errors.ConfigError(
      f'`optimizer.rows={rows}` needs the groups head and tail, which '
      f'{config.optimizer.method} has not. Use imbsam or sse_sam, or leave it.'
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
  if rows in ('split', 'tail_only') and coupled:
    raise _errors.ConfigError(
      f'`optimizer.rows={rows}` is not exact where the loss of a row '
      'depends on others, as for arb, absgd and mixing. Leave '
      '`optimizer.rows=auto`.'
    )
  if coupled and config.optimizer.num_microbatches > 1:
    raise _errors.ConfigError(
      '`optimizer.num_microbatches` would change what a loss sees that '
      'looks at the whole batch, such as arb and absgd. Leave it at 1.'
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
    config: The configuration.
    examples: Training examples as the batches have them.
    time: Where a run is.
    method: Class groups and update rules.
    mixing: How rows are mixed, or None.
    layout: From `choose_layout`.
    num_steps: Steps of a run.
    row_multiple: Devices times micro-batches.
    part: The rows of this process.

  Attributes:
    one_of_each: Steps whose batches of seed 0 have all shapes between them.
  """

  def __init__(
    self,
    config: _config.Config,
    examples: data_lib.Examples,
    time: schedules.Timeline,
    method: training.Method,
    mixing: methods.Mixing | None,
    *,
    layout: data_lib.Layout,
    num_steps: int,
    row_multiple: int,
    part: data_lib.Part,
  ):
    self._config = config
    self._examples = examples
    self._time = time
    self._method = method
    self._mixing = mixing
    self._layout = layout
    self._row_multiple = row_multiple
    self._part = part
    self._tail_sizes = None
    self.one_of_each = [0]
    if layout != 'joint':
      # Of seed 0: runs of other seeds share compiled programs.
      steps, num_tail = self._count_tail_rows(self._order(0), num_steps)
      self._tail_sizes = data_lib.choose_tail_sizes(
        num_tail,
        batch_size=time.batch_size,
        num_sizes=4 if num_steps < _LONG_RUN else 8,
        row_multiple=row_multiple,
      )
      sizes = [
        data_lib.split_sizes(
          number, batch_size=time.batch_size, tail_sizes=self._tail_sizes
        )
        for number in num_tail
      ]
      self.one_of_each = list(dict(zip(sizes, steps, strict=True)).values())

  def __call__(self, seed: int, *, decode: bool = True) -> grain.MapDataset:
    """``batches(seed)[step]`` is a `TrainBatch`, a function of both.

    Without `decode` the images are their indices, where only sizes matter.
    """
    order, examples = self._order(seed), self._examples
    if not decode:
      examples = indexed(examples)
    elif isinstance(examples.images, data_lib.EncodedImages):
      crops = data_lib.RandomCrops(examples.images, seed)
      examples = examples._replace(images=crops)
    weights = self._method.class_weights
    shared: dict[str, Any] = {
      'reweighting': methods.make_reweighting(
        self._config.objective.weights, self._time
      ),
      'part': self._part,
    }
    if self._mixing is not None:
      partners = methods.make_partner_order(
        self._mixing, order, self._time, examples.labels, seed=seed
      )
      return data_lib.paired_batches(
        order, partners, examples, weights, **shared
      )
    if self._layout == 'joint':
      return data_lib.joint_batches(order, examples, weights, **shared)
    make = (
      data_lib.split_batches
      if self._layout == 'split'
      else data_lib.tail_only_batches
    )
    return make(
      order,
      examples,
      weights,
      tail_sizes=self._tail_sizes,
      row_multiple=self._row_multiple,
      **shared,
    )

  def _order(self, seed: int) -> grain.MapDataset:
    is_tail = self._time.class_counts < self._config.optimizer.threshold
    return methods.make_order(
      self._config.data.sampler,
      self._time,
      self._examples.labels,
      is_tail=is_tail if self._config.data.stratify else None,
      seed=seed,
    )

  def _count_tail_rows(
    self, order: grain.MapDataset, num_steps: int
  ) -> tuple[list[int], list[int]]:
    """Some steps, and how many tail rows they have."""
    in_tail = self._method.class_weights[1] != 0
    steps = np.unique(np.linspace(0, num_steps - 1, _OBSERVED).astype(int))
    choices: list[Any] = [order[int(step)] for step in steps]
    labels = [self._examples.labels[choice.indices] for choice in choices]
    return steps.tolist(), [int(in_tail[row].sum()) for row in labels]
