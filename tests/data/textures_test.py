# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Textures: always the same, in the form that was asked for, and diverse."""

import hashlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from imbsam_jax import data

_KINDS = 5


def _sha(images):
  return hashlib.sha256(images.tobytes()).hexdigest()[:16]


class TexturesTest(parameterized.TestCase):
  # Runs go on only with the same images: these are those of any version.
  @parameterized.parameters(
    ((8, 8, 1), 'uint8', 0, 'd44a37a584806eef'),
    ((32, 32, 3), 'uint8', 0, 'a3cff561aa4c349e'),
    ((32, 32, 3), 'uint8', 7, '4ec6bc0da6576a9c'),
    ((12, 7, 2), 'float32', 0, 'eb094e4b9e94cf32'),
  )
  def test_by_value(self, shape, dtype, seed, expected):
    images = data.textures(100, shape, dtype=dtype, seed=seed)
    self.assertEqual(images.shape, (100, *shape))
    self.assertEqual(images.dtype, dtype)
    self.assertEqual(_sha(images), expected)

  @parameterized.parameters(1, 3, 64, 65, 99)
  def test_image_does_not_depend_on_their_number(self, number):
    np.testing.assert_array_equal(
      data.textures(number, (6, 6, 1)), data.textures(130, (6, 6, 1))[:number]
    )

  def test_no_two_are_alike(self):
    images = data.textures(2048, (8, 8, 1)).reshape(2048, -1)
    self.assertLen(np.unique(images, axis=0), 2048)
    other = data.textures(64, (8, 8, 1), seed=1).reshape(64, -1)
    self.assertLen(np.unique(np.concatenate([images, other]), axis=0), 2112)

  def test_range(self):
    images = data.textures(500, (16, 16, 3))
    self.assertEqual((images.min(), images.max()), (0, 255))
    low, high = np.array([-2.0, 0.0, 5.0]), np.array([1.0, 0.5, 5.0])
    images = data.textures(
      500, (16, 16, 3), dtype='float32', low=low, high=high
    )
    found = images.min(axis=(0, 1, 2)), images.max(axis=(0, 1, 2))
    for one, bound, inside in zip(found, (low, high), (1, -1), strict=True):
      self.assertTrue((inside * (one - bound) >= -1e-6).all())
      np.testing.assert_allclose(one, bound, atol=0.05)

  def test_what_the_kinds_are(self):
    images = data.textures(320, (32, 32, 1), dtype='float64')[..., 0]
    noise, gratings, boards, blobs, pixels = (
      images[kind::_KINDS] for kind in range(_KINDS)
    )

    def neighbors(x):
      """Correlation of pixels with those beside them."""
      x = x - x.mean(axis=(1, 2), keepdims=True)
      beside = (x[:, :, 1:] * x[:, :, :-1]).mean(axis=(1, 2))
      return beside / (x**2).mean(axis=(1, 2))

    self.assertLess(np.abs(neighbors(pixels)).max(), 0.3)
    self.assertGreater(np.median(neighbors(noise)), 0.7)
    self.assertGreater(np.median(neighbors(blobs)), 0.8)
    for image in boards:
      self.assertLen(np.unique(image.round(9)), 2)
    two_colors = [len(np.unique(image.round(9))) == 2 for image in gratings]
    np.testing.assert_array_equal(two_colors, np.arange(64) % 2 == 1)
    self.assertGreater(np.median(images.std(axis=(1, 2))), 0.1)

  def test_filtered_noise_is_interpolated_between_corners(self):
    """Written out, pixel by pixel."""
    shape = (6, 9, 2)
    found = data.textures(3, shape, dtype='float64', seed=5)[0]
    rng = np.random.RandomState([5, 0, 0])
    number = 12
    weights = rng.random_sample((number, 4))[0]
    total, field = sum(weights), np.zeros(shape[:2])
    for octave, cells in enumerate((2, 4, 8, 16)):
      corners = rng.random_sample((number, cells + 2, cells + 2))[0]
      for i in range(6):
        for j in range(9):
          places = (i + 0.5) * cells / 9, (j + 0.5) * cells / 9
          (a, s), (b, t) = ((int(p), p - int(p)) for p in places)
          s, t = (3 * x**2 - 2 * x**3 for x in (s, t))
          field[i, j] += weights[octave] * (
            (1 - s) * ((1 - t) * corners[a, b] + t * corners[a, b + 1])
            + s * ((1 - t) * corners[a + 1, b] + t * corners[a + 1, b + 1])
          )
    field = np.clip(2 * field / total - 0.5, 0, 1)
    colors = rng.random_sample((2, number, 2))[:, 0]
    near = np.abs(colors[1] - colors[0]) < 0.25
    colors[1] = np.where(near, (colors[1] + 0.5) % 1, colors[1])
    expected = (1 - field)[..., None] * colors[0] + field[..., None] * colors[1]
    np.testing.assert_allclose(found, expected, atol=1e-12)

  @parameterized.parameters(
    (dict(num_images=0), ValueError, 'at least 1'),
    (dict(image_shape=(8,)), ValueError, 'not rows of a table'),
    (dict(image_shape=(8, 0, 3)), ValueError, 'at least 1'),
    (dict(dtype='int32'), TypeError, 'uint8 or a floating point'),
    (dict(seed=-1), ValueError, 'from 0'),
    (dict(low=3, high=2), ValueError, 'must not be above'),
    (dict(low=np.nan), ValueError, 'must not be above'),
    (dict(high=256), ValueError, 'from 0 to 255'),
    (dict(low=np.zeros(2)), ValueError, 'one for each of 3 channels'),
  )
  def test_misuse(self, options, error, message):
    options = dict(num_images=2, image_shape=(8, 8, 3)) | options
    with self.assertRaisesRegex(error, message):
      data.textures(
        options.pop('num_images'), options.pop('image_shape'), **options
      )


if __name__ == '__main__':
  absltest.main()
