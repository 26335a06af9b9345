# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels of auxiliary images: their probabilities, and their draws."""

import fractions
import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import sampling

COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
NUM_DRAWS = 100_000


def _probabilities(counts, alpha=None):
  """In fractions, without rounding."""
  shares = [fractions.Fraction(n, sum(counts)) for n in counts]
  if alpha is None:
    alpha = max(shares) + min(shares)
  missing = [fractions.Fraction(alpha) - share for share in shares]
  return [float(m / sum(missing)) for m in missing]


class ComplementaryProbabilitiesTest(parameterized.TestCase):
  @parameterized.parameters(None, 0.5, 1, 40.0)
  def test_values(self, alpha):
    for counts in (COUNTS, (6, 3, 1), (3, 0, 1), (2, 5), (2**40, 3)):
      # The largest shares are .4, .6, .75, .71 and nearly 1.
      if alpha is None or alpha * sum(counts) >= max(counts):
        found = sampling.complementary_probabilities(counts, alpha=alpha)
        self.assertEqual(found.dtype, jnp.float32)
        np.testing.assert_allclose(
          found, _probabilities(counts, alpha), rtol=1e-6, atol=1e-12
        )
        np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)

  def test_order_is_reversed(self):
    found = np.asarray(sampling.complementary_probabilities(COUNTS))
    self.assertTrue((np.diff(found) > 0).all())
    # With the largest share as alpha the first class has none.
    for alpha in (0.6, np.float32(0.6), jnp.float32(0.6), 0.6 * (1 - 5e-7)):
      found = sampling.complementary_probabilities([6, 3, 1], alpha=alpha)
      np.testing.assert_allclose(found, [0, 0.375, 0.625], atol=1e-6)
      self.assertGreaterEqual(float(found[0]), 0.0)

  @parameterized.parameters(1, 3, 7, 10)
  def test_balanced_counts(self, num_classes):
    for alpha in (None, 1 / num_classes, 1.0, 1e12):
      np.testing.assert_array_equal(
        sampling.complementary_probabilities([40] * num_classes, alpha=alpha),
        np.full(num_classes, 1 / num_classes, 'f'),
      )

  def test_large_alpha_is_nearly_uniform(self):
    np.testing.assert_allclose(
      sampling.complementary_probabilities(COUNTS, alpha=1e9), 0.1, rtol=1e-6
    )

  @parameterized.parameters(None, 0.5, 3.0)
  def test_balances_the_data_set(self, alpha):
    found = sampling.complementary_probabilities(COUNTS, alpha=alpha)
    total = sum(COUNTS)
    value = 5050 / total if alpha is None else alpha
    labels = total * (len(COUNTS) * value - 1)
    joint = np.array(COUNTS) + labels * np.asarray(found, np.float64)
    np.testing.assert_allclose(joint, total * value, rtol=1e-6)

  def test_only_ratios_count_at_any_size(self):
    np.testing.assert_allclose(
      sampling.complementary_probabilities(np.array(COUNTS) * 1e304),
      sampling.complementary_probabilities(COUNTS),
      rtol=1e-6,
    )

  def test_misuse(self):
    call = sampling.complementary_probabilities
    with self.assertRaisesRegex(
      ValueError, r'share of a class, 0\.6, got 0\.5'
    ):
      call([6, 3, 1], alpha=0.5)
    for alpha in (float('nan'), float('inf')):
      with self.assertRaisesRegex(ValueError, '`alpha` must be finite'):
        call([6, 3, 1], alpha=alpha)
    with self.assertRaisesRegex(TypeError, '`alpha` must be a number'):
      call([6, 3, 1], alpha='1')
    with self.assertRaisesRegex(ValueError, 'not all be zero'):
      call([0, 0])
    with self.assertRaisesRegex(ValueError, 'got -1 for class 0'):
      call([-1, 2])
    with self.assertRaisesRegex(TypeError, 'must be concrete'):
      jax.jit(call)(jnp.ones(2))


@functools.partial(jax.jit, static_argnames='num_samples')
@chex.assert_max_traces(n=1)
def _draw(key, probabilities, num_samples=NUM_DRAWS):
  return sampling.sample_labels(key, probabilities, num_samples=num_samples)


class SampleLabelsTest(parameterized.TestCase):
  def test_distribution(self):
    for seed, probabilities in enumerate(
      (
        sampling.complementary_probabilities(COUNTS),
        sampling.class_probabilities(COUNTS),
        np.float32([0, 3, 0, 0, 1e-4, 2, 0, 1, 1, 0]),  # Not of sum 1.
      )
    ):
      found = np.asarray(_draw(jax.random.key(seed), probabilities))
      self.assertEqual(found.dtype, np.int32)
      self.assertEqual(found.shape, (NUM_DRAWS,))
      shares = np.asarray(probabilities, np.float64)
      shares /= shares.sum()
      expected = NUM_DRAWS * shares
      observed = np.bincount(found, minlength=10)
      np.testing.assert_array_equal(observed[shares == 0], 0)
      deviations = np.sqrt(expected * (1 - shares))
      np.testing.assert_array_less(
        np.abs(observed - expected), 4 * deviations + 1e-9
      )
      # One draw says nothing about the next.
      pairs = (found[1:] == found[:-1]).mean()
      same = (shares**2).sum()
      self.assertLess(
        abs(pairs - same), 5 * np.sqrt(same * (1 - same) / NUM_DRAWS)
      )

  def test_is_of_the_key(self):
    call = functools.partial(
      sampling.sample_labels, probabilities=[1, 2, 3], num_samples=50
    )
    first = np.asarray(call(jax.random.key(0)))
    np.testing.assert_array_equal(call(jax.random.key(0)), first)
    np.testing.assert_array_equal(call(jax.random.PRNGKey(0)), first)
    self.assertFalse(np.array_equal(call(jax.random.key(1)), first))

  def test_nothing_to_draw(self):
    for probabilities in (np.zeros(10, 'f'), np.full(10, np.nan, 'f')):
      found = _draw(jax.random.key(0), probabilities)
      np.testing.assert_array_equal(found, np.iinfo(np.int32).max)

  def test_misuse(self):
    call = lambda probabilities=(0.5, 0.5), num_samples=3: (
      sampling.sample_labels(
        jax.random.key(0), probabilities, num_samples=num_samples
      )
    )
    with self.assertRaisesRegex(ValueError, 'got -1 for class 1'):
      call([1.0, -1.0])
    with self.assertRaisesRegex(ValueError, 'not all be zero'):
      call([0.0, 0.0])
    for wrong in ([], [[1.0]], 1.0):
      with self.assertRaisesRegex(ValueError, r'\[num_classes\]'):
        call(wrong)
    with self.assertRaisesRegex(TypeError, 'must be real numbers'):
      call([True])
    with self.assertRaisesRegex(ValueError, '`num_samples` must be at least 1'):
      call(num_samples=0)
    with self.assertRaisesRegex(TypeError, '`num_samples` must be an int'):
      call(num_samples=2.0)


if __name__ == '__main__':
  absltest.main()
