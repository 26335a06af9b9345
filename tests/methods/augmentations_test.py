# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentations by name: which, in which order, with which keys."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax import methods

_SHAPE = (6, 8, 1)
_IMAGE = jnp.arange(1, 49, dtype=jnp.float32).reshape(_SHAPE)


def _make(text, *, image_shape=_SHAPE, dtype=np.float32):
  return methods.make_augmentation(text, image_shape=image_shape, dtype=dtype)


class MakeAugmentationTest(parameterized.TestCase):
  def test_a_key_for_each_from_left_to_right(self):
    augmentation = _make('pad_crop(padding=2)+flip+cutout(size=3)')
    alike = []
    for seed in range(8):
      key = jax.random.key(seed)
      keys = jax.random.split(key, 3)
      expected = augment.pad_crop(keys[0], _IMAGE, padding=2)
      expected = augment.random_flip(keys[1], expected)
      expected = augment.cutout(keys[2], expected, size=3)
      np.testing.assert_array_equal(augmentation(key, _IMAGE), expected)
      alike.append(np.array_equal(expected, _IMAGE))
    self.assertFalse(all(alike))

  def test_order_of_the_names(self):
    # Zeros that the crop brings in are where only this order has them.
    key = jax.random.key(1)
    first, second = jax.random.split(key)
    found = _make('flip + pad_crop')(key, _IMAGE)
    flipped = augment.random_flip(first, _IMAGE)
    np.testing.assert_array_equal(found, augment.pad_crop(second, flipped))

  @parameterized.parameters(
    ('pad_crop', augment.pad_crop, (6, 8, 3), np.uint8),
    ('flip', augment.random_flip, (6, 8, 3), np.uint8),
    ('cutout(size=2)', None, (6, 8, 3), np.uint8),
    ('auto_augment', augment.auto_augment, (8, 8, 3), np.uint8),
    ('rand_augment', augment.rand_augment, (8, 8, 3), np.uint8),
  )
  def test_which(self, text, function, shape, dtype):
    image = jnp.asarray(
      np.random.RandomState(0).randint(1, 256, shape).astype(dtype)
    )
    if function is None:
      function = lambda key, image: augment.cutout(key, image, size=2)
    key = jax.random.key(3)
    found = _make(text, image_shape=shape, dtype=dtype)(key, image)
    (only,) = jax.random.split(key, 1)
    np.testing.assert_array_equal(found, function(only, image))
    self.assertEqual((found.shape, found.dtype), (shape, dtype))

  def test_the_strong_augmentation_of_cifar(self):
    shape, dtype = (40, 40, 3), np.uint8
    text = "pad_crop+flip+auto_augment(policy='cifar10')+cutout"
    augmentation = _make(text, image_shape=shape, dtype=dtype)
    keys = jax.random.split(jax.random.key(5), 16)
    images = jax.jit(jax.vmap(augmentation, (0, None)))(
      keys, np.full(shape, 100, np.uint8)
    )
    self.assertEqual((images.shape, images.dtype), ((16, *shape), dtype))
    # Cutout is last: a quarter of its square at least stays black.
    self.assertGreaterEqual(np.sum(images == 0, axis=(1, 2, 3)).min(), 3 * 64)
    with self.assertRaisesRegex(ValueError, "must be 'cifar10' or 'imagenet'"):
      _make('auto_augment(policy="cifar")', image_shape=shape, dtype=dtype)

  @parameterized.parameters('none', ' none ')
  def test_none(self, text):
    self.assertIsNone(_make(text))

  def test_tries_them_on_the_images(self):
    with self.assertRaises(ValueError):
      _make('pad_crop', image_shape=(48,))
    with self.assertRaises(TypeError):
      _make('flip', dtype=np.int32)
    with self.assertRaisesRegex(ValueError, 'data.augment.*pad_crop'):
      _make('flip+crop')


if __name__ == '__main__':
  absltest.main()
