# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentations of one image: crop, flip, cutout, AutoAugment, RandAugment."""

import functools
import itertools
import math

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from PIL import ImageEnhance
from PIL import ImageOps
import pytest

from imbsam_jax import augment
from imbsam_jax.augment import _auto_augment
from imbsam_jax.augment import _operations
from imbsam_jax.augment import _rand_augment

KEY = jax.random.key(0)
# Those that take bytes only.
BYTES = ('auto_augment', 'rand_augment')
NAMES = ('pad_crop', 'random_flip', 'cutout', *BYTES)
OPS = (
  'identity autocontrast equalize rotate solarize color posterize contrast '
  'brightness sharpness shear_x shear_y translate_x translate_y'
).split()


def _noise(shape=(32, 32, 3), seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def _photo(shape=(32, 32, 3), seed=0, low=40, high=200):
  """A smooth image of moderate contrast, each channel another."""
  height, width, num_channels = shape
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width][..., None] / max(height, width)
  a, b, c = rng.uniform(1, 9, (3, num_channels))
  waves = np.sin(a * x + b * y + c) + 0.2 * rng.standard_normal(shape)
  waves = (waves - waves.min()) / np.ptp(waves)
  return np.round(low + (high - low) * waves).astype(np.uint8)


@functools.cache
def _compiled(name, arguments):
  augmentation = functools.partial(getattr(augment, name), **dict(arguments))

  def a_hundred(seed, image):
    keys = jax.random.split(jax.random.key(seed), 100)
    return jax.vmap(augmentation, in_axes=(0, None))(keys, image)

  return jax.jit(a_hundred)


def _many(name, count, image, **arguments):
  """Results for `count` keys, a multiple of 100: compiled for that many."""
  call = _compiled(name, tuple(arguments.items()))
  return np.concatenate([call(seed, image) for seed in range(count // 100)])


def _which(results, candidates):
  """For each result the place of the one candidate that it equals."""
  results = results.reshape(len(results), 1, -1)
  candidates = np.stack(candidates).reshape(1, len(candidates), -1)
  equal = np.concatenate(
    [np.all(r == candidates, axis=-1) for r in np.split(results, len(results))]
  )
  np.testing.assert_array_equal(equal.sum(axis=1), 1)
  return equal.argmax(axis=1)


class AllTest(parameterized.TestCase):
  @parameterized.product(
    name=NAMES,
    dtype=('uint8', 'float32', 'bfloat16', 'float16'),
    shape=((32, 32, 3), (7, 12, 1)),
  )
  def test_shape_and_dtype(self, name, dtype, shape):
    if name in BYTES and dtype != 'uint8':
      return
    image = _noise(shape).astype(jnp.dtype(dtype))
    result = jax.eval_shape(getattr(augment, name), KEY, image)
    self.assertEqual((result.shape, result.dtype), (shape, jnp.dtype(dtype)))

  @parameterized.parameters('pad_crop', 'random_flip', 'cutout')
  def test_floats_are_treated_like_bytes(self, name):
    images = _noise()
    expected = _many(name, 100, images)
    np.testing.assert_array_equal(
      _many(name, 100, images.astype(np.float32)),
      expected.astype(np.float32),
      strict=True,
    )
    # Also values that are no gray levels, NumPy's float64, legacy keys.
    key = jax.random.PRNGKey(0)
    result = getattr(augment, name)(key, images / 255.0 - 0.5)
    kept = np.unique(np.asarray(result).round(5))
    allowed = np.append(np.unique((images / 255.0 - 0.5).round(5)), 0)
    self.assertLess(np.abs(kept[:, None] - allowed).min(axis=1).max(), 1e-4)

  @parameterized.product(name=NAMES, dtype=('uint8', 'float32'))
  def test_depends_on_the_key_alone(self, name, dtype):
    if name in BYTES and dtype != 'uint8':
      return
    call = getattr(augment, name)
    images = np.stack([_photo(seed=i) for i in range(8)]).astype(dtype)
    keys = jax.random.split(jax.random.key(3), 8)
    together = np.asarray(jax.jit(jax.vmap(call))(keys, images))
    one_by_one = map(jax.jit(call), keys, images)
    np.testing.assert_array_equal(
      together, np.stack(list(one_by_one)), strict=True
    )
    np.testing.assert_array_equal(together[0], call(keys[0], images[0]))
    # In other company.
    order = np.array([5, 2, 7])
    np.testing.assert_array_equal(
      jax.jit(jax.vmap(call))(keys[order], images[order]), together[order]
    )

  @parameterized.parameters(*NAMES)
  def test_keys_matter(self, name):
    results = _many(name, 100, _photo())
    self.assertGreater(len(np.unique(results, axis=0)), 1)
    np.testing.assert_array_equal(results, _many(name, 100, _photo()))

  @parameterized.parameters(*NAMES)
  def test_image_errors(self, name):
    call = functools.partial(getattr(augment, name), KEY)
    with self.assertRaisesRegex(ValueError, rf'jax\.vmap\({name}\)\(keys'):
      call(_noise((8, 16, 16, 3)))
    with self.assertRaisesRegex(ValueError, r'image\[\.\.\., None\]'):
      call(_noise((16, 16)))
    with self.assertRaisesRegex(ValueError, r'one image \[H, W, C\]'):
      call(_noise((0, 16, 3)))
    with self.assertRaisesRegex(TypeError, 'or uint8, got int32'):
      call(_noise().astype(np.int32))
    with self.assertRaisesRegex(TypeError, 'or uint8, got bool'):
      call(_noise() > 5)


class PadCropTest(parameterized.TestCase):
  @parameterized.parameters((5, 6, 4), (9, 7, 2), (4, 4, 1))
  def test_all_windows_are_equally_likely(self, height, width, padding):
    # No value twice: a window tells where it is from.
    image = 1 + np.arange(height * width * 2, dtype=np.uint8)
    image = image.reshape(height, width, 2)
    padded = np.zeros((height + 2 * padding, width + 2 * padding, 2), np.uint8)
    padded[padding : padding + height, padding : padding + width] = image
    offsets = range(2 * padding + 1)
    windows = [
      padded[row : row + height, column : column + width]
      for row, column in itertools.product(offsets, offsets)
    ]
    count = 200 * len(windows)
    drawn = _which(_many('pad_crop', count, image, padding=padding), windows)
    _assert_distributed(self, drawn, np.full(len(windows), 1 / len(windows)))

  def test_no_padding_and_too_much(self):
    image = _noise()
    np.testing.assert_array_equal(
      _many('pad_crop', 100, image, padding=0), np.stack([image] * 100)
    )
    # Windows that miss the image are black.
    far = _many('pad_crop', 400, 1 + _noise((2, 3, 1)) // 2, padding=9)
    black = np.all(far == 0, axis=(1, 2, 3))
    expected = 1 - (3 / 19) * (5 / 19)
    self.assertLess(abs(black.mean() - expected), 0.05)

  def test_the_default_is_four(self):
    image = _noise()
    np.testing.assert_array_equal(
      augment.pad_crop(KEY, image), augment.pad_crop(KEY, image, padding=4)
    )

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, '`padding` must be at least 0'):
      augment.pad_crop(KEY, _noise(), padding=-1)
    with self.assertRaisesRegex(TypeError, '`padding` must be an integer'):
      augment.pad_crop(KEY, _noise(), padding=1.5)


class FlipTest(parameterized.TestCase):
  @parameterized.parameters(0.5, 0.25, 0.0, 1.0)
  def test_frequency(self, probability):
    image = _noise((3, 4, 2))
    mirrored = np.stack([image[:, 3], image[:, 2], image[:, 1], image[:, 0]], 1)
    results = _many('random_flip', 4000, image, probability=probability)
    flipped = _which(results, [image, mirrored])
    spread = (probability * (1 - probability) / 4000) ** 0.5
    self.assertLessEqual(abs(flipped.mean() - probability), 4 * spread)

  def test_the_default_is_a_half_and_it_may_be_traced(self):
    image = _noise()

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    @chex.assert_max_traces(n=1)
    def f(key, p):
      return augment.random_flip(key, image, probability=p)

    keys = jax.random.split(KEY, 20)
    np.testing.assert_array_equal(
      f(keys, 0.5), jax.vmap(augment.random_flip, (0, None))(keys, image)
    )
    np.testing.assert_array_equal(f(keys, 0.0), np.stack([image] * 20))

  @parameterized.parameters(-0.1, 1.1, math.nan)
  def test_errors(self, probability):
    with self.assertRaisesRegex(ValueError, '`probability` must be finite'):
      augment.random_flip(KEY, _noise(), probability=probability)


class CutoutTest(parameterized.TestCase):
  @parameterized.parameters((8, 9, 4), (9, 8, 6), (7, 7, 3))
  def test_all_centres_are_equally_likely(self, height, width, size):
    image = 1 + _noise((height, width, 2)) // 2
    covered = []
    for row, column in itertools.product(range(height), range(width)):
      expected = image.copy()
      # By pixels; a square begins `size // 2` before its center.
      for i, j in itertools.product(range(height), range(width)):
        if (
          0 <= i - row + size // 2 < size and 0 <= j - column + size // 2 < size
        ):
          expected[i, j] = 0
      covered.append(expected)
    count = 200 * len(covered)
    drawn = _which(_many('cutout', count, image, size=size), covered)
    _assert_distributed(self, drawn, np.full(len(covered), 1 / len(covered)))

  def test_as_in_the_authors_code(self):
    # clip(y - length // 2, 0, h) to clip(y + length // 2, 0, h).
    image = 1 + _noise((32, 32, 1)) // 2
    covered = []
    for y, x in itertools.product(range(32), range(32)):
      expected = image.copy()
      expected[max(y - 8, 0) : min(y + 8, 32), max(x - 8, 0) : x + 8] = 0
      covered.append(expected)
    drawn = _which(_many('cutout', 300, image), covered)
    self.assertGreater(len(np.unique(drawn)), 200)

  @parameterized.parameters(7, 127.0, ((1, 2, 3),))
  def test_fill(self, fill):
    for image in (_noise((9, 9, 3)), _noise((9, 9, 3)).astype(np.float32)):
      black = augment.cutout(KEY, 0 * image + 255, size=5)
      covered = np.asarray(black) == 0
      self.assertTrue(covered.any())
      np.testing.assert_array_equal(
        augment.cutout(KEY, image, size=5, fill=fill),
        np.where(covered, np.asarray(fill, image.dtype), image),
      )

  def test_fill_of_floats_and_traced(self):
    image = np.zeros((9, 9, 3), np.float32)
    for fill in (0.25, [0.25, -1.5, 0.5]):
      expected = augment.cutout(KEY, image, size=4, fill=fill)
      self.assertLen(np.unique(expected), 1 + np.size(fill))
      f = jax.jit(lambda fill: augment.cutout(KEY, image, size=4, fill=fill))
      np.testing.assert_array_equal(f(jnp.asarray(fill)), expected)

  def test_sizes_without_and_beyond(self):
    image = _noise((6, 6, 3))
    np.testing.assert_array_equal(augment.cutout(KEY, image, size=0), image)
    self.assertEqual(np.max(augment.cutout(KEY, image, size=20)), 0)

  def test_errors(self):
    with self.assertRaisesRegex(ValueError, '`size` must be at least 0'):
      augment.cutout(KEY, _noise(), size=-1)
    with self.assertRaisesRegex(TypeError, '`size` must be an integer'):
      augment.cutout(KEY, _noise(), size=4.0)
    with self.assertRaisesRegex(ValueError, r'or a color \[3\]'):
      augment.cutout(KEY, _noise(), fill=(1, 2))
    for fill in (-1, 256, 0.5, math.nan, (0, 0, 300)):
      with self.assertRaisesRegex(ValueError, 'whole numbers from 0 to 255'):
        augment.cutout(KEY, _noise(), fill=fill)


_CHANGES = ('brightness', 'contrast', 'color', 'sharpness')


def _pillow(op, image, strength, *, fill=0):
  """An operation of torchvision on a PIL image.

  Args:
    op: Name of the operation.
    image: Uint8 array, shape ``[H, W, C]``.
    strength: With its sign degrees, shear, pixels or the change of a factor;
      bits or a threshold.
    fill: Color of the outside.
  """
  num_channels = image.shape[-1]
  picture = Image.fromarray(image if num_channels == 3 else image[:, :, 0])
  colour = (fill,) * 3 if num_channels == 3 else fill

  def affine(*matrix):
    return picture.transform(
      picture.size,
      Image.Transform.AFFINE,
      matrix,
      Image.Resampling.NEAREST,
      fillcolor=colour,
    )

  def enhance(kind):
    return kind(picture).enhance(1 + strength)

  result = {
    'identity': lambda: picture,
    'autocontrast': lambda: ImageOps.autocontrast(picture),
    'equalize': lambda: ImageOps.equalize(picture),
    'invert': lambda: ImageOps.invert(picture),
    'rotate': lambda: picture.rotate(strength, fillcolor=colour),
    'solarize': lambda: ImageOps.solarize(picture, strength),
    'posterize': lambda: ImageOps.posterize(picture, int(strength)),
    'color': lambda: enhance(ImageEnhance.Color),
    'contrast': lambda: enhance(ImageEnhance.Contrast),
    'brightness': lambda: enhance(ImageEnhance.Brightness),
    'sharpness': lambda: enhance(ImageEnhance.Sharpness),
    'shear_x': lambda: affine(1, strength, 0, 0, 1, 0),
    'shear_y': lambda: affine(1, 0, 0, strength, 1, 0),
    'translate_x': lambda: affine(1, 0, int(strength), 0, 1, 0),
    'translate_y': lambda: affine(1, 0, 0, 0, 1, int(strength)),
  }[op]()
  return np.asarray(result).reshape(image.shape)


def _strength(op, magnitude, shape):
  """What torchvision's RandAugment means by `magnitude` with its sign."""
  height, width, _ = shape
  m, sign = abs(magnitude), math.copysign(1, magnitude)
  ranges = {
    'rotate': magnitude,
    'solarize': 255 - 255 * m / 30,
    'posterize': 8 - round(m / (30 / 4)),
    'shear_x': sign * 0.3 * m / 30,
    'shear_y': sign * 0.3 * m / 30,
    'translate_x': width * sign * 150 / 331 * m / 30,
    'translate_y': height * sign * 150 / 331 * m / 30,
  }
  return ranges.get(op, sign * 0.9 * m / 30 if op in _CHANGES else 0)


def _rand_pillow(op, image, magnitude, **arguments):
  """Torchvision's RandAugment of a PIL image, `magnitude` with its sign."""
  strength = _strength(op, magnitude, image.shape)
  return _pillow(op, image, strength, **arguments)


_compiled_apply = jax.jit(_operations.apply_one)


@functools.cache
def _rows(magnitude, height, width):
  return _operations.make_rows(
    [(op, magnitude, sign) for op in _operations.NAMES for sign in (1, -1)],
    height,
    width,
  )


def _apply(op, image, magnitude, *, fill=0):
  """One operation, `magnitude` with its sign."""
  rows = _rows(abs(magnitude), *image.shape[:2])
  choice = 2 * _operations.NAMES.index(op)
  choice += int(math.copysign(1, magnitude) < 0)
  row = jax.tree.map(lambda x: np.asarray(x)[choice], rows)
  pixel = np.full((image.shape[-1], 1, 1), fill, np.uint8)
  result = _compiled_apply(image.transpose(2, 0, 1), row, pixel)
  return np.asarray(result).transpose(1, 2, 0)


def _assert_distributed(test, drawn, probabilities):
  """Chi-square: what was drawn has these probabilities."""
  counts = np.bincount(drawn, minlength=len(probabilities))
  test.assertGreater(counts.min(), 0)
  expected = probabilities * len(drawn)
  statistic = np.sum((counts - expected) ** 2 / expected)
  degrees = len(probabilities) - 1
  # Five standard deviations either way: too even is not random either.
  test.assertLess(abs(statistic - degrees), 5 * (2 * degrees) ** 0.5)


SHAPES = ((32, 32, 3), (21, 30, 3), (32, 32, 1))
SIGNED = tuple(s * m for m in range(31) for s in (1.0, -1.0))


class OperationTest(parameterized.TestCase):
  """Each operation against Pillow, over the range of RandAugment."""

  def test_operations_are_those_of_the_paper(self):
    self.assertCountEqual(_rand_augment._OPS, OPS)
    self.assertCountEqual(_operations.NAMES, [*OPS, 'invert'])

  @parameterized.product(
    op=('rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y'),
    shape=SHAPES,
  )
  def test_geometry_is_exact(self, op, shape):
    image = _noise(shape)
    for magnitude, fill in itertools.product(SIGNED, (0, 128)):
      np.testing.assert_array_equal(
        _apply(op, image, magnitude, fill=fill),
        _rand_pillow(op, image, magnitude, fill=fill),
        err_msg=str(magnitude),
      )

  @parameterized.product(
    op=('identity', 'invert', 'solarize', 'posterize', 'equalize'),
    shape=SHAPES,
  )
  def test_values_are_exact(self, op, shape):
    images = [_noise(shape), _photo(shape), _photo(shape, low=90, high=99)]
    images += [_photo(shape, low=200, high=255), _photo(shape, low=0, high=9)]
    images += [np.where(_noise(shape) > 9, 255, 30).astype(np.uint8)]
    for magnitude, image in itertools.product(SIGNED[::2], images):
      np.testing.assert_array_equal(
        _apply(op, image, magnitude), _rand_pillow(op, image, magnitude)
      )

  @parameterized.parameters(
    'autocontrast',
    'equalize',
    'contrast',
    'sharpness',
    'solarize',
    'color',
    'invert',
  )
  def test_few_pixels_and_few_values(self, op):
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 3), (2, 5, 3), (3, 3, 1), (16, 16, 3)):
      for num_values in (1, 2, 3):
        palette = rng.choice(256, num_values, replace=False).astype(np.uint8)
        image = rng.choice(palette, shape)
        difference = _apply(op, image, 12.0).astype(int)
        difference -= _rand_pillow(op, image, 12.0)
        bound = op in ('autocontrast', 'contrast', 'color', 'sharpness')
        self.assertLessEqual(np.abs(difference).max(), int(bound))

  def test_autocontrast(self):
    rng = np.random.default_rng(0)
    for _ in range(40):
      low, high = np.sort(rng.choice(256, 2, replace=False))
      image = rng.integers(low, high + 1, (16, 16, 3))
      image[0, 0], image[1, 0] = low, high
      # Whole-number arithmetic, no rounding.
      exact = 255 * (image - low) // (high - low)
      result = _apply('autocontrast', image.astype(np.uint8), 0.0)
      np.testing.assert_array_equal(result, exact)
      # Pillow misses some whole numbers by a rounding error.
      pillow = _pillow('autocontrast', image.astype(np.uint8), 0.0)
      is_whole = 255 * (image - low) % (high - low) == 0
      np.testing.assert_array_equal(result[~is_whole], pillow[~is_whole])
      self.assertLessEqual(np.max(result - pillow.astype(int)), 1)

  @parameterized.product(
    op=('brightness', 'contrast', 'color', 'sharpness'), shape=SHAPES
  )
  def test_blends(self, op, shape):
    for image in (_noise(shape), _photo(shape), _photo(shape, low=0, high=255)):
      for magnitude in SIGNED:
        result = _apply(op, image, magnitude).astype(int)
        pillow = _rand_pillow(op, image, magnitude).astype(int)
        # Where a product is whole, and Pillow's a rounding error below.
        self.assertLessEqual(np.abs(result - pillow).max(), 1, magnitude)
        self.assertLess(np.mean(result != pillow), 0.1, magnitude)
        # Exactly: hundredths of what Pillow itself blends with.
        base = _base(op, image).astype(int)
        percent = 100 + 3 * int(magnitude)
        exact = (100 * base + percent * (image - base)) // 100
        np.testing.assert_array_equal(result, np.clip(exact, 0, 255))

  def test_blends_between_whole_magnitudes(self):
    image = _photo()
    for op in ('brightness', 'contrast', 'color', 'sharpness', 'rotate'):
      for magnitude in (0.1, 3.7, -9.99, 29.3):
        difference = _apply(op, image, magnitude).astype(int)
        difference -= _rand_pillow(op, image, magnitude)
        self.assertLessEqual(np.abs(difference).max(), int(op != 'rotate'))

  def test_grey_has_no_colour(self):
    image = _noise((8, 8, 1))
    np.testing.assert_array_equal(_apply('color', image, -30.0), image)

  def test_magnitude_zero(self):
    image = np.minimum(_noise(), 254)
    for op in set(OPS) - {'autocontrast', 'equalize'}:
      np.testing.assert_array_equal(_apply(op, image, 0.0), image)


def _base(op, image):
  """What Pillow blends with: factor 0."""
  picture = Image.fromarray(image if image.shape[-1] == 3 else image[:, :, 0])
  enhance = getattr(ImageEnhance, op.capitalize())(picture)
  return np.asarray(enhance.degenerate).reshape(image.shape)


class RandAugmentTest(parameterized.TestCase):
  def test_all_operations_and_signs_are_equally_likely(self):
    image = _photo((20, 15, 3))
    found, shares = [], []
    for op in OPS:
      # No sign matters for some.
      results = [_apply(op, image, m) for m in (13.0, -13.0)]
      signed = not np.array_equal(*results)
      found += results if signed else results[:1]
      shares += [0.5, 0.5] if signed else [1.0]
    self.assertLen(found, 23)
    drawn = _many('rand_augment', 4200, image, num_ops=1, magnitude=13)
    _assert_distributed(self, _which(drawn, found), np.array(shares) / 14)

  def test_operations_follow_one_another(self):
    # What comes in from outside tells the order of most.
    image = _photo((20, 15, 3))
    results = {}
    signed = tuple(itertools.product(OPS, (13.0, -13.0)))
    for (first, m), (second, n) in itertools.product(signed, signed):
      once = _apply(first, image, m, fill=99)
      result = _apply(second, once, n, fill=99)
      results.setdefault(result.tobytes(), set()).add((first, second))
    drawn = _many('rand_augment', 800, image, magnitude=13, fill=99)
    found = [results[np.ascontiguousarray(d).tobytes()] for d in drawn]
    alone = [next(iter(pairs)) for pairs in found if len(pairs) == 1]
    self.assertGreater(len(alone), 500)
    # Of 14 * 14.
    self.assertGreater(len(set(alone)), 120)
    share = np.mean([first == second for first, second in alone])
    self.assertBetween(share, 0.03, 0.13)

  def test_no_operations(self):
    image = _photo()
    np.testing.assert_array_equal(
      augment.rand_augment(KEY, image, num_ops=0), image
    )

  def test_defaults(self):
    self.assertEqual(
      augment.rand_augment.__kwdefaults__,
      {'num_ops': 2, 'magnitude': 10, 'fill': 0},
    )

  def test_fill(self):
    image = np.full((16, 16, 3), 77, np.uint8)
    results = _many('rand_augment', 100, image, num_ops=1, fill=(1, 2, 3))
    corners = results[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3)
    self.assertIn((1, 2, 3), {tuple(c.tolist()) for c in corners})
    self.assertNotIn((0, 0, 0), {tuple(c.tolist()) for c in corners})

  @pytest.mark.extended
  def test_magnitude_may_be_traced(self):
    image = _photo()
    f = jax.jit(
      jax.vmap(
        lambda key, image, m: augment.rand_augment(key, image, magnitude=m),
        in_axes=(0, None, None),
      )
    )
    keys = jax.random.split(jax.random.key(0), 100)
    for magnitude in (10, 30):
      expected = _many('rand_augment', 100, image, magnitude=magnitude)
      # float32 against float64 matters at the edges of pixels only.
      results = f(keys, image, jnp.float32(magnitude))
      self.assertLess(np.mean(results != expected), 1e-3)
    self.assertEqual(f._cache_size(), 1)
    for number in (jnp.int32(10), jnp.bfloat16(10)):
      jax.eval_shape(f, keys, image, number)

  def test_grey(self):
    results = _many('rand_augment', 100, _photo((20, 24, 1)))
    self.assertEqual(results.shape, (100, 20, 24, 1))
    self.assertGreater(len(np.unique(results, axis=0)), 30)

  def test_errors(self):
    call = functools.partial(augment.rand_augment, KEY)
    with self.assertRaisesRegex(TypeError, 'must be uint8, got float32. Aug'):
      call(_noise().astype(np.float32))
    with self.assertRaisesRegex(ValueError, r'1 or 3 channels, got \(8, 8, 4'):
      call(_noise((8, 8, 4)))
    for magnitude in (-1, 30.5, math.nan):
      with self.assertRaisesRegex(ValueError, '`magnitude` must be finite and'):
        call(_noise(), magnitude=magnitude)
    with self.assertRaisesRegex(TypeError, '`magnitude` must be a number'):
      call(_noise(), magnitude='10')
    with self.assertRaisesRegex(ValueError, '`magnitude` must be a scalar'):
      call(_noise(), magnitude=np.array([1.0, 2.0]))
    with self.assertRaisesRegex(ValueError, '`num_ops` must be at least 0'):
      call(_noise(), num_ops=-1)
    with self.assertRaisesRegex(TypeError, '`num_ops` must be an integer'):
      call(_noise(), num_ops=2.0)
    with self.assertRaisesRegex(ValueError, r'or a color \[3\]'):
      call(_noise(), fill=(1, 2))
    with self.assertRaisesRegex(ValueError, 'whole numbers from 0 to 255'):
      call(_noise(), fill=-1)


# The sub-policies of the paper's appendix, one a line: twice an operation, its
# probability and its magnitude.
POLICIES = {
  'cifar10': """
    Invert 0.1 7        Contrast 0.2 6
    Rotate 0.7 2        TranslateX 0.3 9
    Sharpness 0.8 1     Sharpness 0.9 3
    ShearY 0.5 8        TranslateY 0.7 9
    AutoContrast 0.5 8  Equalize 0.9 2
    ShearY 0.2 7        Posterize 0.3 7
    Color 0.4 3         Brightness 0.6 7
    Sharpness 0.3 9     Brightness 0.7 9
    Equalize 0.6 5      Equalize 0.5 1
    Contrast 0.6 7      Sharpness 0.6 5
    Color 0.7 7         TranslateX 0.5 8
    Equalize 0.3 7      AutoContrast 0.4 8
    TranslateY 0.4 3    Sharpness 0.2 6
    Brightness 0.9 6    Color 0.2 8
    Solarize 0.5 2      Invert 0.0 3
    Equalize 0.2 0      AutoContrast 0.6 0
    Equalize 0.2 8      Equalize 0.6 4
    Color 0.9 9         Equalize 0.6 6
    AutoContrast 0.8 4  Solarize 0.2 8
    Brightness 0.1 3    Color 0.7 0
    Solarize 0.4 5      AutoContrast 0.9 3
    TranslateY 0.9 9    TranslateY 0.7 9
    AutoContrast 0.9 2  Solarize 0.8 3
    Equalize 0.8 8      Invert 0.1 3
    TranslateY 0.7 9    AutoContrast 0.9 1
  """,
  'imagenet': """
    Posterize 0.4 8     Rotate 0.6 9
    Solarize 0.6 5      AutoContrast 0.6 5
    Equalize 0.8 8      Equalize 0.6 3
    Posterize 0.6 7     Posterize 0.6 6
    Equalize 0.4 7      Solarize 0.2 4
    Equalize 0.4 4      Rotate 0.8 8
    Solarize 0.6 3      Equalize 0.6 7
    Posterize 0.8 5     Equalize 1.0 2
    Rotate 0.2 3        Solarize 0.6 8
    Equalize 0.6 8      Posterize 0.4 6
    Rotate 0.8 8        Color 0.4 0
    Rotate 0.4 9        Equalize 0.6 2
    Equalize 0.0 7      Equalize 0.8 8
    Invert 0.6 4        Equalize 1.0 8
    Color 0.6 4         Contrast 1.0 8
    Rotate 0.8 8        Color 1.0 2
    Color 0.8 8         Solarize 0.8 7
    Sharpness 0.4 7     Invert 0.6 8
    ShearX 0.6 5        Equalize 1.0 9
    Color 0.4 0         Equalize 0.6 3
    Equalize 0.4 7      Solarize 0.2 4
    Solarize 0.6 5      AutoContrast 0.6 5
    Invert 0.6 4        Equalize 1.0 8
    Color 0.6 4         Contrast 1.0 8
    Equalize 0.8 8      Equalize 0.6 3
  """,
}


def _sub_policies(policy):
  """Pairs of (operation, probability, magnitude)."""
  # 'TranslateX' is 'translate_x' here.
  ends = {'X': '_x', 'Y': '_y'}
  for line in POLICIES[policy].strip().splitlines():
    *words, last = line.split()
    pair = []
    for name, probability, magnitude in (words[:3], [*words[3:], last]):
      op = name[:-1] + ends.get(name[-1], name[-1])
      pair.append((op.lower(), float(probability), int(magnitude)))
    yield tuple(pair)


def _auto_strength(op, magnitude, sign, shape):
  """What torchvision's AutoAugment means by a magnitude: ten values each."""
  height, width, _ = shape
  largest = {
    'rotate': 30.0,
    'shear_x': 0.3,
    'shear_y': 0.3,
    'translate_x': 150 / 331 * width,
    'translate_y': 150 / 331 * height,
    'brightness': 0.9,
    'color': 0.9,
    'contrast': 0.9,
    'sharpness': 0.9,
  }
  values = {name: sign * np.linspace(0, x, 10) for name, x in largest.items()}
  values['solarize'] = np.linspace(255, 0, 10)
  values['posterize'] = np.array([8, 8, 7, 7, 6, 6, 5, 5, 4, 4])
  return values[op][magnitude] if op in values else 0


_compiled_pair = jax.jit(functools.partial(_operations.apply, fill=0))


class AutoAugmentTest(parameterized.TestCase):
  @parameterized.product(policy=tuple(POLICIES), shape=SHAPES)
  def test_sub_policies_are_those_of_pillow(self, policy, shape):
    rows = _auto_augment._rows(policy, *shape[:2])
    nothing = len(rows.op) - 1
    self.assertEqual(nothing, 100)
    image = _photo(shape)
    np.testing.assert_array_equal(
      _compiled_pair(image, rows, np.array([nothing, nothing])), image
    )
    for i, pair in enumerate(_sub_policies(policy)):
      for signs in itertools.product((1, -1), repeat=2):
        before, choices = image, [nothing, nothing]
        for j, ((op, _, magnitude), sign) in enumerate(
          zip(pair, signs, strict=True)
        ):
          choices[j] = 4 * i + 2 * j + int(sign < 0)
          after = _compiled_pair(image, rows, np.array(choices))
          strength = _auto_strength(op, magnitude, sign, shape)
          difference = np.asarray(after, int) - _pillow(op, before, strength)
          # Where a product is whole, and Pillow's a rounding error below.
          rounds = op in ('autocontrast', *_CHANGES)
          bound = (1, 0.1) if rounds else (0, 0.0)
          self.assertLessEqual(np.abs(difference).max(), bound[0], pair)
          self.assertLessEqual(np.mean(difference != 0), bound[1], pair)
          before = np.asarray(after)

  @parameterized.parameters(*POLICIES)
  def test_table(self, policy):
    # Draws would not tell a wrong probability of a rare operation.
    self.assertEqual(
      _auto_augment._POLICIES[policy], tuple(_sub_policies(policy))
    )

  @parameterized.parameters(*POLICIES)
  def test_sub_policies_operations_and_signs_are_drawn(self, policy):
    image = _photo((20, 15, 3))
    shares = {}
    for pair in _sub_policies(policy):
      ways = []
      for op, probability, magnitude in pair:
        m = 30 * magnitude / 9
        ways.append(
          [
            ('identity', 0.0, 1 - probability),
            (op, m, probability / 2),
            (op, -m, probability / 2),
          ]
        )
      for (first, m, share), (second, n, other) in itertools.product(*ways):
        result = _apply(second, _apply(first, image, m), n).tobytes()
        shares[result] = shares.get(result, 0.0) + share * other / 25
    self.assertAlmostEqual(sum(shares.values()), 1.0)
    # What never happens would be found as a result of its own.
    shares = {result: share for result, share in shares.items() if share > 0}
    self.assertGreater(len(shares), 50)
    drawn = _many('auto_augment', 20_000, image, policy=policy)
    places = {result: i for i, result in enumerate(shares)}
    found = np.array([places[np.ascontiguousarray(x).tobytes()] for x in drawn])
    # Rare ones together.
    shares = np.array(list(shares.values()))
    rare = shares < 10 / len(drawn)
    cells = np.where(rare, (~rare).sum(), np.cumsum(~rare) - 1)
    _assert_distributed(self, cells[found], np.bincount(cells, weights=shares))

  def test_defaults(self):
    self.assertEqual(
      augment.auto_augment.__kwdefaults__, {'policy': 'cifar10', 'fill': 0}
    )

  def test_fill(self):
    image = np.full((16, 16, 3), 77, np.uint8)
    results = _many('auto_augment', 400, image, fill=(1, 2, 3))
    filled = np.all(results == (1, 2, 3), axis=-1)
    self.assertTrue(filled.any())
    black = _many('auto_augment', 400, image)
    np.testing.assert_array_equal(black[filled], 0)

  def test_errors(self):
    call = functools.partial(augment.auto_augment, KEY)
    with self.assertRaisesRegex(
      ValueError, "must be 'cifar10' or 'imagenet', got 'svhn'. Use policy="
    ):
      call(_noise(), policy='svhn')
    with self.assertRaisesRegex(TypeError, 'must be uint8, got float32. Aug'):
      call(_noise().astype(np.float32))
    with self.assertRaisesRegex(ValueError, r'1 or 3 channels, got \(8, 8, 4'):
      call(_noise((8, 8, 4)))
    with self.assertRaisesRegex(ValueError, r'or a color \[3\]'):
      call(_noise(), fill=(1, 2))


if __name__ == '__main__':
  absltest.main()
