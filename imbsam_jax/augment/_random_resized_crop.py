# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random part of an image, resized."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.augment import _images
from imbsam_jax.augment import _resize

_TRIES = 10


def random_resized_crop(
  key: jax.Array,
  image: ArrayLike,
  *,
  size: int | tuple[int, int] | None = None,
  scale: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
  method: _resize.Method = 'bilinear',
) -> jax.Array:
  """Cuts out a random part and resizes it, in one interpolation.

  The random-resized crop of Inception (Szegedy et al., `Going Deeper with
  Convolutions <https://arxiv.org/abs/1409.4842>`_, CVPR 2015) in the form of
  torchvision: up to 10 times the share of the area is drawn uniformly from
  `scale` and the ratio of width to height log-uniformly from `ratio`; the first
  part that fits is placed at random. Without one it is the largest centered one
  within these ratios. Pixels beside the part do not count. LIFT (Shi et al.,
  ICML 2024) crops so from images of 32 pixels straight to 224.

  >>> import jax, jax.numpy as jnp
  >>> images = jnp.ones((8, 32, 32, 3))
  >>> keys = jax.random.split(jax.random.key(0), 8)
  >>> crop = lambda key, image: random_resized_crop(key, image, size=224)
  >>> jax.vmap(crop)(keys, images).shape
  (8, 224, 224, 3)

  .. note::
    Pillow rounds to bytes after each axis, this once.

  Args:
    key: Key of `jax.random`.
    image: Float or uint8 array, shape ``[H, W, C]``; floats for 'bicubic' in
      [0, 1].
    size: Height and width, or one number for both; None is that of `image`.
    scale: Smallest and largest share of the area, above 0 and at most 1.
    ratio: Smallest and largest ratio of width to height.
    method: 'bilinear' or 'bicubic', both antialiased; see `resize_images`.

  Returns:
    Array ``[height, width, C]`` of the dtype of `image`; bytes are rounded.

  Raises:
    ValueError: If `image` is not one image, or an argument is out of range.
    TypeError: If `image` has another dtype, or an argument is not a number.
  """
  image = _images.check_image(image, 'random_resized_crop')
  _check_range('scale', scale, high=1.0)
  _check_range('ratio', ratio)
  _resize.check_method(method)
  height, width, _ = image.shape
  new = (height, width) if size is None else _resize.as_size(size)
  top, left, rows, columns = _draw(key, height, width, scale, ratio)
  down: Any = _resize.interpolation(
    top, rows, num_old=height, num_new=new[0], method=method
  )
  across: Any = _resize.interpolation(
    left, columns, num_old=width, num_new=new[1], method=method
  )
  pixels = jnp.einsum(
    'yh,hwc,xw->yxc',
    down,
    image.astype(jnp.float32),
    across,
    precision=jax.lax.Precision.HIGHEST,
  )
  if image.dtype == jnp.uint8:
    return jnp.clip(jnp.round(pixels), 0.0, 255.0).astype(jnp.uint8)
  if method == 'bicubic':
    pixels = jnp.clip(pixels, 0.0, 1.0)
  return pixels.astype(image.dtype)


def _draw(
  key: jax.Array,
  height: int,
  width: int,
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """First row and column of a part, and how many it has, all int32."""
  area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
  tries, floats = (_TRIES,), jnp.float32
  areas = jax.random.uniform(area_key, tries, floats, *scale)
  areas *= height * width
  logs = [math.log(value) for value in ratio]
  ratios = jnp.exp(jax.random.uniform(ratio_key, tries, floats, *logs))
  rows = jnp.round(jnp.sqrt(areas / ratios)).astype(jnp.int32)
  columns = jnp.round(jnp.sqrt(areas * ratios)).astype(jnp.int32)
  fits = (0 < rows) & (rows <= height) & (0 < columns) & (columns <= width)
  first, any_fits = jnp.argmax(fits), jnp.any(fits)
  most_rows = max(1, min(height, round(width / ratio[0])))
  most_columns = max(1, min(width, round(height * ratio[1])))
  rows = jnp.where(any_fits, rows[first], most_rows)
  columns = jnp.where(any_fits, columns[first], most_columns)

  def place(key, free):
    at = jax.random.randint(key, (), 0, free + 1, jnp.int32)
    return jnp.where(any_fits, at, free // 2)

  return (
    place(top_key, height - rows),
    place(left_key, width - columns),
    rows,
    columns,
  )


def _check_range(name: str, pair: Any, high: float | None = None) -> None:
  if not isinstance(pair, (tuple, list)) or len(pair) != 2:
    raise ValueError(
      f'`{name}` must be (smallest, largest), such as (0.5, 1.0), got {pair!r}.'
    )
  for value in pair:
    _checks.number(name, value, above=0, high=high)
  if pair[0] > pair[1]:
    raise ValueError(
      f'`{name}` must be (smallest, largest), got {pair!r}. Exchange the two.'
    )
