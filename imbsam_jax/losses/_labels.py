# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels of a batch: class indices, or the two of mixed examples."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class MixedLabels(NamedTuple):
  r"""Labels of examples that are mixed from two.

  Every loss takes it for labels and is then exactly

  .. math::
    \lambda \, \ell(z, y_{first}) + (1 - \lambda) \, \ell(z, y_{second}).

  For losses with margins this is not the loss of the mixed one-hot vector.

  Attributes:
    first: Int ``[B]``, values in ``[0, C)``.
    second: Int ``[B]``, values in ``[0, C)``.
    lam: float32 ``[B]`` or scalar in [0, 1], the share of `first`.
  """

  first: Any
  second: Any
  lam: Any


def float_logits(logits: jax.typing.ArrayLike) -> jax.Array:
  """Logits as float32 ``[B, C]``.

  Raises:
    TypeError: Not floating point.
    ValueError: Not two axes, or no classes.
  """
  logits = jnp.asarray(logits)
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise TypeError(
      f'`logits` must be floating point, got {logits.dtype}. Pass '
      'logits.astype(jnp.float32).'
    )
  if logits.ndim != 2 or not logits.shape[1]:
    raise ValueError(
      f'`logits` must have shape [B, C], got {logits.shape}. For one example '
      'pass logits[None], for more axes logits.reshape(-1, C).'
    )
  return logits.astype(jnp.float32)


def check_labels(labels: Any, logits: jax.Array) -> Any:
  """Labels, or `MixedLabels`, that fit `logits`.

  Labels that are traced cannot be checked for their range; the losses give NaN
  where such a label is outside of it.

  Raises:
    TypeError: Not integers, or a tuple that is not `MixedLabels`.
    ValueError: Not one per row, or out of range.
  """
  if isinstance(labels, MixedLabels):
    lam = jnp.asarray(labels.lam).astype(jnp.float32)
    if lam.shape not in ((), logits.shape[:1]):
      raise ValueError(
        f'`lam` of MixedLabels must be a scalar or [B], got {lam.shape} for '
        f'logits {logits.shape}.'
      )
    return MixedLabels(
      class_indices(labels.first, *logits.shape),
      class_indices(labels.second, *logits.shape),
      lam,
    )
  return class_indices(labels, *logits.shape)


def mixed(loss_of: Callable[[jax.Array], jax.Array], labels: Any) -> jax.Array:
  """The loss of each label, mixed by their shares; checked labels."""
  if not isinstance(labels, MixedLabels):
    return loss_of(labels)
  (lam, first), (rest, second) = halves(labels)
  return lam * loss_of(first) + rest * loss_of(second)


def halves(labels: MixedLabels) -> tuple[Any, Any]:
  """The two pairs (share, labels), both ``[B]``, whose losses are summed."""
  first, second, lam = labels
  lam = jnp.broadcast_to(lam, first.shape)
  # A label without a share may be of a class without examples, whose loss is
  # infinite: the other one stands in for it.
  return (
    (lam, jnp.where(lam == 0, second, first)),
    (1.0 - lam, jnp.where(lam == 1, first, second)),
  )


def one_hot(labels: jax.Array, num_classes: int) -> jax.Array:
  """Bool ``[B, C]``, true at the label; all false out of range."""
  return labels[:, None] == jnp.arange(num_classes, dtype=jnp.int32)[None]


def class_indices(labels: Any, num_rows: int, num_classes: int) -> jax.Array:
  """Labels as int32 ``[num_rows]``; the range is checked if concrete.

  Raises:
    TypeError: Not integers.
    ValueError: Not one per row, or out of range.
  """
  if isinstance(labels, tuple):
    raise TypeError(
      '`labels` must be an int array or `losses.MixedLabels`, got a tuple.'
    )
  if not isinstance(labels, jax.core.Tracer):
    labels = np.asarray(labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise TypeError(
      f'`labels` must be class indices, got dtype {labels.dtype}. Pass '
      'labels.argmax(axis=-1) for one-hot rows, `MixedLabels` for mixed '
      'examples; smoothed labels are `label_smoothing` of `cross_entropy`, and '
      'have no meaning for losses with margins.'
    )
  if labels.shape != (num_rows,):
    raise ValueError(
      f'`labels` must have one entry for each of the {num_rows} rows, got '
      f'shape {labels.shape}. For one-hot rows pass labels.argmax(axis=-1).'
    )
  if isinstance(labels, np.ndarray) and labels.size:
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
      raise ValueError(
        f'`labels` must be in [0, {num_classes}), got {labels[wrong[0]]} at '
        f'row {wrong[0]} ({wrong.size} such rows). Drop padded rows first.'
      )
  return jnp.asarray(labels).astype(jnp.int32)
