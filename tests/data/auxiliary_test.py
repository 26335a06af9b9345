# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Auxiliary images come in the form of the training images, or not at all."""

import io

import numpy as np
from PIL import Image
import pytest

from imbsam_jax import data
from imbsam_jax import experiment

_COLOR = np.zeros((4, 8, 8, 3), np.uint8)
_GRAY = np.zeros((4, 8, 8, 1), np.uint8)


def _png(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, format='PNG')
  return file.getvalue()


def _pixels(height, width, *channels, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def _encoded(number=4, size=8):
  content = _png(_pixels(20, 20, 3))
  return data.EncodedImages(
    lambda i: content, lambda i: f'{i}', size=size, indices=np.arange(number)
  )


@pytest.fixture(scope='module', name='folder')
def _folder(tmp_path_factory):
  """Images of several sizes and modes, in the folder and in one within."""
  folder = tmp_path_factory.mktemp('images')
  (folder / 'within').mkdir()
  (folder / '.hidden').mkdir()
  files = {
    'a.png': _pixels(8, 8, 3),
    'within/b.png': _pixels(40, 24, 3, seed=1),
    'within/c.png': _pixels(8, 8, seed=2),
  }
  for name, pixels in files.items():
    (folder / name).write_bytes(_png(pixels))
  (folder / '.hidden' / 'd.png').write_bytes(b'')
  (folder / 'notes.txt').write_text('no image')
  return str(folder), files


def test_folder_in_color(folder):
  path, files = folder
  found = data.auxiliary_examples(f'folder:{path}', _COLOR)
  assert found.images.shape == (3, 8, 8, 3)
  assert found.images.dtype == np.uint8
  np.testing.assert_array_equal(found.labels, [-1, -1, -1])
  # What has the size already is as it was; gray is the same in each channel.
  np.testing.assert_array_equal(found.images[0], files['a.png'])
  gray = files['within/c.png'][..., None].repeat(3, axis=2)
  np.testing.assert_array_equal(found.images[2], gray)
  # Others are as in evaluation.
  content = _png(files['within/b.png'])
  expected = data.EncodedImages(
    lambda i: content, lambda i: 'b.png', size=8, indices=np.arange(1)
  )
  np.testing.assert_array_equal(found.images[1], expected[0])


def test_folder_in_gray(folder):
  path, files = folder
  found = data.auxiliary_examples(f'folder:{path}', _GRAY).images
  assert found.shape == (3, 8, 8, 1)
  np.testing.assert_array_equal(found[2, ..., 0], files['within/c.png'])
  expected = Image.fromarray(files['a.png']).convert('L')
  np.testing.assert_array_equal(found[0, ..., 0], np.asarray(expected))


def test_images_stay_encoded_where_those_of_training_do(folder):
  path, _ = folder
  found = data.auxiliary_examples(f'folder:{path}', _encoded())
  assert isinstance(found.images, data.EncodedImages)
  assert found.images.shape == (3, 8, 8, 3)
  names = [name.rsplit('/', 1)[-1] for name in found.images.names()]
  assert names == ['a.png', 'b.png', 'c.png']


@pytest.mark.parametrize(
  ('like', 'message'),
  [
    (np.zeros((2, 8, 6, 3), np.uint8), 'square.*`data.auxiliary=npz:PATH`'),
    (np.zeros((2, 8, 8, 2), np.uint8), '1 or 3 channels'),
    (_COLOR.astype(np.float32), r'are float32 \[8, 8, 3\]'),
    (np.zeros((2, 8), np.uint8), r'are uint8 \[8\]'),
  ],
)
def test_images_that_cannot_be_decoded_to_a_form(like, message, folder):
  with pytest.raises(data.DataError, match=message):
    data.auxiliary_examples(f'folder:{folder[0]}', like)


def test_folders_without_images(tmp_path):
  with pytest.raises(data.DataError, match='holds no image, neither itself'):
    data.auxiliary_examples(f'folder:{tmp_path}', _COLOR)
  with pytest.raises(data.DataError, match='no folder of auxiliary images'):
    data.auxiliary_examples(f'folder:{tmp_path}/x', _COLOR)


@pytest.mark.parametrize(
  'name', ['auxiliary', 'images', 'x_train', 'X', 'mine']
)
def test_npz(name, tmp_path):
  images = _pixels(5, 8, 8, 3)
  np.savez(tmp_path / 'some.npz', **{name: images})
  found = data.auxiliary_examples(f'npz:{tmp_path}/some.npz', _COLOR)
  np.testing.assert_array_equal(found.images, images)
  np.testing.assert_array_equal(found.labels, np.full(5, -1))


def test_npz_of_several_arrays(tmp_path):
  path, images = tmp_path / 'some.npz', _pixels(5, 8, 8, 3)
  np.savez(path, images=images, labels=np.zeros(5, int))
  found = data.auxiliary_examples(f'npz:{path}', _COLOR)
  np.testing.assert_array_equal(found.images, images)
  np.savez(path, one=images, two=images)
  with pytest.raises(data.DataError, match=r"has the arrays \['one', 'two'\]"):
    data.auxiliary_examples(f'npz:{path}', _COLOR)
  with pytest.raises(data.DataError, match='cannot be read as a .npz file'):
    data.auxiliary_examples(f'npz:{tmp_path}/none.npz', _COLOR)


def test_rows_of_a_table_have_no_textures():
  with pytest.raises(experiment.ConfigError, match='no images .*npz:PATH'):
    data.auxiliary_examples('textures', np.zeros((3, 6), np.float32))


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (np.zeros((2, 8, 7, 3), np.uint8), r'auxiliary images uint8 \[8, 7, 3\]'),
    (np.zeros((2, 8, 8, 3), np.float32), 'in one scale'),
    (np.full((2, 8, 8, 3), 256), 'int64 from 256 to 256. Pass .images . 511'),
    (np.zeros((0, 8, 8, 3), np.uint8), 'of at least one'),
    (np.uint8(3), 'of at least one'),
  ],
)
def test_arrays_of_another_form(images, message):
  with pytest.raises(data.DataError, match=message):
    data.fitted_examples(images, _COLOR)


def test_arrays_with_nan():
  with pytest.raises(data.DataError, match='NaN or infinity in row 1'):
    data.fitted_examples(np.array([[0.0], [np.nan]]), np.zeros((4, 1)))


def test_textures_have_form_and_range_of_the_training_images():
  found = data.auxiliary_examples('textures', _GRAY)
  np.testing.assert_array_equal(found.images, data.textures(2048, (8, 8, 1)))
  like = np.zeros((3, 8, 6, 2), np.float32)
  like[0, 0, 0], like[1, 2, 3] = (-1.0, -5.0), (2.0, -4.0)
  found = data.auxiliary_examples('textures', like).images
  assert (found.shape[1:], found.dtype) == ((8, 6, 2), np.float32)
  np.testing.assert_allclose(found.min(axis=(0, 1, 2)), [-1, -5], atol=0.05)
  np.testing.assert_allclose(found.max(axis=(0, 1, 2)), [2, 0], atol=0.05)


@pytest.mark.parametrize(
  ('size', 'expected'), [(32, 2048), (100, 1118), (224, 256)]
)
def test_number_of_textures_by_what_they_take(size, expected, monkeypatch):
  seen = []
  monkeypatch.setattr(
    'imbsam_jax.data._textures.textures',
    lambda number, shape, **options: (
      seen.append(number) or np.zeros((number, *shape), np.uint8)
    ),
  )
  data.auxiliary_examples('textures', _encoded(size=size))
  assert seen == [expected]


@pytest.mark.parametrize(
  'text', ['', 'texture', 'tfds', 'tfds:', 'folder:', 'npz:', 'jpg:a', 'own']
)
def test_texts_that_name_nothing(text):
  with pytest.raises(experiment.ConfigError, match='must be textures, tfds:'):
    data.check_auxiliary(text)
  with pytest.raises(experiment.ConfigError, match='`data.auxiliary` must be'):
    data.auxiliary_examples(text, _COLOR)


def test_tfds(tfds_dir):
  like = np.zeros((3, 8, 8, 1), np.uint8)
  source = data.TfdsSource('digits', 'test', data_dir=tfds_dir)
  expected = source.examples(np.arange(20)).images
  found = data.auxiliary_examples(
    'tfds:digits:test[:20]', like, data_dir=tfds_dir
  )
  np.testing.assert_array_equal(found.images, expected)
  train = data.auxiliary_examples('tfds:digits', like, data_dir=tfds_dir)
  with pytest.raises(data.DataError, match='no readable split'):
    data.auxiliary_examples('tfds:digits:none', like, data_dir=tfds_dir)
  assert len(train.labels) == len(
    data.TfdsSource('digits', 'train', data_dir=tfds_dir).labels
  )


def test_checksum():
  examples = data.Examples(_COLOR, np.zeros(4, np.int32))
  cut = data.LongTailedData(examples, None, examples, np.array([4]), ['a'])
  before = data.fingerprint(cut)
  one, two = (
    data.fingerprint(cut, data.fitted_examples(images, _COLOR))
    for images in (_COLOR, _COLOR + np.uint8(1))
  )
  assert 'auxiliary' not in before
  assert one == before | {'auxiliary': one['auxiliary']}
  assert one['auxiliary'] != two['auxiliary']
