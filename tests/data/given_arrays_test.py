# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arrays, labels and .npz files as people have them.

What is taken means what they mean by it; what is refused comes with advice,
which is followed here.
"""

import pathlib
import re
import tempfile
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from scipy import sparse

from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax.experiment.recipes import npz_lt

_IMAGES = np.random.RandomState(0).randint(0, 256, (6, 8, 7, 3), np.uint8)
_Y = np.array([0, 1, 2, 0, 2, 0])
_WORDS = np.array(['ant', 'bee', 'cat'])[_Y]


class _Frame:
  """As frames of pandas: an array by a method."""

  def __init__(self, values):
    self._values = values

  def __array__(self, dtype=None, copy=None):
    return np.array(self._values, dtype)


class _Broken:
  """As tensors of PyTorch that are elsewhere."""

  def __array__(self, dtype=None, copy=None):
    raise TypeError("can't convert cuda:0 device type tensor to numpy.")


def _source(labels, images=_IMAGES, **kwargs):
  return data.ArraySource(images, labels, **kwargs)


def _followed(message, **values):
  """The value of the expression that a message says to pass."""
  for start in (m.end() for m in re.finditer('(?i:pass) ', message)):
    start += len('class indices: ') * message.startswith('class', start)
    for end in range(len(message), start, -1):
      try:
        return eval(message[start:end].rstrip(', '), {'numpy': np, **values})  # noqa: S307
      except (SyntaxError, NameError, AttributeError):
        pass
  raise AssertionError(message)


class LabelsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('list', _Y.tolist()),
    ('uint8', _Y.astype(np.uint8)),
    ('column', _Y[:, None]),
    ('keras', _Y[:, None].astype(np.uint8)),
    ('row_of_matlab', _Y[None]),
    ('whole_floats', _Y.astype(float)),
    ('float_column', _Y[:, None].astype(np.float32)),
    ('bfloat16', jnp.asarray(_Y, jnp.bfloat16)),
    ('one_hot', np.eye(3)[_Y]),
    ('one_hot_ints', np.eye(3, dtype=int)[_Y]),
    ('one_hot_bools', np.eye(3, dtype=bool)[_Y]),
    ('objects', _Y.astype(object)),
    ('frame', _Frame(_Y)),
    ('jax', jnp.asarray(_Y)),
    ('masked_without_mask', np.ma.array(_Y)),
  )
  def test_the_same_labels(self, labels):
    source = _source(labels)
    np.testing.assert_array_equal(source.labels, _Y)
    self.assertEqual(source.labels.dtype, np.int32)
    self.assertEqual(source.class_names, ['0', '1', '2'])
    # A test set has the classes of the training set.
    named = _source(labels, class_names=['ant', 'bee', 'cat'])
    np.testing.assert_array_equal(named.labels, _Y)

  @parameterized.named_parameters(
    ('array', _WORDS),
    ('column', _WORDS[:, None]),
    ('objects', _WORDS.astype(object)),
    ('bytes', _WORDS.astype('S')),
    ('list', _WORDS.tolist()),
  )
  def test_names(self, labels):
    source = _source(labels)
    np.testing.assert_array_equal(source.labels, _Y)
    self.assertEqual(source.class_names, ['ant', 'bee', 'cat'])
    # By name, whatever their order.
    other = _source(labels, class_names=['cat', 'ant', 'bee'])
    np.testing.assert_array_equal(other.labels, np.array([1, 2, 0])[_Y])

  def test_names_that_are_numbers_are_in_their_order(self):
    source = _source(np.array(['10', '9', '2', '9', '2', '2']))
    self.assertEqual(source.class_names, ['2', '9', '10'])
    self.assertEqual(source.labels.tolist(), [2, 1, 0, 1, 0, 0])

  def test_two_classes(self):
    source = _source(_Y > 0)
    np.testing.assert_array_equal(source.labels, [0, 1, 1, 0, 1, 0])
    self.assertEqual(source.class_names, ['0', '1'])

  def test_a_class_of_one_hot_rows_without_examples(self):
    source = _source(np.eye(4)[_Y])
    self.assertLen(source.class_names, 4)
    with self.assertRaisesRegex(data.DataError, "class 3 .'3'. has no train"):
      data.long_tailed(source, source)

  @parameterized.named_parameters(
    ('soft', np.eye(3)[_Y] * 0.8 + 0.2 / 3, 'soft labels.*0.866667'),
    ('multi', np.maximum(np.eye(3)[_Y], [1, 0, 0]), 'multi-label.*in row 1'),
    ('bools', np.eye(3)[_Y] + [1, 0, 0] > 0, 'multi-label.*1, 1, 0. in row 1'),
    ('infinite', np.where(np.eye(3)[_Y], np.inf, -np.inf), 'column that holds'),
    ('none', np.eye(3)[_Y] * (_Y > 0)[:, None], 'no class for a row.*row 0'),
    ('halves', _Y / 2, 'class indices, got 0.5 in row 1 .*digitize'),
    ('nan', np.where(_Y == 1, np.nan, _Y), 'NaN in row 1 .1 such'),
    ('missing', [0, None, 2, 0, 2, 0], "'None' .NoneType. in row 1"),
    ('no_name', [*'abc', None, *'ab'], "texts, got 'None' .NoneType. in row 3"),
    ('masked', np.ma.array(_Y, mask=_Y == 2), 'missing in 2 rows, .* row 2'),
    ('boxes', np.zeros((6, 4), int) + 7, r'column .*labels\[:, 0\]'),
    ('sparse', sparse.csr_matrix(np.eye(6)), 'sparse.*toarray'),
    ('volume', np.zeros((6, 2, 2), int), r'shape \[N\]'),
    ('complex', _Y * 1j, 'must be integers, got dtype complex'),
    ('dates', _Y.astype('M8[s]'), 'must be integers, got dtype datetime'),
    ('nothing', np.zeros((6, 0)), r'got .*\(6, 0\)'),
    ('number', 3, 'got 6 and no rows'),
    ('cuda', _Broken(), 'not an array: .*cuda:0'),
  )  # fmt: skip
  def test_refused(self, labels, message):
    with self.assertRaisesRegex(data.DataError, message):
      _source(labels)

  def test_soft_labels_by_the_advice(self):
    labels = np.eye(3)[_Y] * 0.8 + 0.2 / 3
    with self.assertRaises(data.DataError) as caught:
      _source(labels)
    followed = _followed(str(caught.exception), labels=labels)
    np.testing.assert_array_equal(_source(followed).labels, _Y)

  def test_names_of_no_class(self):
    with self.assertRaisesRegex(
      data.DataError, "'bee' in row 1, .* of the 2: 'ant', 'bees'.* 'bees'?"
    ):
      _source(_WORDS, class_names=['ant', 'bees'])
    with self.assertRaisesRegex(
      data.DataError, 'rows of 3 classes, .* 2 names'
    ):
      _source(np.eye(3)[_Y], class_names=['ant', 'bee'])

  def test_numbers_that_are_names_too(self):
    names = ['1', '2', '3']
    with self.assertRaisesRegex(data.DataError, r'Pass .*labels.astype\(str\)'):
      _source(np.array([1, 2, 1, 2, 1, 1]), class_names=names)
    found = _source(np.array([1, 2, 1, 2, 1, 1]).astype(str), class_names=names)
    self.assertEqual(found.labels.tolist(), [0, 1, 0, 1, 0, 0])
    # These are no names.
    found = _source(_Y, class_names=names)
    np.testing.assert_array_equal(found.labels, _Y)

  def test_labels_from_1(self):
    source = _source(_Y + 1)
    message = 'labels begin at 1 .and end at 3., classes at 0: subtract 1'
    with self.assertRaisesRegex(data.DataError, f'no training .* {message}'):
      data.long_tailed(source, source)
    with self.assertRaisesRegex(data.DataError, message):
      _source(_Y + 1, class_names=['ant', 'bee', 'cat'])

  def test_classes_that_are_left_out(self):
    labels = np.array([0, 5, 0, 2, 2, 0])
    source = _source(labels)
    with self.assertRaisesRegex(data.DataError, 'class 1 .* return_inverse'):
      data.long_tailed(source, source)
    source = _source(np.unique(labels, return_inverse=True)[1])
    self.assertLen(data.long_tailed(source, source).class_counts, 3)


class AdviceOfChecksTest(parameterized.TestCase):
  """The functions of labels are stricter, and say what to pass."""

  @parameterized.named_parameters(
    ('column', _Y[:, None], _Y),
    ('float_column', _Y[:, None].astype(float), _Y),
    ('floats', _Y.astype(float), _Y),
    ('bools', _Y > 0, _Y > 0),
    ('one_hot', np.eye(3, dtype=int)[_Y], _Y),
    ('one_hot_floats', np.eye(3)[_Y], _Y),
    ('names', _WORDS, _Y),
  )
  def test_is_followed(self, labels, expected):
    with self.assertRaises(data.DataError) as caught:
      data.long_tail_indices(labels, [1, 1, 1], seed=0)
    followed = _followed(str(caught.exception), labels=labels)
    np.testing.assert_array_equal(followed, expected)


class ImagesTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('int64', _IMAGES.astype(np.int64)),
    ('uint16', _IMAGES.astype(np.uint16)),
    ('big_endian', _IMAGES.astype('>i4')),
    ('list', _IMAGES.tolist()),
    ('of_arrays', list(_IMAGES)),
    ('objects', _IMAGES.astype(object)),
    ('jax', jnp.asarray(_IMAGES)),
    ('frame', _Frame(_IMAGES)),
    ('fortran', np.asfortranarray(_IMAGES)),
    ('masked_without_mask', np.ma.array(_IMAGES)),
  )
  def test_bytes(self, images):
    found = _source(_Y, images).examples(np.arange(6)).images
    self.assertEqual(found.dtype, np.uint8)
    np.testing.assert_array_equal(found, _IMAGES)

  def test_an_object_array_of_images(self):
    images = np.empty(6, object)
    images[:] = list(_IMAGES)
    found = _source(_Y, images).examples(np.arange(6)).images
    np.testing.assert_array_equal(found, _IMAGES)

  def test_a_memory_map(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'a.npy'
      np.save(path, _IMAGES)
      found = _source(_Y, np.load(path, mmap_mode='r')).examples(np.arange(6))
      np.testing.assert_array_equal(found.images, _IMAGES)

  @parameterized.parameters('f2', 'f4', 'f8', '>f8', ml_dtypes.bfloat16)
  def test_floats(self, dtype):
    images = (_IMAGES // 16).astype(dtype)
    found = _source(_Y, images).examples(np.arange(6)).images
    self.assertEqual(found.dtype, np.float32)
    np.testing.assert_array_equal(found, _IMAGES // 16)

  @parameterized.parameters('i8', 'i2', 'u4', '?')
  def test_whole_features(self, dtype):
    features = np.array([[0, 1, 300, 70000]] * 6).astype(dtype)
    found = _source(_Y, features).examples(np.arange(6)).images
    self.assertEqual(found.dtype, np.float32)
    np.testing.assert_array_equal(found, features)

  @parameterized.parameters(
    (4095, 'u2', 4095), (3000, 'i8', 4095), (-3, 'i4', 3)
  )
  def test_integers_beyond_bytes(self, value, dtype, divided):
    images = _IMAGES.astype(dtype)
    images = np.where(images > 250, np.array(value, dtype), images)
    if value < 0:
      images = np.minimum(images, 2)
    with self.assertRaises(data.DataError) as caught:
      _source(_Y, images)
    self.assertIn(f'(images / {divided})', str(caught.exception))
    followed = _followed(str(caught.exception), images=images)
    self.assertLessEqual(abs(followed).max(), 1)
    found = _source(_Y, followed).examples(np.arange(6)).images
    np.testing.assert_allclose(found * divided, images, rtol=1e-6)

  @parameterized.parameters(1, 3)
  def test_channels_first(self, channels):
    images = _IMAGES[..., :channels].transpose(0, 3, 1, 2)
    for kind in (images, images / np.float32(255)):
      with self.assertRaises(data.DataError) as caught:
        _source(_Y, kind)
      followed = _followed(str(caught.exception), images=kind)
      self.assertEqual(followed.shape, (6, 8, 7, channels))
      _source(_Y, followed)

  @parameterized.parameters(
    ((6, 8, 7, 3),), ((6, 8, 8, 1),), ((6, 3, 3, 3),), ((6, 1, 1, 64),),
    ((6, 2, 8, 8),), ((6, 3, 4, 9),), ((6, 4, 8, 8),), ((6, 8, 8),),
  )  # fmt: skip
  def test_other_layouts_are_left(self, shape):
    images = np.zeros(shape, np.uint8)
    self.assertEqual(
      _source(_Y, images).examples(np.arange(6)).images.shape, shape
    )

  @parameterized.named_parameters(
    ('masked', np.ma.array(_IMAGES, mask=_IMAGES > 254), 'masked.*row'),
    ('sparse', sparse.csr_matrix(np.eye(6)), 'sparse.*toarray'),
    ('fields', np.zeros(6, [('a', 'f4'), ('b', 'f4')]), 'fields, a, b'),
    ('shapes', [_IMAGES[0], *_IMAGES[1:, :5]], 'one shape|not an array'),
    ('text', np.zeros((6, 2), 'U3'), 'uint8 or floating point, got <U3'),
    ('text_in_rows', np.array([[1, 'x']] * 6, object), "'x' .str. in row 0, c"),
    ('complex', np.zeros((6, 2), complex), 'got complex128'),
    ('generator', (x for x in range(6)), 'got generator|no rows'),
    ('nan', np.where(_IMAGES == 3, np.nan, _IMAGES), 'NaN or infinity in row'),
    ('infinity', np.full((6, 2), 1e60), 'NaN or infinity in row 0'),
    ('none', None, 'got NoneType|no rows'),
    ('huge', np.array([[10**400]] * 6, object), 'too large'),
  )  # fmt: skip
  def test_refused(self, images, message):
    with self.assertRaisesRegex(data.DataError, message):
      _source(_Y, images)

  def test_ragged_objects_name_the_row(self):
    images = np.empty(6, object)
    images[:] = [*_IMAGES[:4], _IMAGES[4, :5], _IMAGES[5]]
    with self.assertRaisesRegex(
      data.DataError, r'\(8, 7, 3\).*\(5, 7, 3\) in row 4'
    ):
      _source(_Y, images)


class SplitsTest(parameterized.TestCase):
  """Training images against test, validation and auxiliary images."""

  @parameterized.product(
    part=['test', 'validation', 'auxiliary'],
    case=[
      ('bytes', 'unit', 'round().astype("uint8")'),
      ('bytes', 'bytes_as_floats', 'round().astype("uint8")'),
      ('unit', 'bytes', 'round().astype("uint8")'),
      ('unit', 'bytes_as_floats', 'two scales'),
      ('bytes_as_floats', 'unit', 'two scales'),
      ('bytes_as_floats', 'standard', 'two scales'),
      ('unit', 'symmetric', 'two scales'),
      ('symmetric', 'unit', 'two scales'),
      ('bytes', 'gray', 'numpy.repeat(images, 3, axis=-1)'),
      ('gray', 'bytes', 'images.mean(axis=-1, keepdims=True)'),
      ('bytes', 'smaller', 'same shape'),
    ],
  )
  def test_other_scales(self, part, case):
    unit = _IMAGES / np.float32(255)
    kinds = {
      'bytes': _IMAGES,
      'unit': unit,
      'bytes_as_floats': _IMAGES.astype(np.float32),
      'symmetric': 2 * unit - 1,
      'standard': (unit - unit.mean()) / unit.std(),
      'gray': _IMAGES[..., :1],
      'smaller': _IMAGES[:, :6],
    }
    ours, theirs, message = case
    train, other = _source(_Y, kinds[ours]), kinds[theirs]
    with self.assertRaises(data.DataError) as caught:
      if part == 'auxiliary':
        data.fitted_examples(other, kinds[ours])
      else:
        sources = {'test': train, part: _source(_Y, other)}
        data.long_tailed(train, **sources)
    text = str(caught.exception)
    self.assertIn(message, text)
    self.assertIn(f'{part} images', text)
    if 'pass' in text:
      training = 'For the training' in text
      followed = _followed(text, images=kinds[ours] if training else other)
      pair = (followed, other) if training else (kinds[ours], followed)
      data.long_tailed(*(_source(_Y, images) for images in pair))

  @parameterized.named_parameters(
    ('standard', np.random.RandomState(1).randn(6, 4), 3.0),
    ('dark_test', _IMAGES.astype(np.float32), 0.1),
    ('images', _IMAGES / np.float32(255), 0.5),
    ('symmetric', _IMAGES / np.float32(127.5) - 1, 0.6),
    ('zeros', np.zeros((6, 4)), 1.0),
    (
      'wide_features',
      np.random.RandomState(1).lognormal(size=(6, 4)) * 1e5,
      0.01,
    ),
  )
  def test_other_samples_of_one_scale(self, images, factor):
    train, test = _source(_Y, images), _source(_Y, images * factor)
    data.long_tailed(train, test)

  def test_features_of_another_scale(self):
    unit = np.random.RandomState(1).rand(6, 40)
    with self.assertRaisesRegex(data.DataError, 'two scales'):
      data.long_tailed(_source(_Y, unit), _source(_Y, unit * 255))

  def test_rows_of_both_are_said(self):
    images = _IMAGES.copy()
    train = _source(_Y, images)
    test = np.concatenate([255 - images[:1], images[4:5], 255 - images[1:2]])
    found = data.long_tailed(train, _source(_Y[:3], test), seed=None)
    self.assertEqual(
      found.notes,
      ('1 of 3 test images are training images too, such as test image 1, '
       'training image 4',),
    )  # fmt: skip
    apart = _source(np.arange(3), 255 - images[:3])
    self.assertEqual(data.long_tailed(train, apart).notes, ())
    both = data.long_tailed(train, apart, validation=train)
    self.assertStartsWith(both.notes[0], '6 of 6 validation images')

  def test_classes_without_test_images_are_said(self):
    test = _source(np.array([0, 0]), 255 - _IMAGES[:2])
    found = data.long_tailed(_source(_WORDS), test)
    self.assertEqual(
      found.notes, ('2 of 3 classes have no test images: bee, cat',)
    )


class NpzTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = tempfile.TemporaryDirectory()
    self.addCleanup(self._folder.cleanup)
    self.path = pathlib.Path(self._folder.name) / 'a.npz'

  def _build(self, **arrays):
    good = {
      'x_train': _IMAGES, 'y_train': _Y,
      'x_test': 255 - _IMAGES, 'y_test': _Y,
    }  # fmt: skip
    np.savez(self.path, **good | arrays)
    config = experiment.replace(
      npz_lt.get_config('sgd'),
      {'data.data_dir': str(self.path), 'data.batch_size': 8},
    )
    return experiment.build(config)

  def test_gray_images_without_a_channel_axis(self):
    built = self._build(x_train=_IMAGES[..., 0], x_test=255 - _IMAGES[..., 0])
    self.assertEqual(built.data.train.images.shape, (6, 8, 7, 1))
    self.assertEqual(built.data.test.images.shape, (6, 8, 7, 1))
    np.testing.assert_array_equal(
      np.sort(built.data.train.images.sum(axis=(1, 2, 3))),
      np.sort(_IMAGES[..., 0].sum(axis=(1, 2), dtype=np.uint64)),
    )
    self.assertIn('note    images have no channel axis', str(built))
    self.assertIn('taken as gray [8, 7]', str(built))

  def test_names_of_classes_in_another_order(self):
    built = self._build(y_train=_WORDS, y_test=_WORDS[::-1])
    self.assertEqual([*built.data.class_names], ['ant', 'bee', 'cat'])
    np.testing.assert_array_equal(built.data.test.labels, _Y[::-1])

  def test_one_row_is_training_and_test_image(self):
    built = self._build(x_test=_IMAGES)
    self.assertIn('note    6 of 6 test images are training images', str(built))

  @parameterized.named_parameters(
    ('more_test_classes', {'y_test': _Y + 1}, r'in \[0, 3\)|begin at 1'),
    ('from_1', {'y_train': _Y + 1, 'y_test': _Y + 1}, 'begin at 1'),
    ('rows', {'y_train': _Y[:5]}, 'got 6 and 5 rows'),
    ('no_rows', {'x_test': _IMAGES[:0], 'y_test': _Y[:0]}, 'at least one'),
    ('scale', {'x_train': _IMAGES / 255, 'x_test': _IMAGES / 1}, 'two scales'),
    ('channels_first', {'x_train': _IMAGES.transpose(0, 3, 1, 2)}, 'transpose'),
    ('objects', {'y_train': np.array([None] * 6)}, 'Python objects.*astype'),
  )  # fmt: skip
  def test_refused(self, arrays, message):
    with self.assertRaisesRegex(data.DataError, message):
      self._build(**arrays)

  def test_three_splits(self):
    np.savez(
      self.path, x_train=_IMAGES, y_train=_WORDS, x_val=_IMAGES[3:],
      y_val=_WORDS[3:], x_test=_IMAGES[:3], y_test=_WORDS[:3],
    )  # fmt: skip
    config = experiment.replace(
      npz_lt.get_config('sgd'),
      {
        'data.data_dir': str(self.path),
        'data.batch_size': 8,
        'data.splits': ('train', 'validation', 'test'),
      },
    )
    built = experiment.build(config)
    np.testing.assert_array_equal(built.data.validation.labels, _Y[3:])
    self.assertIn('3 of 3 validation images', str(built))

  @parameterized.parameters('val', 'valid', 'validation')
  def test_validation(self, name):
    arrays = {f'x_{name}': _IMAGES[:2], f'y_{name}': _Y[:2]}
    np.savez(self.path, **arrays)
    found = data.NpzSource(self.path, 'validation')
    np.testing.assert_array_equal(found.labels, _Y[:2])

  @parameterized.parameters(
    ('X_train', 'Y_train'), ('trainX', 'trainY'), ('train_x', 'train_y'),
    ('train_images', 'train_labels'), ('train-data', 'train-labels'),
  )  # fmt: skip
  def test_names_that_are_near(self, x, y):
    np.savez(self.path, **{x: _IMAGES, y: _Y})
    with self.assertRaises(data.DataError) as caught:
      data.NpzSource(self.path, 'train')
    text = str(caught.exception)
    self.assertIn(f'{x!r} and {y!r} look like these', text)
    commands = re.search(r'anew, (.*\)) and the other', text)[1]
    exec(commands, {'numpy': np, 'path': self.path})  # noqa: S102
    np.testing.assert_array_equal(data.NpzSource(self.path, 'train').labels, _Y)

  def test_names_that_are_others(self):
    np.savez(self.path, a=_IMAGES, b=_Y)
    with self.assertRaises(data.DataError) as caught:
      data.NpzSource(self.path, 'train')
    self.assertNotIn('look like', str(caught.exception))

  def test_two_of_one_name(self):
    np.savez(self.path, x_train=_IMAGES, y_train=_Y)
    with zipfile.ZipFile(self.path) as archive:
      content = archive.read('y_train.npy')
    with zipfile.ZipFile(self.path, 'a') as archive:
      with self.assertWarns(UserWarning):
        archive.writestr('y_train.npy', content)
    with self.assertRaisesRegex(data.DataError, "two arrays 'y_train'"):
      data.NpzSource(self.path, 'train')


if __name__ == '__main__':
  absltest.main()
