# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Operations of AutoAugment and RandAugment, by name and magnitude."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax.augment import _image_ops
from imbsam_jax.augment import _images

# Three stages, and the operations of each.
_STAGES = (
  (
    'identity',
    'rotate',
    'shear_x',
    'shear_y',
    'translate_x',
    'translate_y',
  ),
  ('autocontrast', 'equalize', 'invert', 'solarize', 'posterize'),
  ('brightness', 'contrast', 'color', 'sharpness'),
)
NAMES = sum(_STAGES, ())
MAX_MAGNITUDE = 30


class Rows(NamedTuple):
  """Operations that are known at run time only, one row for each.

  Attributes:
    op: Int32 array, shape ``[N]``, place in `NAMES`.
    matrix: Int32 array, shape ``[N, 6]``, see `_image_ops.warp`.
    threshold: Int32 array, shape ``[N]``, the threshold of solarize.
    mask: Int32 array, shape ``[N]``, the bits that posterize keeps.
    factor: Int32 array, shape ``[N]``, see `_image_ops.blend`.
  """

  op: Any
  matrix: Any
  threshold: Any
  mask: Any
  factor: Any


def check_image(image: ArrayLike, name: str) -> jax.Array:
  """The array of one image of bytes, or an error.

  Args:
    image: Uint8 array, shape ``[H, W, 3]`` or ``[H, W, 1]``.
    name: Name of the function that augments, for the error.

  Raises:
    TypeError: If `image` is not uint8.
    ValueError: If `image` is not one image of 1 or 3 channels.
  """
  image = _images.check_image(image, name)
  if image.dtype != jnp.uint8:
    raise TypeError(
      f'`image` must be uint8, got {image.dtype}. Augment first, normalize '
      'then.'
    )
  if image.shape[-1] not in (1, 3):
    raise ValueError(
      f'`image` must have 1 or 3 channels, got {image.shape}. Pass '
      'image[..., :3] for an image with transparency.'
    )
  return image


def make_rows(
  operations: Sequence[tuple[str, ArrayLike, int]], height: int, width: int
) -> Rows:
  """Parameters of operations for images of one size.

  Args:
    operations: Name, magnitude in [0, 30] and sign, 1 or -1, of each.
    height: Height of the images.
    width: Width of the images.

  Returns:
    A row for each operation.
  """
  traced = any(isinstance(m, jax.core.Tracer) for _, m, _ in operations)
  # A number is turned into integers here, in float64: these are then the same
  # for all devices, and those of Pillow.
  xp: Any = jnp if traced else np
  dtype = np.float32 if traced else np.float64
  rows = [
    _row(name, xp.asarray(magnitude).astype(dtype), sign, height, width, xp)
    for name, magnitude, sign in operations
  ]
  return jax.tree.map(lambda *xs: jnp.asarray(xp.stack(xs)), *rows)


def apply(
  image: jax.Array, rows: Rows, choices: jax.Array, *, fill: ArrayLike
) -> jax.Array:
  """Operations, one after the other.

  Args:
    image: Uint8 array, shape ``[H, W, C]``.
    rows: Operations to choose from.
    choices: Int32 array, shape ``[K]``, the rows to apply.
    fill: Color of what comes in from outside, a scalar or ``[C]`` in 0..255.

  Returns:
    Uint8 array, shape ``[H, W, C]``.

  Raises:
    ValueError: If `fill` has another shape, or is not in 0..255.
  """
  pixel = jnp.transpose(_images.fill_pixel(fill, image), (2, 0, 1))
  image = jnp.transpose(image, (2, 0, 1))
  # Not a `lax.scan`, which takes twice the time on a CPU.
  for i in range(choices.shape[0]):
    row = jax.tree.map(lambda x, choice=choices[i]: x[choice], rows)
    image = apply_one(image, row, pixel)
  return jnp.transpose(image, (1, 2, 0))


def apply_one(image: jax.Array, row: Rows, pixel: jax.Array) -> jax.Array:
  """One operation.

  Under vmap, a switch over the operations computes all 15 for every image:
  here it is three stages, each for its share of them.

  Args:
    image: Uint8 array, shape ``[C, H, W]``.
    row: One row of `Rows`, without the first axis.
    pixel: Uint8 array, shape ``[C, 1, 1]``, color of the outside.

  Returns:
    Uint8 array, shape ``[C, H, W]``.
  """
  results = (
    _image_ops.warp(image, row.matrix, pixel),
    _image_ops.remap(
      image,
      is_autocontrast=row.op == NAMES.index('autocontrast'),
      is_equalize=row.op == NAMES.index('equalize'),
      threshold=row.threshold,
      mask=row.mask,
    ),
    _image_ops.blend(
      image,
      row.factor,
      is_contrast=row.op == NAMES.index('contrast'),
      is_color=row.op == NAMES.index('color'),
      is_sharpness=row.op == NAMES.index('sharpness'),
    ),
  )
  stages = np.repeat(np.arange(3, dtype=np.int32), [len(s) for s in _STAGES])
  # Not `where`, nor one stage after the other: XLA would fuse them into one
  # loop that a CPU cannot vectorize, at three times the cost.
  return lax.dynamic_index_in_dim(
    jnp.stack(results), jnp.asarray(stages)[row.op], keepdims=False
  )


def _row(
  name: str, m: Any, sign: int, height: int, width: int, xp: Any
) -> Rows:
  threshold, mask, factor = np.int32(256), np.int32(255), xp.ones_like(m)
  if name == 'invert':
    threshold = np.int32(0)
  elif name == 'solarize':
    # Values are whole numbers: those from 127.5 are those from 128.
    threshold = xp.ceil(255.0 - 8.5 * m).astype(np.int32)
  elif name == 'posterize':
    mask = 256 - 2 ** xp.round(m / 7.5).astype(np.int32)
  elif name in _STAGES[2]:
    factor = 1.0 + 0.03 * sign * m
  matrix = _affine(name, sign * m, height, width, xp)
  return Rows(
    op=np.int32(NAMES.index(name)),
    matrix=_fixed_point(xp.stack(matrix), xp),
    threshold=threshold,
    mask=mask,
    factor=_fixed_point(factor, xp),
  )


def _affine(name: str, m: Any, height: int, width: int, xp: Any) -> list[Any]:
  """Where the pixel in row y and column x comes from, see `_image_ops.warp`.

  Args:
    name: Name of an operation.
    m: Signed magnitude of the operation.
    height: Height of the image.
    width: Width of the image.
    xp: Module that computes, NumPy or `jax.numpy`.

  Returns:
    Six numbers.
  """
  zero, one = xp.zeros_like(m), xp.ones_like(m)
  linear, origin, shift = (one, zero, zero, one), (0.0, 0.0), (zero, zero)
  if name == 'rotate':
    cos, sin = xp.cos(xp.deg2rad(m)), xp.sin(xp.deg2rad(m))
    linear, origin = (cos, -sin, sin, cos), (width / 2, height / 2)
  elif name == 'shear_x':
    linear = (one, 0.01 * m, zero, one)
  elif name == 'shear_y':
    linear = (one, zero, 0.01 * m, one)
  elif name == 'translate_x':
    shift = (xp.trunc(5.0 * width * m / 331.0), zero)
  elif name == 'translate_y':
    shift = (zero, xp.trunc(5.0 * height * m / 331.0))
  matrix = []
  for i in range(2):
    a, b = linear[2 * i : 2 * i + 2]
    # The center of the pixel (0, 0).
    start = a * (0.5 - origin[0]) + b * (0.5 - origin[1])
    matrix += [a, b, start + origin[i] + shift[i]]
  return matrix


def _fixed_point(value: Any, xp: Any) -> Any:
  return xp.floor(value * _image_ops.ONE + 0.5).astype(np.int32)
