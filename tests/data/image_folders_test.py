# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders and lists of images as people have them."""

import hashlib
import io
import os
import pathlib
import tempfile
import unicodedata

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from imbsam_jax import data

_NFC = unicodedata.normalize('NFC', 'Café')
_NFD = unicodedata.normalize('NFD', 'Café')


def _image(value=0, size=(6, 5)):
  file = io.BytesIO()
  Image.new('RGB', size, (value, 0, 0)).save(file, 'PNG')
  return file.getvalue()


class _Folders(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.folder = pathlib.Path(folder)

  def _write(self, path, content=None):
    path = self.folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_image() if content is None else content)
    return path


class FolderSourceTest(_Folders):
  def test_droppings_are_no_classes(self):
    self._write('train/k/1.jpg')
    for name in ('__MACOSX', '@eaDir', '.git', 'lost+found', '$RECYCLE.BIN'):
      self._write(f'train/{name}/1.jpg')
    self._write('train/notes.txt', b'text')
    self._write('train/k/notes.txt', b'text')
    source = data.FolderSource(self.folder / 'train')
    self.assertEqual(source.class_names, ['k'])
    self.assertEqual(source.paths, ['k/1.jpg'])
    of_system = 'thumbnails of a system'
    self.assertEqual(
      source.left_out,
      {
        '$RECYCLE.BIN/': of_system,
        '.git/': 'hidden',
        '@eaDir/': of_system,
        '__MACOSX/': of_system,
        'lost+found/': of_system,
        'k/notes.txt': "no image: begins with b'text'",
        'notes.txt': 'of no class',
      },
    )
    self.assertEqual(source.broken, {})

  @parameterized.parameters(
    (None, 'k2 has no image .1 such folders.. Put images'),
    (b'', 'k2 has no image.*1 file .1 empty., such as k2/1.jpg'),
    (b'\0\0\0\x18ftypheic', r'k2 has no image.*1 a format .*\(HEIC\)'),
  )
  def test_classes_without_images(self, content, message):
    self._write('train/k1/1.jpg')
    if content is None:
      (self.folder / 'train' / 'k2').mkdir()
    else:
      self._write('train/k2/1.jpg', content)
    with self.assertRaisesRegex(data.DataError, message):
      data.FolderSource(self.folder / 'train')
    # Test images may lack classes.
    source = data.FolderSource(
      self.folder / 'train', class_names=['k0', 'k1', 'k2']
    )
    self.assertEqual(source.labels.tolist(), [1])

  def test_names_in_another_normal_form(self):
    self._write(f'train/{_NFC}/1.jpg')
    self._write('train/b/1.jpg')
    self._write(f'test/{_NFD}/1.jpg')
    train = data.FolderSource(self.folder / 'train')
    test = data.FolderSource(
      self.folder / 'test', class_names=train.class_names
    )
    self.assertEqual(test.class_names, train.class_names)
    self.assertEqual(test.labels.tolist(), [train.class_names.index(_NFC)])
    self._write(f'test/{_NFC}/2.jpg')
    with self.assertRaisesRegex(data.DataError, 'two folders .*look alike'):
      data.FolderSource(self.folder / 'test', class_names=train.class_names)

  def test_names_in_other_letters(self):
    self._write('train/cat/1.jpg')
    self._write('test/Cat/1.jpg')
    with self.assertRaisesRegex(
      data.DataError, "'Cat' .*There is 'cat', in other letters: rename"
    ):
      data.FolderSource(self.folder / 'test', class_names=['cat'])

  def test_names_that_are_no_utf8(self):
    name = os.fsdecode(b'k\xff')
    try:
      self._write(f'train/{name}/{name}.jpg', _image(7))
    except OSError:
      self.skipTest('names of this disk are UTF-8')
    self._write(f'test/{name}/1.jpg')
    train = data.FolderSource(self.folder / 'train', image_size=4)
    self.assertEqual(train.class_names, [r'k\xff'])
    self.assertTrue((train.examples([0]).images[:][..., 0] == 7).all())
    test = data.FolderSource(
      self.folder / 'test', class_names=train.class_names
    )
    self.assertEqual(test.labels.tolist(), [0])
    self._write(f'train/{name}/{name}.jpg', b'\xff\xd8\xff')
    with self.assertRaisesRegex(data.DataError, r'k\\xff/k\\xff.jpg is not an'):
      train.examples([0]).images[:]

  def test_home(self):
    self._write('train/k/1.jpg')
    before = os.environ.get('HOME', '')
    self.addCleanup(os.environ.__setitem__, 'HOME', before)
    os.environ['HOME'] = str(self.folder)
    self.assertEqual(data.FolderSource('~/train').paths, ['k/1.jpg'])
    (self.folder / 'list.txt').write_text('k/1.jpg 0')
    source = data.ListSource('~/list.txt', '~/train')
    self.assertEqual(source.examples([0]).images.shape, (1, 5, 6, 3))


class TestRowsTest(_Folders):
  def _source(self, counts, same=()):
    """Images of their own bytes, and some (path, path) of the same ones."""
    value = 0
    for label, count in enumerate(counts):
      for i in range(count):
        value += 1
        self._write(f'k{label}/{i:02}.png', _image(value % 250, (6, 5 + i)))
    for one, other in same:
      self._write(other, (self.folder / one).read_bytes())
    return data.FolderSource(self.folder)

  def test_counts(self):
    source = self._source((20, 12, 7, 2, 1))
    rows = data.test_rows(source, 0.2)
    self.assertEqual(rows.dtype, bool)
    # 4, 2.4, 1.4, .4 and .2: rounded, at least one, and one stays.
    self.assertEqual(
      np.bincount(source.labels[rows], minlength=5).tolist(), [4, 2, 1, 1, 0]
    )
    other = data.test_rows(source, 0.2, seed=1)
    self.assertFalse(np.array_equal(rows, other))
    np.testing.assert_array_equal(data.test_rows(source, 0.2), rows)
    with self.assertRaisesRegex(ValueError, '`share`'):
      data.test_rows(source, 1.0)

  def test_by_the_rule(self):
    source = self._source((10, 5))
    for seed in (0, 3):
      expected = set()
      for name, number in (('k0', 2), ('k1', 1)):
        paths = [p for p in source.paths if p.startswith(name)]
        paths.sort(
          key=lambda p: hashlib.sha256(f'{seed}/{p}'.encode()).digest()
        )
        expected |= set(paths[:number])
      rows = data.test_rows(source, 0.2, seed=seed)
      self.assertEqual(set(np.array(source.paths)[rows]), expected)

  def test_new_images_move_few(self):
    before = self._source((40,))
    first = set(np.array(before.paths)[data.test_rows(before, 0.25)])
    self._write('k0/99.png', _image(251))
    after = data.FolderSource(self.folder)
    second = set(np.array(after.paths)[data.test_rows(after, 0.25)])
    self.assertLessEqual(len(first - second), 1)

  def test_the_same_image_is_in_one_part(self):
    same = [(f'k0/{i:02}.png', f'k0/9{i}.png') for i in range(6)]
    same += [('k0/06.png', 'k1/96.png'), ('k0/00.png', 'k0/in/97.png')]
    source = self._source((10, 10), same)
    places = {path: i for i, path in enumerate(source.paths)}
    for seed in range(20):
      rows = data.test_rows(source, 0.3, seed=seed)
      for one, other in same:
        self.assertEqual(rows[places[one]], rows[places[other]])
      # Of two classes at once.
      self.assertFalse(rows[places['k0/06.png']])
      self.assertGreaterEqual(rows[source.labels == 0].sum(), 5)

  def test_files_that_begin_alike_are_not_the_same(self):
    for i in range(10):
      self._write(f'k/{i}.png', _image() + bytes(9000) + bytes([i]))
    source = data.FolderSource(self.folder)
    self.assertEqual(data.test_rows(source, 0.3).sum(), 3)

  def test_one_image_many_times(self):
    source = self._source(
      (1, 4), [('k0/00.png', f'k0/{i}.png') for i in range(5)]
    )
    rows = data.test_rows(source, 0.2)
    self.assertFalse(rows[source.labels == 0].any())
    self.assertEqual(rows.sum(), 1)

  def test_parts_are_sources(self):
    source = self._source((6, 3))
    rows = data.test_rows(source, 0.4)
    for part, expected in (
      (source.where(rows), rows),
      (source.where(~rows), ~rows),
    ):
      self.assertEqual(part.labels.tolist(), source.labels[expected].tolist())
      self.assertEqual(part.class_names, source.class_names)
      for i, path in enumerate(part.paths):
        with Image.open(self.folder / path) as image:
          width, height = image.size
        shape = part.examples([i]).images.shape
        self.assertEqual(shape, (1, height, width, 3))
    self.assertLen(source.paths, 9)

  def test_parts_are_known_by_their_own_sizes(self):
    self._source((6, 3))
    source = data.FolderSource(self.folder, image_size=4)
    rows = data.test_rows(source, 0.4)
    # As a source that was asked before.
    self.assertLen(list(source.examples(np.arange(9)).images.identities()), 9)
    for part in (source, source.where(rows), source.where(~rows)):
      images = part.examples(np.arange(len(part.paths))).images
      self.assertEqual(
        list(images.identities()),
        [
          f'{path}\0{(self.folder / path).stat().st_size}'.encode()
          for path in part.paths
        ],
      )


class ListSourceTest(_Folders):
  def setUp(self):
    super().setUp()
    for i, path in enumerate(('a/1.png', 'a/2 2.png', 'b/3.png', '#4.png')):
      self._write(path, _image(i + 1))

  def _list(self, text, name='list.txt', **how):
    content = text if isinstance(text, bytes) else text.encode()
    return data.ListSource(self._write(name, content), self.folder, **how)

  def _check(self, source, paths, labels, names):
    self.assertEqual(source.paths, paths)
    self.assertEqual(source.labels.tolist(), labels)
    self.assertEqual(source.class_names, names)
    reds = source.examples(np.arange(len(paths))).images[:, 0, 0, 0]
    order = ['a/1.png', 'a/2 2.png', 'b/3.png', '#4.png']
    self.assertEqual(reds.tolist(), [order.index(path) + 1 for path in paths])

  @parameterized.parameters(
    ('a/1.png 0\na/2 2.png 1\n', 'list.txt'),
    ('a/1.png\t0\r\na/2 2.png\t1', 'list'),
    ('\ufeff# made by a script\n\na/1.png 0\n# two\na/2 2.png 1', 'list.txt'),
    ('path label\na/1.png 0\na/2 2.png 1', 'list.txt'),
    ('a\\1.png 0\r\n.\\a\\2 2.png 1\r\n', 'list.txt'),
    ('path,label\na/1.png,0\na/2 2.png,1\n', 'list.csv'),
    ('a/1.png,0\n\n"a/2 2.png",1\n', 'list.CSV'),
    ('"split";"Class";"n";"File"\nx;0;7;a/1.png\nx;1;7;"a/2 2.png"', 'l.csv'),
    ('image\tlabel\na/1.png\t0\n# more\na/2 2.png\t1', 'list.tsv'),
    ('filename,label,class_name\na\\1.png,0,x\na\\2 2.png,1,y', 'list.csv'),
  )
  def test_numbers(self, text, name):
    self._check(
      self._list(text, name), ['a/1.png', 'a/2 2.png'], [0, 1], ['0', '1']
    )

  @parameterized.parameters(
    ('a/1.png dog\nb/3.png cat\na/2 2.png dog', 'list.txt'),
    ('path,label\na/1.png,dog\nb/3.png,cat\na/2 2.png,dog', 'list.csv'),
  )
  def test_names_of_classes(self, text, name):
    paths = ['a/1.png', 'b/3.png', 'a/2 2.png']
    self._check(self._list(text, name), paths, [1, 0, 1], ['cat', 'dog'])
    names = ['ant', 'dog', 'cat']
    source = self._list(text, name, class_names=names)
    self._check(source, paths, [1, 2, 1], names)
    with self.assertRaisesRegex(
      data.DataError, r":\d: 'dog' is none of the 2 classes .*\(cat, bee"
    ):
      self._list(text, name, class_names=['cat', 'bee'])

  def test_names_with_blanks(self):
    source = self._list(f'path,label\na/1.png,big {_NFD}\n', 'list.csv')
    self._check(source, ['a/1.png'], [0], [f'big {_NFC}'])

  def test_absolute_paths_below_the_folder(self):
    for folder in (self.folder, os.path.realpath(self.folder)):
      source = self._list(f'{folder}/a/1.png 0\n{folder}/b/3.png 1')
      self._check(source, ['a/1.png', 'b/3.png'], [0, 1], ['0', '1'])

  def test_a_path_that_begins_like_a_comment(self):
    source = self._list('#4.png 0\n#5.png 0')
    self._check(source, ['#4.png'], [0], ['0'])

  def test_other_encodings(self):
    text = 'a/1.png 0\r\nb/3.png 1'
    for encoding in ('utf-16', 'utf-8-sig'):
      source = self._list(text.encode(encoding))
      self._check(source, ['a/1.png', 'b/3.png'], [0, 1], ['0', '1'])

  def test_names_that_are_no_utf8(self):
    name = os.fsdecode(b'\xe9.png')
    try:
      self._write(name)
    except OSError:
      self.skipTest('names of this disk are UTF-8')
    source = self._list(b'\xe9.png k\xe9\n')
    self.assertEqual(source.paths, [name])
    self.assertEqual(source.class_names, [r'k\xe9'])

  @parameterized.parameters(
    ('list.txt', 'a/1.png 0\nb/3.png dog', ':2: .b/3.png dog. must end'),
    ('list.txt', 'a/1.png -1', ':1: .*integer >= 0'),
    ('list.txt', 'a/2 2.png', ':1: .a/2 2.png. must end'),
    ('list.txt', 'C:\\a\\1.png 0', ':1: the path .* must be in the folder'),
    ('list.txt', '/etc/passwd 0', ':1: the path ./etc/passwd. must be'),
    ('list.txt', 'a\\..\\..\\x.png 0', ":1: the path .*have no '..'"),
    ('list.csv', 'a/1.png,0,1', ':1: which of 3 columns .* path,label'),
    ('list.csv', 'path,label\na/1.png', ':2: there are 1 cells'),
    ('list.csv', 'path,label\na/1.png,', ':2: .* must end'),
    ('list.csv', 'path,label\n', 'is empty'),
    ('list.csv', 'a/1.png 0\n', ':1: which of 1 columns'),
    ('list.csv', 'path,label\na/1.png,"0\n', 'list.csv:2: unexpected end'),
    ('list.csv', 'path,label\n' + 'a' * 200000 + ',0', 'field larger than'),
    ('list.txt', '# nothing', 'is empty'),
    ('list.txt', b'\xff\xfea', 'is empty|must end'),
  )
  def test_what_is_wrong(self, name, text, message):
    with self.assertRaisesRegex(data.DataError, message):
      self._list(text, name)


if __name__ == '__main__':
  absltest.main()
