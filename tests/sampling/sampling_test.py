# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Samplers: their statistics, their promises, and misuse."""

from concurrent import futures
import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import sampling
from imbsam_jax.sampling import _class_aware

COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
NUM_DRAWS = 200_000

# The class-aware sequence of `test_is_frozen`.
FROZEN = (4, 4, 0, 3, 1, 1, 4, 4, 1, 1, 2, 3)


def _labels(counts, seed=0):
  labels = np.repeat(np.arange(len(counts)), counts)
  return np.random.default_rng(seed).permutation(labels)


def _sigmas(observed, probabilities):
  """Deviations of counts of draws, in standard deviations."""
  probabilities = np.asarray(probabilities, np.float64)
  total = observed.sum()
  spread = np.sqrt(total * probabilities * (1 - probabilities))
  return np.abs(observed - total * probabilities) / np.maximum(spread, 1e-9)


class ClassProbabilitiesTest(parameterized.TestCase):
  @parameterized.parameters(1.0, 0.5, 0.0, -1.0, 2)
  def test_ratios(self, power):
    found = np.asarray(sampling.class_probabilities(COUNTS, power=power))
    self.assertEqual(found.dtype, np.float32)
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
      found / found[-1], (np.array(COUNTS) / 50.0) ** power, rtol=1e-6
    )

  def test_balanced_is_exact(self):
    np.testing.assert_array_equal(
      sampling.class_probabilities(COUNTS, power=0), np.full(10, 0.1, 'f')
    )

  @parameterized.parameters(1.0, 0.0, -1.0, -1e6, 1e6)
  def test_class_without_examples(self, power):
    found = np.asarray(sampling.class_probabilities([0, 2, 0, 4], power=power))
    np.testing.assert_array_equal(found[[0, 2]], [0.0, 0.0])
    np.testing.assert_allclose(found.sum(), 1.0)

  def test_effective_number(self):
    call = sampling.effective_number_probabilities
    # Still 1.27 times the head: not a balanced sampler.
    found = call(COUNTS)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_allclose(found[0] / found[-1], 1.27, atol=5e-3)
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(
      call(COUNTS, beta=1.0), np.full(10, 0.1), rtol=1e-6
    )
    np.testing.assert_allclose(
      call(COUNTS, beta=0.0), sampling.class_probabilities(COUNTS), rtol=1e-6
    )
    for beta in (0.0, 0.9, 1.0):
      found = np.asarray(call([3, 0, 1], beta=beta))
      self.assertEqual(found[1], 0.0)
      np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)

  def test_misuse(self):
    for function in (
      sampling.class_probabilities,
      sampling.effective_number_probabilities,
    ):
      with self.assertRaisesRegex(ValueError, 'got -1 for class 0'):
        function([-1, 2])
      with self.assertRaisesRegex(ValueError, 'not all be zero'):
        function([0, 0])
      with self.assertRaisesRegex(TypeError, 'must be concrete'):
        jax.jit(function)(jnp.ones(2))
    for power in (float('nan'), float('inf')):
      with self.assertRaisesRegex(ValueError, '`power` must be finite'):
        sampling.class_probabilities(COUNTS, power=power)
    for beta in (-0.1, 1.5):
      with self.assertRaisesRegex(ValueError, '`beta` must be finite and from'):
        sampling.effective_number_probabilities(COUNTS, beta=beta)


class ClassTableTest(parameterized.TestCase):
  def test_holds_every_example_once(self):
    counts = (7, 0, 1, 12, 0)
    labels = _labels(counts)
    table = sampling.class_table(labels, num_classes=5)
    self.assertEqual(table.indices.dtype, np.int32)
    self.assertEqual(table.counts.dtype, np.int32)
    self.assertEqual(table.indices.shape, (5, 12))
    np.testing.assert_array_equal(table.counts, counts)
    for label, count in enumerate(counts):
      np.testing.assert_array_equal(
        table.indices[label, :count], np.flatnonzero(labels == label)
      )
      np.testing.assert_array_equal(table.indices[label, count:], -1)

  @parameterized.parameters('uint8', 'int8', 'int64')
  def test_label_dtypes(self, dtype):
    # 256 is no uint8.
    for num_classes in (3, 256, 300):
      table = sampling.class_table(
        np.array([2, 0, 2], dtype), num_classes=num_classes
      )
      np.testing.assert_array_equal(table.counts[:3], [1, 0, 2])
    table = sampling.class_table(jnp.array([1, 0]), num_classes=2)
    np.testing.assert_array_equal(table.indices, [[1], [0]])

  def test_is_a_pytree(self):
    table = sampling.class_table([0, 1, 1], num_classes=2)
    on_device = jax.device_put(table)
    self.assertIsInstance(on_device, sampling.ClassTable)
    self.assertIsInstance(on_device.indices, jax.Array)

  def test_misuse(self):
    for labels in ([0, 3], [-1, 0]):
      with self.assertRaisesRegex(ValueError, r'must be in \[0, 3\), got'):
        sampling.class_table(labels, num_classes=3)
    with self.assertRaisesRegex(ValueError, 'at least one example'):
      sampling.class_table(np.zeros(0, int), num_classes=3)
    for labels in (np.zeros((2, 3), int), 0):
      with self.assertRaisesRegex(ValueError, r'must have shape \[N\]'):
        sampling.class_table(labels, num_classes=3)
    for labels in ([0.0, 1.0], [True]):
      with self.assertRaisesRegex(TypeError, 'must be integers'):
        sampling.class_table(labels, num_classes=3)
    with self.assertRaisesRegex(TypeError, 'must be concrete'):
      jax.jit(lambda x: sampling.class_table(x, num_classes=2))(jnp.array([0]))
    with self.assertRaisesRegex(ValueError, '`num_classes` must be at least 1'):
      sampling.class_table([0], num_classes=0)
    with self.assertRaisesRegex(TypeError, '`num_classes` must be an integer'):
      sampling.class_table([0], num_classes=2.0)


class SampleIndicesTest(parameterized.TestCase):
  @parameterized.parameters(1.0, 0.5, 0.0, -1.0)
  def test_statistics(self, power):
    labels = _labels(COUNTS)
    table = sampling.class_table(labels, num_classes=10)
    probabilities = sampling.class_probabilities(COUNTS, power=power)
    found = np.asarray(
      sampling.sample_indices(
        jax.random.key(1), table, probabilities, num_samples=NUM_DRAWS
      )
    )
    self.assertEqual(found.dtype, np.int32)
    self.assertEqual(found.shape, (NUM_DRAWS,))
    observed = np.bincount(labels[found], minlength=10)
    self.assertLess(_sigmas(observed, probabilities).max(), 4.0)
    # Within classes: every example alike, one chi-square over all of them.
    for label in (0, 9):
      members = np.bincount(found, minlength=len(labels))[labels == label]
      mean = members.mean()
      square = ((members - mean) ** 2).sum() / mean
      freedom = len(members) - 1
      self.assertLess(abs(square - freedom) / np.sqrt(2 * freedom), 4.0)

  def test_very_rare_classes_come_at_their_rate(self):
    # float32 near 1 could not tell these from others of their size.
    chances = np.array([1.0, 3e-6, 1e-6, 1.0, 5e-6])
    table = sampling.class_table(np.arange(5), num_classes=5)
    draw = jax.jit(
      functools.partial(sampling.sample_indices, num_samples=2_000_000)
    )
    observed = np.zeros(5)
    for seed in range(10):
      found = draw(jax.random.key(seed), table, jnp.asarray(chances, 'f'))
      observed += np.bincount(found, minlength=5)
    self.assertLess(_sigmas(observed, chances / chances.sum()).max(), 4.0)

  def test_never_padding_or_a_class_of_probability_zero(self):
    counts = (3, 0, 40, 1, 7, 0)
    labels = _labels(counts)
    table = sampling.class_table(labels, num_classes=6)
    for probabilities in (
      [1, 0, 0, 1, 1, 0],
      [0, 0, 1e-30, 0, 0, 0],
      [0, 0, 1, 1e-7, 0, 0],
    ):
      found = np.asarray(
        sampling.sample_indices(
          jax.random.key(2), table, probabilities, num_samples=100_000
        )
      )
      self.assertTrue(((found >= 0) & (found < len(labels))).all())
      self.assertTrue((np.array(probabilities)[labels[found]] > 0).all())

  def test_one_draw_does_not_depend_on_the_form(self):
    table = sampling.class_table(_labels((5, 2, 9)), num_classes=3)
    shares = [0.25, 0.25, 0.5]
    call = functools.partial(sampling.sample_indices, num_samples=500)
    expected = call(jax.random.key(3), table, shares)
    self.assertLen(set(expected.tolist()), 16)
    for found in (
      call(jax.random.key(3), jax.device_put(table), np.array(shares)),
      call(jax.random.PRNGKey(3), table, jnp.array(shares, jnp.bfloat16)),
      call(jax.random.key(3), table, [1, 1, 2]),
      jax.jit(call)(jax.random.key(3), table, jnp.array(shares)),
      jax.jit(lambda key: call(key, table, shares))(jax.random.key(3)),
    ):
      self.assertEqual(found.dtype, jnp.int32)
      np.testing.assert_array_equal(found, expected)
    self.assertFalse(
      np.array_equal(call(jax.random.key(4), table, shares), expected)
    )

  def test_vmap_over_keys(self):
    table = sampling.class_table(_labels((5, 2, 9)), num_classes=3)
    call = lambda key: sampling.sample_indices(
      key, table, [0.2, 0.3, 0.5], num_samples=20
    )
    keys = jax.random.split(jax.random.key(0), 4)
    found = jax.vmap(call)(keys)
    np.testing.assert_array_equal(found, np.stack([call(k) for k in keys]))
    self.assertLen({tuple(row) for row in found.tolist()}, 4)

  def test_probabilities_change_without_recompilation(self):
    table = sampling.class_table(_labels((5, 2)), num_classes=2)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def draw(key, probabilities):
      return sampling.sample_indices(key, table, probabilities, num_samples=8)

    for share in (0.1, 0.5, 1.0):
      draw(jax.random.key(0), jnp.array([share, 1 - share]))

  def test_traced_probabilities_cannot_reach_empty_classes(self):
    table = sampling.class_table([2, 2, 0], num_classes=3)
    draw = jax.jit(functools.partial(sampling.sample_indices, num_samples=1000))
    found = draw(jax.random.key(0), table, jnp.array([0.5, 0.5, 0.0]))
    np.testing.assert_array_equal(found, np.full(1000, 2))
    # Nothing to draw is no example, and no index of anything.
    for nothing in ([0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 1.0]):
      found = draw(jax.random.key(0), table, jnp.array(nothing))
      with self.assertRaises(IndexError):
        np.zeros(3)[np.asarray(found)]

  def test_misuse(self):
    table = sampling.class_table([2, 2, 0], num_classes=3)
    call = lambda probabilities=(1.0, 0.0, 1.0), table=table, num_samples=4: (
      sampling.sample_indices(
        jax.random.key(0), table, probabilities, num_samples=num_samples
      )
    )
    with self.assertRaisesRegex(ValueError, r'\(3,\), got \(2,\)'):
      call([0.5, 0.5])
    with self.assertRaisesRegex(ValueError, r'\(3,\), got \(2,\)'):
      jax.jit(call)(jnp.array([0.5, 0.5]))
    with self.assertRaisesRegex(ValueError, 'got 0.5 for class 1'):
      call([0.5, 0.5, 0.0])
    with self.assertRaisesRegex(ValueError, 'got -1 for class 2'):
      call([0.5, 0.5, -1.0])
    with self.assertRaisesRegex(ValueError, 'got nan for class 0'):
      call([float('nan'), 0.0, 1.0])
    with self.assertRaisesRegex(ValueError, 'not all be zero'):
      call([0.0, 0.0, 0.0])
    with self.assertRaisesRegex(TypeError, 'must be real numbers'):
      call([True, False, True])
    for num_samples in (0, -1):
      with self.assertRaisesRegex(
        ValueError, '`num_samples` must be at least 1'
      ):
        call(num_samples=num_samples)
    for num_samples in (2.0, True, None):
      with self.assertRaisesRegex(TypeError, '`num_samples` must be an int'):
        call(num_samples=num_samples)
    with self.assertRaisesRegex(TypeError, 'must be a ClassTable'):
      call(table=(np.zeros((3, 1)), np.ones(3)))


class ClassAwareTest(parameterized.TestCase):
  @parameterized.parameters(1, 3, 4)
  def test_cycles(self, samples_per_class):
    counts = (9, 0, 2, 1, 30, 0, 5)
    labels = _labels(counts)
    table = sampling.class_table(labels, num_classes=7)
    length = 5 * samples_per_class
    found = sampling.class_aware_indices(
      jax.random.key(0),
      table,
      num_samples=length * 60,
      samples_per_class=samples_per_class,
    )
    self.assertEqual(found.dtype, np.int32)
    cycles = labels[found].reshape(60, 5, samples_per_class)
    # In a row, each class once a cycle, in orders of their own.
    np.testing.assert_array_equal(
      cycles, cycles[:, :, :1].repeat(samples_per_class, axis=2)
    )
    for cycle in cycles[:, :, 0]:
      np.testing.assert_array_equal(np.sort(cycle), [0, 2, 3, 4, 6])
    self.assertGreater(len({tuple(c) for c in cycles[:, :, 0].tolist()}), 20)

    for label in (0, 2, 3, 4, 6):
      draws = found[labels[found] == label]
      self.assertLen(draws, 60 * samples_per_class)
      whole = len(draws) // counts[label] * counts[label]
      epochs = draws[:whole].reshape(-1, counts[label])
      members = np.flatnonzero(labels == label)
      np.testing.assert_array_equal(
        np.sort(epochs, axis=1), np.tile(members, (len(epochs), 1))
      )
      if counts[label] > 4 and len(epochs) > 1:
        self.assertGreater(len({tuple(e) for e in epochs.tolist()}), 1)

  def test_default_is_four_in_a_row(self):
    table = sampling.class_table(_labels((9, 8)), num_classes=2)
    call = functools.partial(
      sampling.class_aware_indices, jax.random.key(0), table, num_samples=40
    )
    np.testing.assert_array_equal(call(), call(samples_per_class=4))

  def test_statistics_of_places(self):
    # Every class is as often first in its cycle, every example first in its
    # epoch.
    labels = _labels((4, 4, 4, 4))
    table = sampling.class_table(labels, num_classes=4)
    found = sampling.class_aware_indices(
      jax.random.key(5), table, num_samples=100_000, samples_per_class=1
    )
    first = np.bincount(labels[found.reshape(-1, 4)[:, 0]])
    self.assertLess(_sigmas(first, np.full(4, 0.25)).max(), 4.0)
    for label in range(4):
      epochs = found[labels[found] == label]
      epochs = epochs[: len(epochs) // 4 * 4].reshape(-1, 4)
      first = np.bincount(epochs[:, 0], minlength=16)[labels == label]
      self.assertLess(_sigmas(first, np.full(4, 0.25)).max(), 4.0)

  def test_any_position_without_walking(self):
    table = sampling.class_table(_labels((9, 0, 2, 1, 30)), num_classes=5)
    call = lambda positions: _class_aware.class_aware_positions(
      [7, 2**32 - 1], table, positions, 3
    )
    whole = call(np.arange(2000))
    order = np.random.default_rng(0).permutation(2000)
    np.testing.assert_array_equal(call(order), whole[order])
    np.testing.assert_array_equal(
      [call([p])[0] for p in (0, 5, 1999)], whole[[0, 5, 1999]]
    )
    np.testing.assert_array_equal(call([5, 5]), whole[[5, 5]])
    self.assertEqual(call(np.zeros(0, int)).shape, (0,))
    # Beyond 32 bits, in cycles and in epochs.
    far = call(2**44 + np.arange(12))
    np.testing.assert_array_equal(far[3:6], call(2**44 + np.arange(3, 6)))
    self.assertLess(far.max(), 42)

  def test_more_samples_begin_with_the_same(self):
    table = sampling.class_table(_labels((9, 2)), num_classes=2)
    call = lambda n, seed=0: sampling.class_aware_indices(
      jax.random.key(seed), table, num_samples=n
    )
    np.testing.assert_array_equal(call(100)[:7], call(7))
    self.assertFalse(np.array_equal(call(100), call(100, seed=1)))

  def test_forms_of_keys(self):
    table = sampling.class_table(_labels((9, 2)), num_classes=2)
    call = lambda key, table=table: sampling.class_aware_indices(
      key, table, num_samples=30
    )
    expected = call(jax.random.key(3))
    for key in (
      jax.random.PRNGKey(3),
      np.asarray(jax.random.PRNGKey(3)),
    ):
      np.testing.assert_array_equal(call(key), expected)
    np.testing.assert_array_equal(
      call(jax.random.key(3), jax.device_put(table)), expected
    )
    self.assertEqual(call(jax.random.key(3, impl='rbg')).shape, (30,))

  def test_constants_inside_of_jit(self):
    table = sampling.class_table(_labels((9, 2)), num_classes=2)
    key = jax.random.key(3)
    call = lambda: sampling.class_aware_indices(key, table, num_samples=30)
    np.testing.assert_array_equal(
      jax.jit(lambda: jnp.asarray(call()))(), call()
    )

  def test_threads_do_not_mix(self):
    table = sampling.class_table(_labels((50, 30, 3)), num_classes=3)
    call = lambda seed: _class_aware.class_aware_positions(
      [seed], table, np.arange(2000), 2
    )
    expected = [call(seed) for seed in range(8)]
    _class_aware._permutation.cache_clear()
    with futures.ThreadPoolExecutor(4) as pool:
      found = list(pool.map(call, range(8)))
    np.testing.assert_array_equal(found, expected)

  def test_is_frozen(self):
    # A change of these is a change of every run that resumes.
    table = sampling.class_table([0, 1, 0, 0, 2], num_classes=3)
    np.testing.assert_array_equal(
      _class_aware.class_aware_positions([0, 42], table, np.arange(12), 2),
      FROZEN,
    )

  def test_misuse(self):
    table = sampling.class_table([0, 1], num_classes=2)
    fixed = jax.random.key(0)
    call = lambda key=fixed, table=table, num_samples=4, **kw: (
      sampling.class_aware_indices(key, table, num_samples=num_samples, **kw)
    )
    for value in (0, -3):
      with self.assertRaisesRegex(
        ValueError, '`samples_per_class` must be at l'
      ):
        call(samples_per_class=value)
      with self.assertRaisesRegex(
        ValueError, '`num_samples` must be at least 1'
      ):
        call(num_samples=value)
    with self.assertRaisesRegex(TypeError, '`samples_per_class` must be an in'):
      call(samples_per_class=1.5)
    with self.assertRaisesRegex(TypeError, '`key` must be concrete'):
      jax.jit(call)(jax.random.key(0))
    with self.assertRaisesRegex(TypeError, '`table` must be concrete'):
      jax.jit(lambda table: call(table=table))(table)
    with self.assertRaisesRegex(TypeError, r'Pass jax\.random\.key\(seed\)'):
      call(0)
    with self.assertRaisesRegex(ValueError, r'one key, got shape \(2,'):
      call(jax.random.split(jax.random.key(0)))
    with self.assertRaisesRegex(TypeError, 'must be a ClassTable'):
      call(table=[0, 1])
    empty = sampling.ClassTable(np.zeros((2, 1), 'i'), np.zeros(2, 'i'))
    with self.assertRaisesRegex(ValueError, 'got none in any class'):
      call(table=empty)
    for positions in ([-1], [[0]]):
      with self.assertRaisesRegex(ValueError, r'shape \[n\] and be >= 0'):
        _class_aware.class_aware_positions([0], table, positions, 1)
    with self.assertRaisesRegex(TypeError, '`positions` must be integers'):
      _class_aware.class_aware_positions([0], table, [0.0], 1)


if __name__ == '__main__':
  absltest.main()
