# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Meshes of devices with one axis, 'data', and arrays spread over them."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from imbsam_jax.data import HostShare
from imbsam_jax.data import TrainBatch


def data_mesh(devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
  """A mesh of all devices (or of `devices`) along the axis 'data'.

  Those of a process are neighbors, so that it has neighboring rows.
  """
  devices = jax.devices() if devices is None else devices
  devices = sorted(devices, key=lambda device: device.process_index)
  return jax.sharding.Mesh(
    np.array(devices), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )


def host_share(mesh: jax.sharding.Mesh) -> HostShare:
  """The rows of a batch that this process puts on its devices of a mesh.

  Raises:
    ValueError: If processes have different numbers of devices, or these are not
      neighbors, as those of `data_mesh` are.
  """
  owners = [device.process_index for device in mesh.devices.flat]
  processes = sorted(set(owners))
  number = len(owners) // len(processes)
  if owners != [process for process in processes for _ in range(number)]:
    raise ValueError(
      'every process needs the same number of devices, those of each side by '
      f'side in the mesh; got devices of the processes {owners}.'
    )
  return HostShare(processes.index(jax.process_index()), len(processes))


def replicate(mesh: jax.sharding.Mesh, tree: Any) -> Any:
  """The whole tree on every device."""
  return _put(mesh, tree)


def shard_rows(mesh: jax.sharding.Mesh, tree: Any) -> Any:
  """Arrays with rows first, spread over the devices."""
  return _put(mesh, tree, 'data')


def shard_batch(
  mesh: jax.sharding.Mesh,
  batch: TrainBatch,
  *,
  resident_images: Any = None,
  stacked: bool = False,
) -> TrainBatch:
  """A global batch with its rows spread over the devices.

  Rows of streams are too, unless the devices cannot share them alike: then they
  are on every device.

  Of several processes, each passes a batch of this size, in which only the rows
  of its own devices count.

  Gradients of a jitted step on it are those of the whole batch, and so is the
  ascent direction, whatever the number of devices.

  Args:
    mesh: Mesh of devices, from `data_mesh`.
    batch: A batch of host arrays.
    resident_images: Images on the devices already, from `replicate`, for
      batches whose rows point into them.
    stacked: Whether the batch is several, from `data.stack_batches`.

  Returns:
    The batch on the devices.
  """
  first = (None,) if stacked else ()

  def put_weights(weights):
    groups = (None,) * (weights.ndim - 1 - len(first))
    return _put(mesh, weights, *first, *groups, 'data')

  return dataclasses.replace(
    batch,
    rows=_put(mesh, batch.rows, *first, 'data'),
    weights=jax.tree.map(put_weights, batch.weights),
    resident_images=resident_images,
    streams={
      name: _put(mesh, rows, *first, stream_axis(mesh, rows['label'].shape[-1]))
      for name, rows in batch.streams.items()
    },
  )


def stream_axis(mesh: jax.sharding.Mesh, num_rows: int) -> str | None:
  """The axis of devices that rows of a stream are spread over.

  A few rows that the devices cannot share alike are on every device.
  """
  return None if num_rows % mesh.size else 'data'


def _put(mesh: jax.sharding.Mesh, tree: Any, *axes: str | None) -> Any:
  spec = jax.sharding.PartitionSpec(*axes)
  sharding = jax.sharding.NamedSharding(mesh, spec)
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)

  # device_put would compare what the processes have, over the network.
  def put_own(x):
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda at: x[at])

  return jax.tree.map(put_own, tree)
