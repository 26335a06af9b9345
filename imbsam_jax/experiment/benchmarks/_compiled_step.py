# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A compiled step that is timed, alone or in turns with another."""

from collections.abc import Callable
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp


class CompiledStep:
  """A compiled step with a state and a batch of its own."""

  def __init__(self, step: Callable[..., Any], state: Any, batch: Any):
    lowered = jax.jit(step, donate_argnums=0).lower(state, batch)
    self._compiled = lowered.compile()
    # A copy: the compiled step reuses the memory of its state.
    self._state = jax.tree.map(jnp.copy, state)
    self._batch = batch

  @property
  def flops(self) -> float:
    """FLOPs of the compiled step."""
    analysis: Any = self._compiled.cost_analysis()
    return (analysis[0] if isinstance(analysis, list) else analysis)['flops']

  def seconds(
    self, num_steps: int, next_batch: Callable[[int], Any] | None = None
  ) -> float:
    """Time of some steps, on its own batch or on those of a pipeline."""
    begin = time.perf_counter()
    for step in range(num_steps):
      batch = next_batch(step) if next_batch else self._batch
      self._state, _ = self._compiled(self._state, batch)
    jax.block_until_ready(self._state)
    return time.perf_counter() - begin


def ratio(
  one: CompiledStep, other: CompiledStep, *, pairs: int, num_steps: int
) -> float:
  """Median ratio of the times of two compiled steps, measured in turns."""
  for compiled in (one, other):
    compiled.seconds(1)
  return statistics.median(
    one.seconds(num_steps) / other.seconds(num_steps) for _ in range(pairs)
  )
