# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentation of images in memory by name, joined by '+'."""

from collections.abc import Callable
from typing import Any

import jax

from imbsam_jax import _specs
from imbsam_jax import augment

AUGMENTATIONS: dict[str, Callable[..., Any]] = {
  'pad_crop': augment.pad_crop,
  'flip': augment.random_flip,
  'cutout': augment.cutout,
  'auto_augment': augment.auto_augment,
  'rand_augment': augment.rand_augment,
}

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def make_augmentation(
  text: str, *, image_shape: tuple[int, ...], dtype: Any
) -> Augmentation | None:
  """The augmentation of a choice, tried on the shape of the images.

  Args:
    text: Names from left to right, such as 'pad_crop+flip+cutout(size=8)'.
    image_shape: Shape of one image.
    dtype: Dtype of the images as they are stored.

  Returns:
    ``f(key, image) -> image``; None for 'none'.

  Raises:
    ValueError: If a name or parameter is unknown, or an augmentation does not
      fit such images.
  """
  if text.strip() == 'none':
    return None
  parts = [
    _specs.bind('data.augment', part, AUGMENTATIONS) for part in text.split('+')
  ]

  def augmentation(key, image):
    keys = jax.random.split(key, len(parts))
    for part_key, part in zip(keys, parts, strict=True):
      image = part(part_key, image)
    return image

  jax.eval_shape(
    augmentation,
    jax.random.key(0),
    jax.ShapeDtypeStruct(image_shape, dtype),
  )
  return augmentation
