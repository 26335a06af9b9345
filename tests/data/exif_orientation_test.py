# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images stand as EXIF says, wherever they are read."""

import io
import pathlib
import tempfile
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
from PIL import ImageOps
from PIL import JpegImagePlugin

from imbsam_jax import data
from imbsam_jax.data import _encoded_images

_SIZE = (48, 36)


def photo(size=_SIZE):
  """A picture that no turn leaves as it is."""
  width, height = size
  image = np.zeros((height, width, 3), np.uint8)
  image[..., 0] = np.linspace(0, 255, width)
  image[..., 1] = np.linspace(0, 255, height)[:, None]
  image[: height // 2, : width // 3, 2] = 200
  return Image.fromarray(image)


def encoded(value, kind='JPEG', image=None, **how):
  """A file with an orientation."""
  exif = Image.Exif()
  exif[0x0112] = value
  file = io.BytesIO()
  (image or photo()).save(file, kind, exif=exif, **how)
  return file.getvalue()


def _opened(content):
  return Image.open(io.BytesIO(content))


def _images(contents, *, size=24, **how):
  return data.EncodedImages(
    lambda i: contents[i],
    str,
    size=size,
    indices=np.arange(len(contents)),
    **how,
  )


def _png(image):
  file = io.BytesIO()
  image.save(file, 'PNG')
  return file.getvalue()


_ALL = [
  (kind, value)
  for kind in ('JPEG', 'PNG', 'WEBP', 'TIFF')
  for value in range(1, 9)
]


class ExifOrientationTest(parameterized.TestCase):
  @parameterized.parameters(*_ALL)
  def test_as_the_turned_image(self, kind, value):
    content = encoded(value, kind)
    # Without loss, and without EXIF.
    turned = _png(ImageOps.exif_transpose(_opened(content)))
    seeds = np.arange(6)[:, None]
    ours, witness = _images([content]), _images([turned])
    np.testing.assert_array_equal(ours[:], witness[:])
    np.testing.assert_array_equal(
      ours.random_crops([0] * 6, seeds), witness.random_crops([0] * 6, seeds)
    )
    np.testing.assert_array_equal(
      ours.subset([0])[0], witness[0], err_msg='a subset forgot it'
    )
    np.testing.assert_array_equal(
      _encoded_images.decode_all([('x', content)]),
      _encoded_images.decode_all([('x', turned)]),
    )

  @parameterized.parameters('JPEG', 'PNG', 'WEBP')
  def test_switched_off(self, kind):
    content = encoded(6, kind)
    plain = _png(_opened(content))
    off = {'exif_orientation': False}
    images, witness = _images([content], **off), _images([plain])
    np.testing.assert_array_equal(images[:], witness[:])
    np.testing.assert_array_equal(images.subset([0])[:], witness[:])
    np.testing.assert_array_equal(
      _encoded_images.decode_all([('x', content)], **off),
      _encoded_images.decode_all([('x', plain)]),
    )

  def test_gray_images(self):
    image = photo().convert('L')
    for value in range(1, 9):
      content = encoded(value, 'PNG', image)
      expected = np.asarray(ImageOps.exif_transpose(_opened(content)))
      np.testing.assert_array_equal(
        _encoded_images.decode_all([('x', content)])[0, ..., 0], expected
      )

  @parameterized.parameters(*range(1, 9))
  def test_large_jpegs_that_are_decoded_smaller(self, value):
    image = photo((640, 400))
    content = encoded(value, image=image, quality=95)
    turned = _png(ImageOps.exif_transpose(_opened(content)))
    seeds = np.arange(4)[:, None]
    both = _images([content, turned], size=40)
    for images in (
      both[:],
      both.random_crops([0, 1] * 4, np.repeat(seeds, 2, axis=0)),
    ):
      difference = np.abs(np.diff(images.astype(int), axis=0)[::2])
      self.assertLess(difference.mean(), 1)

  @parameterized.parameters((1, (92, 736)), (6, (736, 92)), (3, (92, 736)))
  def test_how_small_a_jpeg_is_decoded(self, value, expected):
    # As seen 200 x 1600, to be 46 x 368 and cut; twice of that is enough.
    size = (1600, 200) if value == 6 else (200, 1600)
    asked = []

    def draft(image, mode, size):
      asked.append(size)
      return original(image, mode, size)

    kind = JpegImagePlugin.JpegImageFile
    original = kind.draft
    with mock.patch.object(kind, 'draft', draft):
      _images([encoded(value, image=photo(size))], size=40)[:]
    np.testing.assert_allclose(asked, [expected], atol=1)

  @parameterized.parameters(0, 9, 255)
  def test_no_orientation(self, value):
    np.testing.assert_array_equal(
      _images([encoded(value)])[:], _images([encoded(1)])[:]
    )

  def test_exif_that_is_broken(self):
    content = encoded(6)
    at = content.index(b'Exif\0\0') + 6
    for cut in (b'II*\0\xff\xff\xff\xff', b'XXXXXXXX', b'MM\0*\0\0\0\x08'):
      broken = content[:at] + cut + content[at + 8 :]
      with warnings.catch_warnings(action='ignore'):  # Of Pillow.
        self.assertEqual(_images([broken])[:].shape, (1, 24, 24, 3))

  @parameterized.product(is_encoded=[False, True], value=list(range(1, 9)))
  def test_new_images_as_those_of_training(self, is_encoded, value):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (folder / 'k').mkdir()
    path = folder / 'k' / '1.jpg'
    path.write_bytes(encoded(value))
    for switch in (True, False):
      source = data.FolderSource(
        folder, image_size=24 if is_encoded else None, exif_orientation=switch
      )
      row = source.examples(np.arange(1)).images[:][0]
      reader = data.ImageReader(
        row.shape, np.uint8, is_encoded=is_encoded, exif_orientation=switch
      )
      np.testing.assert_array_equal(reader.from_file(path), row)
      if not is_encoded:
        np.testing.assert_array_equal(
          reader.from_picture(Image.open(path)), row
        )
      lines = folder / 'list.txt'
      lines.write_text('k/1.jpg 0')
      listed = data.ListSource(
        *(lines, folder),
        image_size=24 if is_encoded else None,
        exif_orientation=switch,
      )
      np.testing.assert_array_equal(
        listed.examples(np.arange(1)).images[:][0], row
      )


if __name__ == '__main__':
  absltest.main()
