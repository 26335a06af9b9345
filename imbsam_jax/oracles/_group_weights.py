# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights that sort the rows of a batch into class groups."""

from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks


def head_tail_weights(
  labels: jax.typing.ArrayLike,
  class_counts: jax.typing.ArrayLike,
  *,
  threshold: int,
  tail_weight: float = 1.0,
) -> jax.Array:
  """Weights of the groups head and tail.

  >>> head_tail_weights([0, 2, 1, 0], [90, 30, 5], threshold=20)
  Array([[0.25, 0.  , 0.25, 0.25],
         [0.  , 0.25, 0.  , 0.  ]], dtype=float32)

  Args:
    labels: Int array, shape ``[B]``, values in ``[0, C)``.
    class_counts: Number of training images of each class, ``[C]``.
    threshold: Classes with strictly fewer images are tail.
    tail_weight: Factor of the tail row. 1 is ImbSAM as stated, 2 reproduces the
      authors' released code.

  Returns:
    Float32 array, shape ``[2, B]``: row 0 is ``1/B`` for head rows, row 1
    ``tail_weight/B`` for tail rows, zero elsewhere. B is the global batch:
    under `pmap` and `shard_map` build the weights from the global labels.

  Raises:
    TypeError: If `labels` are not integers.
    ValueError: If `labels` have another rank or are out of range, a class count
      is not positive, or `tail_weight` is negative.

  .. note::
    Values of traced arrays cannot be checked. A traced label out of range gets
    the weight NaN, which `skip_nonfinite` catches.
  """
  counts = _checks.count_array(class_counts)
  rows = _checks.class_labels(labels, counts.shape[0])
  _checks.number('tail_weight', tail_weight, low=0)
  _checks.number('threshold', threshold, finite=False)
  is_tail = counts < threshold
  _warn_if_degenerate(is_tail, counts, threshold)
  share = 1.0 / rows.shape[0] if rows.shape[0] else 0.0
  group_weights_by_class = jnp.stack(
    [
      jnp.where(is_tail, 0.0, share),
      jnp.where(is_tail, tail_weight * share, 0.0),
    ]
  ).astype(jnp.float32)
  return _take(group_weights_by_class, rows)


def focal_weights(
  labels: jax.typing.ArrayLike,
  class_counts: jax.typing.ArrayLike,
  *,
  gamma: float,
  lam: float,
) -> jax.Array:
  r"""Weights of the two soft groups of Focal-SAM.

  With :math:`\omega_c = (1 - n_c/N)^\gamma`, rows
  :math:`(1 - \lambda\omega_y)/B` and :math:`\lambda\omega_y/B`.

  >>> focal_weights([0, 1], [75, 25], gamma=1.0, lam=0.5)
  Array([[0.4375, 0.3125],
         [0.0625, 0.1875]], dtype=float32)

  Args:
    labels: Int array, shape ``[B]``, values in ``[0, C)``.
    class_counts: Number of training images of each class, ``[C]``.
    gamma: Exponent, >= 0; large values leave nothing to perturb.
    lam: Share of the perturbed group, >= 0. Above 1 the clean weight of rare
      classes is negative, as in the authors' configuration for iNaturalist.

  Returns:
    Float32 array, shape ``[2, B]``: the clean group, the perturbed group.

  Raises:
    TypeError: If `labels` are not integers.
    ValueError: If `labels` have another rank or are out of range, a class count
      is not positive, or `gamma` or `lam` is negative.
  """
  counts = _checks.count_array(class_counts)
  rows = _checks.class_labels(labels, counts.shape[0])
  for name, value in (('gamma', gamma), ('lam', lam)):
    _checks.number(name, value, low=0)
  counts = _checks.float32_counts(counts)
  focus = lam * (1.0 - counts / counts.sum()) ** gamma
  group_weights_by_class = jnp.stack([1.0 - focus, focus]) / max(
    rows.shape[0], 1
  )
  return _take(group_weights_by_class.astype(jnp.float32), rows)


def _warn_if_degenerate(
  is_tail: Any, class_counts: Any, threshold: int
) -> None:
  if not isinstance(is_tail, np.ndarray):
    return
  num_tail = int(is_tail.sum())
  if 0 < num_tail < is_tail.size:
    return
  warnings.warn(
    f'`threshold`={threshold} makes '
    + ('no class tail' if num_tail == 0 else 'every class tail')
    + f': class counts are {int(class_counts.min())} to '
    f'{int(class_counts.max())}. A step that perturbs for the tail alone is '
    + ('SGD.' if num_tail == 0 else 'SAM.'),
    stacklevel=3,
  )


def _take(group_weights_by_class: jax.Array, labels: Any) -> jax.Array:
  """Columns of `group_weights_by_class` by label; NaN where there is none."""
  # Wide first: uint8 labels cannot be compared with 256 classes.
  labels = jnp.asarray(labels).astype(int)
  num_classes = group_weights_by_class.shape[1]
  valid = (labels >= 0) & (labels < num_classes)
  rows = group_weights_by_class[:, jnp.where(valid, labels, 0)]
  return jnp.where(valid, rows, jnp.nan)
