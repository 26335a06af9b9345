# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`textures`: images of nothing, where none of another data set are there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import DTypeLike

from imbsam_jax import _checks

# Images of each kind at a time, so that intermediate arrays stay small.
_AT_ONCE = 12
# Octaves of noise: cells along the longer side, doubled from one to the next.
_OCTAVES = 4


def textures(
  num_images: int,
  image_shape: Sequence[int],
  *,
  dtype: DTypeLike = np.uint8,
  low: ArrayLike | None = None,
  high: ArrayLike | None = None,
  seed: int = 0,
) -> np.ndarray:
  """Images without content: noise, gratings, checkerboards and blobs.

  A stand-in for images that belong to none of the classes, for methods that
  train on such. In turn an image is noise filtered at several scales, a smooth
  or a sharp grating, a checkerboard, blobs, or noise in every pixel, between
  two colors that are drawn for it.

  Arithmetic that every machine rounds alike, on numbers of
  `numpy.random.RandomState`: the same arguments give the same bytes with every
  version of NumPy.

  >>> images = textures(6, (8, 8, 3))
  >>> images.shape, images.dtype.name
  ((6, 8, 8, 3), 'uint8')

  Args:
    num_images: Number of images.
    image_shape: Height, width and number of channels.
    dtype: Uint8 or a floating point type.
    low: The least value, a number or one per channel; None is 0.
    high: The largest value, likewise; None is 255 for uint8, and else 1.
    seed: Seed of the images, from 0 to 2**32 - 1. Image i does not depend on
      `num_images`.

  Returns:
    Array of `dtype`, ``[num_images, height, width, channels]``.

  Raises:
    TypeError: If a number is not an integer, or `dtype` is another type.
    ValueError: If a number is out of range, or there are not three axes.
  """
  num_images = _checks.integer('num_images', num_images)
  _checks.seed('seed', seed)
  dtype = np.dtype(dtype)
  if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
    raise TypeError(
      f'`dtype` must be uint8 or a floating point type, got {dtype}.'
    )
  if len(image_shape) != 3:
    raise ValueError(
      '`image_shape` must be (height, width, channels), got '
      f'{tuple(image_shape)}. Textures are images, not rows of a table.'
    )
  shape = tuple(_checks.integer('image_shape', size) for size in image_shape)
  bounds = _bounds(low, high, dtype, shape[2])
  images = np.empty((num_images, *shape), dtype)
  for kind, draw in enumerate(_KINDS):
    own = images[kind :: len(_KINDS)]
    for start in range(0, len(own), _AT_ONCE):
      rng = np.random.RandomState([seed, start, kind])
      rows = own[start : start + _AT_ONCE]
      # All are drawn, so that the last ones begin like the others.
      values = draw(rng, _AT_ONCE, shape)[: len(rows)]
      rows[...] = _scaled(values, bounds, dtype)
  return images


def _bounds(
  low: ArrayLike | None, high: ArrayLike | None, dtype: np.dtype, channels: int
) -> tuple[np.ndarray, np.ndarray]:
  """The least and the largest value, float64 ``[channels]``."""
  low = 0.0 if low is None else low
  if high is None:
    high = 255.0 if dtype == np.uint8 else 1.0
  both = []
  for name, value in (('low', low), ('high', high)):
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (channels,)):
      raise ValueError(
        f'`{name}` must be a number or one for each of {channels} channels, '
        f'got shape {array.shape}.'
      )
    both.append(np.broadcast_to(array, (channels,)))
  if not (both[0] <= both[1]).all():  # NaN neither.
    raise ValueError(
      f'`low` must not be above `high`, got {both[0].tolist()} and '
      f'{both[1].tolist()}.'
    )
  if dtype == np.uint8 and (both[0].min() < 0 or both[1].max() > 255):
    raise ValueError(
      '`low` and `high` of uint8 images must be from 0 to 255, got '
      f'{both[0].tolist()} and {both[1].tolist()}.'
    )
  return both[0], both[1]


def _scaled(
  values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray], dtype: np.dtype
) -> np.ndarray:
  low, high = bounds
  scaled = low + (high - low) * values
  return (np.rint(scaled) if dtype == np.uint8 else scaled).astype(dtype)


def _filtered_noise(rng, number, shape):
  """Octaves of noise that is interpolated between the corners of cells."""
  height, width, _ = shape
  size = max(height, width)
  field = np.zeros((number, height, width))
  weights = rng.random_sample((number, _OCTAVES, 1, 1))
  total = np.zeros((number, 1, 1))
  for octave in range(_OCTAVES):
    cells = 2 ** (octave + 1)
    corners = rng.random_sample((number, cells + 2, cells + 2))
    rows, row_shares = _in_cells(height, size, cells)
    columns, column_shares = _in_cells(width, size, cells)
    across = corners[:, :, columns]
    beside = corners[:, :, columns + 1]
    lines = across + (beside - across) * column_shares
    above, below = lines[:, rows], lines[:, rows + 1]
    weight = weights[:, octave]
    field = field + weight * (above + (below - above) * row_shares[:, None])
    total = total + weight
  # Sums of octaves lie about the middle.
  field = _clipped(0.5 + 2.0 * (field / np.maximum(total, 1e-3) - 0.5))
  return _between_colors(rng, field, shape)


def _in_cells(side, size, cells):
  """Cells of the pixels of a side, and where in them these are, smoothed."""
  places = (np.arange(side) + 0.5) * (cells / size)
  whole = np.floor(places)
  return whole.astype(np.int64), _smooth(places - whole)


def _grating(rng, number, shape):
  """Waves, every other one as stripes with sharp edges."""
  waves = _smooth(_triangle(_phases(rng, number, shape)[0]))
  sharp = (np.arange(number) % 2 == 1)[:, None, None]
  field = np.where(sharp, np.where(waves > 0.5, 1.0, 0.0), waves)
  return _between_colors(rng, field, shape)


def _checkerboard(rng, number, shape):
  phases, others = _phases(rng, number, shape)
  field = (np.floor(phases) + np.floor(others)) % 2
  return _between_colors(rng, field, shape)


def _blobs(rng, number, shape):
  """Round spots, the larger of two where they meet."""
  height, width, _ = shape
  size = max(height, width)
  rows, columns = _pixels(height, width)
  field = np.zeros((number, height, width))
  for _ in range(6):
    row, column, radius = rng.random_sample((3, number, 1, 1))
    radius = (0.08 + 0.25 * radius) * size
    down, right = rows - row * height, columns - column * width
    far = (down * down + right * right) / (radius * radius)
    field = np.maximum(field, _smooth(_clipped(1.0 - far)))
  return _between_colors(rng, field, shape)


def _pixel_noise(rng, number, shape):
  """Every value by itself, about a color of the image's own."""
  contrast = 0.2 + 0.8 * rng.random_sample((number, 1, 1, 1))
  color = rng.random_sample((number, 1, 1, shape[2]))
  noise = rng.random_sample((number, *shape))
  return color + (noise - color) * contrast


_KINDS = (_filtered_noise, _grating, _checkerboard, _blobs, _pixel_noise)


def _phases(rng, number, shape):
  """Numbers of periods along a direction, and along that across it."""
  height, width, _ = shape
  down, right, frequency, *offsets = rng.random_sample((5, number, 1, 1))
  down, right = 2.0 * down - 1.0, 2.0 * right - 1.0
  length = np.maximum(np.sqrt(down * down + right * right), 1e-3)
  # From one period to one of four pixels.
  size = max(height, width)
  steps = (1.0 + frequency * frequency * max(size / 4.0 - 1.0, 0.0)) / size
  down, right = down / length * steps, right / length * steps
  rows, columns = _pixels(height, width)
  along = down * rows + right * columns + offsets[0]
  across = down * columns - right * rows + offsets[1]
  return along, across


def _pixels(height, width):
  return (
    (np.arange(height) + 0.5)[:, None],
    (np.arange(width) + 0.5)[None, :],
  )


def _triangle(phases):
  return np.abs(2.0 * (phases - np.floor(phases)) - 1.0)


def _smooth(x):
  """From 0 to 1 without corners; a sine would differ between versions."""
  return x * x * (3.0 - 2.0 * x)


def _clipped(x):
  return np.minimum(np.maximum(x, 0.0), 1.0)


def _between_colors(rng, field, shape):
  """Colors of a field ``[n, height, width]`` of shares of the second one."""
  first, second = rng.random_sample((2, len(field), 1, 1, shape[2]))
  # Of two that are alike nothing would be seen.
  second = np.where(np.abs(second - first) < 0.25, (second + 0.5) % 1.0, second)
  return first + (second - first) * field[..., None]
