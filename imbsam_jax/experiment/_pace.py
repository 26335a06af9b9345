# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How long the runs of a comparison that are missing will take."""

from collections.abc import Mapping
import statistics

from imbsam_jax._runs import console


class Pace:
  """Judges what is missing by what was trained.

  Args:
    missing: By method the number of runs that are to be trained.
  """

  def __init__(self, missing: Mapping[str, int]):
    self._missing = dict(missing)
    self._work: dict[str, float] = {}  # Of a run, in SGD steps.
    self._seconds = 0.0
    self._done = 0.0

  def know(self, method: str, work: float) -> None:
    """Notes what a run of a method takes, in SGD steps."""
    self._work[method] = work

  def trained(self, method: str, seconds: float) -> None:
    """Notes that a run was trained, and how long that took."""
    self._missing[method] -= 1
    self._seconds += seconds
    self._done += self._work[method]

  def left(self) -> str:
    """``', about 3 min left'``, or nothing where that is unknown or none."""
    if not self._done or not any(self._missing.values()):
      return ''
    # Of methods that are not built yet.
    usual = statistics.mean(self._work.values())
    work = sum(
      number * self._work.get(method, usual)
      for method, number in self._missing.items()
    )
    return f', about {console.duration(self._seconds / self._done * work)} left'
