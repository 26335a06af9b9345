# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`scan_steps`: several steps of a run in one call of the device.

A step of a small net takes an accelerator less time than the call itself. Not
for CPUs, where XLA runs convolutions in the body of a loop about ten times
slower.
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
    train_step: A step of `make_train_step`, not jitted.

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
