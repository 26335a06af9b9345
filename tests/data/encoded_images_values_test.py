# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where large images are cut, by number; which draws decide what."""

import contextlib
import io
import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
from PIL import JpegImagePlugin

from imbsam_jax import data
from imbsam_jax.data import _encoded_images


def _content(image, image_format='PNG'):
  file = io.BytesIO()
  Image.fromarray(np.asarray(image, np.uint8)).save(file, image_format)
  return file.getvalue()


def _encoded(*contents, size):
  return data.EncodedImages(
    lambda i: contents[i],
    lambda i: f'image {i}',
    size=size,
    indices=np.arange(len(contents)),
  )


def _noise(height, width, seed=0):
  rng = np.random.RandomState(seed)
  return rng.randint(256, size=(height, width, 3)).astype(np.uint8)


def _ramp(height, width):
  """Red is the column, green the row."""
  image = np.zeros((height, width, 3), np.uint8)
  image[..., 0] = np.arange(width)[None]
  image[..., 1] = np.arange(height)[:, None]
  return image


class _Draws:
  """Stands for a RandomState whose draws are chosen; keeps what was asked."""

  def __init__(self, *draws):
    self._draws = list(draws)
    self.asked = []

  def uniform(self, low, high):
    self.asked.append((low, high))
    return self._draws.pop(0)

  def randint(self, stop):
    self.asked.append(stop)
    return self._draws.pop(0)


@contextlib.contextmanager
def _draft_scales():
  """By how much each JPEG is decoded smaller."""
  scales = []

  class Jpeg(JpegImagePlugin.JpegImageFile):
    def draft(self, mode, size):
      full = self.size[0]
      found = super().draft(mode, size)
      scales.append(round(full / self.size[0]))
      return found

  kept = Image.OPEN['JPEG']
  Image.register_open('JPEG', Jpeg, kept[1])
  try:
    yield scales
  finally:
    Image.register_open('JPEG', *kept)


class EvaluationTest(parameterized.TestCase):
  # Of a shorter side of 64 nothing is resized, and a margin of 8 is left; of 67
  # it is 11, of which half is rounded to 6, and of 65 to 4: as by torchvision.
  @parameterized.parameters(
    (64, 0), (65, 0), (66, 1), (67, 2), (69, 2), (71, 4)
  )
  def test_centre_is_rounded_half_to_even(self, side, more):
    start = 4 + more
    photo = _noise(64, side)
    wide, high = _encoded(
      _content(photo), _content(photo.swapaxes(0, 1)), size=56
    )[:]
    # At its own size nothing is resampled.
    np.testing.assert_array_equal(wide, photo[4:60, start : start + 56])
    np.testing.assert_array_equal(high, wide.swapaxes(0, 1))

  def test_longer_side_is_truncated(self):
    # To 64 / 300 of 403 pixels: 85.97, which is 85.
    image = _encoded(_content(_noise(300, 403)), size=56)
    box = image._evaluation_box((403, 300))
    np.testing.assert_allclose(
      box, (14 * 403 / 85, 4 * 300 / 64, 70 * 403 / 85, 60 * 300 / 64)
    )
    # 64 / 128 of 173 columns: 86.5, which is 86. A pixel stands for two.
    ramp = _encoded(_content(_ramp(128, 173)), size=56)[0].astype(float)
    columns = (15 + np.arange(56) + 0.5) * 173 / 86 - 0.5
    np.testing.assert_allclose(ramp[30, :, 0], columns, atol=0.51)

  # round(size / 0.875): 24 -> 27.43, 31 -> 35.43, 33 -> 37.71.
  @parameterized.parameters((24, 27), (31, 35), (33, 38), (56, 64), (224, 256))
  def test_size_before_the_crop(self, size, resized):
    left, top, right, bottom = _encoded(size=size)._evaluation_box(
      (resized, resized)
    )
    start = round((resized - size) / 2)
    np.testing.assert_allclose(
      (left, top, right, bottom), (start, start, start + size, start + size)
    )

  # What the whole image would be after resizing is 64; twice that is needed.
  @parameterized.parameters((1016, 4), (1024, 8), (511, 2), (512, 4), (255, 1))
  def test_jpegs_are_decoded_at_the_smallest_scale_that_is_enough(
    self, side, scale
  ):
    images = _encoded(_content(np.full((side, side, 3), 90), 'JPEG'), size=56)
    with _draft_scales() as scales:
      image = images[0]
    self.assertEqual(scales, [scale])
    np.testing.assert_array_equal(image, 90)

  # 8 pixels out of 64 need 2 * 8 * 64 / 64 = 16 of 64, out of 63 need 16.3.
  @parameterized.parameters(
    ((0, 0, 64, 64), 4), ((0, 0, 63, 64), 2), ((0, 0, 64, 63), 2)
  )
  def test_crops_need_as_many_pixels(self, box, scale):
    images = _encoded(_content(np.full((64, 64, 3), 90), 'JPEG'), size=8)
    with _draft_scales() as scales:
      images._load(0, lambda size: box)
    self.assertEqual(scales, [scale])


class RandomCropsTest(parameterized.TestCase):
  def test_all_words_seed_the_crop(self):
    photo = _noise(40, 50)
    images = _encoded(_content(photo), size=8)
    base = np.array([5, 6, 7])
    seeds = [base, *(base + word for word in np.eye(3, dtype=int)), base[:2]]
    crops = [images.random_crops([0], words[None])[0] for words in seeds]
    for k, crop in enumerate(crops):
      for other in crops[:k]:
        self.assertFalse(np.array_equal(crop, other))

  def test_flip_is_decided_at_one_half(self):
    # The seeds of 2000 whose last draw is nearest to 1/2 on either side; an
    # image of 8 by 8 takes four draws where the first box fits.
    below, above = (0.0, 0), (1.0, 0)
    for seed in range(2000):
      rng = np.random.RandomState([seed])
      _encoded_images._random_box((8, 8), rng)
      draw = rng.uniform()
      if draw < 0.5:
        below = max(below, (draw, seed))
      else:
        above = min(above, (draw, seed))
    self.assertLess(above[0] - below[0], 0.01)
    images = _encoded(_content(20 * _ramp(8, 8)), size=8)
    crops = images.random_crops([0, 0], np.array([[below[1]], [above[1]]]))
    red = crops[..., 0].astype(int)
    # It grows to the right, except in a flipped image.
    self.assertTrue((red[0, :, 0] > red[0, :, -1]).all())
    self.assertTrue((red[1, :, 0] < red[1, :, -1]).all())

  def test_one_box(self):
    # A quarter of 100 x 60 = 1500, 4/3 as wide as high: 44.7 by 33.5.
    rng = _Draws(0.25, math.log(4 / 3), 11, 22)
    box = _encoded_images._random_box((100, 60), rng)
    self.assertEqual(box, (22, 11, 22 + 45, 11 + 34))
    # Rows first; the last place is at the edge.
    np.testing.assert_allclose(
      rng.asked[:2], [(0.08, 1), (math.log(3 / 4), math.log(4 / 3))]
    )
    self.assertEqual(rng.asked[2:], [60 - 34 + 1, 100 - 45 + 1])

  def test_a_box_may_be_the_whole_image(self):
    rng = _Draws(1.0, 0.0, 0, 0)
    box = _encoded_images._random_box((30, 30), rng)
    self.assertEqual(box, (0, 0, 30, 30))
    self.assertEqual(rng.asked[2:], [1, 1])

  # No box is 41 wide in 40, or 31 high in 30, or without a pixel.
  @parameterized.parameters(
    ((40, 30), (1.0, math.log(1.4))),
    ((30, 40), (1.0, math.log(1 / 1.4))),
    ((1, 4), (0.08, math.log(3 / 4))),
  )
  def test_a_box_that_does_not_fit_is_drawn_again(self, size, misfit):
    rng = _Draws(*misfit, 0.25, 0.0, 0, 0)
    found = _encoded_images._random_box(size, rng)
    side = round(math.sqrt(size[0] * size[1] / 4))
    self.assertEqual(found, (0, 0, side, side))

  def test_the_tenth_box_is_the_last(self):
    misfit = (1.0, math.log(4 / 3))
    rng = _Draws(*misfit * 9, 0.25, 0.0, 0, 0)
    self.assertEqual(_encoded_images._random_box((10, 10), rng), (0, 0, 5, 5))
    rng = _Draws(*misfit * 10)
    self.assertEqual(_encoded_images._random_box((10, 10), rng), (0, 0, 10, 10))

  # Without a box that fits: as large as ratios from 3/4 to 4/3 allow.
  @parameterized.parameters(
    ((400, 10), (193, 0, 206, 10)),  # round(13.3) wide, at 193.5.
    ((10, 400), (0, 193, 10, 206)),
    ((400, 11), (192, 0, 207, 11)),  # round(14.7) wide, at 192.5.
    ((11, 400), (0, 192, 11, 207)),
    ((40, 30), (0, 0, 40, 30)),
    ((41, 30), (0, 0, 40, 30)),
    ((43, 30), (1, 0, 41, 30)),
  )
  def test_fallback(self, size, expected):
    # Higher or wider than any image.
    misfit = (100.0, 0.0)
    box = _encoded_images._random_box(size, _Draws(*misfit * 10))
    self.assertEqual(box, expected)


class DecodeAllTest(absltest.TestCase):
  def test_values_and_shapes(self):
    grey, colour = _noise(3, 5)[..., 0], _noise(3, 5)
    named = lambda *images: [
      (f'image {i}', _content(image)) for i, image in enumerate(images)
    ]
    np.testing.assert_array_equal(
      _encoded_images.decode_all(named(grey, 255 - grey)),
      np.stack([grey, 255 - grey])[..., None],
    )
    np.testing.assert_array_equal(
      _encoded_images.decode_all(named(colour, 255 - colour)),
      np.stack([colour, 255 - colour]),
    )
    with self.assertRaisesRegex(
      data.DataError,
      r'2 different shapes, such as \(3, 5, 1\) \(image 0\) and '
      r'\(3, 5, 3\) \(image 2\)',
    ):
      _encoded_images.decode_all(named(grey, grey, colour))


if __name__ == '__main__':
  absltest.main()
