# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""RandAugment: a few random operations of one strength."""

from typing import Any
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
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
  ('autocontrast', 'equalize', 'solarize', 'posterize'),
  ('brightness', 'contrast', 'color', 'sharpness'),
)
_OPS = sum(_STAGES, ())
_MAX_MAGNITUDE = 30


class _Rows(NamedTuple):
  """Parameters of all operations, one row for each operation and sign.

  Attributes:
    matrix: Int32 array, shape ``[28, 6]``, see `_image_ops.warp`.
    threshold: Int32 array, shape ``[28]``, the threshold of solarize.
    mask: Int32 array, shape ``[28]``, the bits that posterize keeps.
    factor: Int32 array, shape ``[28]``, see `_image_ops.blend`.
  """

  matrix: Any
  threshold: Any
  mask: Any
  factor: Any


def rand_augment(
  key: jax.Array,
  image: ArrayLike,
  *,
  num_ops: int = 2,
  magnitude: ArrayLike = 10,
  fill: ArrayLike = 0,
) -> jax.Array:
  r"""Applies random operations one after the other, all of one magnitude.

  Cubuk et al., `RandAugment: Practical Automated Data Augmentation with a
  Reduced Search Space <https://arxiv.org/abs/1909.13719>`_, NeurIPS 2020. Each
  operation is uniform over the 14 of the paper, with replacement. Ranges are
  those of torchvision's `RandAugment` (``num_magnitude_bins=31``), m being the
  magnitude:

  - identity, autocontrast, equalize: no strength;
  - rotate: :math:`\pm m` degrees about the center;
  - shear-x, shear-y: :math:`\pm m / 100`, the upper left corner stays;
  - translate-x, translate-y: :math:`\pm (150 / 331) (m / 30)` of the width or
    height, in whole pixels;
  - brightness, contrast, color, sharpness: a factor :math:`1 \pm 0.03 m`, 1
    being the image itself;
  - posterize: :math:`8 - round(m / 7.5)` bits;
  - solarize: inverts values from :math:`255 - 8.5 m`.

  Signs are fair. What an operation does is what Pillow does, which torchvision
  calls: geometry takes the nearest pixel, values round down. With one channel
  color does nothing.

  >>> import jax, jax.numpy as jnp
  >>> images = jnp.zeros((8, 32, 32, 3), jnp.uint8)
  >>> keys = jax.random.split(jax.random.key(0), 8)
  >>> jax.jit(jax.vmap(rand_augment))(keys, images).shape
  (8, 32, 32, 3)

  Args:
    key: Key of `jax.random`.
    image: Uint8 array, shape ``[H, W, 3]``, or ``[H, W, 1]``, before
      normalization.
    num_ops: Number of operations, >= 0. The paper's N, which it tunes: 1 to 3,
      2 for ImageNet.
    magnitude: Magnitude in [0, 30], may be traced. The paper's M, which it
      tunes; the default of torchvision is 9.
    fill: Color of what comes in from outside, a scalar or ``[C]`` in 0..255:
      0 as torchvision; the authors' code takes gray.

  Returns:
    Uint8 array of the shape of `image`.

  Raises:
    ValueError: If `image` is not one image of 1 or 3 channels, a
      hyper-parameter is out of range, or `fill` has another shape.
    TypeError: If `image` is not uint8, or a hyper-parameter is not a number.

  .. note::
    As in torchvision, magnitude 0 is not quite the identity: autocontrast and
    equalize have no strength, and solarize inverts 255. Pillow computes in
    floating point; here are integers, so that results do not depend on the
    machine or the batch. Blends and autocontrast then differ from Pillow by 1
    at most, where Pillow's product falls short of a whole number.
  """
  _checks.integer('num_ops', num_ops, low=0)
  _checks.number('magnitude', magnitude, low=0, high=_MAX_MAGNITUDE)
  if np.ndim(magnitude):
    raise ValueError(
      f'`magnitude` must be a scalar, got shape {np.shape(magnitude)}.'
    )
  image = _images.check_image(image, 'rand_augment')
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
  pixel = jnp.transpose(_images.fill_pixel(fill, image), (2, 0, 1))
  rows = _rows(magnitude, *image.shape[:2])
  choices = jax.random.randint(key, (num_ops,), 0, 2 * len(_OPS), jnp.int32)
  image = jnp.transpose(image, (2, 0, 1))
  # Not a `lax.scan`, which takes twice the time on a CPU.
  for i in range(num_ops):
    image = _apply(image, choices[i], rows, pixel)
  return jnp.transpose(image, (1, 2, 0))


def _apply(
  image: jax.Array, choice: jax.Array, rows: _Rows, pixel: jax.Array
) -> jax.Array:
  """One operation.

  Under vmap, a switch over the operations computes all 14 for every image:
  here it is three stages, each for its share of them.

  Args:
    image: Uint8 array, shape ``[C, H, W]``.
    choice: Int32 scalar, twice the operation's place in `_OPS`, plus 1 for the
      negative sign.
    rows: Parameters of the operations.
    pixel: Uint8 array, shape ``[C, 1, 1]``, color of the outside.

  Returns:
    Uint8 array, shape ``[C, H, W]``.
  """
  row = jax.tree.map(lambda x: x[choice], rows)
  op = choice // 2
  results = (
    _image_ops.warp(image, row.matrix, pixel),
    _image_ops.remap(
      image,
      is_autocontrast=op == _OPS.index('autocontrast'),
      is_equalize=op == _OPS.index('equalize'),
      threshold=row.threshold,
      mask=row.mask,
    ),
    _image_ops.blend(
      image,
      row.factor,
      is_contrast=op == _OPS.index('contrast'),
      is_color=op == _OPS.index('color'),
      is_sharpness=op == _OPS.index('sharpness'),
    ),
  )
  stages = np.repeat(np.arange(3, dtype=np.int32), [len(s) for s in _STAGES])
  # Not `where`, nor one stage after the other: XLA would fuse them into one
  # loop that a CPU cannot vectorize, at three times the cost.
  return lax.dynamic_index_in_dim(
    jnp.stack(results), jnp.asarray(stages)[op], keepdims=False
  )


def _rows(magnitude: ArrayLike, height: int, width: int) -> _Rows:
  """Parameters of all operations at one magnitude."""
  # A number is turned into integers here, in float64: these are then the same
  # for all devices, and those of Pillow.
  traced = isinstance(magnitude, jax.core.Tracer)
  xp: Any = jnp if traced else np
  m = xp.asarray(magnitude).astype(np.float32 if traced else np.float64)
  # Values are whole numbers: those from 127.5 are those from 128.
  threshold = xp.ceil(255.0 - 8.5 * m).astype(np.int32)
  mask = 256 - 2 ** xp.round(m / 7.5).astype(np.int32)
  rows = []
  for name in _OPS:
    for signed in (m, -m):
      matrix = _affine(name, signed, height, width, xp)
      changes = name in _STAGES[2]
      factor = 1.0 + 0.03 * signed if changes else xp.ones_like(m)
      rows.append(
        _Rows(
          matrix=_fixed_point(xp.stack(matrix), xp),
          threshold=threshold if name == 'solarize' else np.int32(256),
          mask=mask if name == 'posterize' else np.int32(255),
          factor=_fixed_point(factor, xp),
        )
      )
  return jax.tree.map(lambda *xs: jnp.asarray(xp.stack(xs)), *rows)


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
