# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What surrounds the losses, against `methods_witness`."""

import collections
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbsam_jax import augment
from imbsam_jax import calibration
from imbsam_jax import losses as losses_lib
from imbsam_jax import models
from imbsam_jax import sampling
from imbsam_jax import schedules
from imbsam_jax import weights
from tests.methods import witness

# A second opinion: the files of weights, schedules, sampling, augment,
# calibration and models have values of their own for `make test`.
pytestmark = pytest.mark.extended

# CIFAR-10 with imbalance factor 100, and counts in no order.
CIFAR10 = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
MIXED = (7, 1, 400, 33, 33, 12345)
COUNTS = pytest.mark.parametrize('counts', [CIFAR10, MIXED, (4, 4, 4)])

# float32 results of float64 work; and of float32 powers and exponentials.
ROUNDED = {'rtol': 2e-7, 'atol': 0.0}
FLOAT32 = {'rtol': 1e-5, 'atol': 1e-30}

# Draws: see `chi_square_sigmas` and `kolmogorov_distance`.
SIGMAS = 4.0
DISTANCE = 2.2


def _keys(seed, number):
  return jax.random.split(jax.random.key(seed), number)


def _normal(seed, shape):
  values = np.random.default_rng(seed).standard_normal(shape)
  return values.astype(np.float32)


# Class weights.


@COUNTS
@pytest.mark.parametrize('beta', [0.0, 0.9, 0.99, 0.999, 0.9999, 1 - 1e-9, 1.0])
def test_effective_number(counts, beta):
  got = weights.effective_number(counts, beta=beta)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, witness.effective_number(counts, beta), **ROUNDED
  )
  got = weights.class_balanced_weights(counts, beta=beta)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, witness.class_balanced_weights(counts, beta), **ROUNDED
  )


@pytest.mark.parametrize('norm', ['mean', 'sum', 'l2', 'max'])
def test_normalize_weights(norm):
  values = np.array([3.0, 0.25, 1e-3, 17.0, 1.0])
  got = weights.normalize_weights(values, norm=norm)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, witness.normalize_weights(values, norm), **ROUNDED
  )


@COUNTS
@pytest.mark.parametrize('power', [0.0, 0.5, 1.0, 1.2, -1.0, 3.0])
def test_power_weights(counts, power):
  got = weights.power_weights(counts, power=power)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, witness.power_weights(counts, power), **ROUNDED
  )


def test_printed_weights():
  # To the four decimals at which they are quoted.
  close = functools.partial(np.testing.assert_allclose, rtol=0, atol=5.01e-5)
  close(
    weights.class_balanced_weights(CIFAR10),
    [
      *(0.0506, 0.0769, 0.1211, 0.1950, 0.3188),
      *(0.5246, 0.8683, 1.4426, 2.4092, 3.9927),
    ],
  )
  close(
    weights.class_balanced_weights(CIFAR10, beta=0.999),
    [
      *(0.1812, 0.1894, 0.2157, 0.2729, 0.3785),
      *(0.5606, 0.8688, 1.3862, 2.2584, 3.6883),
    ],
  )
  close(
    weights.power_weights(CIFAR10, power=1.2),
    [
      *(0.0183, 0.0338, 0.0624, 0.1153, 0.2134),
      *(0.3939, 0.7278, 1.3459, 2.4988, 4.5905),
    ],
  )


ABSGD = pytest.mark.parametrize(
  ('lam', 'gamma', 'alpha'),
  [
    (1.0, 0.1, 0.5),
    (0.5, 0.9, 0.5),
    (5.0, 0.7, 0.5),
    (200.0, 0.45, 0.3),
    (-5.0, 0.3, 1.0),
    (0.3, 1.0, 1.0),
  ],
)


def _absgd_batches(seed, number, size):
  rng = np.random.default_rng(seed)
  return rng.gamma(1.0, 1.5, (number, size)).astype(np.float32)


@ABSGD
def test_absgd_recursion(lam, gamma, alpha):
  batches = _absgd_batches(0, 40, 16)
  expected = witness.absgd(batches, lam=lam, gamma=gamma, alpha=alpha)
  step = jax.jit(
    functools.partial(
      chex.assert_max_traces(weights.absgd_weights, n=1),
      lam=lam,
      gamma=gamma,
      alpha=alpha,
    )
  )
  state = weights.absgd_init()
  assert state.log_average.dtype == jnp.float32
  assert state.log_average.shape == () and state.log_average == -np.inf
  for batch, (batch_weights, average) in zip(batches, expected, strict=True):
    got, state = step(jnp.asarray(batch), state)
    assert got.dtype == state.log_average.dtype == jnp.float32
    np.testing.assert_allclose(got, batch_weights, **FLOAT32)
    np.testing.assert_allclose(np.exp(state.log_average), average, **FLOAT32)


@pytest.mark.parametrize('gamma', [0.1, 0.9, 1.0])
@pytest.mark.parametrize('lam', [0.125, -0.125])
def test_absgd_extreme_losses(lam, gamma):
  # Multiples of lam, so that float32 holds losses / lam: up to +-8000.
  rng = np.random.default_rng(1)
  batches = rng.integers(-8000, 8000, (12, 8)) * 0.125
  batches[5:8] /= 256
  expected = witness.absgd_log(batches, lam=lam, gamma=gamma, alpha=0.5)
  state = weights.absgd_init()
  for batch, (log_weights, log_average) in zip(batches, expected, strict=True):
    got, state = weights.absgd_weights(
      jnp.asarray(batch, jnp.float32), state, lam=lam, gamma=gamma, alpha=0.5
    )
    assert np.isfinite(got).all() and np.isfinite(state.log_average)
    # A few units in the last place of the logarithm.
    error = 4 * 2.0**-24 * 8000 + 1e-5
    np.testing.assert_allclose(
      state.log_average, log_average, rtol=0, atol=error
    )
    np.testing.assert_allclose(got, np.exp(log_weights), rtol=error, atol=1e-37)


def test_absgd_traced_temperature_and_no_gradient():
  batches = _absgd_batches(2, 12, 8)

  @jax.jit
  @chex.assert_max_traces(n=1)
  def step(losses, state, lam, gamma):
    return weights.absgd_weights(losses, state, lam=lam, gamma=gamma, alpha=0.5)

  state = weights.absgd_init()
  average = None
  for k, batch in enumerate(batches):
    lam, gamma = (200.0, 0.1) if k < 6 else (3.0, 0.4)
    tilted = np.exp(batch.astype(np.float64) / lam)
    fresh = 0.5 * tilted.mean()
    average = (
      fresh if average is None else (1 - gamma) * average + gamma * fresh
    )
    got, state = step(
      jnp.asarray(batch), state, jnp.float32(lam), jnp.float32(gamma)
    )
    np.testing.assert_allclose(got, tilted / 8 / average, **FLOAT32)

  def everything(losses, log_average):
    got, new = weights.absgd_weights(losses, weights.AbsgdState(log_average))
    return got.sum() + new.log_average

  by_losses, by_state = jax.grad(everything, argnums=(0, 1))(
    jnp.asarray(batches[0]), jnp.float32(0.3)
  )
  np.testing.assert_array_equal(by_losses, np.zeros(8))
  assert by_state == 0.0


def test_absgd_shards_equal_the_whole_batch():
  batches = _absgd_batches(3, 5, 12)
  expected = witness.absgd(batches, lam=0.7, gamma=0.3, alpha=0.5)
  step = jax.vmap(
    functools.partial(
      weights.absgd_weights, lam=0.7, gamma=0.3, alpha=0.5, axis_name='shard'
    ),
    axis_name='shard',
    in_axes=(0, None),
  )
  state = weights.absgd_init()
  for batch, (batch_weights, average) in zip(batches, expected, strict=True):
    got, states = step(jnp.asarray(batch).reshape(3, 4), state)
    np.testing.assert_allclose(got.reshape(-1), batch_weights, **FLOAT32)
    np.testing.assert_allclose(
      np.exp(states.log_average), np.full(3, average), **FLOAT32
    )
    state = jax.tree.map(lambda leaf: leaf[0], states)


# Schedules.


def _whole_run(function, expected, *, tolerance, num_epochs=200):
  """Every epoch, traced under one compilation, and some as Python ints."""
  step = jax.jit(chex.assert_max_traces(function, n=1))
  for epoch in range(num_epochs):
    got = step(jnp.int32(epoch))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(
      got, expected(epoch), err_msg=f'epoch {epoch}', **tolerance
    )
    if epoch % 20 in (0, 1, 19):
      for concrete in (epoch, np.int64(epoch), float(epoch)):
        np.testing.assert_allclose(
          function(concrete), expected(epoch), **tolerance
        )


@pytest.mark.parametrize(
  ('start', 'end', 'power'),
  [(100, 160, 1.0), (100, 160, 5.0), (0, 199, 1.0), (7, 8, 3.0), (3, 190, 0.5)],
)
def test_phase(start, end, power):
  _whole_run(
    lambda t: schedules.phase(t, start=start, end=end, power=power),
    lambda t: witness.phase(t, start, end, power),
    tolerance=FLOAT32,
  )


def test_phase_step():
  _whole_run(
    lambda t: schedules.phase(t, start=160, end=160, power=2.0),
    lambda t: float(t >= 160),
    tolerance=ROUNDED,
  )


def test_deferred():
  before, after = _normal(0, 5), _normal(1, 5)
  _whole_run(
    lambda t: schedules.deferred(t, before, after, start=13),
    lambda t: before if t < 13 else after,
    tolerance=ROUNDED,
    num_epochs=30,
  )


@COUNTS
def test_deferred_reweighting(counts):
  _whole_run(
    lambda t: schedules.deferred_reweighting(t, counts),
    lambda t: witness.deferred_reweighting(t, counts, 0.9999, 160),
    tolerance=ROUNDED,
  )
  _whole_run(
    lambda t: schedules.deferred_reweighting(t, counts, beta=0.99, start=8),
    lambda t: witness.deferred_reweighting(t, counts, 0.99, 8),
    tolerance=ROUNDED,
    num_epochs=12,
  )


@COUNTS
def test_deferred_resampling(counts):
  _whole_run(
    lambda t: schedules.deferred_resampling(t, counts),
    lambda t: witness.deferred_resampling(t, counts, 160),
    tolerance=ROUNDED,
  )


@COUNTS
def test_progressive_weights(counts):
  _whole_run(
    lambda t: schedules.progressive_weights(t, counts),
    lambda t: witness.progressive_weights(t, counts, 100, 160, 5.0),
    tolerance=FLOAT32,
  )


@COUNTS
def test_progressive_probabilities(counts):
  _whole_run(
    lambda t: schedules.progressive_probabilities(t, counts),
    lambda t: witness.progressive_probabilities(t, counts, 100, 160, 5.0),
    tolerance=FLOAT32,
  )
  _whole_run(
    lambda t: schedules.progressive_probabilities(
      t, counts, start=0, end=89, power=1.0
    ),
    lambda t: witness.progressive_probabilities(t, counts, 0, 89, 1.0),
    tolerance=FLOAT32,
    num_epochs=90,
  )


@pytest.mark.parametrize(
  ('base', 'warmup', 'boundaries', 'factors'),
  [
    (0.1, 5, (160, 180), (0.01, 0.0001)),
    (0.4, 0, (20,), (0.5,)),
    (0.1, 1, (), ()),
    (0.3, 10, (30, 60, 90), (0.1, 0.5, 0.001)),
  ],
)
def test_ldam_learning_rate(base, warmup, boundaries, factors):
  _whole_run(
    lambda t: schedules.ldam_learning_rate(
      t,
      base_rate=base,
      warmup_epochs=warmup,
      boundaries=boundaries,
      factors=factors,
    ),
    lambda t: witness.ldam_learning_rate(t, base, warmup, boundaries, factors),
    tolerance={'rtol': 5e-7, 'atol': 0.0},
  )


def test_ldam_learning_rate_defaults():
  expected = [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.001, 0.001, 1e-5, 1e-5]
  epochs = [0, 1, 2, 3, 4, 5, 159, 160, 179, 180, 199]
  got = [float(schedules.ldam_learning_rate(t)) for t in epochs]
  np.testing.assert_allclose(got, expected, rtol=5e-7)


# Sampling.


@pytest.mark.parametrize('counts', [CIFAR10, MIXED, (0, 5, 0, 2)])
@pytest.mark.parametrize('power', [1.0, 0.5, 0.0, -1.0])
def test_class_probabilities(counts, power):
  got = sampling.class_probabilities(counts, power=power)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, witness.class_probabilities(counts, power), **ROUNDED
  )


def _labels(counts, seed=0):
  labels = np.repeat(np.arange(len(counts)), counts)
  return np.random.default_rng(seed).permutation(labels)


@pytest.mark.parametrize(
  'counts', [(50, 20, 7, 1), (3, 3), (0, 4, 1), (1, 9, 0), (5,)]
)
def test_class_table(counts):
  labels = _labels(counts)
  table = sampling.class_table(labels, num_classes=len(counts))
  assert table.indices.dtype == table.counts.dtype == jnp.int32
  assert table.indices.shape == (len(counts), max(counts))
  np.testing.assert_array_equal(table.counts, counts)
  members = witness.class_members(labels, len(counts))
  for row, expected in zip(np.asarray(table.indices), members, strict=True):
    assert sorted(row[: len(expected)]) == expected


@pytest.mark.parametrize(
  'probabilities',
  [
    (0.64, 0.256, 0.09, 0.0, 0.014),
    (0.25, 0.25, 0.25, 0.0, 0.25),
    (0.0, 0.0, 0.3, 0.0, 0.7),
  ],
)
def test_sample_indices(probabilities):
  counts = (50, 20, 7, 0, 1)
  labels = _labels(counts)
  table = sampling.class_table(labels, num_classes=5)
  num_samples = 200_000
  draw = jax.jit(
    functools.partial(sampling.sample_indices, num_samples=num_samples)
  )
  got = draw(jax.random.key(3), table, jnp.asarray(probabilities, jnp.float32))
  assert got.shape == (num_samples,) and got.dtype == jnp.int32
  got = np.asarray(got)
  classes = labels[got]
  expected = num_samples * np.array(probabilities)
  if np.count_nonzero(expected) > 1:
    sigmas = witness.chi_square_sigmas(
      np.bincount(classes, minlength=5), expected
    )
    assert abs(sigmas) < SIGMAS
  # Uniform inside a class, given how often the class was drawn.
  for c, rows in enumerate(witness.class_members(labels, 5)):
    if len(rows) > 1 and probabilities[c]:
      seen = np.bincount(got, minlength=len(labels))[rows]
      due = np.full(len(rows), seen.sum() / len(rows))
      assert abs(witness.chi_square_sigmas(seen, due)) < SIGMAS, c
  # With replacement, each draw by itself: pairs of neighbors, and of example
  # and class, are as often as independence has it.
  chance = np.array(probabilities) / np.maximum(counts, 1)
  pairs = np.bincount(classes[:-1:2] * 5 + classes[1::2], minlength=25)
  due = num_samples / 2 * np.outer(probabilities, probabilities).ravel()
  assert abs(witness.chi_square_sigmas(pairs, due)) < SIGMAS
  size = len(labels)
  pairs = np.bincount(got[:-1:2] * size + got[1::2], minlength=size**2)
  due = num_samples / 2 * np.outer(chance[labels], chance[labels]).ravel()
  assert abs(witness.chi_square_sigmas(pairs, due)) < SIGMAS


def test_sample_indices_follows_a_schedule_without_recompiling():
  counts = (300, 60, 9)
  labels = _labels(counts)
  table = sampling.class_table(labels, num_classes=3)

  @jax.jit
  @chex.assert_max_traces(n=1)
  def draw(key, epoch):
    probabilities = schedules.progressive_probabilities(
      epoch, counts, start=0, end=4, power=1.0
    )
    return sampling.sample_indices(
      key, table, probabilities, num_samples=100_000
    )

  for epoch, key in enumerate(_keys(4, 5)):
    got = np.asarray(draw(key, jnp.int32(epoch)))
    np.testing.assert_array_equal(got, draw(key, jnp.int32(epoch)))
    due = witness.progressive_probabilities(epoch, counts, 0, 4, 1.0)
    seen = np.bincount(labels[got], minlength=3)
    assert abs(witness.chi_square_sigmas(seen, 100_000 * due)) < SIGMAS


@pytest.mark.parametrize('samples_per_class', [1, 4, 5])
def test_class_aware_indices(samples_per_class):
  counts = (40, 11, 7, 4, 2, 1)
  labels = _labels(counts)
  table = sampling.class_table(labels, num_classes=6)
  # Not a multiple of anything.
  num_samples = 6 * samples_per_class * 90 + 3
  got = np.asarray(
    sampling.class_aware_indices(
      jax.random.key(5),
      table,
      num_samples=num_samples,
      samples_per_class=samples_per_class,
    )
  )
  assert got.shape == (num_samples,) and got.dtype == np.int32
  classes = labels[got]
  # Runs of one class.
  whole = num_samples // samples_per_class * samples_per_class
  runs = classes[:whole].reshape(-1, samples_per_class)
  assert (runs == runs[:, :1]).all()
  assert (classes[whole:] == classes[whole:][:1]).all()
  # Every cycle is a permutation of the classes, not always the same.
  cycles = runs[: 6 * 90, 0].reshape(90, 6)
  assert (np.sort(cycles, axis=1) == np.arange(6)).all()
  assert len({tuple(cycle) for cycle in cycles}) > 50
  # Every pass through a class is a permutation of its examples.
  for c, rows in enumerate(witness.class_members(labels, 6)):
    stream = got[classes == c]
    passes = len(stream) // len(rows)
    assert passes >= 2
    blocks = stream[: passes * len(rows)].reshape(passes, len(rows))
    assert (np.sort(blocks, axis=1) == np.array(rows)).all()
    rest = stream[passes * len(rows) :]
    assert len(set(rest)) == len(rest)
    if len(rows) > 4:
      assert len({tuple(block) for block in blocks}) > 1


def test_class_aware_indices_are_uniform():
  labels = _labels((6, 3, 2))
  table = sampling.class_table(labels, num_classes=3)
  starts = collections.Counter()
  firsts = collections.Counter()
  for key in _keys(6, 300):
    got = np.asarray(sampling.class_aware_indices(key, table, num_samples=12))
    starts[tuple(labels[got[::4]])] += 1
    firsts[got[labels[got] == 0][0]] += 1
  orders = list(itertools.permutations(range(3)))
  assert sum(starts[order] for order in orders) == 300
  seen = [starts[order] for order in orders]
  assert abs(witness.chi_square_sigmas(seen, [50.0] * 6)) < SIGMAS
  seen = [firsts[row] for row in witness.class_members(labels, 3)[0]]
  assert abs(witness.chi_square_sigmas(seen, [50.0] * 6)) < SIGMAS


# Augmentation.

NUM_KEYS = 2000
FIRST = np.array([0, 2, 1, 1, 0], np.int32)
SECOND = np.array([1, 2, 0, 2, 2], np.int32)


def _check_labels(labels, first=FIRST, second=SECOND):
  assert isinstance(labels, losses_lib.MixedLabels)
  np.testing.assert_array_equal(
    labels.first, np.broadcast_to(first, labels.first.shape)
  )
  np.testing.assert_array_equal(
    labels.second, np.broadcast_to(second, labels.second.shape)
  )
  assert jnp.issubdtype(labels.first.dtype, jnp.integer)
  assert jnp.issubdtype(labels.second.dtype, jnp.integer)
  assert labels.lam.dtype == jnp.float32


def _over_keys(function, number, seed):
  return jax.jit(jax.vmap(function))(_keys(seed, number))


def _one_share(lam):
  """The share of each key, once it is clear that rows do not differ."""
  lam = np.asarray(lam)
  np.testing.assert_array_equal(lam, np.broadcast_to(lam[:, :1], lam.shape))
  assert (lam >= 0).all() and (lam <= 1).all()
  return lam[:, 0].astype(np.float64)


@pytest.mark.parametrize(
  ('name', 'alpha'), [('mixup', 0.5), ('mixup', 1.0), ('dbn_mix', 2.0)]
)
def test_mixup(name, alpha):
  mix = getattr(augment, name)
  images, others = _normal(0, (5, 3, 2, 2)), _normal(1, (5, 3, 2, 2))
  mixed, labels = _over_keys(
    lambda key: mix(key, (images, FIRST), (others, SECOND), alpha=alpha),
    NUM_KEYS,
    7,
  )
  _check_labels(labels)
  share = _one_share(labels.lam)
  assert mixed.dtype == jnp.float32
  lam = share[:, None, None, None, None]
  np.testing.assert_allclose(
    mixed, lam * images + (1 - lam) * others, rtol=0, atol=2e-6
  )
  distance = witness.kolmogorov_distance(share, witness.BETA_CDF[alpha])
  assert distance < DISTANCE


@pytest.mark.parametrize('name', ['mixup', 'dbn_mix'])
def test_mixup_of_nothing_and_of_bfloat16(name):
  mix = getattr(augment, name)
  images = jnp.asarray(_normal(0, (5, 4)), jnp.bfloat16)
  others = jnp.asarray(_normal(1, (5, 4)), jnp.bfloat16)
  key = jax.random.key(0)
  mixed, labels = mix(key, (images, FIRST), (others, SECOND))
  _check_labels(labels)
  assert mixed.dtype == jnp.bfloat16
  lam = np.asarray(labels.lam, np.float64)[:, None]
  expected = lam * np.float64(images) + (1 - lam) * np.float64(others)
  np.testing.assert_allclose(np.float64(mixed), expected, rtol=0, atol=0.03)
  if name == 'mixup':
    mixed, labels = mix(key, (images, FIRST), (others, SECOND), alpha=0)
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(labels.lam, np.ones(5, np.float32))


REMIX_COUNTS = (600, 50, 200)


@functools.cache
def _remix_of_ones():
  # lam * 1 + (1 - lam) * 0: each pixel is the share of the images.
  ones, zeros = np.ones((5, 2), np.float32), np.zeros((5, 2), np.float32)
  return jax.jit(
    jax.vmap(
      lambda key, progress: augment.remix(
        key, (ones, FIRST), (zeros, SECOND), REMIX_COUNTS, progress=progress
      ),
      in_axes=(0, None),
    )
  )


@pytest.mark.parametrize('progress', [0.0, 0.25, 1.0])
def test_remix(progress):
  mixed, labels = _remix_of_ones()(_keys(8, NUM_KEYS), jnp.float32(progress))
  _check_labels(labels)
  share = _one_share(np.asarray(mixed)[:, :, 0])
  assert witness.kolmogorov_distance(share, lambda x: x) < DISTANCE
  counts = np.array(REMIX_COUNTS)
  expected = [
    witness.remix_label_weight(
      np.full(5, lam), counts[FIRST], counts[SECOND], 3.0, 0.5, progress
    )
    for lam in share
  ]
  np.testing.assert_allclose(labels.lam, expected, rtol=0, atol=1e-6)


def test_remix_images_and_parameters():
  images, others = _normal(0, (5, 3, 2)), _normal(1, (5, 3, 2))
  mixed, labels = _over_keys(
    lambda key: augment.remix(
      key,
      (images, FIRST),
      (others, SECOND),
      REMIX_COUNTS,
      alpha=2.0,
      kappa=10.0,
      tau=0.7,
    ),
    NUM_KEYS,
    9,
  )
  # The share of the images, by least squares.
  gap = (images - others).astype(np.float64)
  offset = np.asarray(mixed, np.float64) - others
  share = (offset * gap).sum(axis=(1, 2, 3)) / (gap**2).sum()
  lam = share[:, None, None, None]
  np.testing.assert_allclose(
    mixed, lam * images + (1 - lam) * others, rtol=0, atol=3e-6
  )
  distance = witness.kolmogorov_distance(
    np.clip(share, 0, 1), witness.BETA_CDF[2.0]
  )
  assert distance < DISTANCE
  counts = np.array(REMIX_COUNTS)
  clear = np.abs(share - 0.7) > 1e-5
  clear &= np.abs(1 - share - 0.7) > 1e-5
  for lam, got in zip(share[clear], np.asarray(labels.lam)[clear], strict=True):
    expected = witness.remix_label_weight(
      np.full(5, lam), counts[FIRST], counts[SECOND], 10.0, 0.7, 1.0
    )
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('progress', [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
  ('kappa', 'tau'), [(3.0, 0.5), (2.5, 0.25), (10.0, 0.75), (3.0, 0.0)]
)
def test_remix_label_weight(kappa, tau, progress):
  counts = (1, 3, 30, 75, 90, 91, 89, 250, 300, 5000)
  # Eighths, and neighbors of the thresholds, are exact in float32.
  shares = [k / 8 for k in range(9)] + [2**-12, 0.5 - 2**-12, 0.5 + 2**-12]
  grid = np.array(list(itertools.product(shares, counts, counts)))
  lam, n_a, n_b = (column.astype(np.float32) for column in grid.T)
  call = functools.partial(
    augment.remix_label_weight, kappa=kappa, tau=tau, progress=progress
  )
  got = call(lam, n_a, n_b)
  assert got.dtype == jnp.float32
  expected = witness.remix_label_weight(*grid.T, kappa, tau, progress)
  np.testing.assert_allclose(got, expected, rtol=0, atol=2e-7)
  np.testing.assert_allclose(got, 1 - call(1 - lam, n_b, n_a), atol=2e-7)
  same = n_a == n_b
  np.testing.assert_array_equal(np.asarray(got)[same], lam[same])
  if progress == 0 or tau == 0:
    np.testing.assert_array_equal(got, lam)
  np.testing.assert_allclose(jax.jit(call)(lam, n_a, n_b), got, atol=2e-7)
  # Integer counts, and a progress that is traced.
  traced = jax.jit(
    lambda e: augment.remix_label_weight(
      lam,
      n_a.astype(np.int32),
      n_b.astype(np.int32),
      kappa=kappa,
      tau=tau,
      progress=e,
    )
  )
  np.testing.assert_allclose(traced(jnp.float32(progress)), got, atol=2e-7)


HEIGHT, WIDTH = 8, 6


@functools.cache
def _paste(beta):
  """Compiled once for all probabilities: keys -> masks, whether fine, labels.

  The images are whole numbers, all different: a pixel tells where it is from.
  """
  shape = (5, HEIGHT, WIDTH, 2)
  images = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
  others = images + np.float32(1000)

  def paste(key, probability):
    mixed, labels = augment.cmo(
      key,
      (images, FIRST),
      (others, SECOND),
      beta=beta,
      probability=probability,
    )
    pasted = mixed == others
    # Each pixel comes from the same place of exactly one of the two.
    from_one = jnp.all(pasted != (mixed == images))
    mask = pasted[0, :, :, 0]
    shared = jnp.all(pasted == mask[None, :, :, None])
    return mask, from_one & shared, labels

  return jax.jit(jax.vmap(paste, in_axes=(0, None)))


def _cmo_boxes(*, beta, probability, number, seed):
  """The box of each key, None where nothing was pasted; checks the rest."""
  masks, fine, labels = _paste(beta)(
    _keys(seed, number), jnp.float32(probability)
  )
  assert np.all(fine)
  _check_labels(labels)
  masks = np.asarray(masks)
  share = _one_share(labels.lam)
  np.testing.assert_allclose(
    share, 1 - masks.mean(axis=(1, 2)), rtol=0, atol=2e-7
  )
  boxes = []
  for mask in masks:
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
      boxes.append(None)
      continue
    box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
    assert mask[box[0] : box[1], box[2] : box[3]].all()
    assert mask.sum() == (box[1] - box[0]) * (box[3] - box[2])
    boxes.append(tuple(int(edge) for edge in box))
  return boxes


@pytest.mark.parametrize(
  ('beta', 'probability'),
  [(1.0, 1.0), (1.0, 0.5), (1.0, 0.0), (0.5, 1.0)],
)
def test_cmo_boxes(beta, probability):
  number = 12_000
  boxes = _cmo_boxes(beta=beta, probability=probability, number=number, seed=10)
  expected = witness.box_distribution(HEIGHT, WIDTH, witness.BETA_CDF[beta])
  chances = {box: probability * mass for box, mass in expected.items()}
  chances[None] += 1 - probability
  seen = collections.Counter(boxes)
  assert not set(seen) - set(chances)
  if not probability:
    assert set(seen) == {None}
    return
  sigmas = witness.chi_square_sigmas(
    [seen[box] for box in chances],
    [number * mass for mass in chances.values()],
  )
  assert abs(sigmas) < SIGMAS
  nothing = number * chances[None]
  spread = (nothing * (1 - chances[None])) ** 0.5
  assert abs(seen[None] - nothing) < SIGMAS * spread


@pytest.mark.parametrize('dtype', [jnp.uint8, jnp.bfloat16])
def test_cmo_keeps_dtype(dtype):
  images = jnp.full((5, 4, 7, 3), 3, dtype)
  others = jnp.full((5, 4, 7, 3), 200, dtype)
  for key in _keys(12, 5):
    mixed, labels = augment.cmo(
      key, (images, FIRST), (others, SECOND), probability=1.0
    )
    assert mixed.dtype == dtype
    pasted = np.asarray(mixed == others)
    assert (pasted | np.asarray(mixed == images)).all()
    np.testing.assert_allclose(
      labels.lam, 1 - pasted.mean(axis=(1, 2, 3)), rtol=0, atol=2e-7
    )


# Calibration.


@pytest.mark.parametrize('tau', [0.0, 0.5, 1.0, 2.0])
def test_post_hoc_logit_adjustment(tau):
  logits = 3 * _normal(0, (7, 6))
  got = calibration.post_hoc_logit_adjustment(logits, MIXED, tau=tau)
  assert got.dtype == jnp.float32
  prior = np.array(MIXED) / sum(MIXED)
  expected = logits.astype(np.float64) - tau * np.log(prior)
  np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('tau', [0.0, 0.3, 1.0, 2.0])
def test_tau_normalize(tau):
  vectors = _normal(0, (6, 4)) * np.array([[9, 1, 0.1, 2, 30, 1]], np.float32).T
  got = calibration.tau_normalize(vectors, tau=tau)
  lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
  np.testing.assert_allclose(
    got, vectors / lengths[:, None] ** tau, rtol=1e-5, atol=1e-6
  )


def test_marc_and_lws_logits():
  logits, norms = _normal(0, (7, 4)), np.abs(_normal(1, 4))
  scale, offset = _normal(2, 4), _normal(3, 4)
  np.testing.assert_allclose(
    calibration.marc_logits(logits, norms, scale, offset),
    scale * logits.astype(np.float64) + offset * norms,
    rtol=1e-6,
    atol=1e-6,
  )
  np.testing.assert_allclose(
    calibration.lws_logits(logits, scale),
    scale * logits.astype(np.float64),
    rtol=1e-6,
  )


def test_class_means_and_nearest():
  labels = _labels((9, 5, 0, 1))
  features = _normal(0, (15, 6)) + 3
  means = calibration.class_means(features, labels, num_classes=4)
  assert means.dtype == jnp.float32
  expected = witness.class_means(features, labels, 4)
  np.testing.assert_allclose(means, expected, rtol=1e-6, atol=1e-6)
  assert not np.asarray(means)[2].any()

  queries, centres = 2 * _normal(1, (40, 6)), _normal(2, (5, 6))
  distances = np.linalg.norm(
    queries[:, None].astype(np.float64) - centres[None], axis=2
  )
  got = calibration.nearest_class_mean(queries, centres)
  assert got.shape == (40, 5) and got.dtype == jnp.float32
  np.testing.assert_array_equal(
    np.argsort(-np.asarray(got), axis=1), np.argsort(distances, axis=1)
  )
  got = calibration.nearest_class_mean(queries, centres, metric='cosine')
  np.testing.assert_allclose(
    got, witness.cosines(queries, centres), rtol=0, atol=1e-6
  )


@functools.cache
def _frozen_logits():
  """Logits that a scale and an offset can improve, with errors left."""
  rng = np.random.default_rng(0)
  labels = rng.choice(5, 3000, p=[0.5, 0.25, 0.13, 0.08, 0.04])
  gain = np.array([4.0, 2.0, 1.5, 0.8, 0.5])
  logits = 1.2 * rng.standard_normal((3000, 5)) + 1.7 * np.eye(5)[labels]
  logits = (logits * gain + [2.0, 1.0, 0.0, -0.5, -1.0]).astype(np.float32)
  return logits, labels


# Stochastic descent at a small rate ends this close to the least loss, though
# it begins more than 0.5 above it.
GAP = 1e-3


@pytest.mark.parametrize('decay', [0.0, 0.1])
def test_fit_lws(decay):
  logits, labels = _frozen_logits()
  counts = np.bincount(labels)
  scale = calibration.fit_lws(
    jax.random.key(0),
    logits,
    labels,
    counts,
    num_steps=2500,
    batch_size=2048,
    learning_rate=0.02,
    weight_decay=decay,
  )
  assert scale.shape == (5,) and scale.dtype == jnp.float32
  best, _, least, objective = witness.affine_fit(
    logits, labels, 1 / (5 * counts[labels]), decay=decay
  )
  assert objective(np.ones(5)) > least + 0.5
  assert least - 1e-6 < objective(scale) < least + GAP
  got, expected = (
    witness.balanced_accuracy(
      np.asarray(calibration.lws_logits(logits, vector)), labels
    )
    for vector in (scale, np.float32(best))
  )
  np.testing.assert_allclose(got, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(
  ('decay', 'power'), [(0.0, 1.2), (0.0, 0.5), (0.1, 1.2)]
)
def test_fit_marc(decay, power):
  logits, labels = _frozen_logits()
  norms = np.array([2.0, 1.5, 1.2, 0.9, 0.7], np.float32)
  # The weights come from these counts, the batches from the rows.
  counts = np.array([5000, 1000, 400, 900, 200])
  scale, offset = calibration.fit_marc(
    jax.random.key(1),
    logits,
    labels,
    norms,
    counts,
    num_steps=2500,
    batch_size=2048,
    learning_rate=0.02,
    weight_decay=decay,
    power=power,
  )
  assert scale.shape == offset.shape == (5,)
  row_weights = witness.power_weights(counts, power)[labels]
  best, shift, least, objective = witness.affine_fit(
    logits, labels, row_weights / row_weights.sum(), norms, decay=decay
  )
  assert objective(np.ones(5), np.zeros(5)) > least + 0.5
  assert least - 1e-6 < objective(scale, offset) < least + GAP
  got, expected = (
    witness.balanced_accuracy(
      np.asarray(calibration.marc_logits(logits, norms, *pair)), labels
    )
    for pair in ((scale, offset), (np.float32(best), np.float32(shift)))
  )
  np.testing.assert_allclose(got, expected, rtol=0, atol=0.01)


def test_train_only():
  shapes = {'kernel': (3, 4), 'scale': (5,), 'frozen': (7,), 'bias': (2, 11)}
  trainable = {'kernel': True, 'scale': True, 'frozen': False, 'bias': False}
  params = {
    name: _normal(k, shape) for k, (name, shape) in enumerate(shapes.items())
  }
  gradients = [
    {name: _normal(100 * step + len(name), shape) for name, shape in items}
    for step, items in enumerate([shapes.items()] * 12)
  ]
  tx = calibration.train_only(
    optax.chain(optax.add_decayed_weights(0.03), optax.sgd(0.2, momentum=0.9)),
    trainable,
  )
  current = jax.tree.map(jnp.asarray, params)
  state = tx.init(current)

  @jax.jit
  def step(gradient, state, current):
    updates, state = tx.update(gradient, state, current)
    return updates, state, optax.apply_updates(current, updates)

  for gradient in gradients:
    updates, state, current = step(gradient, state, current)
    for name in ('frozen', 'bias'):
      np.testing.assert_array_equal(updates[name], np.zeros(shapes[name]))
  expected = witness.momentum_descent(
    params, gradients, trainable, rate=0.2, momentum=0.9, decay=0.03
  )
  for name in shapes:
    np.testing.assert_allclose(
      current[name], expected[name], rtol=1e-5, atol=1e-5
    )
    if not trainable[name]:
      np.testing.assert_array_equal(current[name], params[name])
  held = [leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim]
  assert sorted(held) == [(3, 4), (5,)]


# Fixed heads.


@pytest.mark.parametrize(
  ('num_classes', 'dim'),
  [(2, 1), (2, 5), (10, 9), (10, 64), (100, 99)],
)
def test_simplex_etf(num_classes, dim):
  vectors = models.simplex_etf(jax.random.key(0), num_classes, dim)
  assert vectors.shape == (num_classes, dim) and vectors.dtype == jnp.float32
  vectors = np.asarray(vectors, np.float64)
  np.testing.assert_allclose(
    vectors @ vectors.T, witness.etf_gram(num_classes), rtol=0, atol=2e-6
  )
  np.testing.assert_allclose(vectors.sum(axis=0), np.zeros(dim), atol=5e-6)
  if dim > 1:
    other = models.simplex_etf(jax.random.key(1), num_classes, dim)
    assert np.abs(other - vectors).max() > 0.05


def test_simplex_etf_has_no_preferred_direction():
  # The first vector of a uniformly turned simplex is uniform on the sphere.
  draws = np.asarray(
    [models.simplex_etf(key, 3, 2)[0] for key in _keys(13, 200)], np.float64
  )
  angles = np.arctan2(draws[:, 1], draws[:, 0]) / (2 * np.pi) + 0.5
  assert witness.kolmogorov_distance(angles, lambda x: x) < DISTANCE


@pytest.mark.parametrize(('num_classes', 'dim'), [(5, 2), (6, 3), (12, 4)])
def test_optimal_prototypes(num_classes, dim):
  vectors = models.optimal_prototypes(jax.random.key(0), num_classes, dim)
  assert vectors.shape == (num_classes, dim) and vectors.dtype == jnp.float32
  vectors = np.asarray(vectors, np.float64)
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
  np.testing.assert_allclose(vectors.sum(axis=0), np.zeros(dim), atol=1e-3)
  least, _ = witness.best_prototype_energy(0, num_classes, dim, 10.0)
  assert witness.prototype_energy(vectors, 10.0) < least + 1e-3 * abs(least)


def test_optimal_prototypes_are_the_simplex_where_it_exists():
  vectors = np.asarray(
    models.optimal_prototypes(jax.random.key(0), 6, 8), np.float64
  )
  np.testing.assert_allclose(
    vectors @ vectors.T, witness.etf_gram(6), rtol=0, atol=2e-6
  )


def test_etf_head():
  head = models.EtfHead(5)
  features = _normal(0, (4, 6))
  variables = head.init(jax.random.key(0), jnp.asarray(features))
  assert not jax.tree.leaves(variables.get('params', {}))
  assert jax.tree.leaves(variables)
  # The cosines of the axes with the class vectors are their coordinates.
  vectors = np.asarray(head.apply(variables, jnp.eye(6)), np.float64).T
  np.testing.assert_allclose(
    vectors @ vectors.T, witness.etf_gram(5), rtol=0, atol=2e-6
  )
  got = head.apply(variables, jnp.asarray(features))
  assert got.shape == (4, 5) and got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, witness.cosines(features, vectors), rtol=0, atol=2e-6
  )

  mixture = _normal(1, (4, 5))

  def scalar(variables, features):
    return (head.apply(variables, features) * mixture).sum()

  by_variables, by_features = jax.grad(scalar, argnums=(0, 1))(
    variables, jnp.asarray(features)
  )
  for leaf in jax.tree.leaves(by_variables):
    np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))
  expected = witness.numeric_gradient(
    lambda point: (witness.cosines(point, vectors) * mixture).sum(), features
  )
  np.testing.assert_allclose(by_features, expected, rtol=0, atol=1e-5)
