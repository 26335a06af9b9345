# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums over the devices of which each has an ascent of its own."""

from typing import Any

import jax


def summed(tree: Any, axis_name: str | None) -> Any:
  """The sum over devices, where gradients are those of a device's own rows."""
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def size(axis_name: str | None) -> int:
  """Number of devices that `summed` adds up."""
  return 1 if axis_name is None else jax.lax.psum(1, axis_name)
