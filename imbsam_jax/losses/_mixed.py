# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels of examples that are mixed from two."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp

from imbsam_jax import _checks

_HINT = (
  'Mixed examples take `MixedLabels`; smoothed labels are `label_smoothing` of '
  '`cross_entropy`, and have no meaning for losses with margins.'
)


class MixedLabels(NamedTuple):
  r"""Labels of examples that are mixed from two.

  Every loss takes it for labels and is then exactly

  .. math::
    \lambda \, \ell(z, y_{first}) + (1 - \lambda) \, \ell(z, y_{second}).

  For losses with margins this is not the loss of the mixed one-hot vector.

  Attributes:
    first: Int array, shape ``[B]``, values in ``[0, C)``.
    second: Int array, shape ``[B]``, values in ``[0, C)``.
    lam: Float32 array, shape ``[B]``, or scalar in [0, 1], the share of
      `first`.
  """

  first: Any
  second: Any
  lam: Any

  def halves(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The two pairs (share, labels), both ``[B]``, whose losses are summed."""
    lam = jnp.broadcast_to(self.lam, self.first.shape)
    # A label with share 0 may have a class without examples, whose loss is
    # infinite: the other label takes its place.
    return (
      (lam, jnp.where(lam == 0, self.second, self.first)),
      (1.0 - lam, jnp.where(lam == 1, self.first, self.second)),
    )


def check_labels(labels: Any, logits: jax.Array) -> Any:
  """Labels, or `MixedLabels`, that fit `logits`.

  Labels that are traced cannot be checked for their range; the losses give NaN
  where such a label is outside of it.

  Raises:
    TypeError: If `labels` are not integers, or are a tuple other than
      `MixedLabels`.
    ValueError: If there is not one label per row, or a label is out of range.
  """
  if isinstance(labels, MixedLabels):
    lam = jnp.asarray(labels.lam).astype(jnp.float32)
    if lam.shape not in ((), logits.shape[:1]):
      raise ValueError(
        f'`lam` of MixedLabels must be a scalar or [B], got {lam.shape} for '
        f'logits {logits.shape}.'
      )
    return MixedLabels(
      _class_indices(labels.first, logits),
      _class_indices(labels.second, logits),
      lam,
    )
  return _class_indices(labels, logits)


def mixed(loss_of: Callable[[jax.Array], jax.Array], labels: Any) -> jax.Array:
  """The loss of each label, mixed by their shares; checked labels."""
  if not isinstance(labels, MixedLabels):
    return loss_of(labels)
  (lam, first), (rest, second) = labels.halves()
  return lam * loss_of(first) + rest * loss_of(second)


def one_hot(labels: jax.Array, num_classes: int) -> jax.Array:
  """Bool ``[B, C]``, true at the label; all false out of range."""
  return labels[:, None] == jnp.arange(num_classes, dtype=jnp.int32)[None]


def _class_indices(labels: Any, logits: jax.Array) -> jax.Array:
  if isinstance(labels, tuple):
    raise TypeError(
      '`labels` must be an int array or `losses.MixedLabels`, got a tuple.'
    )
  num_rows, num_classes = logits.shape
  return _checks.device_labels(
    labels, num_classes, num_rows=num_rows, hint=_HINT
  )
