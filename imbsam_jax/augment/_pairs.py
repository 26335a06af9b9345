# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A batch and its partner: what every mixing augmentation begins with."""

from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks

Batch = tuple[ArrayLike, ArrayLike]


class Pair(NamedTuple):
  """Checked arrays of a batch and its partner.

  Attributes:
    images: Float or uint8 array, shape ``[B, ...]``.
    partner_images: Images of the partner, of the same shape and dtype.
    labels: Int32 array, shape ``[B]``, the labels of `images`.
    partner_labels: Int32 array, shape ``[B]``, the labels of `partner_images`.
  """

  images: jax.Array
  partner_images: jax.Array
  labels: jax.Array
  partner_labels: jax.Array


def check_pair(batch: Batch, partner: Batch) -> Pair:
  """Arrays of both batches, or an error.

  Raises:
    TypeError: If an argument is not a pair (images, labels), images are neither
      floating point nor uint8 or have two dtypes, or labels are not integers.
    ValueError: If shapes differ, or there is not one label per image.
  """
  images, labels = images_and_labels('batch', batch)
  partner_images, partner_labels = images_and_labels('partner', partner)
  if images.shape != partner_images.shape:
    raise ValueError(
      '`batch` and `partner` must have images of one shape, got '
      f'{images.shape} and {partner_images.shape}. Draw as many rows for both, '
      'and resize the images before.'
    )
  if images.dtype != partner_images.dtype:
    raise TypeError(
      '`batch` and `partner` must have images of one dtype, got '
      f'{images.dtype} and {partner_images.dtype}. Normalize both, or neither.'
    )
  return Pair(images, partner_images, labels, partner_labels)


def draw_share(key: jax.Array, alpha: ArrayLike) -> jax.Array:
  """A share ~ Beta(alpha, alpha), float32 scalar; 1 for alpha = 0."""
  alpha = jnp.asarray(alpha).astype(jnp.float32)
  positive = jnp.where(alpha > 0, alpha, 1.0)
  share = jax.random.beta(key, positive, positive, dtype=jnp.float32)
  return jnp.where(alpha > 0, share, 1.0)


def blend(pair: Pair, share: jax.Array) -> jax.Array:
  """``share * images + (1 - share) * partner_images``, in float32.

  Args:
    pair: Checked arrays of the two batches.
    share: Float32 scalar in [0, 1].

  Returns:
    Array of the dtype of the images; uint8 is rounded.
  """
  mixed = share * pair.images.astype(jnp.float32)
  mixed += (1.0 - share) * pair.partner_images.astype(jnp.float32)
  if pair.images.dtype == jnp.uint8:
    mixed = jnp.round(mixed)
  return mixed.astype(pair.images.dtype)


def share_per_row(share: jax.Array, pair: Pair) -> jax.Array:
  """The one share of a batch as float32 ``[B]``."""
  return jnp.broadcast_to(share.astype(jnp.float32), pair.labels.shape)


def images_and_labels(name: str, batch: Any) -> tuple[jax.Array, jax.Array]:
  """Arrays of one batch, labels as int32 ``[B]``, or an error.

  Raises:
    TypeError: If `batch` is not a pair (images, labels), images are neither
      floating point nor uint8, or labels are not integers.
    ValueError: If there is not one label per image.
  """
  if not isinstance(batch, (tuple, list)) or len(batch) != 2:
    raise TypeError(
      f'`{name}` must be the pair (images, labels), got '
      f'{type(batch).__name__}. Pass (images, labels).'
    )
  if isinstance(batch[1], tuple):
    raise TypeError(
      f'`{name}` must have int labels, got a tuple: examples that are mixed '
      'already. Mix them once.'
    )
  images = jnp.asarray(batch[0])
  if images.dtype != jnp.uint8 and not jnp.issubdtype(
    images.dtype, jnp.floating
  ):
    raise TypeError(
      f'`{name}` must have images that are floating point or uint8, got '
      f'{images.dtype}. Pass images.astype(jnp.float32).'
    )
  labels = _checks.label_array(batch[1], name=f'{name}[1]')
  if images.shape[:1] != labels.shape:
    raise ValueError(
      f'`{name}` must have one label for each image, got images '
      f'{images.shape} and labels {labels.shape}. Pass images [B, ...] and '
      'labels [B].'
    )
  return images, jnp.asarray(labels).astype(jnp.int32)
