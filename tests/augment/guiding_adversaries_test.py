# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adversaries of tail rows against loops in NumPy."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment

KEY = jax.random.key(0)
SHAPE = (40, 2, 3)
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(6, 3)).astype(np.float32)
BIAS = -0.5 * KERNEL.sum(0)
IMAGES = RNG.uniform(0.0, 1.0, SHAPE).astype(np.float32)
IMAGES[:8] = np.round(IMAGES[:8])  # At the border of the range.
LABELS = np.argmax(IMAGES.reshape(40, 6) @ KERNEL + BIAS, axis=1)
LABELS[::8] = (LABELS[::8] + 1) % 3
TAIL = LABELS != 1


def _logits(images, kernel=KERNEL):
  flat = images.reshape(images.shape[0], -1)
  return jnp.matmul(flat, kernel, precision='highest') + BIAS[None]


# One program for settings of a kind, where the errors are not the point.
_compiled = jax.jit(
  augment.guiding_adversaries,
  static_argnames=('logits_fn', 'num_steps', 'random_start'),
)


def _witness(start, *, epsilon, step_size, num_steps):
  """Row by row in float64: adversaries, and which are kept."""
  adversaries = IMAGES.astype(np.float64)
  keep = np.zeros(len(LABELS), bool)
  for row in np.flatnonzero(TAIL):
    clean = IMAGES[row].astype(np.float64).ravel()
    x = np.asarray(start[row], np.float64).ravel()
    num_correct = 0
    for _ in range(num_steps):
      z = [x @ KERNEL[:, c] + BIAS[c] for c in range(3)]
      num_correct += int(np.argmax(z)) == LABELS[row]
      p = np.exp(z - max(z))
      p /= p.sum()
      gradient = np.zeros(6)
      for c in range(3):
        gradient += (p[c] - (c == LABELS[row])) * KERNEL[:, c]
      for j in range(6):
        moved = x[j] + step_size * np.sign(gradient[j])
        moved = min(max(moved, clean[j] - epsilon), clean[j] + epsilon)
        x[j] = min(max(moved, 0.0), 1.0)
    adversaries[row] = x.reshape(2, 3)
    keep[row] = num_correct < num_steps
  return adversaries, keep


class GuidingAdversariesTest(parameterized.TestCase):
  @parameterized.parameters(
    dict(random_start=False, epsilon=0.1, step_size=0.02, num_steps=8),
    dict(random_start=True, epsilon=0.1, step_size=0.02, num_steps=3),
    dict(random_start=True, epsilon=0.03, step_size=0.02, num_steps=4),
  )
  def test_equals_the_witness(self, random_start, **settings):
    start = IMAGES
    call = functools.partial(
      _compiled,
      KEY,
      _logits,
      IMAGES,
      LABELS,
      TAIL,
      random_start=random_start,
    )
    if random_start:
      # A step of size 0 from there ends there.
      settings_of_start = settings | dict(step_size=0.0, num_steps=1)
      start, _ = call(**settings_of_start)
      self.assertGreater(np.abs(start - IMAGES)[TAIL].mean(), 0.01)
    adversaries, keep = call(**settings)
    expected, expected_keep = _witness(start, **settings)
    np.testing.assert_allclose(adversaries, expected, rtol=0, atol=2e-7)
    np.testing.assert_array_equal(keep, expected_keep)
    wrong = np.argmax(np.asarray(_logits(IMAGES)), axis=1) != LABELS
    self.assertBetween(keep.sum(), (wrong & TAIL).sum() + 3, TAIL.sum() - 3)
    # What the specification says of any of them.
    self.assertLessEqual(
      np.abs(adversaries - IMAGES).max(), settings['epsilon'] + 1e-7
    )
    self.assertBetween(float(adversaries.min()), 0.0, 1.0)
    self.assertBetween(float(adversaries.max()), 0.0, 1.0)
    np.testing.assert_array_equal(adversaries[~TAIL], IMAGES[~TAIL])
    self.assertFalse(keep[~TAIL].any())

  def test_iterates_are_where_steps_begin(self):
    # Correct above 0.5. From 0.535 down the fourth step of 0.01 crosses, from
    # 0.525 the third.
    images = jnp.array([[0.535], [0.525], [0.495], [0.9]])
    _, keep = _compiled(
      KEY,
      lambda x: jnp.concatenate([jnp.zeros_like(x), x - 0.5], axis=1),
      images,
      np.ones(4, np.int32),
      np.ones(4, bool),
      epsilon=0.2,
      step_size=0.01,
      num_steps=4,
      random_start=False,
    )
    np.testing.assert_array_equal(keep, [False, True, True, False])

  @parameterized.parameters(True, False)
  def test_radius_zero_keeps_the_misclassified(self, random_start):
    adversaries, keep = _compiled(
      KEY,
      _logits,
      IMAGES,
      LABELS,
      TAIL,
      epsilon=0.0,
      random_start=random_start,
    )
    np.testing.assert_array_equal(adversaries, IMAGES)
    wrong = np.argmax(np.asarray(_logits(IMAGES)), axis=1) != LABELS
    np.testing.assert_array_equal(keep, wrong & TAIL)
    # A prediction that is the label of another tail row is not correct.
    self.assertTrue((wrong & TAIL).any())

  @parameterized.parameters(8, 3)
  def test_defaults(self, num_steps):
    start, _ = _compiled(
      KEY, _logits, IMAGES, LABELS, TAIL, step_size=0.0, num_steps=1
    )
    number = {} if num_steps == 8 else {'num_steps': num_steps}
    found = _compiled(KEY, _logits, IMAGES, LABELS, TAIL, **number)
    expected = _witness(
      start, epsilon=1 / 255, step_size=1 / 2040, num_steps=num_steps
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found[1], expected[1])

  def test_without_tail_rows_nothing_changes(self):
    adversaries, keep = _compiled(
      KEY, _logits, IMAGES, LABELS, np.zeros(40, bool), epsilon=0.3
    )
    np.testing.assert_array_equal(adversaries, IMAGES)
    self.assertFalse(keep.any())

  def test_other_rows_stay_where_rows_depend_on_each_other(self):
    adversaries, _ = _compiled(
      KEY,
      lambda x: _logits(x - x.mean(0, keepdims=True)),
      IMAGES,
      LABELS,
      TAIL,
      epsilon=0.3,
    )
    np.testing.assert_array_equal(adversaries[~TAIL], IMAGES[~TAIL])
    self.assertTrue((adversaries[TAIL] != IMAGES[TAIL]).any())

    # Every pass has them clean: all rows are correct here as long as they are.
    def logits_fn(x):
      clean = jnp.all(x[~TAIL] == IMAGES[~TAIL])
      right = jax.nn.one_hot(LABELS, 3)
      return jnp.where(clean, right, 1 - right) + 0 * _logits(x)

    _, keep = _compiled(KEY, logits_fn, IMAGES, LABELS, TAIL, epsilon=0.3)
    self.assertFalse(keep.any())

  def test_compiled_once_and_without_gradient(self):
    @jax.jit
    def loss(kernel, epsilon, mask):
      adversaries, keep = augment.guiding_adversaries(
        KEY,
        functools.partial(_logits, kernel=kernel),
        IMAGES,
        LABELS,
        mask,
        epsilon=epsilon,
      )
      return adversaries.sum(), (adversaries, keep)

    gradient_fn = jax.jit(jax.grad(loss, has_aux=True))
    for epsilon in (0.0, 0.1):
      gradient, found = gradient_fn(KERNEL, epsilon, TAIL)
      np.testing.assert_array_equal(gradient, np.zeros_like(KERNEL))
      expected = _compiled(KEY, _logits, IMAGES, LABELS, TAIL, epsilon=epsilon)
      np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-6)
      np.testing.assert_array_equal(found[1], expected[1])
    self.assertEqual(gradient_fn._cache_size(), 1)

  def test_dtypes_and_keys(self):
    call = functools.partial(
      _compiled,
      logits_fn=_logits,
      labels=LABELS.astype(np.uint8),
      tail_mask=TAIL,
      epsilon=0.1,
      num_steps=1,
    )
    half = IMAGES.astype(jnp.bfloat16)
    adversaries, keep = call(KEY, images=half)
    self.assertEqual(adversaries.dtype, jnp.bfloat16)
    self.assertEqual(keep.dtype, jnp.bool_)
    np.testing.assert_array_equal(adversaries[~TAIL], half[~TAIL])
    first = call(KEY, images=IMAGES)[0]
    np.testing.assert_array_equal(first, call(KEY, images=IMAGES)[0])
    other = call(jax.random.key(1), images=IMAGES)[0]
    self.assertTrue((first[TAIL] != other[TAIL]).any())

  @parameterized.parameters(
    (dict(epsilon=-1.0), ValueError, '`epsilon` must be .* at least 0'),
    (dict(step_size=-1.0), ValueError, '`step_size` must be .* at least 0'),
    (dict(num_steps=0), ValueError, '`num_steps` must be at least 1'),
    (
      dict(images=np.ones(SHAPE, np.uint8)),
      TypeError,
      r'`images` must be floating point.*Scale them to \[0, 1\]',
    ),
    (dict(labels=LABELS[:3]), ValueError, r'`labels` must have shape \[40\]'),
    (
      dict(tail_mask=np.ones(3, bool)),
      ValueError,
      r'`tail_mask` must have shape \[40\].*class_mask\[labels\]',
    ),
    (
      dict(tail_mask=np.ones(40, np.int32)),
      TypeError,
      '`tail_mask` must be bool, got dtype int32',
    ),
  )
  def test_errors(self, changes, error, message):
    arguments = dict(images=IMAGES, labels=LABELS, tail_mask=TAIL) | changes
    with self.assertRaisesRegex(error, message):
      augment.guiding_adversaries(KEY, _logits, **arguments)


if __name__ == '__main__':
  absltest.main()
