# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Samplers by name: the order of the training images."""

from collections.abc import Callable
from typing import Any

import numpy as np

from imbsam_jax import _specs
from imbsam_jax import data as data_lib
from imbsam_jax import sampling
from imbsam_jax import schedules

Probabilities = Callable[[int], np.ndarray]


def by_power(time: schedules.Timeline, *, power: float = 1.0) -> Probabilities:
  """Class probabilities n^power throughout."""
  found = np.asarray(
    sampling.class_probabilities(time.class_counts, power=power)
  )
  return lambda step: found


def _effective_number(
  time: schedules.Timeline, *, beta: float = 0.9999
) -> Probabilities:
  found = np.asarray(
    sampling.effective_number_probabilities(time.class_counts, beta=beta)
  )
  return lambda step: found


def _progressive(time: schedules.Timeline) -> Probabilities:
  return time.by_epoch(
    lambda epoch: schedules.progressive_probabilities(
      epoch,
      time.class_counts,
      start=0,
      end=max(time.num_epochs - 1, 0),
      power=1.0,
    )
  )


def _drs(time: schedules.Timeline, *, start: float = 0.8) -> Probabilities:
  return time.by_epoch(
    lambda epoch: schedules.deferred_resampling(
      epoch, time.class_counts, start=time.at(start)
    )
  )


def _pps(
  time: schedules.Timeline,
  *,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 5.0,
) -> Probabilities:
  return time.by_epoch(
    lambda epoch: schedules.progressive_probabilities(
      epoch,
      time.class_counts,
      start=time.at(start),
      end=time.at(end),
      power=power,
    )
  )


def _fixed(power: float) -> Callable[[schedules.Timeline], Probabilities]:
  return lambda time: by_power(time, power=power)


def _class_aware(
  time: schedules.Timeline, *, samples_per_class: int = 4
) -> int:
  del time
  return samples_per_class


SAMPLERS: dict[str, Callable[..., Any]] = {
  'shuffle': lambda time: None,
  'instance': _fixed(1.0),
  'square_root': _fixed(0.5),
  'class_balanced': _fixed(0.0),
  'reversed': _fixed(-1.0),
  'power': by_power,
  'effective_number': _effective_number,
  'progressive': _progressive,
  'drs': _drs,
  'pps': _pps,
  'class_aware': _class_aware,
}
NATURAL_SAMPLERS = ('shuffle', 'instance')


def make_order(
  text: str,
  time: schedules.Timeline,
  labels: np.ndarray,
  *,
  is_tail: np.ndarray | None,
  seed: int,
) -> Any:
  """The order of a sampler.

  Args:
    text: The choice.
    time: Where epochs begin.
    labels: Int ``[N]`` of the training images.
    is_tail: Bool ``[C]`` to have head and tail rows in fixed numbers.
    seed: Of the order.

  Returns:
    A Grain dataset of `data.RowChoice`.
  """
  found = _specs.bind('data.sampler', text, SAMPLERS)(time)
  batch_size = time.batch_size
  if found is None and is_tail is not None:
    return data_lib.stratified_order(
      is_tail[labels], batch_size=batch_size, seed=seed
    )
  if found is None:
    return data_lib.shuffled_order(
      len(labels), batch_size=batch_size, seed=seed
    )
  if _specs.name(text) == 'class_aware':
    return data_lib.class_aware_order(
      labels, batch_size=batch_size, seed=seed, samples_per_class=found
    )
  return data_lib.sampled_order(
    labels, found, batch_size=batch_size, seed=seed, is_tail=is_tail
  )
