# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Resized images and random resized crops, against NumPy and Pillow."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from imbsam_jax import augment

_PILLOW = {
  'bilinear': Image.Resampling.BILINEAR,
  'bicubic': Image.Resampling.BICUBIC,
}
_METHODS = ('bilinear', 'bicubic')


def _noise(shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def _kernel(x, method):
  x = abs(x)
  if method == 'bilinear':
    return max(0.0, 1 - x)
  if x < 1:
    return 1.5 * x**3 - 2.5 * x**2 + 1
  return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def _axis(values, num_new, method):
  """Resizes the first axis, pixel by pixel, antialiased."""
  num_old = len(values)
  step = num_old / num_new
  found = []
  for i in range(num_new):
    center = (i + 0.5) * step - 0.5
    weights = np.array(
      [_kernel((j - center) / max(step, 1), method) for j in range(num_old)]
    )
    found.append(np.tensordot(weights / weights.sum(), values, 1))
  return np.array(found)


def _resized(image, size, method):
  """Resizes one image [H, W, C], in float64."""
  down = _axis(image.astype(np.float64), size[0], method)
  return np.swapaxes(_axis(np.swapaxes(down, 0, 1), size[1], method), 0, 1)


def _half_pixel(image, size):
  """Bilinear without antialias as PyTorch has it: four neighbors, clamped."""
  height, width, _ = image.shape
  found = np.empty((*size, image.shape[2]))
  for y in range(size[0]):
    for x in range(size[1]):
      v = max((y + 0.5) * height / size[0] - 0.5, 0)
      u = max((x + 0.5) * width / size[1] - 0.5, 0)
      top, left = int(v), int(u)
      low, right = min(top + 1, height - 1), min(left + 1, width - 1)
      a, b = v - top, u - left
      found[y, x] = (1 - a) * (
        (1 - b) * image[top, left] + b * image[top, right]
      ) + a * ((1 - b) * image[low, left] + b * image[low, right])
  return found


class ResizeTest(parameterized.TestCase):
  @parameterized.product(method=_METHODS, size=((9, 16), (4, 3)))
  def test_as_written_out(self, method, size):
    images = _noise((2, 6, 8, 3)) / np.float32(255)
    found = augment.resize_images(images, size, method=method)
    self.assertEqual((found.shape, found.dtype), ((2, *size, 3), np.float32))
    for image, one in zip(images, found, strict=True):
      expected = _resized(image, size, method)
      if method == 'bicubic':
        overshoots = (expected < 0).any() or (expected > 1).any()
        self.assertEqual(overshoots, size == (9, 16))
        expected = expected.clip(0, 1)
      np.testing.assert_allclose(one, expected, atol=2e-6)

  def test_larger_bilinear_is_not_antialiased(self):
    image = _noise((5, 7, 2)) / np.float32(255)
    found = augment.resize_images(image[None], (12, 14))[0]
    np.testing.assert_allclose(found, _half_pixel(image, (12, 14)), atol=1e-6)

  @parameterized.product(method=_METHODS, size=(56, 11))
  def test_pillow(self, method, size):
    image = _noise((16, 16, 3))
    theirs = Image.fromarray(image).resize((size, size), _PILLOW[method])
    found = augment.resize_images(
      image[None] / np.float32(255), size, method=method
    )
    difference = np.abs(255 * found[0] - np.asarray(theirs, np.float32))
    # Pillow rounds after each axis, and cuts off what overshoots there too.
    limit = 1.1 if method == 'bilinear' else 16
    self.assertLess(difference.max(), limit)
    self.assertLess(difference.mean(), 0.6)

  @parameterized.parameters(*_METHODS)
  def test_the_same_size_is_the_same_images(self, method):
    images = _noise((1, 4, 5, 3)) / np.float32(255)
    found = augment.resize_images(images, (4, 5), method=method)
    np.testing.assert_array_equal(found, images)

  def test_gray(self):
    gray = _noise((2, 3, 3, 1)) / np.float32(255)
    found = augment.resize_images(gray, 6, rgb=True)
    one = augment.resize_images(gray, 6)
    np.testing.assert_array_equal(found, np.repeat(one, 3, axis=-1))
    np.testing.assert_array_equal(
      augment.resize_images(np.asarray(found), 6, rgb=True), found
    )

  @parameterized.parameters(
    (np.zeros((1, 2, 2, 3), np.uint8), 4, {}, TypeError, 'got uint8. Pass'),
    (np.zeros((2, 2, 3)), 4, {}, ValueError, r'Pass image\[None\]'),
    (np.zeros((1, 2, 2, 3)), 0, {}, ValueError, '`size`'),
    (np.zeros((1, 2, 2, 3)), (2, 3, 4), {}, ValueError, r'\(height, width\)'),
    (np.zeros((1, 2, 2, 3)), 4, dict(method='area'), ValueError, "got 'area'"),
    (np.zeros((1, 2, 2, 2)), 4, dict(rgb=True), ValueError, '1 or 3 channels'),
  )
  def test_errors(self, images, size, arguments, error, message):
    with self.assertRaisesRegex(error, message):
      augment.resize_images(
        images if images.dtype == np.uint8 else images.astype(np.float32),
        size,
        **arguments,
      )


@functools.cache
def _crops(shape, num, method='bilinear', **arguments):
  """Crops of an image whose pixels say where they come from."""
  height, width = shape
  rows, columns = np.mgrid[:height, :width].astype(np.float32)
  image = jnp.asarray(np.stack([rows, columns], -1))
  crop = functools.partial(
    augment.random_resized_crop, method=method, **arguments
  )
  keys = jax.random.split(jax.random.key(3), num)
  return np.asarray(jax.jit(jax.vmap(crop, (0, None)))(keys, image))


def _parts(crops):
  """First and last pixel of each crop along both axes, by its slope.

  Crops are of ramps and larger than their part; between the first and the last
  old pixel a ramp stays a ramp, and the ends of the crop are these pixels.
  """
  found = []
  for axis in (0, 1):
    line = crops[:, :, 0, 0] if axis == 0 else crops[:, 0, :, 1]
    found.append((line[:, 0], line[:, -1]))
  return found


class RandomResizedCropTest(parameterized.TestCase):
  def test_parts_are_those_of_torchvision(self):
    # 32 pixels to 64: the ends of a crop are its first and last old pixels.
    crops = _crops((32, 32), 2000, size=64)
    (top, bottom), (left, right) = _parts(crops)
    rows, columns = bottom - top + 1, right - left + 1
    for value in (top, bottom, left, right):
      np.testing.assert_allclose(value, np.round(value), atol=1e-4)
    area, ratio = rows * columns / 32**2, columns / rows
    # Of whole pixels, so a little beyond.
    self.assertBetween(area.min(), 0.06, 0.09)
    self.assertBetween(area.max(), 0.95, 1.0)
    self.assertBetween(ratio.min(), 0.65, 0.78)
    self.assertBetween(ratio.max(), 1.28, 1.55)
    self.assertLess(bottom.max(), 31.001)
    # A witness of the same draws in Python, as torchvision has them.
    rng = np.random.RandomState(0)
    theirs = np.array([_torchvision(32, 32, rng) for _ in range(4000)])
    for ours, other in zip((top, left, rows, columns), theirs.T, strict=True):
      self.assertAlmostEqual(ours.mean() / other.mean(), 1.0, delta=0.06)
      self.assertAlmostEqual(ours.std() / other.std(), 1.0, delta=0.08)
      # Pixel by pixel: the largest gap of the distributions.
      edges = np.arange(34) - 0.5
      gap = np.abs(
        np.histogram(ours, edges)[0].cumsum() / len(ours)
        - np.histogram(other, edges)[0].cumsum() / len(other)
      )
      self.assertLess(gap.max(), 1.95 * math.sqrt(1 / 2000 + 1 / 4000))

  def test_what_does_not_fit_is_the_largest_in_the_center(self):
    # No part of the whole area of 8x32 has such a ratio.
    crops = _crops((8, 32), 4, size=64, scale=(1.0, 1.0), ratio=(0.5, 2.0))
    (top, bottom), (left, right) = _parts(crops)
    np.testing.assert_allclose(top, 0, atol=1e-4)
    np.testing.assert_allclose(bottom, 7, atol=1e-4)
    np.testing.assert_allclose(left, 8, atol=1e-4)
    np.testing.assert_allclose(right, 23, atol=1e-4)

  @parameterized.product(method=_METHODS, size=((24, 20), (3, 4)))
  def test_the_part_is_resized_as_if_cut_out(self, method, size):
    # Which part it is, the crop of ramps with the same keys says.
    crops = _crops((10, 12), 6, size=(64, 64), scale=(0.2, 0.7))
    parts = _parts(crops)
    image = _noise((10, 12, 3))
    crop = functools.partial(
      augment.random_resized_crop, size=size, scale=(0.2, 0.7), method=method
    )
    keys = jax.random.split(jax.random.key(3), 6)
    floats = jax.jit(jax.vmap(crop, (0, None)))(keys, image / np.float32(255))
    stored = jax.jit(jax.vmap(crop, (0, None)))(keys, image)
    self.assertEqual(stored.dtype, np.uint8)
    for i, (one, byte) in enumerate(zip(floats, stored, strict=True)):
      (top, bottom), (left, right) = (
        (round(float(a[i])), round(float(b[i]))) for a, b in parts
      )
      part = image[top : bottom + 1, left : right + 1]
      expected = _resized(part / 255, size, method).clip(0, 1)
      np.testing.assert_allclose(one, expected, atol=2e-6)
      np.testing.assert_allclose(byte, 255 * expected, atol=0.501)

  def test_the_whole_image_is_resize_images(self):
    image = _noise((1, 8, 8, 3)) / np.float32(255)
    found = augment.random_resized_crop(
      jax.random.key(0), image[0], size=20, scale=(1.0, 1.0), ratio=(1.0, 1.0)
    )
    np.testing.assert_allclose(
      found, augment.resize_images(image, 20)[0], atol=1e-6
    )

  def test_without_a_size_it_stays(self):
    found = augment.random_resized_crop(jax.random.key(1), _noise((5, 9, 1)))
    self.assertEqual((found.shape, found.dtype), ((5, 9, 1), np.uint8))

  @parameterized.parameters(
    (dict(scale=(0.0, 1.0)), ValueError, '`scale` must be'),
    (dict(scale=(0.5, 1.5)), ValueError, '`scale` must be'),
    (dict(scale=(0.9, 0.5)), ValueError, 'Exchange the two'),
    (dict(scale=0.5), ValueError, r'\(smallest, largest\)'),
    (dict(ratio=(-1.0, 1.0)), ValueError, '`ratio` must be'),
    (dict(ratio=('a', 1.0)), TypeError, '`ratio` must be'),
    (dict(size=0), ValueError, '`size`'),
    (dict(method='area'), ValueError, "got 'area'"),
  )
  def test_errors(self, arguments, error, message):
    with self.assertRaisesRegex(error, message):
      augment.random_resized_crop(
        jax.random.key(0), np.zeros((4, 4, 3), np.float32), **arguments
      )
    with self.assertRaisesRegex(ValueError, r'jax.vmap\(random_resized_crop\)'):
      augment.random_resized_crop(
        jax.random.key(0), np.zeros((2, 4, 4, 3), np.float32)
      )


def _torchvision(height, width, rng):
  """Top, left, rows and columns of a part, as torchvision draws them."""
  for _ in range(10):
    area = height * width * rng.uniform(0.08, 1.0)
    ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    columns = round(math.sqrt(area * ratio))
    rows = round(math.sqrt(area / ratio))
    if 0 < columns <= width and 0 < rows <= height:
      top = rng.randint(0, height - rows + 1)
      return top, rng.randint(0, width - columns + 1), rows, columns
  return 0, 0, height, width


if __name__ == '__main__':
  absltest.main()
