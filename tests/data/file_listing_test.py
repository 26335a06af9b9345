# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is an image in a folder, and what is left out and why."""

import io
import os
import pathlib
import tempfile
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from imbsam_jax import data
from imbsam_jax.data import _file_listing

_KINDS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'PPM', 'TIFF')


def image_bytes(kind='JPEG', size=(12, 10), mode='RGB'):
  """An encoded image of one color."""
  file = io.BytesIO()
  Image.new(mode, size).save(file, kind)
  return file.getvalue()


class FileListingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _write(self, path, content):
    path = self.folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

  @parameterized.parameters(*_KINDS)
  def test_content_decides_and_not_the_name(self, kind):
    content = image_bytes(kind)
    names = ['a', 'b.jfif', 'c.jpe', 'd.txt', 'e.heic', 'f.PNG', 'g.', 'h i']
    for name in names:
      self._write(f'k/{name}', content)
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing, ([f'k/{name}' for name in names], {}))
    self.assertEqual(_file_listing.image_format(content[:32]), kind)

  @parameterized.parameters('1', 'L', 'I;16')
  def test_other_modes_of_pixels(self, mode):
    for kind in ('PNG', 'PPM', 'TIFF') + ('BMP',) * (mode != 'I;16'):
      content = image_bytes(kind, mode=mode)
      self.assertEqual(_file_listing.image_format(content[:32]), kind)

  @parameterized.parameters(
    (b'', 'empty'),
    (b'<html>404', "no image: begins with b'<html>404'"),
    (b'BMW is a car, and this a text about it', 'no image: begins with'),
    (b'P1 is the first patient', 'no image: begins with'),
    (b'RIFF\0\0\0\0WAVEfmt ', 'no image: begins with'),
    (b'\xff\xd8', 'no image: begins with'),
    (b'\0\0\0\x18ftypheic\0\0\0\0', 'a format that is not read (HEIC)'),
    (b'\0\0\0\x18ftypavif\0\0\0\0', 'a format that is not read (AVIF)'),
    (b'\0\0\0\x18ftypisom\0\0\0\0', 'a format that is not read (video)'),
    (b'%!PS-Adobe-3.0 EPSF', 'a format that is not read (EPS)'),
    (b'<svg xmlns=', 'a format that is not read (SVG)'),
    (b'8BPS\0\1', 'a format that is not read (PSD)'),
  )
  def test_what_is_no_image(self, content, reason):
    for name in ('a.jpg', 'b', 'c.dat'):
      self._write(f'k/{name}', content)
    self._write('k/1.png', image_bytes())
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing.paths, ['k/1.png'])
    self.assertEqual(list(listing.left_out), ['k/a.jpg', 'k/b', 'k/c.dat'])
    for why in listing.left_out.values():
      self.assertStartsWith(why, reason)
    # By its name it was to be one, and that is another matter.
    self.assertEqual(list(listing.broken), ['k/a.jpg'])

  def test_formats_that_their_names_tell(self):
    tiff = image_bytes('TIFF')
    for name in ('a.nef', 'b.CR2', 'c.dng'):
      self._write(f'k/{name}', tiff)
    self._write('k/d.svg', b'<?xml version="1.0"?><svg')
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing.paths, [])
    raw = 'a format that is not read (camera RAW)'
    self.assertEqual(
      listing.left_out,
      dict.fromkeys(['k/a.nef', 'k/b.CR2', 'k/c.dng'], raw)
      | {'k/d.svg': 'a format that is not read (SVG)'},
    )
    self.assertEqual(listing.broken, {})

  def test_droppings_are_not_looked_into(self):
    content = image_bytes()
    for path in (
      *('k/1.jpg', 'k/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg', 'k/Thumbs.db'),
      *('k/__MACOSX/._1.jpg', 'k/.AppleDouble/1.jpg', 'k/._1.jpg'),
      *('k/in/.hidden/2.jpg', 'k/in/2.jpg', 'k/.DS_Store', 'k/desktop.ini'),
      'k/lost+found/#1.jpg',
    ):
      self._write(path, content)
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing.paths, ['k/1.jpg', 'k/in/2.jpg'])
    of_system = 'thumbnails of a system'
    self.assertEqual(
      listing.left_out,
      {
        'k/.AppleDouble/': 'hidden',
        'k/.DS_Store': 'hidden',
        'k/._1.jpg': 'hidden',
        'k/@eaDir/': of_system,
        'k/Thumbs.db': of_system,
        'k/__MACOSX/': of_system,
        'k/desktop.ini': of_system,
        'k/in/.hidden/': 'hidden',
        'k/lost+found/': of_system,
      },
    )

  def test_what_is_no_regular_file(self):
    self._write('k/1.jpg/2.jpg', image_bytes())
    os.symlink(self.folder / 'nowhere', self.folder / 'k' / '3.jpg')
    os.symlink('4.jpg', self.folder / 'k' / '4.jpg')  # To itself.
    os.mkfifo(self.folder / 'k' / '5.jpg')
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing.paths, ['k/1.jpg/2.jpg'])
    nothing = 'a link to nothing'
    self.assertEqual(
      listing.left_out,
      {
        'k/3.jpg': nothing,
        'k/4.jpg': nothing,
        'k/5.jpg': 'no regular file',
      },
    )
    self.assertEqual(listing.broken, listing.left_out)

  def test_links_to_folders(self):
    self._write('k/1.jpg', image_bytes())
    self._write('other/2.jpg', image_bytes())
    os.symlink(self.folder / 'other', self.folder / 'k' / 'link')
    self.assertEqual(
      data.list_images(self.folder, 'k').paths, ['k/1.jpg', 'k/link/2.jpg']
    )
    self.assertEqual(
      data.list_images(self.folder, 'k', follow_links=False),
      (['k/1.jpg'], {'k/link/': 'a link to a folder'}),
    )
    self.assertEqual(
      data.list_images(self.folder, 'k', recursive=False).paths, ['k/1.jpg']
    )
    os.symlink(self.folder / 'k', self.folder / 'other' / 'back')
    with self.assertRaisesRegex(data.DataError, 'back is a link to .*k, whose'):
      data.list_images(self.folder, 'k')

  def test_what_must_not_be_read(self):
    self._write('k/1.jpg', image_bytes())
    self._write('k/in/2.jpg', image_bytes())
    (self.folder / 'k' / '1.jpg').chmod(0)
    if os.access(self.folder / 'k' / '1.jpg', os.R_OK):
      self.skipTest('this user may read everything')
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(
      listing.broken, {'k/1.jpg': 'cannot be read: Permission denied'}
    )
    (self.folder / 'k' / 'in').chmod(0)
    with self.assertRaisesRegex(
      data.DataError, 'in cannot be read: Permission'
    ):
      data.list_images(self.folder, 'k')
    (self.folder / 'k' / 'in').chmod(0o700)

  def test_files_that_cannot_be_opened(self):
    for name in ('1.jpg', '2.jpg', '3'):
      self._write(f'k/{name}', image_bytes())
    opened = os.open

    def refuse(path, *args, **kwargs):
      if not path.endswith('2.jpg'):
        raise PermissionError(13, 'Permission denied')
      return opened(path, *args, **kwargs)

    with mock.patch.object(os, 'open', refuse):
      listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing.paths, ['k/2.jpg'])
    why = 'cannot be read: Permission denied'
    self.assertEqual(listing.left_out, {'k/1.jpg': why, 'k/3': why})
    self.assertEqual(listing.broken, {'k/1.jpg': why})

  def test_names_that_are_no_utf8(self):
    name = os.fsdecode(b'\xff\xe9.jpg')
    try:
      self._write(f'k/{name}', image_bytes())
    except OSError:
      self.skipTest('names of this disk are UTF-8')
    self._write(f'k/{os.fsdecode(bytes([0xE9]))}', b'text')
    listing = data.list_images(self.folder, 'k')
    self.assertEqual(listing.paths, [f'k/{name}'])
    self.assertEqual(
      data.summarized(listing.left_out), r'1 file (1 no image), such as k/\xe9'
    )

  def test_threads_do_as_well(self):
    rng = np.random.RandomState(0)
    items = rng.randint(1000, size=1500).tolist()

    def slow(x):
      # The first ones show it.
      time.sleep(1e-3 if len(calls) < 256 else 0)
      calls.append(x)
      return 2 * x

    calls: list[int] = []
    self.assertEqual(
      _file_listing.map_files(slow, items), [2 * x for x in items]
    )
    self.assertCountEqual(calls, items)


if __name__ == '__main__':
  absltest.main()
