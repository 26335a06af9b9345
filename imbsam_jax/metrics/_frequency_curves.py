# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Curves of accuracy over class frequency: the numbers behind the plot."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# Up to this many distinct counts every one is a point of the curve. Beyond,
# the curve would be noise: neighboring counts are joined into bins.
_MAX_POINTS = 24
_NUM_BINS = 12
# A class that was never seen has no place on a log axis; it is drawn here.
ZERO_POSITION = 0.5


class Curve(NamedTuple):
  """A method's curve, most frequent classes first."""

  positions: np.ndarray  # [points], on the x axis.
  mean: np.ndarray  # [points]
  std: np.ndarray | None  # [points], None with fewer than two runs.


def as_runs(
  accuracies: Mapping[str, ArrayLike], *, num_classes: int
) -> dict[str, np.ndarray]:
  """Accuracies of each method as float64 ``[runs, num_classes]``."""
  if not isinstance(accuracies, Mapping):
    raise TypeError(
      '`accuracies` must be a dict from a name to an array, got '
      f"{type(accuracies).__name__}. Pass {{'sgd': accuracies}}."
    )
  if not accuracies:
    raise ValueError(
      '`accuracies` must have at least one entry, got an empty dict. Pass '
      "{'sgd': accuracies}, with shape [num_classes] or [runs, num_classes]."
    )
  runs = {}
  for name, values in accuracies.items():
    try:
      array = np.asarray(values, dtype=np.float64)  # None becomes NaN.
    except (TypeError, ValueError) as error:
      raise TypeError(
        f'`accuracies[{name!r}]` must be an array of floats, got {values!r}. '
        'Pass one fraction per class, with NaN or None for n/a, and equally '
        'many in each run.'
      ) from error
    if (
      array.ndim not in (1, 2)
      or array.shape[-1] != num_classes
      or array.size == 0
    ):
      raise ValueError(
        f'`accuracies[{name!r}]` must have shape [{num_classes}] or [runs, '
        f'{num_classes}], one column per entry of `class_counts`, got '
        f'{array.shape}. Stack the runs along the first axis: np.stack(runs).'
      )
    known = array[~np.isnan(array)]
    if known.size == 0:
      raise ValueError(
        f'`accuracies[{name!r}]` must have a number for at least one class, '
        'got only NaN. Leave this entry out.'
      )
    if known.min() < 0 or known.max() > 1:
      raise ValueError(
        f'`accuracies[{name!r}]` must lie in [0, 1], got values from '
        f'{known.min():g} to {known.max():g}. Divide percentages by 100.'
      )
    runs[name] = np.atleast_2d(array)
  return runs


def positions_of(counts: np.ndarray) -> np.ndarray:
  """Position of each class on the x axis."""
  return np.where(counts > 0, counts, ZERO_POSITION)


def count_groups(counts: np.ndarray) -> list[np.ndarray]:
  """Class indices of each point of the curves, most frequent first."""
  distinct, which, sizes = np.unique(
    -counts, return_inverse=True, return_counts=True
  )
  if len(distinct) <= _MAX_POINTS:
    bins = np.arange(len(distinct))
  else:
    # By the rank of the middle class of each count: about equally many
    # classes a bin, and equal counts never in two.
    middle = np.cumsum(sizes) - sizes / 2
    bins = (middle * _NUM_BINS / len(counts)).astype(np.int64)
  return [np.flatnonzero(bins[which] == b) for b in np.unique(bins)]


def mean_known(values: np.ndarray, axis: int) -> np.ndarray:
  """Mean along an axis without the NaNs; NaN where there is nothing else."""
  known = ~np.isnan(values)
  sums = np.where(known, values, 0.0).sum(axis)
  sizes = known.sum(axis)
  return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)


def curve_of(
  counts: np.ndarray, values: np.ndarray, groups: list[np.ndarray]
) -> Curve:
  """Mean and deviation over runs of the mean over each group's classes."""
  positions = np.array(
    [np.exp(np.log(positions_of(counts)[group]).mean()) for group in groups]
  )
  points = np.stack(
    [mean_known(values[:, group], axis=1) for group in groups], axis=1
  )
  mean = mean_known(points, axis=0)
  known = ~np.isnan(mean)
  std = None
  if len(values) > 1:
    sizes = (~np.isnan(points)).sum(0)
    variance = mean_known((points - mean) ** 2, axis=0)
    std = np.sqrt(variance * sizes / np.maximum(sizes - 1, 1))[known]
  return Curve(positions[known], mean[known], std)
