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
  'random_resized_crop': augment.random_resized_crop,
}
# It gives images the size of the network's input.
_CROP = 'random_resized_crop'

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def make_augmentation(
  text: str,
  *,
  image_shape: tuple[int, ...],
  dtype: Any,
  size: tuple[int, int] | None = None,
  method: Any = 'bilinear',
) -> Augmentation | None:
  """The augmentation of a choice, tried on the shape of the images.

  Args:
    text: Names from left to right, such as 'pad_crop+flip+cutout(size=8)'.
    image_shape: Shape of one image.
    dtype: Dtype of the images as they are stored.
    size: Height and width of the network's input, to which
      'random_resized_crop' resizes; None is that of the images.
    method: How it does: 'bilinear' or 'bicubic'.

  Returns:
    ``f(key, image) -> image``; None for 'none'.

  Raises:
    ValueError: If a name or parameter is unknown, or an augmentation does not
      fit such images.
  """
  if text.strip() == 'none':
    return None

  def cropped(
    key: jax.Array,
    image: jax.Array,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
  ) -> jax.Array:
    return augment.random_resized_crop(
      key, image, size=size, scale=scale, ratio=ratio, method=method
    )

  table = {**AUGMENTATIONS, _CROP: cropped}
  parts = [_specs.bind('data.augment', part, table) for part in text.split('+')]

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
