# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of anomalies and of all other rows: the groups of the links."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

Normalization = Literal['group', 'batch']


def anomaly_weights(
  labels: ArrayLike, *, normalization: Normalization = 'group'
) -> jax.Array:
  r"""Weights of the two groups: rows that may be normal, labeled anomalies.

  For `gradient_oracle` and `split_gradient_oracle`; the anomalies are the tail
  group of `imbsam` and `sse_sam`. For `sam`, `rsam` and plain SGD pass
  ``weights.sum(axis=0, keepdims=True)``: one group.

  Args:
    labels: Int ``[B]``: 1 labeled anomaly, 0 unlabeled, -1 labeled normal.
    normalization: 'group' divides each group by its own number of rows, as the
      published ImbSAM form of Deep SAD does: one anomaly in a batch weighs as
      much as all other rows together. 'batch' divides both by B, which is Deep
      SAD's own mean.

  Returns:
    Float32 ``[2, B]``. A group without rows has weights of zero.

  Raises:
    ValueError: If `labels` has another shape, or the normalization is unknown.
  """
  labels = jnp.asarray(labels)
  if labels.ndim != 1:
    raise ValueError(f'`labels` must have the shape [B], got {labels.shape}.')
  anomalous = labels > 0
  members = jnp.stack([~anomalous, anomalous]).astype(jnp.float32)
  match normalization:
    case 'group':
      counts = jnp.sum(members, axis=1, keepdims=True)
      return members / jnp.maximum(counts, 1)
    case 'batch':
      return members / max(len(labels), 1)
  raise ValueError(
    f"`normalization` must be 'group' or 'batch', got {normalization!r}."
  )
