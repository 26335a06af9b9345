# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several steps, or the steps of several runs, in one call of the device.

A step of a small net takes an accelerator less time than the call itself. Not
for CPUs, where XLA runs convolutions in the body of a loop about ten times, and
those with a batch of kernels several times, slower.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

from imbsam_jax.training import _state

Step = Callable[..., tuple[_state.TrainState, dict[str, Any]]]


def scan_steps(train_step: Step) -> Step:
  """One step after the other.

  Args:
    train_step: From `make_train_step`, not jitted.

  Returns:
    ``steps(state, batches) -> (state, metrics)``, not yet jitted: `batches`
    from `data.stack_batches`, metrics with one entry per step.
  """

  def steps(state, batches):
    resident_images = batches.resident_images

    def body(state, batch):
      return train_step(
        state, dataclasses.replace(batch, resident_images=resident_images)
      )

    without = dataclasses.replace(batches, resident_images=None)
    return jax.lax.scan(body, state, without)

  return steps


def side_by_side(train_step: Step) -> Step:
  """One step of each of several runs.

  Args:
    train_step: ``train_step(state, batch, *parameters)``, not jitted.

  Returns:
    ``step(states, batches, *parameters) -> (states, metrics)``, not yet jitted:
    all arrays have one entry per run, but for the images that stay on the
    devices, which runs share.
  """

  def step(states, batches, *parameters):
    def one(state, batch, *parameters):
      return train_step(state, batch, *parameters)

    in_axes = dataclasses.replace(
      batches, rows=0, weights=0, resident_images=None, streams=0
    )
    return jax.vmap(one, in_axes=(0, in_axes, *(0 for _ in parameters)))(
      states, batches, *parameters
    )

  return step
