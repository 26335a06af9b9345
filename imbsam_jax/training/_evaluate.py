# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions over a whole set, every example counted once."""

from collections.abc import Callable
from typing import Any

import grain
import jax
from jax.experimental import multihost_utils
import numpy as np

from imbsam_jax.data import Examples
from imbsam_jax.data import prefetch
from imbsam_jax.data import take_own
from imbsam_jax.training import _sharding


def predict(
  predict_step: Callable[..., tuple[jax.Array, ...]],
  variables: dict[str, Any],
  examples: Examples,
  *,
  batch_size: int,
  mesh: jax.sharding.Mesh,
  num_threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """Classes and confidences of all examples.

  Args:
    predict_step: The jitted step of `make_predict_step`, or one that gives more
      after the same.
    variables: Variables of the model.
    examples: N examples.
    batch_size: Rows per call, a multiple of the number of devices.
    mesh: Mesh of devices, from `data_mesh`.
    num_threads: Threads that take images ahead, where these are decoded; see
      `data.prefetch`.

  Returns:
    int64 ``[N]`` predicted classes and float64 ``[N]`` confidences (largest
    softmax probabilities).
  """
  classes, confidences, *_ = over_examples(
    predict_step,
    variables,
    examples,
    batch_size=batch_size,
    mesh=mesh,
    num_threads=num_threads,
  )
  return classes.astype(np.int64), confidences.astype(np.float64)


def over_examples(
  step: Callable[..., tuple[jax.Array, ...]],
  variables: dict[str, Any],
  examples: Examples,
  *,
  batch_size: int,
  mesh: jax.sharding.Mesh,
  num_threads: int = 0,
) -> tuple[np.ndarray, ...]:
  """What a step gives for every example of a set.

  The last batch is filled up with copies, so that one compiled program serves
  all; what belongs to copies is cut off. Of several processes, each takes the
  rows of its devices, and all get all outputs.

  Args:
    step: A jitted ``step(variables, images)`` with a tuple of arrays of one row
      per image, such as `make_predict_step` and `make_feature_step` build.
    variables: Variables of the model.
    examples: N examples.
    batch_size: Rows per call, a multiple of the number of devices.
    mesh: Mesh of devices, from `data_mesh`.
    num_threads: Threads that take images ahead, where these are decoded; see
      `data.prefetch`.

  Returns:
    The arrays of the step, ``[N, ...]``.
  """
  num_examples = len(examples.labels)
  if not num_examples:
    raise ValueError(
      '`examples` must have at least one row, got 0. Pass a split that is not '
      'empty.'
    )

  stored = examples.images
  own = _sharding.host_share(mesh).rows(batch_size)

  def take(batch):
    start = batch * batch_size
    return take_own(
      lambda rows: stored[(start + rows) % num_examples],
      batch_size,
      own,
      stored,
    )

  num_batches = -(-num_examples // batch_size)
  stream = prefetch(
    grain.MapDataset.range(num_batches).map(take),
    start=0,
    stop=num_batches,
    num_threads=num_threads,
  )
  # Not fetched here, so that the device can work ahead.
  outputs = [
    step(variables, _sharding.shard_rows(mesh, images)) for images in stream
  ]
  if not mesh.is_multi_process:
    outputs = jax.device_get(outputs)
  else:
    outputs = multihost_utils.process_allgather(outputs, tiled=True)
  columns = zip(*outputs, strict=True)
  return tuple(np.concatenate(column)[:num_examples] for column in columns)
