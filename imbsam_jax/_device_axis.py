# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What devices have together, within `jax.shard_map` or `jax.pmap`.

Without an axis of devices, arrays are those of all devices already.
"""

from typing import Any

import jax


def summed(tree: Any, axis_name: str | None) -> Any:
  """The sum over devices, where there is an axis of them."""
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def size(axis_name: str | None) -> int:
  """Number of devices that `summed` adds up."""
  return 1 if axis_name is None else jax.lax.psum(1, axis_name)


def gathered(rows: Any, axis_name: str | None) -> Any:
  """The rows of all devices, where there is an axis of them."""
  if axis_name is None:
    return rows
  return jax.lax.all_gather(rows, axis_name, tiled=True)


def own(rows: jax.Array, axis_name: str | None) -> jax.Array:
  """The rows of this device among those of `gathered`."""
  if axis_name is None:
    return rows
  number = len(rows) // size(axis_name)
  begin = jax.lax.axis_index(axis_name) * number
  return jax.lax.dynamic_slice_in_dim(rows, begin, number)
