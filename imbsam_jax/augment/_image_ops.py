# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stages of an image operation: a warp, a map of values, a blend.

An operation that is known at run time only is a choice of a stage and of its
parameters. All in integers, or where rounding cannot matter: results depend
neither on the machine nor on the batch. Channels come first, because compilers
vectorize over the last axis.
"""

import jax
from jax import lax
import jax.numpy as jnp

_BITS = 16
# 1 in fixed point.
ONE = 2**_BITS


def warp(image: jax.Array, matrix: jax.Array, pixel: jax.Array) -> jax.Array:
  """The nearest pixel at an affine map of the place.

  Args:
    image: Uint8 array, shape ``[C, H, W]``.
    matrix: Int32 array, shape ``[6]``, fixed point: the pixel in row y and
      column x is that of column ``floor(m0 x + m1 y + m2)``, row ``floor(m3 x +
      m4 y + m5)``.
    pixel: Uint8 array, shape ``[C, 1, 1]``, for places outside.

  Returns:
    Uint8 array, shape ``[C, H, W]``.
  """
  num_channels, height, width = image.shape
  y = jnp.arange(height, dtype=jnp.int32)[:, None]
  x = jnp.arange(width, dtype=jnp.int32)[None, :]
  column = (matrix[0] * x + matrix[1] * y + matrix[2]) >> _BITS
  row = (matrix[3] * x + matrix[4] * y + matrix[5]) >> _BITS
  inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
  place = jnp.where(inside, row * width + column, 0)
  # All channels of a pixel in one go.
  pixels = image.reshape(num_channels, -1).T
  warped = pixels.at[place].get(mode='promise_in_bounds')
  return jnp.where(inside[None], jnp.transpose(warped, (2, 0, 1)), pixel)


def remap(
  image: jax.Array,
  *,
  is_autocontrast: jax.Array,
  is_equalize: jax.Array,
  threshold: jax.Array,
  mask: jax.Array,
) -> jax.Array:
  """New values for old ones, some by the statistics of each channel.

  Args:
    image: Uint8 array, shape ``[C, H, W]``.
    is_autocontrast: Bool scalar: spread the values to 0..255.
    is_equalize: Bool scalar: spread the distribution of the values.
    threshold: Int32 scalar: where both are false, invert the values from here
      on; 256 inverts none.
    mask: Int32 scalar: where both are false, keep these bits of the values; 255
      keeps all.

  Returns:
    Uint8 array, shape ``[C, H, W]``.
  """
  num_channels, height, width = image.shape
  values = jnp.arange(256, dtype=jnp.int32)[None, :]
  levels = image.astype(jnp.int32)
  # Flat: twice as fast as with two indices.
  bins = levels + 256 * jnp.arange(num_channels, dtype=jnp.int32)[:, None, None]
  counts = jnp.zeros(256 * num_channels, jnp.int32)
  counts = counts.at[bins.reshape(-1)].add(1, mode='promise_in_bounds')
  counts = counts.reshape(num_channels, 256)
  low = jnp.min(jnp.where(counts > 0, values, 255), axis=1)[:, None, None]
  high = jnp.max(jnp.where(counts > 0, values, 0), axis=1)[:, None, None]
  brightest = jnp.where(values == high[:, :, 0], counts, 0)
  brightest = jnp.sum(brightest, axis=1, dtype=jnp.int32)[:, None, None]
  step = lax.div(height * width - brightest, jnp.full_like(brightest, 255))
  darker = jnp.cumsum(counts, axis=1, dtype=jnp.int32) - counts
  darker = darker.reshape(-1).at[bins].get(mode='promise_in_bounds')

  # All are quotients that are rounded down.
  above = jnp.where(levels < threshold, levels, 255 - levels) & mask
  below = jnp.ones_like(step)
  # One value only, or too few pixels of others: such channels stay.
  spreads = is_autocontrast & (high > low)
  above = jnp.where(spreads, 255 * (levels - low), above)
  below = jnp.where(spreads, high - low, below)
  spreads = is_equalize & (step > 0)
  above = jnp.where(spreads, step // 2 + darker, above)
  below = jnp.where(spreads, step, below)
  # The half keeps off whole numbers: rounding errors cannot cross them.
  quotient = (above.astype(jnp.float32) + 0.5) / below.astype(jnp.float32)
  return jnp.minimum(quotient, 255.0).astype(jnp.uint8)


def blend(
  image: jax.Array,
  factor: jax.Array,
  *,
  is_contrast: jax.Array,
  is_color: jax.Array,
  is_sharpness: jax.Array,
) -> jax.Array:
  """``base + factor * (image - base)``, rounded down and cut off at 0 and 255.

  Args:
    image: Uint8 array, shape ``[C, H, W]``.
    factor: Int32 scalar, a number in [0, 2] in fixed point; 1 is the image.
    is_contrast: Bool scalar: the base is the mean gray.
    is_color: Bool scalar: the base is the gray image.
    is_sharpness: Bool scalar: the base is the image smoothed by [1 1 1; 1 5 1;
      1 1 1] / 13. If all three are false, the base is black.

  Returns:
    Uint8 array, shape ``[C, H, W]``.
  """
  levels = image.astype(jnp.int32)
  grey = _grey(levels)
  num_pixels = jnp.int32(grey.size)
  total = jnp.sum(grey, dtype=jnp.int32)
  mean = lax.div(total + num_pixels // 2, num_pixels)
  base = jnp.where(is_contrast, mean, 0)
  base = jnp.where(is_color, grey, base)
  base = jnp.where(is_sharpness, _smooth(levels), base)
  # Factors are rounded to 2**-17, times 255 that is 0.002. Products of whole
  # magnitudes are hundredths: 0.004 more keep whole numbers whole and lift no
  # other to the next.
  change = (factor * (levels - base) + ONE // 256) >> _BITS
  return jnp.clip(base + change, 0, 255).astype(jnp.uint8)


def _grey(levels: jax.Array) -> jax.Array:
  """int32 ``[1, H, W]``: luma of ITU-R 601-2, as Pillow rounds it."""
  if levels.shape[0] == 1:
    return levels
  luma = 19595 * levels[:1] + 38470 * levels[1:2] + 7471 * levels[2:]
  return (luma + ONE // 2) >> _BITS


def _smooth(levels: jax.Array) -> jax.Array:
  """int32 ``[C, H, W]``: smoothed, the border as it is."""
  _, height, width = levels.shape
  sums = jnp.pad(levels.astype(jnp.int16), ((0, 0), (1, 1), (1, 1)))
  sums = sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:]
  sums = sums[:, :, :-2] + sums[:, :, 1:-1] + sums[:, :, 2:]
  sums = sums.astype(jnp.int32) + 4 * levels
  smooth = lax.div(2 * sums + 13, jnp.full_like(sums, 26))
  y = jnp.arange(height, dtype=jnp.int32)[:, None]
  x = jnp.arange(width, dtype=jnp.int32)[None, :]
  inner = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
  return jnp.where(inner[None], smooth, levels)
