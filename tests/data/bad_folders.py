# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of images with something wrong in each, and what that is called."""

from collections.abc import Callable
import os
import pathlib
import shutil
from typing import NamedTuple
import unicodedata

import numpy as np
from PIL import Image

COUNTS = (24, 12, 6)
TEST_COUNTS = (5, 5, 5)


def picture(seed: int, size: tuple[int, int] = (40, 48)) -> Image.Image:
  """Noise, of which no two are alike."""
  rng = np.random.RandomState(seed)
  return Image.fromarray(rng.randint(0, 256, (*size, 3)).astype(np.uint8))


def clean(root: pathlib.Path) -> pathlib.Path:
  """42 training and 15 test images in three classes, nothing wrong."""
  seed = 0
  for split, counts in (('train', COUNTS), ('test', TEST_COUNTS)):
    for label, count in enumerate(counts):
      folder = root / split / f'k{label}'
      folder.mkdir(parents=True)
      for i in range(count):
        picture(seed).save(folder / f'{i:03}.jpg', quality=90)
        seed += 1
  return root


class Bad(NamedTuple):
  """What is wrong with a folder.

  Attributes:
    finding: What it is called.
    severity: How bad it is.
    number: Number of items of the finding.
    shown: What the page shows of it.
    spoil: Makes it so in a clean folder.
    by_headers: Whether headers alone show it.
  """

  finding: str
  severity: str
  number: int
  shown: str
  spoil: Callable[[pathlib.Path], None]
  by_headers: bool = True


def _leak(root):
  for i in range(3):
    shutil.copy(root / f'train/k0/{i:03}.jpg', root / f'test/k0/x{i}.jpg')


def _test_is_train(root):
  shutil.rmtree(root / 'test')
  shutil.copytree(root / 'train', root / 'test')


def _copies(root):
  shutil.copy(root / 'train/k2/000.jpg', root / 'train/k2/other name.jpg')
  shutil.copy(root / 'train/k2/000.jpg', root / 'train/k2/third.jpg')


def _same_pixels(root):
  picture(900).save(root / 'train/k1/a.png')
  picture(900).save(root / 'train/k1/b.bmp')


def _conflict(root):
  shutil.copy(root / 'train/k0/003.jpg', root / 'train/k1/900.jpg')


def _truncated(root):
  path = root / 'train/k1/002.jpg'
  path.write_bytes(path.read_bytes()[:-400])


def _inner_damage(root):
  path = root / 'train/k1/900.png'
  # Smooth, so that its bytes depend on one another.
  picture(901, (5, 6)).resize((48, 40)).save(path)
  content = bytearray(path.read_bytes())
  middle = len(content) // 2
  content[middle : middle + 64] = 64 * b'\xff'
  path.write_bytes(content)


def _empty(root):
  (root / 'test/k1/002.jpg').write_bytes(b'')


def _text(root):
  (root / 'train/k0/note.jpg').write_text('not a picture\n')


def _exif(root):
  exif = Image.Exif()
  exif[0x0112] = 6
  picture(902).save(root / 'train/k0/turned.jpg', exif=exif)


def _cmyk(root):
  picture(903).convert('CMYK').save(root / 'train/k0/print.jpg')


def _deep(root):
  rng = np.random.RandomState(0)
  image = Image.fromarray(rng.randint(0, 2**16, (40, 48)).astype(np.uint16))
  image.save(root / 'train/k2/deep.png')


def _transparent(root):
  image = picture(904).quantize(16)
  image.save(root / 'train/k0/clear.png', transparency=3)


def _animated(root):
  frames = [picture(905 + i) for i in range(3)]
  frames[0].save(
    root / 'train/k0/moves.gif', save_all=True, append_images=frames[1:]
  )


def _gray(root):
  picture(910).convert('L').save(root / 'train/k0/gray.jpg')


def _test_class_only(root):
  shutil.copytree(root / 'test/k1', root / 'test/other')
  for i, path in enumerate(sorted((root / 'test/other').iterdir())):
    picture(920 + i).save(path)


def _no_test_class(root):
  shutil.rmtree(root / 'test/k2')


def _no_test(root):
  shutil.rmtree(root / 'test')


def _empty_class(root):
  for path in (root / 'train/k2').iterdir():
    path.unlink()


def _wrong_ending(root):
  (root / 'train/k0/000.jpg').rename(root / 'train/k0/000.png')


def _droppings(root):
  folder = root / 'train/k0/@eaDir/000.jpg'
  folder.mkdir(parents=True)
  shutil.copy(root / 'train/k1/000.jpg', folder / 'SYNOPHOTO_THUMB_M.jpg')
  (root / 'train/__MACOSX').mkdir()
  (root / 'train/k1/Thumbs.db').write_bytes(b'\xd0\xcf\x11\xe0')


def _other_formats(root):
  heic = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic'
  (root / 'train/k0/phone.heic').write_bytes(heic)
  (root / 'train/k0/drawn.svg').write_text('<svg xmlns="x"></svg>')


def _left_out(root):
  (root / 'train/k0/readme.txt').write_text('by whom\n')
  (root / 'train/labels.csv').write_text('a,b\n')


def _tiny(root):
  picture(930, (6, 8)).save(root / 'train/k1/icon.png')


def _not_utf8(root):
  folder = os.fsencode(root / 'train/k2')
  os.rename(folder + b'/001.jpg', folder + b'/\xff\xe9.jpg')


def _normal_forms(root):
  name = 'caf\u00e9'
  for form in ('NFC', 'NFD'):
    folder = root / 'train' / unicodedata.normalize(form, name)
    folder.mkdir()
    picture(940 + len(form + str(folder))).save(folder / f'{form}.png')
  shutil.copytree(root / 'test/k0', root / 'test' / name)
  for i, path in enumerate(sorted((root / 'test' / name).iterdir())):
    picture(950 + i).save(path)


def _case(root):
  folder = root / 'train/K2'
  folder.mkdir()
  picture(960).save(folder / 'a.png')
  (root / 'test/K2').mkdir()
  picture(961).save(root / 'test/K2/b.png')


BAD = {
  'leak': Bad(
    'training_images_in_test',
    'warning',
    3,
    '3 of 18 test images are training images too (16.7%)',
    _leak,
  ),
  'test is train': Bad(
    'training_images_in_test',
    'error',
    42,
    '42 of 42 test images are training images too (100.0%)',
    _test_is_train,
  ),
  'copies': Bad(
    'copies',
    'warning',
    1,
    'train: k2/000.jpg = train: k2/other name.jpg = train: k2/third.jpg',
    _copies,
  ),
  'same pixels': Bad(
    'copies',
    'warning',
    1,
    'train: k1/a.png = train: k1/b.bmp',
    _same_pixels,
    by_headers=False,
  ),
  'conflict': Bad(
    'same_image_in_several_classes',
    'warning',
    1,
    'train: k0/003.jpg = train: k1/900.jpg',
    _conflict,
  ),
  'truncated': Bad('unreadable', 'error', 1, 'train: k1/002.jpg: ', _truncated),
  'damaged inside': Bad(
    'unreadable',
    'error',
    1,
    'train: k1/900.png: ',
    _inner_damage,
    by_headers=False,
  ),
  'empty': Bad('unreadable', 'error', 1, 'test: k1/002.jpg: empty', _empty),
  'text': Bad('unreadable', 'error', 1, 'train: k0/note.jpg: no image', _text),
  'exif': Bad('exif_orientation', 'note', 1, 'train: k0/turned.jpg', _exif),
  'cmyk': Bad('cmyk', 'warning', 1, 'train: k0/print.jpg', _cmyk),
  'deep': Bad('deep_pixels', 'error', 1, 'train: k2/deep.png: ', _deep),
  'transparent': Bad(
    'transparent', 'note', 1, 'train: k0/clear.png', _transparent
  ),
  'animated': Bad('animated', 'note', 1, 'train: k0/moves.gif', _animated),
  'gray': Bad('gray_and_color', 'note', 1, '1 image of 58 in gray', _gray),
  'class of test alone': Bad(
    'class_without_training_images',
    'error',
    1,
    '1 class without training images: other',
    _test_class_only,
  ),
  'class of train alone': Bad(
    'class_without_test_images',
    'warning',
    1,
    '1 class without test images: k2',
    _no_test_class,
  ),
  'no test': Bad(
    'no_test_images', 'error', 0, 'there are no test images', _no_test
  ),
  'empty class': Bad(
    'class_without_training_images',
    'error',
    1,
    '1 class without training images: k2',
    _empty_class,
  ),
  'wrong ending': Bad(
    'other_endings', 'note', 1, 'train: k0/000.png: is JPEG', _wrong_ending
  ),
  'droppings': Bad(
    'left_by_systems', 'note', 3, '3 files that are hidden', _droppings
  ),
  'other formats': Bad(
    'formats_not_read', 'warning', 2, 'k0/phone.heic: ', _other_formats
  ),
  'left out': Bad(
    'left_out', 'note', 2, '2 files that are no images', _left_out
  ),
  'tiny': Bad('tiny', 'warning', 1, 'train: k1/icon.png', _tiny),
  'not UTF-8': Bad('names_not_utf8', 'note', 1, '1 name that', _not_utf8),
  'normal forms': Bad(
    'class_names_of_other_bytes',
    'error',
    1,
    '1 class with several folders',
    _normal_forms,
  ),
  'case': Bad('class_names_alike', 'warning', 1, "'K2' / 'k2'", _case),
}
