# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs whose network takes another size than images have, and test views."""

import functools
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax import data
from imbsam_jax import experiment as experiment_lib
from imbsam_jax.experiment import _run_parts
from imbsam_jax.experiment import _test_views
from tests.experiment import small_sources

_MEAN, _STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
_CIFAR = "pad_crop+flip+auto_augment(policy='cifar10')+cutout(size=16)"


def _images(shape, seed=0):
  return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def _config(**changes):
  changes = {name.replace('__', '.'): value for name, value in changes.items()}
  return experiment_lib.replace(experiment_lib.config('own'), changes)


def _inputs(images, size=None, **changes):
  return _run_parts.inputs_of(
    _config(**changes).data, images, size=size, mean=_MEAN, std=_STD
  )


def _looked_up(inputs, images, key):
  """The first batch of stored images, as a step makes its inputs."""
  rows = {
    'image': jnp.arange(len(images)),
    'place': jnp.arange(len(images)),
    'label': jnp.zeros(len(images), jnp.int32),
  }
  return jax.jit(inputs.look_up)(rows, images, key)['image']


class InputsTest(parameterized.TestCase):
  def test_augmented_as_stored_and_then_resized(self):
    # The strong augmentation of CIFAR of 32 pixels, then 48, in one program.
    images, key = _images((4, 32, 32, 3)), jax.random.key(5)
    inputs = _inputs(images, 48, data__augment=_CIFAR)
    found = _looked_up(inputs, images, key)
    alone = _inputs(images, data__augment=_CIFAR)
    stored = alone.preprocess.pixels(_looked_up(alone, images, key))
    pixels = np.asarray(augment.resize_images(stored, 48))
    expected = (pixels - _MEAN) / _STD
    np.testing.assert_allclose(found, expected, atol=1e-5)
    self.assertFalse(np.allclose(stored, images / np.float32(255)))
    self.assertEqual(inputs.evaluated(images).shape, found.shape)

  def test_a_crop_goes_straight_to_the_size(self):
    images, key = _images((3, 8, 8, 3)), jax.random.key(2)
    text = 'random_resized_crop(scale=(0.3, 0.6))+flip'
    inputs = _inputs(images, 20, data__augment=text, data__resize='bicubic')
    found = _looked_up(inputs, images, key)
    for place, image in enumerate(images):
      keys = jax.random.split(jax.random.fold_in(key, place))
      crop = augment.random_resized_crop(
        keys[0], image, size=20, scale=(0.3, 0.6), method='bicubic'
      )
      pixels = np.asarray(augment.random_flip(keys[1], crop)) / 255
      expected = (pixels - _MEAN) / _STD
      # XLA fuses the rounding to bytes with sums of another order.
      off = np.abs(found[place] - expected).max(-1) > 1e-5
      self.assertLess(off.mean(), 0.01)
    self.assertEqual(
      _looked_up(_inputs(images, data__augment=text), images, key).shape,
      images.shape,
    )

  @parameterized.parameters('size=4', 'area=(0.1, 1.0)', "method='bicubic'")
  def test_what_can_be_set_of_a_crop(self, parameter):
    with self.assertRaisesRegex(ValueError, r'It has scale=\(0.08, 1.0\), rat'):
      _inputs(
        _images((3, 8, 8, 3)),
        data__augment=f'random_resized_crop({parameter})',
      )

  def test_an_evaluation_sees_the_center(self):
    images = _images((3, 8, 8, 3))
    inputs = _inputs(images, 28)
    made = data.standardization(images, size=28, mean=_MEAN, std=_STD)
    np.testing.assert_array_equal(
      inputs.evaluated(images), made(made.center(images))
    )
    self.assertFalse(
      np.allclose(inputs.evaluated(images), inputs.preprocess(images))
    )
    plain = _inputs(images)
    self.assertIsNone(plain.view)
    np.testing.assert_array_equal(
      plain.evaluated(images), plain.preprocess(images)
    )

  def test_adversaries_move_the_pixels_of_the_run(self):
    # GAE turns inputs back into pixels, by the constants of a trained network.
    config = _config(
      data__profile='natural',
      objective__scheme='gae(share=0.67)',
      optimizer__rows='joint',
    )
    images = small_sources.SOURCES.train[0].repeat(3, axis=-1)
    inputs = _inputs(images, 12)
    labels = small_sources.SOURCES.train[1]
    examples = data.Examples(images, labels)
    counts = np.array(small_sources.COUNTS)
    long_tailed = data.LongTailedData(
      examples, None, examples, counts, ['a', 'b', 'c']
    )
    combined, _ = _run_parts.combined(
      config, long_tailed, loss=None, auxiliary=None, inputs=inputs
    )
    rows = {
      'image': inputs.preprocess(images[-8:]),
      'label': jnp.asarray(labels[-8:]),
      'place': jnp.arange(8),
    }
    ctx = types.SimpleNamespace(
      key=jax.random.key(0),
      clean=lambda x, train: jnp.sum(x, (1, 2))[:, :3],
      summed=lambda x: x,
    )
    prepared = combined.objective.prepare(ctx, rows)
    moved = inputs.preprocess.pixels(prepared['adversary'])
    pixels = inputs.preprocess.pixels(rows['image'])
    self.assertLess(np.abs(moved - pixels).max(), 1.01 / 255)

  @parameterized.parameters(
    (dict(data__resize='bicubic'), None, '`data.resize=bicubic` has no effect'),
    (dict(data__augment='flip+crop'), 8, 'data.augment.*random_resized_crop'),
  )
  def test_what_does_not_fit(self, changes, size, message):
    with self.assertRaisesRegex(ValueError, message):
      _inputs(_images((3, 4, 4, 3)), size, **changes)


class RunTest(parameterized.TestCase):
  def test_a_run_of_a_network_of_another_size(self):
    # 6 pixels to 14, gray to colors; an evaluation goes by 16.
    inputs_of = functools.partial(
      _run_parts.inputs_of, size=14, mean=_MEAN, std=_STD, rgb=True
    )
    config = _config(
      data__profile='natural',
      data__batch_size=16,
      data__augment='random_resized_crop',
      data__validation_per_class=0,
      objective__mixing='cmo(idle_epochs=0)',
      model__name='mlp',
      model__norm='none',
      epochs=2.0,
      flip_test=True,
    )
    with mock.patch.object(_run_parts, 'inputs_of', inputs_of):
      exp = experiment_lib.build(config, data=small_sources.SOURCES)
    state = experiment_lib.run(exp).state
    self.assertEqual(state.params['dense1']['kernel'].shape[0], 14 * 14 * 3)
    images = exp.data.test.images[:16]
    made = data.standardization(
      exp.data.train.images, size=14, mean=_MEAN, std=_STD, rgb=True
    )
    center = made.center(images)
    logits = [
      exp.logit_step(state.variables, view)[0]
      for view in (center, center[:, :, ::-1])
    ]
    classes, confidences, *_ = exp.predict_step(state.variables, images)
    mean = (logits[0] + logits[1]) / 2
    np.testing.assert_array_equal(classes, mean.argmax(axis=1))
    np.testing.assert_allclose(
      confidences, jax.nn.softmax(mean).max(axis=1), rtol=1e-5
    )
    (found,) = exp.views(images)
    np.testing.assert_allclose(found, center, rtol=1e-6)


class ViewsTest(parameterized.TestCase):
  def test_none(self):
    images = _images((3, 8, 8, 3))
    self.assertIsNone(_test_views.make('none', _inputs(images), images))

  def test_five_crop(self):
    images = _images((3, 8, 8, 3))
    inputs = _inputs(images, 20)
    views = _test_views.make('five_crop(margin=4)', inputs, images)
    for found, expected in zip(
      views(images), inputs.preprocess.five_crops(images, 4), strict=True
    ):
      np.testing.assert_array_equal(found, expected)

  def test_what_does_not_fit(self):
    encoded = types.SimpleNamespace(
      shape=(5, 8, 8, 3), ndim=4, dtype=np.dtype(np.uint8)
    )
    with self.assertRaisesRegex(ValueError, 'as their center, at its size'):
      _test_views.make(
        'five_crop',
        _run_parts.inputs_of(_config().data, encoded),
        encoded,
      )
    table = np.zeros((5, 4), np.float32)
    with self.assertRaisesRegex(ValueError, r'cuts images.*shape \(4,\)'):
      _test_views.make(
        'five_crop', _run_parts.inputs_of(_config().data, table), table
      )

  @parameterized.parameters(
    ({'test_views': 'ten_crop'}, 'must be one of none, five_crop'),
    ({'test_views': 'five_crop(margin=0)'}, 'test_views: margin'),
    ({'test_views': 'five_crop(size=4)'}, 'It has margin=None'),
    ({'data.resize': 'area'}, 'must be one of bilinear, bicubic'),
  )
  def test_words(self, changes, message):
    config = experiment_lib.replace(experiment_lib.config('own'), changes)
    with self.assertRaisesRegex(experiment_lib.ConfigError, message):
      experiment_lib.check_config(config)


if __name__ == '__main__':
  absltest.main()
