# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contrastive loss of ResCom, and the queue it takes keys from."""

import collections
import functools
import itertools
import math

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from imbsam_jax import weights
from tests.losses import witness

NUM_ROWS, NUM_CLASSES, SIZE, DIM = 10, 4, 3, 5
# Class 2 has one row, which has no positive in the batch; class 3 has none.
LABELS = np.array([0, 1, 0, 2, 1, 0, 0, 1, 0, 1], np.int32)
# Positives and negatives of the queue, and the temperature.
SETTINGS = (
  (1, 1, 1.0),
  (2, 4, 0.2),
  (3, 9, 1.0),
  (0, 0, 0.5),
  (0, 3, 1.0),
  (2, 0, 0.07),
)
WEIGHTS = np.float32([0.3, 1.0, 2.5, 7.0])


def _units(rng, *shape):
  rows = rng.standard_normal(shape)
  rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
  return rows.astype(np.float32)


def _problem():
  rng = np.random.default_rng(0)
  return _units(rng, NUM_ROWS, DIM), _units(rng, NUM_CLASSES, SIZE, DIM)


def _queue(keys):
  return losses.ClassQueue(keys, np.zeros(len(keys), np.int32))


def _rescom_loss(
  features, labels, keys, class_weights, num_positives, num_negatives, t
):
  """A row, a pair at a time; 0 for a row without positives."""
  found = []

  def dot(a, b):
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))

  for i, (row, label) in enumerate(zip(features, labels, strict=True)):
    positives, negatives = [], []
    for j, other in enumerate(features):
      if j != i:
        same = labels[j] == label
        (positives if same else negatives).append(dot(row, other) / t)
    own = sorted(dot(row, key) / t for key in keys[label])
    rest = sorted(
      dot(row, key) / t
      for c in range(len(keys))
      if c != label
      for key in keys[c]
    )
    positives += own[:num_positives]
    negatives += rest[len(rest) - num_negatives :]
    loss = 0.0
    if positives:
      total = witness.log_sum_exp(positives + negatives)
      loss = -math.fsum(p - total for p in positives) / len(positives)
    found.append(float(class_weights[label]) * loss)
  return np.array(found)


@jax.jit
def _program(features, labels, keys, class_weights):
  """Losses, and gradients in features and keys, by setting."""
  results = {}
  for setting in SETTINGS:

    def loss(features, keys, setting=setting):
      num_positives, num_negatives, temperature = setting
      return losses.rescom_loss(
        features,
        labels,
        _queue(keys),
        class_weights,
        num_positives=num_positives,
        num_negatives=num_negatives,
        temperature=temperature,
      )

    values, pullback = jax.vjp(loss, features, keys)
    results[setting] = values, *pullback(jnp.ones_like(values))
  return results


class RescomLossTest(parameterized.TestCase):
  @parameterized.parameters(*SETTINGS)
  def test_values_and_gradients(self, *setting):
    features, keys = _problem()
    values, gradient, of_keys = _program(features, LABELS, keys, WEIGHTS)[
      setting
    ]
    self.assertEqual(values.shape, (NUM_ROWS,))
    self.assertEqual(values.dtype, jnp.float32)
    loss = lambda f: _rescom_loss(f, LABELS, keys, WEIGHTS, *setting)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(values, loss(exact), rtol=1e-5, atol=2e-5)
    slopes = np.empty_like(exact)
    for at in np.ndindex(exact.shape):
      step = np.zeros_like(exact)
      step[at] = 1e-5
      slopes[at] = (loss(exact + step) - loss(exact - step)).sum() / 2e-5
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(of_keys, np.zeros_like(keys))

  def test_row_without_positives_is_zero_and_finite(self):
    features, keys = _problem()
    for setting in SETTINGS:
      values, gradient, _ = _program(features, LABELS, keys, WEIGHTS)[setting]
      self.assertTrue(np.isfinite(values).all())
      self.assertTrue(np.isfinite(gradient).all())
      alone = float(values[3])
      self.assertEqual(alone == 0.0, setting[0] == 0, setting)

    # Not even a candidate.
    def single(features):
      return losses.rescom_loss(
        features,
        LABELS[:1],
        _queue(keys),
        None,
        num_positives=0,
        num_negatives=0,
      ).sum()

    value, gradient = jax.jit(jax.value_and_grad(single))(features[:1])
    self.assertEqual(float(value), 0.0)
    np.testing.assert_array_equal(gradient, np.zeros((1, DIM)))

  def test_all_alike_is_the_number_of_candidates(self):
    row = np.eye(DIM, dtype=np.float32)[0]
    features = np.tile(row, (NUM_ROWS, 1))
    keys = np.tile(row, (NUM_CLASSES, SIZE, 1))
    results = _program(features, LABELS, keys, np.ones(NUM_CLASSES, 'f'))
    for setting in SETTINGS:
      values, gradient, _ = results[setting]
      # The row itself is none of them.
      expected = np.full(NUM_ROWS, math.log(NUM_ROWS - 1 + sum(setting[:2])))
      if not setting[0]:
        expected[3] = 0.0
      np.testing.assert_allclose(values, expected, rtol=1e-5)
      self.assertTrue(np.isfinite(gradient).all())

  def test_order_of_rows_and_keys(self):
    features, keys = _problem()
    order = np.random.default_rng(1).permutation(NUM_ROWS)
    before = _program(features, LABELS, keys, WEIGHTS)
    after = _program(features[order], LABELS[order], keys[:, ::-1], WEIGHTS)
    for setting in SETTINGS:
      for a, b in zip(before[setting][:2], after[setting][:2], strict=True):
        np.testing.assert_allclose(
          np.asarray(a)[order], b, rtol=1e-5, atol=1e-5
        )

  def test_names_of_classes(self):
    features, keys = _problem()
    order = np.array([2, 0, 3, 1])  # The new name of each class.
    names = np.argsort(order)
    before = _program(features, LABELS, keys, WEIGHTS)
    after = _program(features, order[LABELS], keys[names], WEIGHTS[names])
    for setting in SETTINGS:
      np.testing.assert_allclose(
        before[setting][0], after[setting][0], rtol=1e-5, atol=1e-6
      )

  def test_weights(self):
    features, keys = _problem()

    @jax.jit
    def loss(class_weights):
      return losses.rescom_loss(
        features,
        LABELS,
        _queue(keys),
        class_weights,
        num_positives=2,
        num_negatives=4,
      )

    plain = loss(None)
    np.testing.assert_array_equal(
      loss(weights.rescom_weights([9, 5, 2, 1], beta=0.0)), plain
    )
    np.testing.assert_allclose(
      loss(WEIGHTS), WEIGHTS[LABELS] * np.asarray(plain), rtol=1e-6
    )

  def test_labels_out_of_range(self):
    features, keys = _problem()
    labels = LABELS.copy()
    labels[[0, 5]] = -1, NUM_CLASSES
    # Not of a class, so that the others have them as negatives.
    values, *_ = _program(features, labels, keys, WEIGHTS)[2, 4, 0.2]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(values)), [0, 5])
    np.testing.assert_allclose(
      np.delete(values, [0, 5]),
      np.delete(
        _rescom_loss(
          features,
          np.where(labels == -1, 5, labels),
          [*keys, [], []],
          [*WEIGHTS, 1.0, 1.0],
          2,
          4,
          0.2,
        ),
        [0, 5],
      ),
      rtol=1e-5,
    )

  @parameterized.parameters(1e3, 1e-3)
  def test_features_that_are_not_normalized_are_finite(self, scale):
    features, keys = _problem()
    results = _program(scale * features, LABELS, keys, WEIGHTS)
    for result in results.values():
      self.assertTrue(all(np.isfinite(x).all() for x in result))

  def test_half_precision(self):
    features, keys = _problem()
    features = jnp.asarray(features, jnp.bfloat16)
    loss = jax.jit(
      functools.partial(losses.rescom_loss, num_positives=1, num_negatives=1)
    )
    arguments = LABELS, _queue(jnp.asarray(keys)), WEIGHTS
    values = loss(features, *arguments)
    self.assertEqual(values.dtype, jnp.float32)
    np.testing.assert_array_equal(
      values, loss(features.astype(jnp.float32), *arguments)
    )

  def test_misuse(self):
    features, keys = _problem()

    def call(features=features, labels=LABELS, queue=None, w=None, **keywords):
      return losses.rescom_loss(
        features,
        labels,
        _queue(keys) if queue is None else queue,
        w,
        **{'num_positives': 1, 'num_negatives': 1, **keywords},
      )

    for error, message, keywords in (
      (ValueError, '`num_positives` must be at most 3', {'num_positives': 4}),
      (ValueError, '`num_negatives` must be at most 9', {'num_negatives': 10}),
      (ValueError, '`num_positives` must be at least 0', {'num_positives': -1}),
      (TypeError, '`num_negatives` must be an int', {'num_negatives': 1.0}),
      (ValueError, '`temperature`', {'temperature': 0.0}),
      (ValueError, '`temperature`', {'temperature': math.nan}),
      (TypeError, '`queue` must be a ClassQueue', {'queue': keys}),
      (ValueError, '`queue` must have keys', {'queue': _queue(keys[0])}),
      (ValueError, '`features` must be as wide', {'features': features[:, :2]}),
      (TypeError, '`features` must be a float', {'features': LABELS[:, None]}),
      (ValueError, '`labels`', {'labels': LABELS[:2]}),
      (ValueError, r'`labels` must be in \[0, 4\)', {'labels': LABELS + 2}),
      (TypeError, '`labels` must be integers', {'labels': features[:, 0]}),
      (
        TypeError,
        'got MixedLabels',
        {'labels': losses.MixedLabels(LABELS, LABELS, 0.5)},
      ),
      (ValueError, '`class_weights`', {'w': WEIGHTS[:2]}),
    ):
      with self.assertRaisesRegex(error, message):
        call(**keywords)


class ClassQueueTest(parameterized.TestCase):
  def test_first_keys_are_random_directions(self):
    make = functools.partial(
      losses.init_class_queue, num_classes=3, size=400, dim=8
    )
    queue = make(jax.random.key(0))
    self.assertEqual(queue.keys.shape, (3, 400, 8))
    self.assertEqual(queue.keys.dtype, jnp.float32)
    self.assertEqual(queue.pointer.dtype, jnp.int32)
    np.testing.assert_array_equal(queue.pointer, [0, 0, 0])
    rows = np.asarray(queue.keys).reshape(-1, 8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    # 1200 draws: the mean of each entry is 0, of its square 1/8.
    bound = 4 / math.sqrt(1200)
    np.testing.assert_allclose(rows.mean(0), 0.0, atol=bound * 8**-0.5)
    np.testing.assert_allclose((rows**2).mean(0), 1 / 8, atol=bound / 8 * 1.42)
    self.assertLess(np.abs(rows[1:] * rows[:-1]).sum(1).min(), 0.9)
    other = make(jax.random.key(1))
    self.assertFalse(np.array_equal(queue.keys, other.keys))

  def test_is_one_row_after_the_other(self):
    enqueue = jax.jit(chex.assert_max_traces(n=1)(losses.enqueue))
    rng = np.random.default_rng(0)
    queue = losses.init_class_queue(
      jax.random.key(0), num_classes=NUM_CLASSES, size=SIZE, dim=2
    )
    rows = [
      collections.deque(np.asarray(keys), maxlen=SIZE) for keys in queue.keys
    ]
    slots = np.array(queue.keys)
    times = [itertools.cycle(range(SIZE)) for _ in range(NUM_CLASSES)]
    # The last batches are of one class, 12 for 3 slots.
    batches = [rng.integers(NUM_CLASSES, size=12) for _ in range(6)]
    for labels in [*batches, np.full(12, 1), np.full(12, 1), batches[0]]:
      features = _units(rng, 12, 2)
      queue = enqueue(queue, features, labels.astype(np.int32))
      for row, label in zip(features, labels, strict=True):
        rows[label].append(row)
        slots[label, next(times[label])] = row
      np.testing.assert_array_equal(queue.keys, slots)
      # The oldest one is where the pointer is.
      for c in range(NUM_CLASSES):
        np.testing.assert_array_equal(
          np.roll(queue.keys[c], -int(queue.pointer[c]), axis=0),
          np.stack(rows[c]),
        )

  def test_rows_of_no_class_are_dropped(self):
    queue = losses.init_class_queue(
      jax.random.key(0), num_classes=3, size=2, dim=2
    )
    features = _units(np.random.default_rng(0), 5, 2)
    enqueue = jax.jit(losses.enqueue)
    wrong = enqueue(queue, features, np.array([-1, 1, 3, -3, 1], np.int32))
    expected = np.array(queue.keys)
    expected[1] = features[[1, 4]]
    np.testing.assert_array_equal(wrong.keys, expected)
    np.testing.assert_array_equal(wrong.pointer, [0, 0, 0])
    none = enqueue(queue, features, np.full(5, -1, np.int32))
    np.testing.assert_array_equal(none.keys, queue.keys)

  def test_no_gradient(self):
    queue = losses.init_class_queue(
      jax.random.key(0), num_classes=2, size=2, dim=2
    )
    gradient = jax.jit(
      jax.grad(lambda x: losses.enqueue(queue, x, jnp.array([0, 1])).keys.sum())
    )(jnp.ones((2, 2)))
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))

  def test_misuse(self):
    queue = losses.init_class_queue(
      jax.random.key(0), num_classes=2, size=2, dim=2
    )
    rows, labels = np.ones((2, 2), np.float32), np.array([0, 1])
    for error, message, arguments in (
      (TypeError, '`queue` must be a ClassQueue', (tuple(queue), rows, labels)),
      (ValueError, '`features` must be as wide', (queue, rows[:, :1], labels)),
      (ValueError, '`features` must have two', (queue, rows[0], labels)),
      (ValueError, r'`labels` must be in \[0, 2\)', (queue, rows, labels + 1)),
      (ValueError, '`labels`', (queue, rows, labels[:1])),
      (TypeError, '`labels` must be integers', (queue, rows, rows[0])),
    ):
      with self.assertRaisesRegex(error, message):
        losses.enqueue(*arguments)
    for name in ('num_classes', 'size', 'dim'):
      sizes = {'num_classes': 2, 'size': 2, 'dim': 2}
      with self.assertRaisesRegex(ValueError, f'`{name}` must be at least 1'):
        losses.init_class_queue(jax.random.key(0), **(sizes | {name: 0}))
      with self.assertRaisesRegex(TypeError, f'`{name}` must be an integer'):
        losses.init_class_queue(jax.random.key(0), **(sizes | {name: 2.0}))


if __name__ == '__main__':
  absltest.main()
