# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Schedules: their ends, their switches, and that they never recompile."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import sampling
from imbsam_jax import schedules
from imbsam_jax import weights

COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)

# The same epoch, as a caller may have it.
EPOCHS = (
  int,
  float,
  np.int64,
  np.uint8,
  np.float64,
  lambda x: jnp.asarray(x, jnp.int32),
  lambda x: jnp.asarray(x, jnp.uint32),
  lambda x: jnp.asarray(x, jnp.bfloat16),
)


class PhaseTest(parameterized.TestCase):
  @parameterized.product(power=(0.5, 1, 1.0, 3.0, 5), traced=(False, True))
  def test_ends_are_exact(self, power, traced):
    phase = functools.partial(schedules.phase, start=100, end=160, power=power)
    if traced:
      phase = jax.jit(phase)
    for step, expected in ((0, 0), (99, 0), (100, 0), (160, 1), (10**6, 1)):
      found = phase(step)
      self.assertEqual(found.dtype, jnp.float32)
      self.assertEqual(found.shape, ())
      self.assertEqual(float(found), expected)
    np.testing.assert_allclose(phase(115), 0.25**power, rtol=1e-6)
    steps = [float(phase(t)) for t in range(100, 161)]
    self.assertTrue((np.diff(steps) > 0).all())

  @parameterized.product(power=(0, 0.5, 5.0), traced=(False, True))
  def test_no_span_is_a_step(self, power, traced):
    phase = functools.partial(schedules.phase, start=7, end=7, power=power)
    if traced:
      phase = jax.jit(phase)
    found = [float(phase(t)) for t in (0, 6, 7, 8)]
    self.assertEqual(found, [0, 0, 1, 1])

  def test_power_zero_is_a_step_at_start(self):
    phase = functools.partial(schedules.phase, start=2, end=5, power=0)
    self.assertEqual([float(phase(t)) for t in (1, 2, 3, 5)], [0, 1, 1, 1])

  @parameterized.parameters(*EPOCHS)
  def test_forms_of_steps(self, form):
    for step in (0, 100, 112, 160):
      np.testing.assert_array_equal(
        schedules.phase(form(step), start=100, end=160),
        schedules.phase(step, start=100, end=160),
      )

  def test_float_boundaries_that_miss_a_whole_number(self):
    start = 0.7 * 10 + 1e-15  # 7.000000000000001
    self.assertGreater(start, 7)
    for phase in (schedules.phase, jax.jit(schedules.phase)):
      self.assertEqual(float(phase(7, start=start, end=start)), 1.0)
      self.assertEqual(float(phase(6, start=start, end=start)), 0.0)

  def test_large_steps_are_told_apart(self):
    start = 2**24 + 1  # Not a float32.
    found = [
      float(schedules.phase(t, start=start, end=start))
      for t in (2**24, 2**24 + 1)
    ]
    self.assertEqual(found, [0.0, 1.0])

  def test_everything_traced(self):
    phase = jax.jit(chex.assert_max_traces(schedules.phase, n=1))
    for start, end, power in ((1, 3, 2.0), (0, 8, 0.5), (4, 4, 1.0)):
      np.testing.assert_allclose(
        [phase(t, start=start, end=end, power=power) for t in range(9)],
        [
          schedules.phase(t, start=start, end=end, power=power)
          for t in range(9)
        ],
        rtol=1e-6,
      )

  def test_many_steps_at_once(self):
    np.testing.assert_allclose(
      schedules.phase(np.arange(5), start=0, end=4), np.arange(5) / 4
    )

  def test_the_schedule_of_bbn(self):
    # 1 - (t / E)^2.
    for epoch in range(10):
      found = 1.0 - schedules.phase(epoch, start=0, end=10, power=2.0)
      np.testing.assert_allclose(found, 1 - (epoch / 10) ** 2, rtol=1e-6)

  def test_misuse(self):
    with self.assertRaisesRegex(ValueError, 'not be after `end`.*start=3, end'):
      schedules.phase(0, start=3, end=2)
    for power in (-1.0, float('nan'), float('inf')):
      with self.assertRaisesRegex(
        ValueError, '`power` must be finite and at l'
      ):
        schedules.phase(0, start=0, end=1, power=power)
    for name in ('start', 'end'):
      with self.assertRaisesRegex(ValueError, f'`{name}` must be finite'):
        schedules.phase(0, **{'start': 0, 'end': 1, name: float('nan')})
    for step in (True, 1j):
      with self.assertRaisesRegex(TypeError, '`step` must be a real number'):
        schedules.phase(step, start=0, end=1)


class DeferredTest(parameterized.TestCase):
  def test_keeps_a_common_dtype(self):
    for dtype in (jnp.int32, jnp.bfloat16, jnp.float32):
      before, after = jnp.ones(2, dtype), jnp.zeros(2, dtype)
      found = schedules.deferred(0, before, after, start=1)
      self.assertEqual(found.dtype, dtype)
    found = schedules.deferred(0, [1, 2], np.ones(2), start=1)
    self.assertEqual(found.dtype, jnp.float32)
    np.testing.assert_array_equal(found, [1.0, 2.0])

  def test_scalars_and_infinities(self):
    np.testing.assert_array_equal(
      schedules.deferred(3, 0.0, np.array([-np.inf, 1.0]), start=3),
      [-np.inf, 1.0],
    )
    np.testing.assert_array_equal(
      schedules.deferred(2, 0.0, np.array([np.nan, 1.0]), start=3), [0.0, 0.0]
    )

  def test_misuse(self):
    with self.assertRaisesRegex(ValueError, r'got \(2,\) and \(3,\)'):
      schedules.deferred(0, np.ones(2), np.ones(3), start=1)
    with self.assertRaisesRegex(ValueError, r'`step` must be one number'):
      schedules.deferred(np.arange(2), np.ones(2), np.ones(2), start=1)
    with self.assertRaisesRegex(ValueError, '`start` must be finite'):
      schedules.deferred(0, np.ones(2), np.ones(2), start=float('inf'))


# Each with the last epoch before and one after the change begins, and the ends.
CLASS_SCHEDULES = (
  (
    schedules.deferred_reweighting,
    (159, 160),
    weights.power_weights(COUNTS, power=0),
    weights.class_balanced_weights(COUNTS),
  ),
  (
    schedules.deferred_resampling,
    (159, 160),
    sampling.class_probabilities(COUNTS),
    sampling.class_probabilities(COUNTS, power=0),
  ),
  (
    schedules.progressive_weights,
    (100, 130),
    weights.power_weights(COUNTS, power=0),
    weights.power_weights(COUNTS),
  ),
  (
    schedules.progressive_probabilities,
    (100, 130),
    sampling.class_probabilities(COUNTS),
    sampling.class_probabilities(COUNTS, power=0),
  ),
)


class ClassScheduleTest(parameterized.TestCase):
  @parameterized.parameters(*CLASS_SCHEDULES)
  def test_ends_are_exact(self, schedule, switch, before, after):
    for traced in (False, True):
      call = lambda epoch: schedule(epoch, COUNTS)
      if traced:
        call = jax.jit(call)
      for epoch in (0, switch[0]):
        np.testing.assert_array_equal(call(epoch), before)
      for epoch in (160, 199, 1000):
        np.testing.assert_array_equal(call(epoch), after)
      self.assertFalse(np.array_equal(call(switch[1]), before))
      self.assertEqual(call(0).dtype, jnp.float32)

  @parameterized.parameters(*CLASS_SCHEDULES)
  def test_total_of_every_epoch(self, schedule, switch, before, after):
    del switch, after

    @jax.jit
    @chex.assert_max_traces(n=1)
    def call(epoch):
      return schedule(epoch, COUNTS)

    for epoch in range(0, 201, 4):
      np.testing.assert_allclose(call(epoch).sum(), before.sum(), rtol=1e-6)

  @parameterized.parameters(*CLASS_SCHEDULES)
  def test_forms_of_epochs(self, schedule, switch, before, after):
    del switch, before, after
    for form in EPOCHS:
      for epoch in (100, 144, 160):
        np.testing.assert_array_equal(
          schedule(form(epoch), COUNTS), schedule(epoch, COUNTS)
        )
    for counts in (np.array(COUNTS), np.array(COUNTS, float), list(COUNTS)):
      np.testing.assert_array_equal(
        schedule(144, counts), schedule(144, COUNTS)
      )

  @parameterized.parameters(*CLASS_SCHEDULES)
  def test_eager_epochs_compile_nothing_new(
    self, schedule, switch, before, after
  ):
    del switch, before, after
    schedule(0, COUNTS)
    with jax.log_compiles(), self.assertLogs('jax', 'WARNING') as logs:
      jax.jit(lambda x: x + 1)(0)  # Compilations do show up.
      self.assertNotEmpty([x for x in logs.output if 'Finished XLA' in x])
      logs.output.clear()
      for epoch in (1, 120, 170):
        schedule(epoch, COUNTS)
      self.assertEmpty([x for x in logs.output if 'Finished XLA' in x])

  @parameterized.parameters(*CLASS_SCHEDULES)
  def test_misuse(self, schedule, switch, before, after):
    del switch, before, after
    with self.assertRaisesRegex(TypeError, '`class_counts` must be concrete'):
      jax.jit(schedule)(0, jnp.ones(3))
    with self.assertRaisesRegex(ValueError, 'must be one number, got shape'):
      schedule(np.arange(10), COUNTS)
    with self.assertRaisesRegex(ValueError, 'got -1 for class 0'):
      schedule(0, [-1, 2])

  def test_deferred_reweighting_parameters(self):
    for epoch, expected in (
      (23, np.ones(10)),
      (24, weights.class_balanced_weights(COUNTS, beta=0.9)),
    ):
      np.testing.assert_array_equal(
        schedules.deferred_reweighting(epoch, COUNTS, beta=0.9, start=0.8 * 30),
        expected,
      )
    # Where the released code fails.
    np.testing.assert_array_equal(
      schedules.deferred_reweighting(400, COUNTS),
      weights.class_balanced_weights(COUNTS),
    )
    with self.assertRaisesRegex(ValueError, '`beta` must be'):
      schedules.deferred_reweighting(0, COUNTS, beta=2.0)

  def test_progressive_weights_between(self):
    for epoch in (110, 130, 150):
      exponent = ((epoch - 100) / 60) ** 5
      np.testing.assert_allclose(
        schedules.progressive_weights(epoch, COUNTS),
        weights.power_weights(COUNTS, power=exponent),
        rtol=1e-6,
      )
    with self.assertRaisesRegex(ValueError, 'must not be after'):
      schedules.progressive_weights(0, COUNTS, start=3, end=1)

  def test_progressive_sampler(self):
    # Kang et al.: linear from the first to the last epoch.
    call = functools.partial(
      schedules.progressive_probabilities, start=0, end=89, power=1
    )
    counts = np.array(COUNTS)
    for epoch in (0, 1, 50, 89):
      share = epoch / 89
      np.testing.assert_allclose(
        call(epoch, COUNTS),
        (1 - share) * counts / counts.sum() + share / 10,
        rtol=1e-6,
      )

  def test_classes_without_examples(self):
    for schedule in (
      schedules.deferred_reweighting,
      schedules.progressive_weights,
    ):
      with self.assertRaisesRegex(ValueError, 'got 0 for class 1'):
        schedule(0, [3, 0])
    for schedule in (
      schedules.deferred_resampling,
      schedules.progressive_probabilities,
    ):
      np.testing.assert_array_equal(schedule(0, [3, 0, 1]), [0.75, 0, 0.25])
      np.testing.assert_array_equal(schedule(160, [3, 0, 1]), [0.5, 0, 0.5])


class LdamLearningRateTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_default(self, traced):
    rate = schedules.ldam_learning_rate
    if traced:
      rate = jax.jit(chex.assert_max_traces(rate, n=1))
    found = [float(rate(epoch)) for epoch in range(200)]
    expected = (
      [0.02, 0.04, 0.06, 0.08, 0.1] + [0.1] * 155 + [1e-3] * 20 + [1e-5] * 20
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    self.assertEqual(rate(3).dtype, jnp.float32)
    self.assertEqual(rate(3).shape, ())

  def test_parameters(self):
    rate = functools.partial(
      schedules.ldam_learning_rate,
      base_rate=2.0,
      warmup_epochs=0,
      boundaries=(3,),
      factors=(0.5,),
    )
    np.testing.assert_array_equal(
      [rate(epoch) for epoch in range(5)], [2, 2, 2, 1, 1]
    )
    np.testing.assert_array_equal(
      schedules.ldam_learning_rate(
        np.arange(3), base_rate=1.0, warmup_epochs=2, boundaries=(), factors=()
      ),
      [0.5, 1.0, 1.0],
    )

  def test_warm_up_comes_before_boundaries(self):
    rates = schedules.ldam_learning_rate(
      np.arange(4),
      base_rate=1.0,
      warmup_epochs=2,
      boundaries=(1,),
      factors=(0.25,),
    )
    np.testing.assert_array_equal(rates, [0.5, 1.0, 0.25, 0.25])

  def test_fractions_count_as_their_epoch(self):
    for epoch in (0.5, 4.99, 159.5, 160.25):
      np.testing.assert_allclose(
        schedules.ldam_learning_rate(epoch),
        schedules.ldam_learning_rate(int(epoch)),
        rtol=1e-6,
      )

  @parameterized.parameters(*EPOCHS)
  def test_forms_of_epochs(self, form):
    for epoch in (0, 4, 160, 180):
      np.testing.assert_array_equal(
        schedules.ldam_learning_rate(form(epoch)),
        schedules.ldam_learning_rate(epoch),
      )

  def test_misuse(self):
    for message, arguments in (
      ('same length, got 1 and 2', {'boundaries': (1,)}),
      ('must increase', {'boundaries': (180, 160)}),
      ('must increase', {'boundaries': (160, 160)}),
      ('`factors` must be finite', {'factors': (0.1, -0.1)}),
      ('`base_rate` must be finite', {'base_rate': -0.1}),
      ('`warmup_epochs` must be finite', {'warmup_epochs': -1}),
    ):
      with self.assertRaisesRegex(ValueError, message):
        schedules.ldam_learning_rate(0, **arguments)


if __name__ == '__main__':
  absltest.main()
