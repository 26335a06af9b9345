# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Broken images are told without decoding those that are good."""

import io
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from imbsam_jax import data
from imbsam_jax.data import _image_checks

_KINDS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'PPM', 'TIFF')


def _noise(mode='RGB', size=(40, 30)):
  rng = np.random.RandomState(0)
  shape = (*size[::-1], 3) if mode != 'L' else size[::-1]
  image = Image.fromarray(rng.randint(256, size=shape).astype(np.uint8))
  return image if image.mode == mode else image.convert(mode)


def _encoded(image, kind, **how):
  file = io.BytesIO()
  image.save(file, kind, **how)
  return file.getvalue()


class ImageChecksTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / 'image'

  def _why(self, content):
    self.path.write_bytes(content)
    return _image_checks.why_broken(str(self.path))

  def _decodes(self, content):
    images = data.EncodedImages(
      lambda i: content, str, size=8, indices=np.arange(1)
    )
    try:
      images[:]
    except data.DataError:
      return False
    return True

  @parameterized.parameters(
    *((kind, mode) for kind in _KINDS for mode in ('RGB', 'L')),
    *((kind, 'CMYK') for kind in ('JPEG', 'TIFF')),
    *((kind, mode) for kind in ('PNG', 'GIF') for mode in ('1', 'P')),
    *(('PNG', mode) for mode in ('RGBA', 'LA')),
  )
  def test_good_images(self, kind, mode):
    self.assertIsNone(self._why(_encoded(_noise(mode), kind)))

  def test_other_forms_of_jpeg(self):
    image = _noise()
    exif = Image.Exif()
    exif[0x010E] = 'x' * 20000
    for how in (
      {'progressive': True},
      {'subsampling': 0},
      {'icc_profile': bytes(70000)},
      {'exif': exif},
      {'comment': b'\xff\xd9' * 1000},
    ):
      self.assertIsNone(self._why(_encoded(image, 'JPEG', **how)), msg=how)

  @parameterized.parameters('JPEG', 'PNG')
  def test_good_images_are_not_decoded(self, kind):
    content = _encoded(_noise(), kind)
    with mock.patch.object(Image, 'open', side_effect=AssertionError):
      for after in (b'', b'\0' * 30, b'SEFT' * 1000, bytes(2**21 + 7)):
        self.assertIsNone(self._why(content + after))

  @parameterized.parameters('JPEG', 'PNG', 'WEBP', 'BMP', 'PPM', 'TIFF', 'GIF')
  def test_truncated_as_decoding_tells(self, kind):
    content = _encoded(_noise(), kind)
    broken = 0
    for number in range(0, len(content), max(len(content) // 40, 1)):
      part = content[:number]
      with self.subTest(number=number):
        is_good = self._decodes(part)
        self.assertEqual(self._why(part) is None, is_good)
        broken += not is_good
    self.assertGreater(broken, 30)

  @parameterized.parameters('JPEG', 'PNG', 'WEBP')
  def test_a_few_bytes_are_missing(self, kind):
    content = _encoded(_noise(), kind)
    for number in range(1, 20):
      part = content[:-number]
      self.assertEqual(self._why(part) is None, self._decodes(part), msg=number)

  def test_a_mark_between_two_blocks(self):
    block = _image_checks._BLOCK_BYTES
    for begin in range(block - 3, block + 2):
      self.path.write_bytes(bytes(begin) + b'\xff\xd9' + bytes(200))
      with _image_checks._File(str(self.path)) as file:
        self.assertTrue(file.has_after(0, b'\xff\xd9'))
        self.assertTrue(file.has_after(begin, b'\xff\xd9'))
        self.assertFalse(file.has_after(begin + 1, b'\xff\xd9'))

  def test_the_end_of_a_thumbnail_is_none(self):
    exif = b'Exif\0\0' + _encoded(_noise(size=(8, 8)), 'JPEG')
    content = _encoded(_noise(), 'JPEG', exif=exif)
    self.assertEqual(content.count(b'\xff\xd9'), 2)
    self.assertIsNone(self._why(content))
    self.assertRegex(self._why(content[:-300]), 'truncated')

  def test_without_its_end_mark_but_whole(self):
    # Every row can be decoded: not broken.
    content = _encoded(Image.new('RGB', (64, 64)), 'JPEG')
    for number in (1, 2):
      part = content[:-number]
      self.assertEqual(self._why(part) is None, self._decodes(part))

  @parameterized.parameters(
    (b'', "is no image: begins with b''"),
    (b'<html>404', "is no image: begins with b'<html>404'"),
    (b'%!PS-Adobe-3.0 EPS', 'is no image'),
    (b'\xff\xd8\xff\xe0 cut off', 'is no image|cannot be decoded'),
    (b'\x89PNG\r\n\x1a\n', 'is no image|cannot be decoded'),
  )
  def test_no_image(self, content, reason):
    self.assertRegex(self._why(content), reason)

  def test_more_than_8_bits(self):
    deep = Image.fromarray(np.full((9, 9), 40000, np.uint16))
    for kind in ('PNG', 'TIFF'):
      self.assertRegex(self._why(_encoded(deep, kind)), 'more than 8 bits')

  def test_bomb(self):
    content = _encoded(_noise(), 'JPEG')
    with mock.patch.object(Image, 'MAX_IMAGE_PIXELS', 100):
      self.assertRegex(self._why(content), 'decompression bomb')

  def test_what_cannot_be_read(self):
    self.assertEqual(
      _image_checks.why_broken(str(self.path)),
      'cannot be read: No such file or directory',
    )
    self.path.mkdir()
    self.assertRegex(_image_checks.why_broken(str(self.path)), 'cannot be read')

  def test_all_broken_ones_are_listed(self):
    for i in range(700):
      content = _encoded(_noise(), 'PNG') if i % 7 else b'\xff\xd8\xff'
      self.path.with_name(f'{i}.jpg').write_bytes(content)
    reasons = _image_checks.broken_images(
      self.path.parent, [f'{i}.jpg' for i in range(700)]
    )
    self.assertEqual(list(reasons), [f'{i}.jpg' for i in range(0, 700, 7)])


if __name__ == '__main__':
  absltest.main()
