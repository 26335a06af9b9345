# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All that knows about devices: a mesh with one axis, 'data'."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from imbsam_jax.data import TrainBatch


def data_mesh(devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
  """A mesh of all devices (or of `devices`) along the axis 'data'."""
  devices = jax.devices() if devices is None else devices
  return jax.sharding.Mesh(
    np.array(devices), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )


def replicate(mesh: jax.sharding.Mesh, tree: Any) -> Any:
  """The whole tree on every device."""
  return jax.device_put(
    tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  )


def shard_rows(mesh: jax.sharding.Mesh, tree: Any) -> Any:
  """Arrays with rows first, spread over the devices."""
  return _put(mesh, tree, 'data')


def shard_batch(mesh: jax.sharding.Mesh, batch: TrainBatch) -> TrainBatch:
  """A global batch with its rows spread over the devices.

  Gradients of a jitted step on it are those of the whole batch, and so is the
  ascent direction, whatever the number of devices.
  """
  rows = shard_rows(mesh, batch.rows)
  if isinstance(batch.weights, tuple):
    return TrainBatch(rows, shard_rows(mesh, batch.weights))
  return TrainBatch(rows, _put(mesh, batch.weights, None, 'data'))


def _put(mesh: jax.sharding.Mesh, tree: Any, *axes: str | None) -> Any:
  spec = jax.sharding.PartitionSpec(*axes)
  return jax.device_put(tree, jax.sharding.NamedSharding(mesh, spec))
