# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Epochs on the host and in the step, and what changes with them."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax import methods
from imbsam_jax import schedules

_COUNTS = np.array([60, 24, 10, 6])
_LABELS = np.repeat(np.arange(4), _COUNTS)
# 6.25 steps an epoch: steps 0-6, 7-12, 13-18, 19-24, 25-31, ...
_TIME = schedules.Timeline(_COUNTS, 20, 16)


def _timeline(num_examples, batch_size):
  return schedules.Timeline(np.array([num_examples - 1, 1]), 200, batch_size)


def _epochs(time):
  """Epochs of all steps of a run and a little more, on both ways."""
  num_examples = int(time.class_counts.sum())
  num_steps = -(-int(time.num_epochs) * num_examples // time.batch_size)
  steps = np.arange(num_steps + 100, dtype=np.int32)
  # By exact integers, and `epoch` itself wherever epochs end.
  exact = steps.astype(np.int64) * time.batch_size // num_examples
  ends = np.flatnonzero(np.diff(exact))
  for step in np.concatenate([[0], ends, ends + 1]):
    assert time.epoch(int(step)) == exact[step], step
  return steps, exact, np.asarray(jax.jit(time.traced_epoch)(steps))


class EpochTest(parameterized.TestCase):
  @parameterized.parameters(
    (12406, 128),  # CIFAR-10-LT, imbalance factor 100.
    (10847, 128),  # CIFAR-100-LT, imbalance factor 100.
    (335, 64),  # Long-tailed digits.
    (13996, 128),
    (20431, 128),
    (19573, 100),
    (50000, 128),
    (50000, 64),
    (62500, 512),
    (115846, 256),  # ImageNet-LT.
    (101, 7),
    (64, 64),
    (60, 64),
    (5, 64),
    (1, 1),
    (8191, 128),
    (8193, 128),
    (65537, 256),
  )
  def test_is_the_same_within_a_step(self, num_examples, batch_size):
    steps, exact, traced = _epochs(_timeline(num_examples, batch_size))
    self.assertEqual(traced.dtype, np.float32)
    wrong = np.flatnonzero(traced != exact)
    self.assertEmpty(
      list(zip(steps[wrong], exact[wrong], traced[wrong], strict=True))
    )

  def test_is_the_same_for_any_sizes(self):
    rng = np.random.RandomState(0)
    for _ in range(10):
      num_examples, batch_size = rng.randint(20, 30_000), rng.randint(1, 513)
      _, exact, traced = _epochs(_timeline(num_examples, batch_size))
      np.testing.assert_array_equal(
        traced, exact, err_msg=f'{num_examples} / {batch_size}'
      )

  def test_counts_rows(self):
    found = [_TIME.epoch(step) for step in (0, 6, 7, 12, 13, 18, 19, 24, 25)]
    self.assertEqual(found, [0, 0, 1, 1, 2, 2, 3, 3, 4])
    traced = jax.jit(_TIME.traced_epoch)(jnp.asarray(25, jnp.int32))
    self.assertEqual(traced.shape, ())
    self.assertEqual(traced, 4.0)

  def test_share_of_the_run(self):
    for num_epochs, share, expected in (
      (200, 0.8, 160), (90, 2 / 3, 60), (300, 0.1, 30), (2.5, 0.5, 1.25),
      (10, 0.7, 7),
    ):  # fmt: skip
      time = schedules.Timeline(_COUNTS, num_epochs, 16)
      self.assertEqual(time.at(share), expected)


class ByEpochTest(absltest.TestCase):
  def test_once_an_epoch(self):
    asked = []

    def values(epoch):
      asked.append(epoch)
      return jnp.full(4, float(epoch))

    by_step = _TIME.by_epoch(values)
    self.assertEmpty(asked)  # Nothing before it is needed.
    found = [by_step(step) for step in range(125)]
    self.assertEqual(asked, list(range(20)))
    for step, one in enumerate(found):
      self.assertIsInstance(one, np.ndarray)
      np.testing.assert_array_equal(one, float(_TIME.epoch(step)))
    self.assertIs(found[7], found[12])

  def test_each_keeps_its_own(self):
    one, two = (_TIME.by_epoch(lambda epoch, k=k: epoch + k) for k in (0, 10))
    self.assertEqual([one(7), two(7), one(0), two(0)], [1, 11, 0, 10])


def _order(text, *, is_tail=None, seed=0):
  order = methods.combine({'sampler': text}, _setup()).order
  return order(_LABELS, is_tail, seed)


def _setup(image_shape=()):
  return methods.Setup(_TIME, image_shape)


def _mixing(text, image_shape=(2, 2, 1)):
  return methods.make_part('mixing', text, _setup(image_shape))


def _share_of_rarest(order, steps):
  rows = np.concatenate([order[step].indices for step in steps])
  return np.mean(_LABELS[rows] == 3)


class StreamsTest(parameterized.TestCase):
  """Schedules by name change at the epoch that they name."""

  @parameterized.parameters(
    ('drw(start=0.5)', schedules.deferred_reweighting, {'start': 10}),
    (
      'ppw(start=0.25, end=0.75, power=2.0)',
      schedules.progressive_weights,
      {'start': 5, 'end': 15, 'power': 2.0},
    ),
  )
  def test_class_weights(self, text, schedule, parameters):
    found = methods.make_part('weights', text, _setup()).reweighting
    self.assertEqual(found.reduction, 'weighted_mean')
    for step in (0, 31, 62, 63, 64, 93, 94, 124):
      expected = schedule(step * 16 // 100, _COUNTS, **parameters)
      np.testing.assert_array_equal(found.weights(step), expected)
    # Epoch 10 begins in step 62.5.
    self.assertFalse(np.array_equal(found.weights(62), found.weights(63)))

  @parameterized.parameters(
    ('drs(start=0.5)', schedules.deferred_resampling, {'start': 10}),
    (
      'pps(start=0.25, end=0.75, power=2.0)',
      schedules.progressive_probabilities,
      {'start': 5, 'end': 15, 'power': 2.0},
    ),
    (
      'progressive',
      schedules.progressive_probabilities,
      {'start': 0, 'end': 19, 'power': 1.0},
    ),
  )
  def test_probabilities(self, text, schedule, parameters):
    found = methods.make_part('sampler', text, _setup()).probabilities
    for step in (0, 31, 62, 63, 93, 94, 124):
      expected = schedule(step * 16 // 100, _COUNTS, **parameters)
      np.testing.assert_array_equal(found(step), expected)

  @parameterized.parameters(None, [_COUNTS < 20])
  def test_deferred_resampling(self, is_tail=None):
    is_tail = None if is_tail is None else is_tail[0]
    order = _order('drs(start=0.5)', is_tail=is_tail)
    # The rows of a few batches: 0.06 and 0.25 are far apart.
    self.assertLess(_share_of_rarest(order, range(43, 63)), 0.12)
    self.assertGreater(_share_of_rarest(order, range(63, 83)), 0.19)

  @parameterized.parameters(
    ('shuffle', 1.0), ('instance', 1.0), ('power(power=0.25)', 0.25),
    ('square_root', 0.5), ('class_balanced', 0.0), ('class_aware', 0.0),
    ('effective_number(beta=1.0)', 0.0), ('reversed', -1.0),
  )  # fmt: skip
  def test_fixed_probabilities(self, text, power):
    self._assert_drawn_by_power(_order(text), power)

  def test_partners_of_mixup_are_the_rows_of_the_batch(self):
    order = _order('class_balanced')
    mixing = _mixing('mixup')
    partners = mixing.partners(order, _LABELS, 0)
    for step in (0, 63):
      one, two = order[step].indices, partners[step].indices
      np.testing.assert_array_equal(np.sort(one), np.sort(two))
      self.assertFalse(np.array_equal(one, two))

  @parameterized.parameters(
    ('cmo', 0.0), ('cmo(power=-1.0)', -1.0), ('bilateral_mix', -1.0)
  )
  def test_partners_of_their_own(self, text, power):
    mixing = _mixing(text)
    for sampler in ('instance', 'class_balanced', 'reversed'):
      order = _order(sampler)
      partners = mixing.partners(order, _LABELS, 0)
      self._assert_drawn_by_power(partners, power)
      # Of the same seed and the same probabilities, but not the same draws.
      self.assertFalse(
        np.array_equal(order[5].indices, partners[5].indices), sampler
      )

  def _assert_drawn_by_power(self, order, power):
    """The rarest class, within four standard deviations."""
    expected = float(_COUNTS[3]) ** power / sum(_COUNTS.astype(float) ** power)
    found = _share_of_rarest(order, range(200))
    sigma = np.sqrt(expected * (1 - expected) / 3200)
    self.assertLess(abs(found - expected), 4 * sigma)

  def test_cmo_is_idle_at_both_ends(self):
    mixing = _mixing('cmo(probability=1.0, idle_epochs=3.0)', (8, 8, 1))
    rows = (jnp.zeros((2, 8, 8, 1)), jnp.array([0, 1]))

    @jax.jit
    def is_mixed(step):
      # A box may be empty: one key of many has none.
      def smallest(key):
        return mixing.mix(key, step, rows, rows)[1].lam.min()

      return jax.vmap(smallest)(jax.random.split(jax.random.key(0), 8)).min()

    found = [bool(is_mixed(jnp.asarray(step)) < 1) for step in range(125)]
    epochs = np.array([_TIME.epoch(step) for step in range(125)])
    np.testing.assert_array_equal(found, (epochs > 3) & (epochs < 17))

  def test_ppmix_is_remix_by_progress(self):
    mixing = _mixing('ppmix(start=0.25, end=0.75, power=2.0, tau=0.9)', (2,))
    images = jnp.arange(8.0).reshape(4, 2)
    batch = (images, jnp.array([0, 3, 0, 1]))
    partner = (images[::-1], jnp.array([3, 0, 0, 2]))
    key = jax.random.key(1)
    shares = []
    for step in (10, 62, 63, 110):
      found = mixing.mix(key, jnp.asarray(step), batch, partner)
      progress = np.clip((step * 16 // 100 - 5) / 10, 0, 1) ** 2
      expected = augment.remix(
        key,
        batch,
        partner,
        _COUNTS,
        alpha=1.0,
        kappa=3.0,
        tau=0.9,
        progress=progress,
      )
      np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
      np.testing.assert_allclose(found[1].lam, expected[1].lam, atol=1e-6)
      shares.append(np.asarray(found[1].lam))
    # It moves only where the progress does.
    self.assertFalse(np.array_equal(shares[1], shares[2]))


if __name__ == '__main__':
  absltest.main()
