# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixing of two batches: mixup, Remix, CMO, DBN-Mix."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax.losses import MixedLabels

KEY = jax.random.key(0)
COUNTS = np.array([900, 300, 100, 30])
LABELS = np.array([0, 1, 2, 3, 0, 3], np.int32)
PARTNERS = np.array([3, 1, 0, 3, 1, 0], np.int32)


def _batches(dtype=np.float32, shape=(6, 8, 10, 3), seed=0):
  rng = np.random.default_rng(seed)
  first, second = rng.integers(0, 256, (2, *shape))
  return (first.astype(dtype), LABELS), (second.astype(dtype), PARTNERS)


def _call(name, key, batch, partner, **arguments):
  if name == 'remix':
    return augment.remix(key, batch, partner, COUNTS, **arguments)
  return getattr(augment, name)(key, batch, partner, **arguments)


NAMES = ('mixup', 'dbn_mix', 'remix', 'cmo')


class AllTest(parameterized.TestCase):
  @parameterized.product(
    name=NAMES, dtype=('float32', 'bfloat16', 'float16', 'uint8')
  )
  def test_shapes_and_dtypes(self, name, dtype):
    batch, partner = _batches(jnp.dtype(dtype))
    images, labels = _call(name, KEY, batch, partner)
    self.assertIsInstance(labels, MixedLabels)
    self.assertEqual(images.dtype, jnp.dtype(dtype))
    self.assertEqual(images.shape, batch[0].shape)
    np.testing.assert_array_equal(labels.first, LABELS, strict=True)
    np.testing.assert_array_equal(labels.second, PARTNERS, strict=True)
    self.assertEqual((labels.lam.shape, labels.lam.dtype), ((6,), jnp.float32))
    self.assertBetween(float(labels.lam.min()), 0, 1)
    self.assertBetween(float(labels.lam.max()), 0, 1)

  @parameterized.parameters(*NAMES)
  def test_other_inputs(self, name):
    # NumPy's float64 and narrow labels, lists, legacy keys.
    batch, partner = _batches(np.float64)
    expected, _ = _call(name, KEY, *_batches())
    key = jax.random.PRNGKey(0)
    for labels in (LABELS.astype(np.uint8), LABELS.tolist()):
      images, mixed = _call(name, key, (batch[0], labels), [partner[0], labels])
      np.testing.assert_array_equal(images, expected)
      self.assertEqual(mixed.first.dtype, jnp.int32)

  @parameterized.parameters(*NAMES)
  def test_same_key_same_result_also_under_jit(self, name):
    batch, partner = _batches()
    arguments = {'probability': 1.0} if name == 'cmo' else {}
    call = functools.partial(_call, name, **arguments)
    eager = call(KEY, batch, partner)
    again = call(KEY, batch, partner)
    jitted = jax.jit(call)(KEY, batch, partner)
    other = call(jax.random.key(5), batch, partner)
    jax.tree.map(np.testing.assert_array_equal, eager, again)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4),
      eager,
      jitted,
    )
    self.assertGreater(np.abs(eager[0] - other[0]).max(), 1.0)

  @parameterized.product(name=NAMES, dtype=('float32', 'uint8'))
  def test_zero_parameter_is_unmixed(self, name, dtype):
    batch, partner = _batches(jnp.dtype(dtype))
    parameter = {'beta' if name == 'cmo' else 'alpha': 0.0}
    traced = jax.tree.map(jnp.float32, parameter)
    for arguments in (parameter, traced):
      images, labels = _call(name, KEY, batch, partner, **arguments)
      np.testing.assert_array_equal(images, batch[0], strict=True)
      np.testing.assert_array_equal(labels.lam, np.ones(6))

  @parameterized.parameters('mixup', 'dbn_mix')
  def test_tiny_parameter_takes_one_of_both(self, name):
    batch, partner = _batches()
    for seed in range(8):
      images, labels = _call(
        name, jax.random.key(seed), batch, partner, alpha=1e-6
      )
      whole = batch if labels.lam[0] > 0.5 else partner
      np.testing.assert_allclose(images, whole[0], atol=1e-2)

  @parameterized.parameters(*NAMES)
  def test_shape_errors(self, name):
    batch, partner = _batches()
    with self.assertRaisesRegex(ValueError, 'images of one shape, got'):
      _call(name, KEY, batch, (partner[0][:, :4], PARTNERS))
    with self.assertRaisesRegex(ValueError, 'images of one shape, got'):
      _call(name, KEY, batch, (partner[0][:4], PARTNERS[:4]))
    with self.assertRaisesRegex(ValueError, 'one label for each image'):
      _call(name, KEY, batch, (partner[0], PARTNERS[:4]))
    with self.assertRaisesRegex(ValueError, r'partner\[1\].*one class index'):
      _call(name, KEY, batch, (partner[0], np.eye(6, dtype=np.int32)))

  @parameterized.parameters(*NAMES)
  def test_type_errors(self, name):
    batch, partner = _batches()
    with self.assertRaisesRegex(TypeError, r'pair \(images, labels\), got'):
      _call(name, KEY, batch, {'image': partner[0], 'label': PARTNERS})
    with self.assertRaisesRegex(TypeError, r'pair \(images, labels\), got'):
      _call(name, KEY, batch[0], partner)
    with self.assertRaisesRegex(TypeError, 'floating point or uint8, got int'):
      _call(name, KEY, (batch[0].astype(np.int32), LABELS), partner)
    with self.assertRaisesRegex(TypeError, 'images of one dtype, got'):
      _call(name, KEY, (batch[0].astype(np.uint8), LABELS), partner)
    with self.assertRaisesRegex(TypeError, r'batch\[1\]\.argmax'):
      _call(name, KEY, (batch[0], np.eye(6, dtype=np.float32)), partner)
    mixed = MixedLabels(LABELS, PARTNERS, np.float32(0.5))
    with self.assertRaisesRegex(TypeError, 'mixed already'):
      _call(name, KEY, (batch[0], mixed), partner)

  @parameterized.product(name=NAMES, value=(-0.1, math.nan, math.inf))
  def test_parameter_errors(self, name, value):
    parameter = 'beta' if name == 'cmo' else 'alpha'
    with self.assertRaisesRegex(ValueError, f'`{parameter}` must be finite'):
      _call(name, KEY, *_batches(), **{parameter: value})
    with self.assertRaisesRegex(TypeError, f'`{parameter}` must be a number'):
      _call(name, KEY, *_batches(), **{parameter: '1'})


class MixupTest(parameterized.TestCase):
  def test_equation(self):
    batch, partner = _batches()
    images, labels = augment.mixup(KEY, batch, partner)
    lam = float(labels.lam[0])
    np.testing.assert_array_equal(labels.lam, np.full(6, lam, np.float32))
    np.testing.assert_allclose(
      images, lam * batch[0] + (1 - lam) * partner[0], rtol=1e-5, atol=1e-3
    )

  def test_uint8_is_rounded(self):
    batch, partner = _batches(np.uint8)
    images, labels = augment.mixup(KEY, batch, partner)
    lam = float(labels.lam[0])
    exact = lam * batch[0].astype(float) + (1 - lam) * partner[0].astype(float)
    self.assertLess(np.abs(np.asarray(images, float) - exact).max(), 0.5001)

  def test_bfloat16_is_mixed_in_float32(self):
    batch, partner = _batches(jnp.bfloat16)
    images, labels = augment.mixup(KEY, batch, partner)
    lam = labels.lam[0]
    exact = lam * batch[0].astype(np.float32)
    exact += (1 - lam) * partner[0].astype(np.float32)
    np.testing.assert_array_equal(images, exact.astype(jnp.bfloat16))

  def test_vectors(self):
    batch, partner = _batches(shape=(6, 5))
    images, _ = augment.mixup(KEY, batch, partner)
    self.assertEqual(images.shape, (6, 5))

  @parameterized.parameters(0.2, 1.0, 5.0)
  def test_distribution_of_the_share(self, alpha):
    batch, partner = _batches(shape=(6, 1))
    keys = jax.random.split(KEY, 4000)
    _, labels = jax.vmap(
      lambda key: augment.mixup(key, batch, partner, alpha=alpha)
    )(keys)
    shares = np.asarray(labels.lam[:, 0], np.float64)
    variance = 1 / (4 * (2 * alpha + 1))
    self.assertLess(abs(shares.mean() - 0.5), 4 * (variance / 4000) ** 0.5)
    np.testing.assert_allclose(shares.var(), variance, rtol=0.1)


class RemixTest(parameterized.TestCase):
  def test_images_are_those_of_mixup(self):
    batch, partner = _batches()
    for seed in range(4):
      key = jax.random.key(seed)
      plain, labels = augment.mixup(key, batch, partner)
      images, mixed = augment.remix(key, batch, partner, COUNTS)
      np.testing.assert_array_equal(images, plain)
      np.testing.assert_array_equal(
        mixed.lam,
        augment.remix_label_weight(
          labels.lam, COUNTS[LABELS], COUNTS[PARTNERS]
        ),
      )

  @parameterized.parameters(
    dict(progress=0.0), dict(tau=0.0), dict(kappa=math.inf)
  )
  def test_is_mixup(self, **arguments):
    batch, partner = _batches()
    for seed in range(4):
      key = jax.random.key(seed)
      _, expected = augment.mixup(key, batch, partner)
      _, labels = augment.remix(key, batch, partner, COUNTS, **arguments)
      np.testing.assert_array_equal(labels.lam, expected.lam)

  def test_equal_counts_are_mixup(self):
    batch, partner = _batches()
    _, expected = augment.mixup(KEY, batch, partner)
    _, labels = augment.remix(KEY, batch, partner, [7, 7, 7, 7])
    np.testing.assert_array_equal(labels.lam, expected.lam)

  def test_counts_and_progress_may_be_traced(self):
    batch, partner = _batches()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def f(counts, progress):
      return augment.remix(KEY, batch, partner, counts, progress=progress)

    for progress in (0.0, 0.3, 1.0):
      _, labels = f(COUNTS, progress)
      _, expected = augment.remix(
        KEY, batch, partner, COUNTS, progress=progress
      )
      np.testing.assert_allclose(labels.lam, expected.lam, rtol=1e-6)

  @parameterized.parameters(
    (0.4, 900, 300, 0.0),  # The ratio is exactly kappa.
    (0.4, 300, 900, 0.4),
    (0.6, 300, 900, 1.0),
    (0.6, 900, 300, 0.6),
    (0.5, 900, 100, 0.5),  # tau itself is not below tau.
    (0.5, 100, 900, 0.5),
    (0.4, 899, 300, 0.4),
    (0.6, 300, 899, 0.6),
    (0.4, 5, 0, 0.0),
    (0.6, 0, 5, 1.0),
    (0.4, 0, 0, 0.4),
  )
  def test_label_weight(self, lam, first, second, expected):
    weight = augment.remix_label_weight(lam, [first], [second])
    np.testing.assert_allclose(weight, [expected], rtol=1e-6)
    # With half of the move.
    half = augment.remix_label_weight(lam, [first], [second], progress=0.5)
    np.testing.assert_allclose(half, [(lam + expected) / 2], rtol=1e-6)

  @parameterized.product(kappa=(1.5, 3.0), tau=(0.3, 0.5, 0.9), e=(0.3, 1.0))
  def test_swapping_the_pair(self, kappa, tau, e):
    rng = np.random.default_rng(0)
    lam = rng.random(200)
    first, second = rng.integers(1, 1000, (2, 200))
    weight = functools.partial(
      augment.remix_label_weight, kappa=kappa, tau=tau, progress=e
    )
    np.testing.assert_allclose(
      weight(lam, first, second), 1 - weight(1 - lam, second, first), atol=1e-6
    )

  @parameterized.parameters(
    (dict(kappa=0.5), '`kappa` must be at least 1, got 0.5'),
    (dict(kappa=math.nan), '`kappa` must be at least 1, got nan'),
    (dict(tau=1.1), '`tau` must be finite and from 0 to 1, got 1.1'),
    (dict(tau=-0.1), '`tau` must be finite'),
    (dict(progress=1.5), '`progress` must be finite and from 0 to 1'),
  )
  def test_errors(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      augment.remix(KEY, *_batches(), COUNTS, **arguments)
    with self.assertRaisesRegex(ValueError, message):
      augment.remix_label_weight(0.5, [1], [2], **arguments)

  def test_count_errors(self):
    batch, partner = _batches()
    with self.assertRaisesRegex(
      ValueError, r'`batch\[1\]` must be in \[0, 3\)'
    ):
      augment.remix(KEY, batch, partner, COUNTS[:3])
    with self.assertRaisesRegex(ValueError, 'must have shape'):
      augment.remix(KEY, batch, partner, 5)
    with self.assertRaisesRegex(ValueError, 'must be finite and at least 0'):
      augment.remix(KEY, batch, partner, [5, -1, 2, 3])
    with self.assertRaisesRegex(ValueError, r'must have shape \[B\]'):
      augment.remix_label_weight(0.5, [1, 2], [1])
    with self.assertRaisesRegex(ValueError, '`lam` must be'):
      augment.remix_label_weight([0.5, 0.2, 0.1], [1, 2], [1, 2])


class CmoTest(parameterized.TestCase):
  @parameterized.parameters((8, 10), (7, 5), (1, 9))
  def test_a_box_of_the_partner(self, height, width):
    # Values tell source, row and column.
    area = height * width
    pixels = np.arange(area, dtype=np.float32).reshape(height, width)
    first = np.broadcast_to(pixels[None, :, :, None], (6, height, width, 2))
    second = first + area
    sizes = set()
    for seed in range(30):
      images, labels = augment.cmo(
        jax.random.key(seed),
        (first, LABELS),
        (second, PARTNERS),
        probability=1.0,
      )
      pasted = np.asarray(images) >= area
      # Each pixel stays where it is, from exactly one source.
      np.testing.assert_array_equal(images, np.where(pasted, second, first))
      # One box for all.
      box = pasted[0, :, :, 0]
      np.testing.assert_array_equal(
        pasted, np.broadcast_to(box[None, :, :, None], pasted.shape)
      )
      rows, columns = box.any(axis=1), box.any(axis=0)
      np.testing.assert_array_equal(box, rows[:, None] & columns[None])
      for line in (rows, columns):
        where = np.flatnonzero(line)
        self.assertLen(where, np.ptp(where) + 1 if where.size else 0)
      np.testing.assert_allclose(
        labels.lam, np.full(6, 1 - box.mean()), rtol=1e-6, atol=1e-7
      )
      sizes.add(int(box.sum()))
    if height > 1:
      self.assertGreater(len(sizes), 5)

  def test_inner_boxes_have_even_sides(self):
    first = np.zeros((1, 33, 47, 1), np.float32)
    for seed in range(20):
      images, _ = augment.cmo(
        jax.random.key(seed),
        (first, LABELS[:1]),
        (first + 1, PARTNERS[:1]),
        probability=1.0,
      )
      box = np.asarray(images)[0, :, :, 0] > 0
      for line in (box.any(axis=1), box.any(axis=0)):
        if line.any() and not line[0] and not line[-1]:
          self.assertEqual(line.sum() % 2, 0)

  def test_no_probability_is_the_batch(self):
    batch, partner = _batches()
    for probability in (0, 0.0, jnp.float32(0.0)):
      images, labels = augment.cmo(KEY, batch, partner, probability=probability)
      np.testing.assert_array_equal(images, batch[0])
      np.testing.assert_array_equal(labels.lam, np.ones(6))

  def test_probability_may_be_traced(self):
    batch, partner = _batches(shape=(6, 16, 16, 1))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @chex.assert_max_traces(n=1)
    def f(key, p):
      return augment.cmo(key, batch, partner, probability=p)[1].lam[0]

    keys = jax.random.split(KEY, 2000)
    always = np.mean(np.asarray(f(keys, 1.0)) < 1)
    share = np.mean(np.asarray(f(keys, 0.25)) < 1)
    self.assertEqual(np.mean(np.asarray(f(keys, 0.0)) < 1), 0)
    self.assertGreater(always, 0.9)
    self.assertLess(abs(share / always - 0.25), 4 * (0.1875 / 2000) ** 0.5)

  @parameterized.parameters(-0.1, 1.1, math.nan)
  def test_probability_errors(self, probability):
    with self.assertRaisesRegex(ValueError, '`probability` must be finite'):
      augment.cmo(KEY, *_batches(), probability=probability)

  def test_image_errors(self):
    with self.assertRaisesRegex(ValueError, r'images\[\.\.\., None\]'):
      augment.cmo(KEY, *_batches(shape=(6, 8, 8)))


class DbnMixTest(absltest.TestCase):
  def test_is_mixup_of_two_streams(self):
    batch, partner = _batches()
    jax.tree.map(
      np.testing.assert_array_equal,
      augment.dbn_mix(KEY, batch, partner, alpha=0.7),
      augment.mixup(KEY, batch, partner, alpha=0.7),
    )


if __name__ == '__main__':
  absltest.main()
