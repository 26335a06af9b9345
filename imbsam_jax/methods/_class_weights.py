# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class weights of the loss by name."""

from collections.abc import Callable

import numpy as np

from imbsam_jax import _specs
from imbsam_jax import data as data_lib
from imbsam_jax import schedules
from imbsam_jax import weights


def _class_balanced(
  time: schedules.Timeline, *, beta: float = 0.9999
) -> data_lib.Reweighting:
  found = np.asarray(
    weights.class_balanced_weights(time.class_counts, beta=beta)
  )
  return data_lib.Reweighting(lambda step: found, 'mean')


def _power_weights(
  time: schedules.Timeline, *, power: float = 1.0
) -> data_lib.Reweighting:
  found = np.asarray(weights.power_weights(time.class_counts, power=power))
  return data_lib.Reweighting(lambda step: found, 'weighted_mean')


def _drw(
  time: schedules.Timeline, *, beta: float = 0.9999, start: float = 0.8
) -> data_lib.Reweighting:
  by_step = time.by_epoch(
    lambda epoch: schedules.deferred_reweighting(
      epoch, time.class_counts, beta=beta, start=time.at(start)
    )
  )
  return data_lib.Reweighting(by_step, 'weighted_mean')


def _ppw(
  time: schedules.Timeline,
  *,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 5.0,
) -> data_lib.Reweighting:
  by_step = time.by_epoch(
    lambda epoch: schedules.progressive_weights(
      epoch,
      time.class_counts,
      start=time.at(start),
      end=time.at(end),
      power=power,
    )
  )
  return data_lib.Reweighting(by_step, 'weighted_mean')


def absgd(
  time: schedules.Timeline,
  *,
  lam: float = 1.0,
  gamma: float = 0.1,
  alpha: float = 1.0,
  beta: float = 0.9999,
  start: float = 0.8,
) -> data_lib.Reweighting:
  """The class weights beside ABSGD: class-balanced from the same moment on.

  The weights of the examples, with `lam`, `gamma` and `alpha`, are made within
  the step, see `objective`. alpha is 1, not the 0.5 of the authors' script,
  which doubles the learning rate.
  """
  del lam, gamma, alpha
  return _drw(time, beta=beta, start=start)._replace(reduction='mean')


WEIGHTS: dict[str, Callable[..., data_lib.Reweighting | None]] = {
  'none': lambda time: None,
  'class_balanced': _class_balanced,
  'power': _power_weights,
  'drw': _drw,
  'ppw': _ppw,
  'absgd': absgd,
}


def make_reweighting(
  text: str, time: schedules.Timeline
) -> data_lib.Reweighting | None:
  """The class weights of a choice; None where all classes count alike."""
  return _specs.bind('objective.weights', text, WEIGHTS)(time)
