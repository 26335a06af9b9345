# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of classes and examples: goldens, invariants, misuse."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import weights

# CIFAR-10 with an imbalance factor of 100.
COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)

# What a caller may have at hand.
FORMS = (
  list,
  lambda x: np.asarray(x, np.int64),
  lambda x: np.asarray(x, np.float64),
  lambda x: jnp.asarray(x, jnp.int32),
)


class EffectiveNumberTest(parameterized.TestCase):
  def test_ends(self):
    np.testing.assert_array_equal(
      weights.effective_number(COUNTS, beta=0.0), np.ones(10)
    )
    np.testing.assert_array_equal(
      weights.effective_number(COUNTS, beta=1.0), COUNTS
    )
    np.testing.assert_array_equal(
      weights.effective_number([3, 0], beta=0.0), [1, 0]
    )

  def test_one_example_counts_once_and_the_number_is_bounded(self):
    for beta in (0.1, 0.9, 0.9999, 1 - 1e-12):
      found = weights.effective_number([1, 10, 10**7], beta=beta)
      np.testing.assert_allclose(found[0], 1.0, rtol=1e-6)
      self.assertLessEqual(float(found[1]), 10.0)
      self.assertLessEqual(float(found[2]), 1.0001 / (1 - beta))

  def test_small_counts_keep_their_digits(self):
    # 1 - 0.9999**2 has 3 digits in float32.
    np.testing.assert_allclose(
      weights.effective_number([2, 3], beta=0.9999),
      [1.9999, 1 + 0.9999 + 0.9999**2],
      rtol=1e-7,
    )


class ClassBalancedWeightsTest(parameterized.TestCase):
  @parameterized.parameters(
    (
      0.9999,
      '.0506 .0769 .1211 .1950 .3188 .5246 .8683 1.4426 2.4092 3.9927',
    ),
    (
      0.999,
      '.1812 .1894 .2157 .2729 .3785 .5606 .8688 1.3862 2.2584 3.6883',
    ),
  )
  def test_golden(self, beta, expected):
    np.testing.assert_allclose(
      weights.class_balanced_weights(COUNTS, beta=beta),
      np.array(expected.split(), float),
      atol=5e-5,
      rtol=0,
    )

  @parameterized.parameters(0.0, 0.9, 0.999, 0.9999, 1.0)
  def test_sum_and_order(self, beta):
    found = np.asarray(weights.class_balanced_weights(COUNTS, beta=beta))
    np.testing.assert_allclose(found.sum(), 10.0, rtol=1e-6)
    # Counts that are all beyond 1 / (1 - beta) weigh the same in float32.
    self.assertTrue((np.diff(found) >= 0).all())
    if beta >= 0.999:
      self.assertTrue((np.diff(found) > 0).all())

  def test_limits(self):
    np.testing.assert_array_equal(
      weights.class_balanced_weights(COUNTS, beta=0.0), np.ones(10)
    )
    np.testing.assert_array_equal(
      weights.class_balanced_weights(COUNTS, beta=1.0),
      weights.power_weights(COUNTS),
    )
    np.testing.assert_allclose(
      weights.class_balanced_weights(COUNTS, beta=1 - 1e-12),
      weights.power_weights(COUNTS),
      rtol=1e-6,
    )

  def test_default(self):
    np.testing.assert_array_equal(
      weights.class_balanced_weights(COUNTS),
      weights.class_balanced_weights(COUNTS, beta=0.9999),
    )


class PowerWeightsTest(parameterized.TestCase):
  def test_golden(self):
    np.testing.assert_allclose(
      weights.power_weights(COUNTS, power=1.2),
      [
        *(0.0183, 0.0338, 0.0624, 0.1153, 0.2134),
        *(0.3939, 0.7278, 1.3459, 2.4988, 4.5905),
      ],
      atol=5e-5,
      rtol=0,
    )

  @parameterized.parameters(-1.0, 0.0, 0.5, 1.0, 1.2, 3)
  def test_ratios_and_sum(self, power):
    found = np.asarray(weights.power_weights(COUNTS, power=power))
    np.testing.assert_allclose(found.sum(), 10.0, rtol=1e-6)
    np.testing.assert_allclose(
      found / found[-1], (np.array(COUNTS) / 50.0) ** -power, rtol=1e-6
    )

  def test_zero_is_exactly_ones(self):
    np.testing.assert_array_equal(
      weights.power_weights(COUNTS, power=0), np.ones(10)
    )

  def test_only_ratios_count_at_any_size(self):
    np.testing.assert_allclose(
      weights.power_weights(np.array(COUNTS) * 1e250, power=2.0),
      weights.power_weights(COUNTS, power=2.0),
      rtol=1e-6,
    )
    np.testing.assert_array_equal(
      weights.power_weights([10, 1], power=1e6), [0.0, 2.0]
    )


class ClassWeightsTest(parameterized.TestCase):
  @parameterized.product(
    function=(
      weights.effective_number,
      weights.class_balanced_weights,
      weights.power_weights,
      weights.normalize_weights,
    ),
    form=FORMS,
  )
  def test_forms_of_counts(self, function, form):
    found = function(form(COUNTS))
    self.assertIsInstance(found, jax.Array)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_array_equal(found, function(COUNTS))

  def test_bfloat16(self):
    counts = jnp.asarray([64, 4], jnp.bfloat16)
    np.testing.assert_array_equal(
      weights.power_weights(counts), weights.power_weights([64, 4])
    )
    found = weights.normalize_weights(counts, norm='max')
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_array_equal(found, [1.0, 0.0625])

  def test_hyperparameters_may_be_arrays_of_one_number(self):
    for value in (np.float32(0.5), jnp.float32(0.5), np.array(0.5)):
      np.testing.assert_array_equal(
        weights.class_balanced_weights(COUNTS, beta=value),
        weights.class_balanced_weights(COUNTS, beta=0.5),
      )
      np.testing.assert_array_equal(
        weights.power_weights(COUNTS, power=value),
        weights.power_weights(COUNTS, power=0.5),
      )

  def test_concrete_counts_inside_of_jit(self):
    for function in (weights.class_balanced_weights, weights.power_weights):
      inside = jax.jit(lambda x, function=function: x * function(COUNTS))
      np.testing.assert_array_equal(inside(1.0), function(COUNTS))

  @parameterized.parameters(
    weights.class_balanced_weights, weights.power_weights
  )
  def test_counts_that_are_not_positive(self, function):
    with self.assertRaisesRegex(ValueError, 'got 0 for class 1'):
      function([3, 0])
    with self.assertRaisesRegex(ValueError, 'got -2 for class 0'):
      function([-2, 3])
    with self.assertRaisesRegex(ValueError, r'\[num_classes\]'):
      function([[1, 2]])
    with self.assertRaisesRegex(TypeError, 'must be numbers'):
      function([True, False])

  @parameterized.parameters(
    weights.effective_number,
    weights.class_balanced_weights,
    weights.power_weights,
  )
  def test_traced_counts(self, function):
    with self.assertRaisesRegex(TypeError, 'must be concrete'):
      jax.jit(function)(jnp.ones(3))

  @parameterized.product(
    function=(weights.effective_number, weights.class_balanced_weights),
    beta=(-0.1, 1.1, float('nan'), float('inf')),
  )
  def test_beta(self, function, beta):
    with self.assertRaisesRegex(ValueError, '`beta` must be finite and from 0'):
      function(COUNTS, beta=beta)
    with self.assertRaisesRegex(ValueError, '`beta` must be finite and from 0'):
      function(COUNTS, beta=jnp.float32(beta))

  @parameterized.parameters(float('nan'), float('inf'), -float('inf'))
  def test_power(self, power):
    with self.assertRaisesRegex(ValueError, '`power` must be finite'):
      weights.power_weights(COUNTS, power=power)

  def test_hyperparameters_of_other_types(self):
    for value in ('1', None, True, 1j):
      with self.assertRaisesRegex(TypeError, '`power` must be a number'):
        weights.power_weights(COUNTS, power=value)
    with self.assertRaisesRegex(TypeError, r'one number, got shape \(2,\)'):
      weights.power_weights(COUNTS, power=np.ones(2))
    with self.assertRaisesRegex(TypeError, '`beta` must be concrete'):
      jax.jit(lambda b: weights.effective_number(COUNTS, beta=b))(0.5)


class NormalizeWeightsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('mean', lambda w: w.mean()),
    ('sum', lambda w: w.sum()),
    ('l2', lambda w: np.sqrt((w * w).sum())),
    ('max', lambda w: w.max()),
  )
  def test_norm(self, norm, measure):
    raw = np.array([0.3, 0.0, 7.0, 2.0])
    found = np.asarray(weights.normalize_weights(raw, norm=norm))
    np.testing.assert_allclose(measure(found), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found / found[2], raw / raw[2], rtol=1e-6)
    np.testing.assert_allclose(
      weights.normalize_weights(found, norm=norm), found, rtol=1e-6
    )
    for scale in (1e-30, 1e30):
      np.testing.assert_allclose(
        jax.jit(lambda w: weights.normalize_weights(w, norm=norm))(
          jnp.asarray(raw * scale, jnp.float32)
        ),
        found,
        rtol=1e-6,
      )

  def test_misuse(self):
    for norm in ('l1', 'MEAN', None):
      with self.assertRaisesRegex(ValueError, "'mean', 'sum', 'l2', 'max'"):
        weights.normalize_weights([1.0], norm=norm)
    with self.assertRaisesRegex(ValueError, 'got -1 for class 1'):
      weights.normalize_weights([1.0, -1.0])
    with self.assertRaisesRegex(ValueError, 'got nan for class 0'):
      weights.normalize_weights([float('nan'), 1.0])
    with self.assertRaisesRegex(ValueError, 'not all be zero'):
      weights.normalize_weights([0.0, 0.0])
    for wrong in (1.0, [], [[1.0]]):
      with self.assertRaisesRegex(ValueError, r'\[num_classes\]'):
        weights.normalize_weights(wrong)
    for wrong in ([True], [1j], ['a']):
      with self.assertRaisesRegex(TypeError, 'must be real numbers'):
        weights.normalize_weights(wrong)


def _losses(seed, *, batches=1, size=32):
  draws = np.random.default_rng(seed).gamma(2.0, size=(batches, size))
  return draws.astype(np.float32)


class AbsgdTest(parameterized.TestCase):
  @parameterized.parameters(0.1, 1.0, 5.0, -5.0, -0.1)
  def test_all_of_each_batch_is_softmax(self, lam):
    state = weights.absgd_init()
    for losses in _losses(0, batches=3):
      found, state = weights.absgd_weights(
        losses, state, lam=lam, gamma=1.0, alpha=1.0
      )
      self.assertEqual(found.dtype, jnp.float32)
      np.testing.assert_allclose(
        found, jax.nn.softmax(losses / np.float32(lam)), rtol=2e-5, atol=1e-12
      )

  def test_shift_of_the_losses(self):
    (losses,) = _losses(1)
    call = lambda x: weights.absgd_weights(
      x, weights.absgd_init(), lam=0.1, gamma=1.0
    )
    found, state = call(losses)
    shifted, later = call(losses + 4.0)
    # Adding 4 rounds the losses, and lam takes that times 10.
    np.testing.assert_allclose(shifted, found, rtol=2e-5)
    np.testing.assert_allclose(
      later.log_average - state.log_average, 40.0, rtol=1e-5
    )

  @parameterized.parameters(1e6, -1e6)
  def test_large_temperature_is_the_mean(self, lam):
    (losses,) = _losses(2)
    found, _ = weights.absgd_weights(
      losses, weights.absgd_init(), lam=lam, alpha=1.0
    )
    np.testing.assert_allclose(found, np.full(32, 1 / 32), rtol=1e-4)

  def test_first_batch_is_not_biased_and_the_sum_stays(self):
    state = weights.absgd_init()
    self.assertEqual(state.log_average.dtype, jnp.float32)
    sums = []
    for losses in _losses(3, batches=400):
      found, state = weights.absgd_weights(losses, state, lam=5.0)
      sums.append(float(found.sum()))
    np.testing.assert_allclose(sums[0], 2.0, rtol=1e-5)
    np.testing.assert_allclose(np.mean(sums), 2.0, rtol=0.02)

  def test_negative_temperature_weighs_large_losses_down(self):
    found, _ = weights.absgd_weights(
      [0.0, 1.0, 2.0], weights.absgd_init(), lam=-1.0
    )
    self.assertTrue((np.diff(found) < 0).all())

  @parameterized.product(lam=(0.1, -0.1, 1e-3), size=(80.0, 1e3))
  def test_extreme_losses_do_not_overflow(self, lam, size):
    state = weights.absgd_init()
    for losses in ([0.0, 0.1], [size, 0.0], [0.0, 0.2], [size, size]):
      found, state = weights.absgd_weights(losses, state, lam=lam)
      self.assertTrue(np.isfinite(found).all())
      self.assertTrue(np.isfinite(state.log_average))
      # 1 / (gamma alpha); log u of 1e6 has a spacing of 1/16.
      self.assertLessEqual(float(found.max()), 20.0 * 1.1)

  def test_weights_stay_below_their_bound(self):
    state = weights.absgd_init()
    _, state = weights.absgd_weights([0.0, 0.0], state, lam=0.1)
    found, _ = weights.absgd_weights([100.0, 0.0], state, lam=0.1)
    # The outlier is nearly all of u: 1 / (gamma alpha).
    np.testing.assert_allclose(found, [20.0, 0.0], rtol=1e-5)

  def test_no_gradient(self):
    def total(losses, log_average, lam):
      found, state = weights.absgd_weights(
        losses, weights.AbsgdState(log_average), lam=lam
      )
      return found.sum() + state.log_average

    for log_average in (-np.inf, 0.3):
      gradients = jax.grad(total, argnums=(0, 1, 2))(
        jnp.array([0.5, 2.0], jnp.float32),
        jnp.float32(log_average),
        jnp.float32(0.5),
      )
      for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))

    def weighted(losses):
      found, _ = weights.absgd_weights(losses, weights.absgd_init())
      return (found * losses).sum()

    losses = jnp.array([0.5, 2.0], jnp.float32)
    found, _ = weights.absgd_weights(losses, weights.absgd_init())
    np.testing.assert_allclose(jax.grad(weighted)(losses), found, rtol=1e-6)

  def test_traced_stages_compile_once(self):
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(losses, state, lam, gamma):
      return weights.absgd_weights(losses, state, lam=lam, gamma=gamma)

    state = old = weights.absgd_init()
    for lam, losses in zip(
      (200.0, 200.0, 1.0, -2.0), _losses(4, batches=4), strict=True
    ):
      found, state = step(losses, state, lam, 0.5)
      expected, old = weights.absgd_weights(losses, old, lam=lam, gamma=0.5)
      np.testing.assert_allclose(found, expected, rtol=1e-5)

  def test_bad_batch_does_not_spoil_the_state(self):
    _, state = weights.absgd_weights([1.0, 2.0], weights.absgd_init())
    for bad in (float('nan'), float('inf')):
      found, after = weights.absgd_weights([1.0, bad], state)
      self.assertTrue(np.isnan(found).all())
      np.testing.assert_array_equal(after.log_average, state.log_average)

  def test_dtypes(self):
    for losses in (
      np.array([1.0, 2.0]),
      jnp.array([1.0, 2.0], jnp.bfloat16),
      [1, 2],
    ):
      found, state = weights.absgd_weights(losses, weights.absgd_init())
      self.assertEqual(found.dtype, jnp.float32)
      self.assertEqual(state.log_average.dtype, jnp.float32)
      np.testing.assert_allclose(found, [0.5378828, 1.4621172], rtol=1e-5)

  @parameterized.product(mapped=('shard_map', 'pmap'), lam=(0.1, 2.0, -1.0))
  def test_shards_equal_the_whole_batch(self, mapped, lam):
    def step(losses, state):
      return weights.absgd_weights(losses, state, lam=lam, axis_name='data')

    if mapped == 'shard_map':
      spec = jax.sharding.PartitionSpec
      sharded = jax.jit(
        jax.shard_map(
          step,
          mesh=jax.make_mesh(
            (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
          ),
          in_specs=(spec('data'), spec()),
          out_specs=(spec('data'), spec()),
        )
      )
    else:

      def sharded(losses, state):
        found, states = jax.pmap(step, axis_name='data', in_axes=(0, None))(
          losses.reshape(8, 4), state
        )
        np.testing.assert_array_equal(
          states.log_average, np.repeat(states.log_average[0], 8)
        )
        return found.reshape(32), jax.tree.map(lambda x: x[0], states)

    state = whole = weights.absgd_init()
    for losses in np.sort(_losses(5, batches=4), axis=1):
      found, state = sharded(losses, state)
      expected, whole = weights.absgd_weights(losses, whole, lam=lam)
      np.testing.assert_allclose(found, expected, rtol=3e-5, atol=1e-12)
      np.testing.assert_allclose(
        state.log_average, whole.log_average, rtol=1e-5, atol=1e-5
      )

  def test_misuse(self):
    state = weights.absgd_init()
    call = lambda losses=(1.0,), state=state, **kw: weights.absgd_weights(
      losses, state, **kw
    )
    with self.assertRaisesRegex(ValueError, '`lam` must not be 0'):
      call(lam=0.0)
    for gamma in (-0.1, 0.0, 1.1, float('nan')):
      with self.assertRaisesRegex(ValueError, '`gamma` must be'):
        call(gamma=gamma)
    for alpha in (-1.0, 0, float('inf')):
      with self.assertRaisesRegex(ValueError, '`alpha` must be'):
        call(alpha=alpha)
    for lam in (float('inf'), float('nan')):
      with self.assertRaisesRegex(ValueError, '`lam` must be finite'):
        call(lam=lam)
    for losses in (1.0, [], [[1.0]]):
      with self.assertRaisesRegex(ValueError, r'must have shape \[B\]'):
        call(losses)
    with self.assertRaisesRegex(TypeError, 'must be real numbers'):
      call([1j])
    with self.assertRaisesRegex(TypeError, 'Begin with `absgd_init'):
      call(state=0.0)


if __name__ == '__main__':
  absltest.main()
