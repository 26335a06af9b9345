# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images of noise in the place of rare ones."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment

KEY = jax.random.key(0)
COUNTS = [5000, 1000, 250, 0]
NUM_ROWS = 40_000

# One program for each shape, where the errors are not the point.
_pure_noise = jax.jit(augment.pure_noise)


def _batch(num_rows=8, shape=(2, 3, 2), dtype=np.float32):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(num_rows, *shape)).astype(dtype)
  return images, np.arange(num_rows) % 4


class PureNoiseTest(parameterized.TestCase):
  @parameterized.parameters(1 / 3, 0.8)
  def test_probability_by_class(self, delta):
    batch = _batch(NUM_ROWS, (1,))
    images, is_noise = _pure_noise(KEY, batch, np.array(COUNTS), delta=delta)
    # What noise looks like has nothing to do with which rows it is.
    noise = np.asarray(images, np.float64)[np.asarray(is_noise)]
    self.assertLess(abs(noise.mean()), 4 / np.sqrt(noise.size))
    self.assertLess(abs(noise.var() - 1), 6 / np.sqrt(noise.size))
    for label, count in enumerate(COUNTS):
      expected = delta * (1 - count / 5000)
      found = np.asarray(is_noise)[batch[1] == label].mean()
      deviation = np.sqrt(expected * (1 - expected) / (NUM_ROWS / 4))
      self.assertLessEqual(abs(found - expected), 4 * deviation)

  def test_noise_is_normal_by_channel_and_differs_between_pixels(self):
    mean, std = np.array([3.0, -1.0]), np.array([0.5, 2.0])
    images, is_noise = _pure_noise(
      KEY, _batch(4000), np.array([1, 0, 0, 0]), delta=1.0, mean=mean, std=std
    )
    noise = np.asarray(images, np.float64)[np.asarray(is_noise)]
    self.assertLen(noise, 3000)
    standard = (noise - mean) / std
    values = standard.reshape(-1, 2)
    error = 1 / np.sqrt(len(values))
    np.testing.assert_array_less(abs(values.mean(0)), 4 * error)
    np.testing.assert_array_less(abs(values.var(0) - 1), 4 * np.sqrt(2) * error)
    np.testing.assert_array_less(
      abs((abs(values) < 1).mean(0) - 0.6827), 4 * 0.47 * error
    )
    # Pixels, channels and rows are independent of each other.
    correlation = np.corrcoef(standard.reshape(3000, -1).T) - np.eye(12)
    self.assertLess(abs(correlation).max(), 5 / np.sqrt(3000))
    rows = np.corrcoef(values[:-12:12, 0], values[12::12, 0])[0, 1]
    self.assertLess(abs(rows), 5 / np.sqrt(3000))

  def test_other_rows_stay(self):
    batch = _batch(200)
    images, is_noise = _pure_noise(KEY, batch, np.array(COUNTS), delta=0.9)
    kept = ~np.asarray(is_noise)
    np.testing.assert_array_equal(images[kept], batch[0][kept])
    self.assertTrue((np.abs(images - batch[0]).min((1, 2, 3))[~kept] > 0).all())
    self.assertEqual(set(batch[1][~kept]), {1, 2, 3})
    self.assertTrue((~kept)[batch[1] == 3].mean() > 0.7)
    # Which rows become noise, does not depend on what they hold.
    _, again = _pure_noise(
      KEY, (0 * batch[0], batch[1]), np.array(COUNTS), delta=0.9
    )
    np.testing.assert_array_equal(is_noise, again)

  @parameterized.parameters(
    ([7, 7, 7, 7], 1.0, 0), (COUNTS, 0.0, 0), ([3, 0, 0, 0], 1.0, 6)
  )
  def test_never_and_always(self, counts, delta, num_noise):
    batch = _batch()
    for seed in range(3):
      images, is_noise = _pure_noise(
        jax.random.key(seed), batch, np.array(counts), delta=delta
      )
      self.assertEqual(is_noise.sum(), num_noise)
      self.assertFalse(np.isnan(images).any())
      if num_noise == 0:
        np.testing.assert_array_equal(images, batch[0])

  def test_counts_and_delta_may_be_traced(self):
    batch = _batch(64)
    before = _pure_noise._cache_size()
    for delta in (0.0, 0.5, 1.0):
      found = _pure_noise(KEY, batch, np.array(COUNTS), delta=delta)
      expected = augment.pure_noise(KEY, batch, COUNTS, delta=delta)
      np.testing.assert_array_equal(found[1], expected[1])
      np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    self.assertEqual(_pure_noise._cache_size(), before + 1)

  @parameterized.parameters('bfloat16', 'float16')
  def test_dtypes(self, dtype):
    batch = _batch(32, dtype=jnp.dtype(dtype))
    images, is_noise = _pure_noise(KEY, batch, np.array(COUNTS), delta=1.0)
    self.assertEqual(images.dtype, jnp.dtype(dtype))
    self.assertEqual((is_noise.dtype, is_noise.shape), (jnp.bool_, (32,)))

  @parameterized.parameters(
    (dict(delta=1.5), ValueError, '`delta` must be finite and from 0 to 1'),
    (dict(std=-1.0), ValueError, '`std` must be finite and at least 0'),
    (dict(mean=np.ones(3)), ValueError, r'`mean` must be .* shape \[2\]'),
    (dict(std=np.ones((2, 1))), ValueError, r'`std` .* got shape \(2, 1\)'),
    (dict(counts=[1, 2]), ValueError, r'`batch\[1\]` must be in \[0, 2\)'),
    (dict(dtype=np.uint8), TypeError, 'floating point images.*Standardize'),
    (dict(shape=()), ValueError, r'images \[B, \.\.\., channels\]'),
  )
  def test_errors(self, changes, error, message):
    batch = _batch(
      shape=changes.pop('shape', (2, 3, 2)),
      dtype=changes.pop('dtype', np.float32),
    )
    counts = changes.pop('counts', COUNTS)
    with self.assertRaisesRegex(error, message):
      augment.pure_noise(KEY, batch, counts, **changes)


if __name__ == '__main__':
  absltest.main()
