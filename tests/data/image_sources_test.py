# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources of image files, lists, .npz files, and images that stay encoded."""

from concurrent import futures
import io
import math
import os
import pickle
import zipfile

import numpy as np
from PIL import Image
import pytest
from sklearn import datasets

from imbsam_jax import data
from imbsam_jax.data import _image_lists

_COLOURS = {
  'ant/1.png': (200, 10, 10),
  'ant/2.JPG': (10, 200, 10),
  'bee/deep/er/1.jpeg': (10, 10, 200),
  'bee/z z 1.bmp': (90, 90, 10),
  'cat/1.webp': (10, 90, 90),
}


def _encode(image, **kwargs):
  file = io.BytesIO()
  Image.fromarray(np.asarray(image, np.uint8)).save(
    file, **({'format': 'PNG'} | kwargs)
  )
  return file.getvalue()


def _encoded(contents, *, size, indices=None):
  """Encoded images of contents, and the list of those read."""
  reads = []

  def read(i):
    reads.append(i)
    return contents[i]

  images = data.EncodedImages(
    read,
    lambda i: f'image {i}',
    size=size,
    indices=np.arange(len(contents)) if indices is None else indices,
  )
  return images, reads


def _gradient(height, width):
  """Red grows to the right, green downwards."""
  image = np.zeros((height, width, 3))
  image[..., 0] = np.linspace(0, 255, width)
  image[..., 1] = np.linspace(0, 255, height)[:, None]
  image[..., 2] = 128
  return np.round(image)


def _photo(width, height):
  photo = Image.fromarray(datasets.load_sample_image('china.jpg'))
  return photo.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(name='folder')
def _folder(tmp_path):
  for path, colour in _COLOURS.items():
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (40, 30), colour).save(tmp_path / path)
  (tmp_path / 'ant' / '.hidden.png').write_bytes(b'')
  (tmp_path / 'ant' / 'Thumbs.db').write_bytes(b'')
  (tmp_path / 'ant' / '.cache').mkdir()
  (tmp_path / 'ant' / '.cache' / '1.png').write_bytes(b'')
  (tmp_path / '.git').mkdir()
  (tmp_path / 'readme.txt').write_text('no class')
  return tmp_path


def _list_file(folder, text):
  path = folder / 'list.txt'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


class TestEncodedImages:
  def test_is_like_an_array(self):
    images, reads = _encoded([_encode(_gradient(9, 9))] * 5, size=8)
    assert images.shape == (5, 8, 8, 3) and images.ndim == 4
    assert images.dtype == np.uint8 and len(images) == 5
    assert not reads
    for indices in (
      np.array([4, 0]),
      slice(1, 4),
      [2],
      -1,
      np.int64(3),
      np.arange(5) > 2,
      np.zeros((2, 3), int),
      np.zeros(0, int),
      slice(None),
    ):
      reads.clear()
      found = images[indices]
      assert found.dtype == np.uint8
      assert found.shape == np.zeros(images.shape)[indices].shape
      assert reads == np.ravel(np.arange(5)[indices]).tolist()
    with pytest.raises(IndexError, match='out of bounds'):
      images[5]
    with pytest.raises(
      TypeError, match=r'5 images are encoded: .* images\[:\]'
    ):
      np.asarray(images)

  def test_subset_decodes_nothing(self):
    contents = [_encode(np.full((8, 8, 3), 10 * i)) for i in range(6)]
    images, reads = _encoded(contents, size=4, indices=np.array([5, 3, 1]))
    some = images.subset([2, 0]).subset(slice(1))
    assert not reads and some.shape == (1, 4, 4, 3)
    assert (some[:] == 10).all() and reads == [1]

  def test_refuses_what_is_no_size_or_index(self):
    for size, error in ((0, ValueError), (2.5, TypeError), (None, TypeError)):
      with pytest.raises(error, match='`size` must be'):
        _encoded([], size=size)
    with pytest.raises(TypeError, match=r'`indices` must be .* got float64'):
      _encoded([], size=1, indices=np.zeros(2))

  @pytest.mark.parametrize('shape', [(375, 500), (500, 375), (256, 256)])
  def test_evaluation_is_resize_then_centre_crop(self, shape):
    size, resized = 56, 64
    photo = _photo(*shape[::-1])
    images, _ = _encoded([_encode(photo)], size=size)
    # torchvision: Resize(64), CenterCrop(56).
    height, width = (int(resized * s / min(shape)) for s in shape)
    top, left = round((height - size) / 2), round((width - size) / 2)
    expected = photo.resize((width, height), Image.Resampling.BILINEAR).crop(
      (left, top, left + size, top + size)
    )
    np.testing.assert_allclose(
      images[0].astype(int), np.asarray(expected, int), atol=1
    )

  def test_evaluation_geometry(self):
    images, _ = _encoded([_encode(_gradient(300, 400))], size=224)
    image = images[0].astype(float)
    scale = 300 / 256
    # Pixel centers of the crop, in pixels of the original.
    rows = (np.arange(224) + 0.5 + 16) * scale - 0.5
    columns = (np.arange(224) + 0.5 + round((341 - 224) / 2)) * 400 / 341 - 0.5
    np.testing.assert_allclose(image[:, 7, 1], rows * 255 / 299, atol=1.1)
    np.testing.assert_allclose(image[7, :, 0], columns * 255 / 399, atol=1.1)

  def test_small_images_are_enlarged(self):
    images, _ = _encoded([_encode(np.full((1, 3, 3), 77))], size=16)
    assert (images[:] == 77).all()
    seeds = np.arange(20)[:, None]
    assert (images.random_crops([0] * 20, seeds) == 77).all()

  @pytest.mark.parametrize(
    ('mode', 'expected'),
    [
      ('1', (255, 255, 255)),
      ('L', (70, 70, 70)),
      ('LA', (70, 70, 70)),
      ('P', (200, 100, 50)),
      ('RGBA', (200, 100, 50)),
      ('CMYK', (200, 100, 50)),
    ],
  )
  def test_all_modes_become_rgb(self, mode, expected):
    if mode in ('1', 'L', 'LA'):
      image = Image.new('L', (9, 9), 70 if mode != '1' else 255).convert(mode)
    else:
      image = Image.new('RGB', (9, 9), (200, 100, 50)).convert(
        mode, palette=Image.Palette.ADAPTIVE
      )
    kwargs = {}
    if mode == 'RGBA':
      image.putalpha(0)
    if mode == 'P':
      kwargs['transparency'] = bytes(range(256))
    file = io.BytesIO()
    image.save(file, 'TIFF' if mode == 'CMYK' else 'PNG', **kwargs)
    images, _ = _encoded([file.getvalue()], size=4)
    np.testing.assert_array_equal(
      images[0], np.broadcast_to(np.uint8(expected), (4, 4, 3))
    )

  def test_cmyk_jpeg(self):
    file = io.BytesIO()
    Image.new('CMYK', (64, 64), (0, 255, 255, 0)).save(file, 'JPEG')
    images, _ = _encoded([file.getvalue()], size=4)
    np.testing.assert_allclose(images[0][0, 0], (255, 0, 0), atol=3)

  def test_large_jpegs_are_decoded_smaller_and_nearly_the_same(self):
    photo = _photo(1280, 854)
    file = io.BytesIO()
    photo.save(file, 'JPEG', quality=95)
    jpeg = file.getvalue()
    png = _encode(Image.open(io.BytesIO(jpeg)))
    for size, is_exact in ((48, False), (400, True)):
      both, _ = _encoded([jpeg, png], size=size)
      seeds = np.repeat(np.arange(6), 2)[:, None]
      for images in (both[:], both.random_crops([0, 1] * 6, seeds)):
        difference = np.abs(np.diff(images.astype(int), axis=0)[::2])
        assert difference.mean() < 1
        assert is_exact == (difference.max() == 0)


class TestRandomCrops:
  def test_crops_are_the_drawn_boxes(self):
    photo = _photo(120, 90)
    images, reads = _encoded([_encode(photo)], size=24)
    seeds = np.stack([np.full(40, 5), np.arange(40)], axis=1)
    crops = images.random_crops(np.zeros(40, int), seeds)
    assert reads == [0] * 40
    flips = []
    for crop, words in zip(crops, seeds, strict=True):
      rng = np.random.RandomState(list(words))
      left, top, width, height = _torchvision_box(rng, 120, 90)
      expected = _resample(np.asarray(photo), left, top, width, height, 24)
      flips.append(rng.uniform() < 0.5)
      if flips[-1]:
        expected = expected[:, ::-1]
      np.testing.assert_allclose(crop, expected, atol=1.01)
    assert 10 < sum(flips) < 30

  @pytest.mark.parametrize('shape', [(10, 400), (400, 10), (1, 300)])
  def test_falls_back_to_the_centre(self, shape):
    height, width = shape
    images, _ = _encoded([_encode(_gradient(height, width))], size=8)
    crops = images.random_crops(np.zeros(12, int), np.arange(12)[:, None])
    fallbacks = 0
    for crop, word in zip(crops, range(12), strict=True):
      rng = np.random.RandomState([word])
      box = _torchvision_box(rng, width, height)
      expected = _resample(_gradient(height, width), *box, 8)
      if rng.uniform() < 0.5:
        expected = expected[:, ::-1]
      np.testing.assert_allclose(crop, expected, atol=1.01)
      fallbacks += box[2:] == (
        min(width, round(height * 4 / 3)),
        min(height, round(width * 4 / 3)),
      )
    assert fallbacks

  def test_pure_in_the_seed_words(self):
    contents = [_encode(_photo(60 + i, 50)) for i in range(8)]
    images, _ = _encoded(contents, size=16)
    indices = np.tile(np.arange(8), 3)
    seeds = np.stack([np.full(24, 2**32 - 1), np.arange(24)], axis=1)
    crops = images.random_crops(indices, seeds)
    assert len(np.unique(crops.reshape(24, -1), axis=0)) == 24
    order = np.random.RandomState(0).permutation(24)
    np.testing.assert_array_equal(
      images.random_crops(indices[order], seeds[order]), crops[order]
    )
    np.testing.assert_array_equal(
      images.subset([5, 6, 7]).random_crops([2], seeds[7:8]), crops[7:8]
    )
    with futures.ThreadPoolExecutor(4) as pool:
      rows = pool.map(
        lambda k: images.random_crops(indices[k : k + 1], seeds[k : k + 1]),
        range(24),
      )
      np.testing.assert_array_equal(np.concatenate(list(rows)), crops)

  def test_one_word_is_a_list_of_one(self):
    images, _ = _encoded([_encode(_photo(60, 50))], size=16)
    crop = images.random_crops([0], np.array([[7]]))
    rng = np.random.RandomState([7])
    box = _torchvision_box(rng, 60, 50)
    expected = _resample(np.asarray(_photo(60, 50)), *box, 16)
    if rng.uniform() < 0.5:
      expected = expected[:, ::-1]
    np.testing.assert_allclose(crop[0], expected, atol=1.01)

  def test_refuses_other_seeds(self):
    images, _ = _encoded([_encode(_gradient(9, 9))], size=4)
    with pytest.raises(TypeError, match='`seeds` must be integers, got float'):
      images.random_crops([0], np.zeros((1, 2)))
    for seeds in (np.arange(1), np.zeros((2, 1), int), np.zeros((1, 0), int)):
      with pytest.raises(ValueError, match=r'`seeds` must be \[n, words\]'):
        images.random_crops([0], seeds)
    none = images.random_crops(np.zeros(0, int), np.zeros((0, 3)))
    assert none.shape == (0, 4, 4, 3)


class TestBrokenImages:
  @pytest.mark.parametrize('call', ['evaluation', 'crop'])
  @pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'WEBP'])
  @pytest.mark.faults
  def test_f19_truncated(self, image_format, call):
    content = _encode(_photo(80, 60), format=image_format)
    images, _ = _encoded([content, content[: len(content) // 2]], size=16)
    with pytest.raises(
      data.DataError, match='^image 1 cannot be decoded: .*Replace or remove'
    ):
      if call == 'crop':
        images.random_crops([0, 1], np.zeros((2, 1), int))
      else:
        images[:]

  @pytest.mark.parametrize(
    'content', [b'', b'<html>404', b'%!PS-Adobe-3.0 EPS']
  )
  def test_no_image(self, content):
    images, _ = _encoded([content], size=16)
    with pytest.raises(
      data.DataError,
      match=rf'^image 0 is not an image .*JPEG, .* its {len(content)} bytes',
    ):
      images[0]

  def test_bomb(self, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    images, _ = _encoded([_encode(_gradient(40, 40))], size=16)
    with pytest.raises(
      data.DataError, match='image 0 cannot be decoded: .*decompression bomb'
    ):
      images[0]

  def test_more_than_8_bits(self):
    file = io.BytesIO()
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(file, 'PNG')
    images, _ = _encoded([file.getvalue()], size=4)
    with pytest.raises(data.DataError, match='image 0 .*more than 8 bits'):
      images[0]

  @pytest.mark.parametrize('image_size', [None, 8])
  def test_missing_later(self, folder, image_size):
    source = data.FolderSource(folder, image_size=image_size)
    (folder / 'ant' / '2.JPG').unlink()
    with pytest.raises(
      data.DataError, match=r'ant.2\.JPG cannot be read: No such file'
    ):
      source.examples(np.arange(5)).images[:]

  @pytest.mark.parametrize('image_size', [None, 8])
  @pytest.mark.faults
  def test_f19_broken_file(self, folder, image_size):
    (folder / 'ant' / '2.JPG').write_bytes(b'\xff\xd8\xff\xe0 cut off')
    source = data.FolderSource(folder, image_size=image_size)
    with pytest.raises(data.DataError, match=r'ant.2\.JPG (is not|cannot be)'):
      source.examples(np.arange(5)).images[:]


class TestFolderSource:
  @pytest.mark.parametrize('image_size', [None, 8])
  def test_finds_what_is_there(self, folder, image_size):
    source = data.FolderSource(folder, image_size=image_size)
    assert source.class_names == ['ant', 'bee', 'cat']
    assert source.labels.tolist() == [0, 0, 1, 1, 2]
    assert source.labels.dtype == np.int32
    examples = source.examples(np.array([4, 2, 3, 1, 0]))
    assert examples.labels.tolist() == [2, 1, 1, 0, 0]
    assert isinstance(examples.images, np.ndarray) == (image_size is None)
    size = (30, 40) if image_size is None else (8, 8)
    assert examples.images.shape == (5, *size, 3)
    colours = np.array(list(_COLOURS.values()))[[4, 2, 3, 1, 0]]
    np.testing.assert_allclose(examples.images[:].mean((1, 2)), colours, atol=4)

  def test_class_names_of_the_training_set(self, folder):
    names = ['aardvark', 'ant', 'bee', 'cat']
    source = data.FolderSource(folder, class_names=names)
    assert source.labels.tolist() == [1, 1, 2, 2, 3]
    assert source.class_names == names
    with pytest.raises(data.DataError, match="has a folder 'ant' .2 such"):
      data.FolderSource(folder, class_names=['cat'])

  def test_pickles(self, folder):
    images = data.FolderSource(folder, image_size=8).examples([1, 2]).images
    copy = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(copy[:], images[:])

  def test_what_is_wrong(self, folder):
    with pytest.raises(data.DataError, match='nowhere cannot be read: No such'):
      data.FolderSource(folder / 'nowhere')
    with pytest.raises(
      data.DataError,
      match=r'ant has 0 folders, .* FOLDER/CLASS_NAME/IMAGE\.jpg',
    ):
      data.FolderSource(folder / 'ant')
    with pytest.raises(ValueError, match='`image_size` must be at least 1'):
      data.FolderSource(folder, image_size=0)

  def test_links(self, folder):
    os.symlink(folder / 'cat', folder / 'dog')
    os.symlink(folder / 'cat' / '1.webp', folder / 'ant' / '3.webp')
    source = data.FolderSource(folder)
    assert np.bincount(source.labels).tolist() == [3, 2, 1, 1]
    os.symlink(folder / 'bee', folder / 'bee' / 'deep' / 'again')
    with pytest.raises(data.DataError, match='again is a link to .*bee, whose'):
      data.FolderSource(folder)

  def test_shapes_differ(self, folder):
    Image.new('RGB', (9, 9)).save(folder / 'ant' / '1.png')
    source = data.FolderSource(folder)
    assert source.examples(np.array([0])).images.shape == (1, 9, 9, 3)
    with pytest.raises(
      data.DataError,
      match=r'2 different shapes, such as \(9, 9, 3\) \(.*ant.1\.png\) and '
      r'\(30, 40, 3\) \(.*ant.2\.JPG\).*Pass `image_size`',
    ):
      source.examples(np.arange(5))

  def test_grey_images_keep_one_channel_in_memory(self, tmp_path):
    (tmp_path / 'grey').mkdir()
    for k, mode in enumerate(('1', 'L')):
      Image.new(mode, (5, 4), 255).save(tmp_path / 'grey' / f'{k}.png')
    images = data.FolderSource(tmp_path).examples(np.arange(2)).images
    assert images.shape == (2, 4, 5, 1) and (images == 255).all()
    small = data.FolderSource(tmp_path, image_size=3).examples(np.arange(2))
    assert (small.images[:] == np.full((2, 3, 3, 3), 255)).all()


class TestListSource:
  @pytest.mark.parametrize('image_size', [None, 8])
  def test_equals_folder_source(self, folder, image_size):
    ours = data.FolderSource(folder, image_size=image_size)
    lines = [
      f'{path} {label}\n'
      for path, label in zip(_COLOURS, ours.labels, strict=True)
    ]
    text = '\ufeff' + ''.join(lines[:2]) + '\r\n' + ''.join(lines[2:])
    theirs = data.ListSource(
      _list_file(folder, text.replace('\n', '\r\n')),
      folder,
      class_names=['ant', 'bee', 'cat'],
      image_size=image_size,
    )
    assert ours.class_names == theirs.class_names
    indices = np.array([3, 0, 4, 1, 2])
    for one, two in zip(
      ours.examples(indices), theirs.examples(indices), strict=True
    ):
      np.testing.assert_array_equal(one[:], two[:])

  def test_class_names(self, folder):
    path = _list_file(folder, 'ant/1.png\t2\n./bee//z z 1.bmp 0\ncat/1.webp 0')
    source = data.ListSource(path, str(folder))
    assert source.class_names == ['0', '1', '2']
    assert source.labels.tolist() == [2, 0, 0]
    assert len(data.ListSource(path, folder, num_classes=7).class_names) == 7
    with pytest.raises(ValueError, match='is 3, `class_names` has 4'):
      data.ListSource(path, folder, num_classes=3, class_names=list('abcd'))

  @pytest.mark.parametrize(
    ('text', 'message'),
    [
      ('', r'list\.txt is empty; lines such as a/b\.jpg 7'),
      ('\n \n', r'list\.txt is empty'),
      (
        'ant/1.png 0\n/etc/passwd 0',
        r'list\.txt:2: the path ./etc/passwd. mus',
      ),
      ('bee/../ant/1.png 0', r'list\.txt:1: the path .*stay in it'),
      ('../x.png 0', r'list\.txt:1: the path .*stay in it'),
      (
        'ant/1.png',
        r"list\.txt:1: 'ant/1\.png' must end with a blank and a la",
      ),
      ('ant/1.png 0\n\nant/2.JPG', r'list\.txt:3: .* must end with a blank'),
      ('ant/1.png -1', r'list\.txt:1: .* integer >= 0'),
      ('ant/1.png 1.0', r'list\.txt:1: .* integer >= 0'),
      ('ant/1.png ' + 5000 * '1', r'list\.txt:1: .* integer >= 0'),
      ('ant/1.png \u0663', r'list\.txt:1: .* integer >= 0'),
      (
        'ant/1.png 1',
        r'list\.txt:1: the label must be in \[0, 1\), got 1\. Num',
      ),
      (
        'ant/1.png 0\nant/2.JPG 0\n./ant/1.png 1',
        r"list\.txt:3: 'ant/1\.png' is on line 1 too",
      ),
      (
        'ant/1.png 0\nant/7.png 0\nant 0\na\0b 1',
        r'list\.txt:2: there is no file .*ant.7\.png \(3 of 4 are missing\)',
      ),
      (b'ant/1.png 0\n\xff 0', r'list\.txt:2: there is no .*xff .*save it as'),
    ],
  )
  @pytest.mark.faults
  def test_f19_what_is_wrong(self, folder, text, message):
    with pytest.raises(data.DataError, match=message):
      data.ListSource(_list_file(folder, text), folder)

  def test_label_of_no_class(self, folder):
    path = _list_file(folder, 'ant/1.png 0\nant/2.JPG 2')
    with pytest.raises(data.DataError, match=r'list\.txt:2: .*\[0, 2\), got 2'):
      data.ListSource(path, folder, num_classes=2)

  def test_list_is_bounded(self, folder, monkeypatch):
    path = _list_file(folder, 'ant/1.png 0\n')
    monkeypatch.setattr(_image_lists, 'MAX_BYTES', 11)
    with pytest.raises(
      data.DataError, match='of 11 bytes at most, got .* of 12'
    ):
      data.ListSource(path, folder)
    monkeypatch.undo()
    with pytest.raises(data.DataError, match='must be a text file'):
      data.ListSource('/dev/zero', folder)
    with pytest.raises(data.DataError, match='gone cannot be read: No such'):
      data.ListSource(folder / 'gone', folder)

  def test_links_are_followed(self, folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    Image.new('RGB', (40, 30), (1, 2, 3)).save(elsewhere / 'x.png')
    os.symlink(elsewhere, folder / 'linked')
    source = data.ListSource(_list_file(folder, 'linked/x.png 0'), folder)
    assert (source.examples(np.arange(1)).images == (1, 2, 3)).all()


class TestSubsetSource:
  _IMAGES = np.arange(6, dtype=np.uint8)[:, None, None, None]
  _SOURCE = data.ArraySource(_IMAGES, np.array([0, 1, 2, 0, 1, 2]))

  def test_takes_what_is_listed(self, tmp_path):
    path = _list_file(tmp_path, '5 2\n0 0\n3 0\n')
    source = data.SubsetSource(self._SOURCE, path)
    assert source.class_names == ['0', '1', '2']
    assert source.labels.tolist() == [2, 0, 0]
    examples = source.examples(np.array([2, 0]))
    assert examples.images.ravel().tolist() == [3, 5]
    assert examples.labels.tolist() == [0, 2]

  @pytest.mark.parametrize(
    ('text', 'message'),
    [
      ('', 'is empty'),
      ('0 0\n6 0', r'list\.txt:2: the position must be .* 0 to 5.*got .6.'),
      ('-1 0', r'list\.txt:1: the position must be'),
      ('a.jpg 0', r'list\.txt:1: the position must be'),
      ('0 0\n00 0', r'list\.txt:2: position 0 is on line 1 too'),
      ('1 2', r'list\.txt:1: the label is 2, that of example 1 .* source 1\.'),
    ],
  )
  def test_what_is_wrong(self, tmp_path, text, message):
    with pytest.raises(data.DataError, match=message):
      data.SubsetSource(self._SOURCE, _list_file(tmp_path, text))


class TestNpzSource:
  _X = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
  _Y = np.array([0, 1, 1, 0])

  @pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
  def test_reads(self, tmp_path, save):
    path = tmp_path / 'a.npz'
    save(
      path,
      x_train=self._X,
      y_train=self._Y,
      x_test=self._X[:3],
      y_test=self._Y[:3],
    )
    train = data.NpzSource(path, 'train', class_names=['no', 'yes'])
    assert train.class_names == ['no', 'yes']
    np.testing.assert_array_equal(train.examples([2]).images, self._X[2:3])
    assert len(data.NpzSource(str(path), 'test').labels) == 3
    for names in (('images', 'labels'), ('X', 'y')):
      save(path, **dict(zip(names, (self._X.T.copy().T, self._Y), strict=True)))
      source = data.NpzSource(path)
      np.testing.assert_array_equal(source.labels, self._Y)
      np.testing.assert_array_equal(
        source.examples(slice(None)).images, self._X
      )

  def test_other_arrays(self, tmp_path):
    path = tmp_path / 'a.npz'
    np.savez(path, x_train=self._X, y_train=self._Y)
    with pytest.raises(
      data.DataError,
      match=r"a\.npz has the arrays \['x_train', 'y_train'\]; 'images' and "
      r"'labels' or 'X' and 'y' are expected for split=None\. Pass 'train'",
    ):
      data.NpzSource(path)
    with pytest.raises(
      data.DataError, match="'x_test' and 'y_test' are expect"
    ):
      data.NpzSource(path, 'test')
    np.savez(path, X=self._X, y=self._Y)
    with pytest.raises(data.DataError, match='Leave `split` out'):
      data.NpzSource(path, 'train')
    with pytest.raises(
      ValueError, match="must be 'train', 'validation', 'test'"
    ):
      data.NpzSource(path, 'tests')
    np.savez(path, X=self._X, y=self._Y[:3])
    with pytest.raises(data.DataError, match='one row per example'):
      data.NpzSource(path)
    np.savez(path, X=np.float32(1), y=self._Y)
    with pytest.raises(data.DataError, match='one row per example'):
      data.NpzSource(path)

  def test_never_unpickles(self, tmp_path):
    path = tmp_path / 'a.npz'
    np.savez(path, X=np.array([print, 1], object), y=self._Y)
    with pytest.raises(data.DataError, match="'X' holds Python objects"):
      data.NpzSource(path)

  @pytest.mark.parametrize(
    'shape', ['(1000000000000, 100)', '(-4, -4)', '(25,)', '(1, -1)']
  )
  @pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
  def test_header_promises_more(self, tmp_path, shape, method):
    path = tmp_path / 'a.npz'
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    header = header.ljust(117) + '\n'
    content = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little')
    content += header.encode() + bytes(24)
    with zipfile.ZipFile(path, 'w', method) as archive:
      archive.writestr('X.npy', content)
      archive.writestr('y.npy', content)
    with pytest.raises(
      data.DataError, match="header of 'X' promises uint8 .* but 24 follow"
    ):
      data.NpzSource(path)

  def test_size_that_no_compression_reaches(self, tmp_path):
    path = tmp_path / 'a.npz'
    np.savez_compressed(path, X=np.zeros((4, 10**5), np.uint8), y=self._Y)
    assert len(data.NpzSource(path).labels) == 4
    content = bytearray(path.read_bytes())
    at = content.index(b'PK\x01\x02') + 24  # In the central directory.
    content[at : at + 4] = (2**31).to_bytes(4, 'little')
    path.write_bytes(content)
    with pytest.raises(data.DataError, match="'X' cannot be 2147483648 bytes"):
      data.NpzSource(path)

  def test_broken_files(self, tmp_path):
    path = tmp_path / 'a.npz'
    with pytest.raises(data.DataError, match='cannot be read .*: No such file'):
      data.NpzSource(path)
    np.savez(path, X=self._X, y=self._Y)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:100])
    with pytest.raises(data.DataError, match='cannot be read as a .npz file'):
      data.NpzSource(path)
    content[content.index(self._X.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(data.DataError, match='cannot be read .*CRC'):
      data.NpzSource(path)


class TestTfdsSource:
  def test_encoded_is_the_resized_in_memory(self, tfds_dir, tmp_path):
    memory = data.TfdsSource('digits', 'test', data_dir=tfds_dir)
    encoded = data.TfdsSource('digits', 'test', data_dir=tfds_dir, image_size=7)
    indices = np.array([3, 499, 0])
    examples = encoded.examples(indices)
    np.testing.assert_array_equal(
      examples.labels, memory.examples(indices).labels
    )
    assert examples.images.shape == (3, 7, 7, 3)
    contents = [
      _encode(image[..., 0]) for image in memory.examples(indices).images
    ]
    expected, _ = _encoded(contents, size=7)
    # 7 of 8 pixels, so nothing is resampled.
    np.testing.assert_array_equal(examples.images[:], expected[:])
    np.testing.assert_array_equal(
      examples.images[:],
      np.repeat(memory.examples(indices).images[:, :7, :7], 3, axis=3),
    )
    path = _list_file(tmp_path, f'499 {encoded.labels[499]}')
    subset = data.SubsetSource(encoded, path).examples(np.array([0]))
    np.testing.assert_array_equal(subset.images[:], examples.images[1:2])
    with pytest.raises(ValueError, match='`image_size` must be at least 1'):
      data.TfdsSource('digits', 'test', data_dir=tfds_dir, image_size=0)


class TestLongTailed:
  def test_decodes_nothing(self, folder, monkeypatch):
    reads = []
    read = data.FolderSource._read

    def counted(source, i):
      reads.append(i)
      return read(source, i)

    monkeypatch.setattr(data.FolderSource, '_read', counted)
    for k in range(3, 6):
      for name in ('ant', 'bee', 'cat'):
        Image.new('RGB', (9, 9)).save(folder / name / f'{k}.png')
    source = data.FolderSource(folder, image_size=8)
    parts = data.long_tailed(source, source, validation_per_class=1)
    assert not reads
    assert parts.class_counts.tolist() == [4, 4, 3]
    assert parts.class_names == ['ant', 'bee', 'cat']
    assert parts.train.images.shape == (11, 8, 8, 3)
    assert parts.validation.images.shape == (3, 8, 8, 3)
    assert parts.test.images.shape == (14, 8, 8, 3)
    parts.train.images[:2]
    assert len(reads) == 2

  def test_classes_must_be_numbered_alike(self, folder):
    names = ['aardvark', 'ant', 'bee']
    train = data.ArraySource(np.zeros((3, 1)), np.arange(3), class_names=names)

    def test_set(names):
      return data.ArraySource(
        np.zeros((1, 1)), np.zeros(1, int), class_names=names
      )

    with pytest.raises(
      data.DataError, match="class 0 is 'aardvark' in train and 'ant' in test"
    ):
      data.long_tailed(train, test_set(['ant', 'bee']))
    for same in (names, names[:2], None):
      data.long_tailed(train, test_set(same))


def _torchvision_box(rng, width, height):
  """RandomResizedCrop.get_params, its draws from NumPy."""
  for _ in range(10):
    area = height * width * rng.uniform(0.08, 1)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w = int(round(math.sqrt(area * ratio)))
    h = int(round(math.sqrt(area / ratio)))
    if 0 < w <= width and 0 < h <= height:
      top = rng.randint(0, height - h + 1)
      left = rng.randint(0, width - w + 1)
      return left, top, w, h
  if width / height < 3 / 4:
    w, h = width, int(round(width / (3 / 4)))
  elif width / height > 4 / 3:
    w, h = int(round(height * (4 / 3))), height
  else:
    w, h = width, height
  return (width - w) // 2, (height - h) // 2, w, h


def _resample(image, left, top, width, height, size):
  """Antialiased bilinear resampling of a box of an image."""

  def matrix(start, length, side):
    scale = length / size
    reach = max(scale, 1)
    centres = start + (np.arange(size) + 0.5) * scale
    distances = np.abs(np.arange(side) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(1 - distances, 0)
    return weights / weights.sum(axis=1, keepdims=True)

  rows = matrix(top, height, image.shape[0])
  columns = matrix(left, width, image.shape[1])
  return np.einsum('ih,jw,hwc->ijc', rows, columns, image, optimize=True)
