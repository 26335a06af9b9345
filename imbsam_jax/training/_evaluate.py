# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions over a whole set, every example counted once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from imbsam_jax.data import Examples
from imbsam_jax.training import _sharding


def predict(
  predict_step: Callable[..., tuple[jax.Array, jax.Array]],
  variables: dict[str, Any],
  examples: Examples,
  *,
  batch_size: int,
  mesh: jax.sharding.Mesh,
) -> tuple[np.ndarray, np.ndarray]:
  """Classes and confidences of all examples.

  The last batch is filled up with copies, so that one compiled program serves
  all; what belongs to copies is cut off.

  Args:
    predict_step: The jitted step of `make_predict_step`.
    variables: Variables of the model.
    examples: N examples.
    batch_size: Rows per call, a multiple of the number of devices.
    mesh: From `data_mesh`.

  Returns:
    int64 ``[N]`` predicted classes and float64 ``[N]`` confidences (largest
    softmax probabilities).
  """
  num_examples = len(examples.labels)
  if not num_examples:
    raise ValueError('there are no examples to evaluate.')
  outputs = []
  for start in range(0, num_examples, batch_size):
    rows = np.arange(start, start + batch_size) % num_examples
    images = _sharding.shard_rows(mesh, examples.images[rows])
    # Not fetched here, so that the device can work ahead.
    outputs.append(predict_step(variables, images))
  classes, confidences = zip(*jax.device_get(outputs), strict=True)
  return (
    np.concatenate(classes)[:num_examples].astype(np.int64),
    np.concatenate(confidences)[:num_examples].astype(np.float64),
  )
