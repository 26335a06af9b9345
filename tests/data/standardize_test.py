# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stored images as inputs of another size, and what an evaluation sees."""

import types

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from imbsam_jax import data

_MEAN, _STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)


def _images(shape=(3, 8, 8, 3), seed=0):
  return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def _pillow(image, size, method='bilinear'):
  """An image resized by Pillow, channel by channel in floats."""
  resample = {
    'bilinear': Image.Resampling.BILINEAR,
    'bicubic': Image.Resampling.BICUBIC,
  }[method]
  channels = [
    np.asarray(
      Image.fromarray(channel.astype(np.float32)).resize(size[::-1], resample)
    )
    for channel in np.moveaxis(image, -1, 0)
  ]
  return np.stack(channels, -1).clip(0, 255)


class StandardizationTest(parameterized.TestCase):
  @parameterized.parameters(np.uint8, np.float32)
  def test_without_a_size_it_is_as_before(self, dtype):
    images = _images().astype(dtype)
    made = data.standardization(images)
    scale = 255.0 if dtype == np.uint8 else 1.0
    expected = (
      jnp.asarray(images).astype(jnp.float32) / scale - made.mean
    ) / made.std
    np.testing.assert_array_equal(made(jnp.asarray(images)), expected)
    self.assertIs(made.center(images), images)
    moments = images.reshape(-1, 3) / scale
    np.testing.assert_allclose(made.mean.ravel(), moments.mean(0), rtol=1e-5)
    np.testing.assert_allclose(made.std.ravel(), moments.std(0), rtol=1e-5)

  @parameterized.product(method=('bilinear', 'bicubic'), size=(20, (20, 13)))
  def test_training_resizes_the_whole(self, method, size):
    images = _images()
    made = data.standardization(
      images, size=size, method=method, mean=_MEAN, std=_STD
    )
    found = jax.jit(lambda images: made(images))(images)
    size = size if isinstance(size, tuple) else (size, size)
    for image, one in zip(images, found, strict=True):
      expected = (_pillow(image, size, method) / 255 - _MEAN) / _STD
      np.testing.assert_allclose(one, expected, atol=2e-5)

  @parameterized.parameters((28, 32, 2), (14, 16, 1), (224, 256, 16))
  def test_evaluation_sees_the_center(self, size, larger, offset):
    images = _images((2, 8, 8, 3))
    made = data.standardization(images, size=size, mean=_MEAN, std=_STD)
    found = jax.jit(lambda images: made(made.center(images)))(images)
    self.assertEqual(
      (found.shape, found.dtype), ((2, size, size, 3), np.float32)
    )
    for image, one in zip(images, found, strict=True):
      whole = _pillow(image, (larger, larger))
      part = whole[offset : offset + size, offset : offset + size]
      np.testing.assert_allclose(one, (part / 255 - _MEAN) / _STD, atol=5e-5)

  @parameterized.parameters(
    (28, 4, 4, 2), (28, 5, 5, 2), (224, None, 24, 12), (32, None, 3, 2),
    (8, None, 1, 0), (None, 3, 3, 2),
  )  # fmt: skip
  def test_five_crops(self, size, margin, added, half):
    images = _images((2, 8, 8, 1))
    made = data.standardization(images, size=size)
    found = jax.jit(lambda images: made.five_crops(images, margin))(images)
    size = size or 8
    starts = (0, 0), (0, added), (added, 0), (added, added), (half, half)
    self.assertLen(found, 5)
    for view, (top, left) in zip(found, starts, strict=True):
      for image, one in zip(images, view, strict=True):
        whole = _pillow(image, (size + added, size + added))
        part = whole[top : top + size, left : left + size]
        np.testing.assert_allclose(one, part, atol=3e-3)
      # They have the size already.
      self.assertIs(made.center(view), view)

  def test_images_of_the_size_stay(self):
    images = _images()
    plain = data.standardization(images)
    for size in (8, (8, 8), [8, 8]):
      made = data.standardization(images, size=size)
      self.assertIs(made.center(images), images)
      np.testing.assert_array_equal(made(images), plain(images))

  def test_gray_images_for_a_network_of_colors(self):
    images = _images((2, 4, 4, 1))
    made = data.standardization(images, size=6, mean=_MEAN, std=_STD, rgb=True)
    found = made(made.center(images))
    self.assertEqual(found.shape, (2, 6, 6, 3))
    gray = data.standardization(images, size=6)
    pixels = gray.pixels(gray(gray.center(images)))
    pixels = np.asarray(pixels)
    np.testing.assert_allclose(found, (pixels - _MEAN) / _STD, atol=1e-5)
    # Their own statistics, and their own size.
    own = data.standardization(images, rgb=True)
    one = data.standardization(images)(images)
    np.testing.assert_array_equal(own(images), np.repeat(one, 3, axis=-1))

  def test_decoded_images_have_the_size(self):
    encoded = types.SimpleNamespace(
      shape=(5, 8, 8, 3), ndim=4, dtype=np.dtype(np.uint8)
    )
    made = data.standardization(encoded, size=8, mean=_MEAN, std=_STD)
    images = _images()
    self.assertIs(made.center(images), images)
    np.testing.assert_allclose(
      made(images), (images / 255 - _MEAN) / _STD, atol=1e-5
    )
    with self.assertRaisesRegex(ValueError, '8x8.*Pass `data.image_size=16`'):
      data.standardization(encoded, size=16)

  @parameterized.parameters(
    (_images((3, 4)), dict(size=8), r'examples have the shape \(3, 4\)'),
    (_images((3, 4)), dict(rgb=True), r'`rgb` is for images .* \(3, 4\)'),
    (_images((3, 4, 4, 2)), dict(rgb=True), '1 or 3 channels, got 2'),
    (_images(), dict(size=0), '`size`'),
    (_images(), dict(size=8, method='area'), "got 'area'"),
    (_images(), dict(mean=_MEAN), 'Pass both or none'),
    (_images(), dict(mean=_MEAN, std=(1.0, 1.0, 0.0)), '`std` must be above 0'),
    (_images(), dict(mean=_MEAN, std=(1.0,)), 'got 3 and 1 for'),
    (
      _images((3, 4, 4, 1)),
      dict(mean=_MEAN, std=_STD),
      'Gray images become three with `rgb=True`',
    ),
    (
      _images().astype(np.float32),
      dict(mean=_MEAN, std=_STD),
      'from 0 to 255. Pass uint8',
    ),
    (
      _images().astype(np.float32),
      dict(size=16, method='bicubic'),
      "these images are float32. Pass uint8 images, or method='bilinear'",
    ),
  )
  def test_what_does_not_fit(self, images, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      data.standardization(images, **arguments)


if __name__ == '__main__':
  absltest.main()
