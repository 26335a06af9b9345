# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps with further streams of data, whose loss belongs to no row."""

import types

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import training
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

methods = training.update_rules


def _assert_close(found, expected, atol=3e-6):
  chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=atol)


def _methods():
  return {
    'sgd': methods.sgd(tiny.COUNTS),
    'sam': methods.sam(tiny.COUNTS, 0.3),
    'imbsam': methods.imbsam(tiny.COUNTS, 0.3, threshold=10, tail_weight=2.0),
  }


def _streams(at=None):
  """Other examples; and training examples again, by their places."""
  return {
    'out': kinds.stream(at=at),
    'again': kinds.stream(examples=kinds.indexed_examples(), seed=6),
  }


def _with_table(batch):
  return training.shard_batch(
    training.data_mesh(jax.devices()[:1]),
    batch,
    resident_images=tiny.examples().images,
  )


class RowsTest(absltest.TestCase):
  def test_are_those_of_the_stream_at_its_steps(self):
    other = kinds.other_examples()
    out = kinds.stream(at=lambda step: step in (1, 4))
    plain = kinds.batches()
    batches = kinds.batches(out=out)
    for step in range(6):
      batch = batches[step]
      chex.assert_trees_all_equal(batch.rows, plain[step].rows)
      self.assertEqual(list(batch.streams), ['out'] * (step in (1, 4)))
      for rows in batch.streams.values():
        indices = out.order[step].indices
        np.testing.assert_array_equal(rows['image'], other.images[indices])
        np.testing.assert_array_equal(rows['label'], other.labels[indices])
        np.testing.assert_array_equal(rows['place'], np.arange(8))
    more = data.with_streams(batches, {'more': kinds.stream()})
    self.assertEqual(sorted(more[1].streams), ['more', 'out'])
    self.assertIs(data.with_streams(batches, {}), batches)

  def test_a_process_has_its_part(self):
    out = kinds.stream()
    whole = kinds.batches(out=out)[2].streams['out']
    part = data.with_streams(
      kinds.batches(), {'out': out}, host_share=data.HostShare(1, 2)
    )[2].streams['out']
    np.testing.assert_array_equal(part['image'][4:], whole['image'][4:])
    np.testing.assert_array_equal(part['image'][:4], 0)
    np.testing.assert_array_equal(part['label'], whole['label'])

  def test_what_is_drawn_is_of_the_name(self):
    class Sees(training.Objective):
      coupled = True

      def init(self, key, variables):
        return jnp.zeros((8, 6))

      def __call__(self, ctx, apply, rows):
        logits = apply(rows['image'])
        found = losses.cross_entropy(logits, rows['label'])
        record = ctx.streams['out']['image']
        return training.Outcome(found, logits, rows['label'], record=record)

      def after(self, ctx, record):
        return record

    state, step = kinds.make(Sees(), augment=kinds.noise)
    seen = [
      step(state, kinds.batches(**streams)[0])[0].loss_state
      for streams in (
        {'out': kinds.stream()},
        {'out': kinds.stream(), 'before': kinds.stream()},
      )
    ]
    np.testing.assert_array_equal(*seen)
    noise = (
      seen[0] - kinds.batches(out=kinds.stream())[0].streams['out']['image']
    )
    self.assertLen(np.unique(np.round(noise, 4), axis=0), 8)
    # Not that of the rows at the same places.
    inputs = training.Inputs(lambda images: images, kinds.noise)
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), 0)
    rows = {'image': np.zeros((8, 6), np.float32), 'place': np.arange(8)}
    own = inputs.look_up(rows, None, jax.random.fold_in(key, 2))['image']
    self.assertGreater(np.abs(own - noise).max(axis=1).min(), 1e-2)


class SharedTest(parameterized.TestCase):
  """Gradients of the sum, written out, and counted once."""

  @parameterized.parameters(
    ('sgd', 'joint'),
    ('sam', 'joint'),
    ('imbsam', 'joint'),
    ('imbsam', 'split'),
    ('imbsam', 'tail_only'),
  )
  def test_gradient(self, word, layout):
    method = _methods()[word]
    state, step = kinds.make(kinds.Auxiliary(), method)
    batch = kinds.batches(method, indexed=True, **_streams())[0]
    labels = batch.rows['label']
    images = tiny.examples().images[batch.rows['image']]
    out, again = batch.streams['out'], batch.streams['again']
    again_images = tiny.examples().images[again['image']]
    total = batch.weights.sum()

    def of(params, weights):
      shared = jnp.mean(
        kinds.cross_entropy(params, out['image'], out['label'])
      ) + 3 * jnp.mean(
        kinds.cross_entropy(params, again_images, again['label'])
      )
      found = jnp.sum(weights * kinds.cross_entropy(params, images, labels))
      return found + weights.sum() / total * shared

    of_weights = jax.jit(jax.grad(of))
    groups = list(batch.weights)
    perturbed = {'sgd': [], 'sam': [0], 'imbsam': [1]}[word]
    expected = jax.tree.map(jnp.zeros_like, state.params)
    for group, weights in enumerate(groups):
      point = state.params
      if group in perturbed:
        slope = of_weights(point, weights)
        norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(slope)))
        point = jax.tree.map(
          lambda p, g, norm=norm: p + 0.3 * g / norm, point, slope
        )
      expected = jax.tree.map(jnp.add, expected, of_weights(point, weights))
    own = kinds.batches(method, layout, indexed=True, **_streams())[0]
    after, metrics = step(state, _with_table(own))
    _assert_close(kinds.gradient(state, after), expected, 1e-5)
    self.assertAlmostEqual(
      metrics['loss'], of(state.params, batch.weights.sum(axis=0)), places=4
    )

  def test_of_microbatches(self):
    ends = []
    batch = _with_table(kinds.batches(indexed=True, **_streams())[0])
    for number in (1, 4):
      state, step = kinds.make(kinds.Auxiliary(), num_microbatches=number)
      after, metrics = step(state, batch)
      ends.append((after.params, metrics['loss']))
    _assert_close(*ends)


class ScannedTest(absltest.TestCase):
  def test_steps_and_runs_in_one_program(self):
    state, step = kinds.make(kinds.Auxiliary(), jit=False)
    resident_images = tiny.examples().images
    runs = [kinds.batches(indexed=True, seed=s, **_streams()) for s in (0, 1)]
    alone = jax.jit(step)
    ends = [state, state]
    for k in range(2):
      ends = [
        alone(end, _with_table(batches[k]))[0]
        for end, batches in zip(ends, runs, strict=True)
      ]
    mesh = training.data_mesh(jax.devices()[:1])

    def put(*batches):
      chunk = data.stack_batches(batches)
      self.assertEqual(chunk.streams['out']['image'].shape, (2, 8, 6))
      return training.shard_batch(
        mesh, chunk, resident_images=resident_images, stacked=True
      )

    scanned, _ = jax.jit(training.scan_steps(step))(
      state, put(runs[0][0], runs[0][1])
    )
    _assert_close(scanned, ends[0])
    both = jax.jit(training.stack_runs(step))
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    for k in range(2):
      states, _ = both(states, put(runs[0][k], runs[1][k]))
    for run, end in enumerate(ends):
      found = jax.tree.map(lambda x, run=run: x[run], states)
      _assert_close(found, end, 1e-5)

  def test_only_batches_of_one_kind_are_stacked(self):
    batches = kinds.batches(out=kinds.stream(at=lambda step: step == 1))
    with self.assertRaisesRegex(ValueError, r"got \('joint',\), \('joint', 'o"):
      data.stack_batches([batches[0], batches[1]])
    method = _methods()['imbsam']
    split = kinds.batches(method, 'split')
    with self.assertRaisesRegex(ValueError, r'\(.split.,\) can be|split'):
      data.stack_batches([split[0], batches[0]])

  def test_fit_puts_like_steps_together(self):
    # The streams of step 5 and the program of step 10 come between.
    batches = kinds.batches(out=kinds.stream(at=lambda step: step == 5))
    ran = []

    def program(name):
      def step(state, batch):
        numbers = np.atleast_1d(batch.weights[..., 0, 0])
        images = np.asarray(batch.rows['image']).reshape(-1, 16, 6)
        ran.append((name, [image[0, 0] for image in images]))
        quiet = np.zeros(len(numbers), bool)
        metrics = {'loss': numbers, 'train_accuracy': numbers}
        return state, {**metrics, 'skipped': quiet, 'exhausted': quiet}

      return step

    plain, outer, scanned = map(program, ('plain', 'outer', 'scanned'))
    training.fit(
      types.SimpleNamespace(step=0),
      lambda step: outer if step == 10 else plain,
      batches,
      num_steps=14,
      put_batch=lambda batch: batch,
      scanned=training.ScannedSteps(
        3, lambda step: scanned, lambda batch: batch
      ),
    )
    self.assertEqual(
      [(name, len(images)) for name, images in ran],
      [('scanned', 3)]
      + [('plain', 1)] * 3  # 3 and 4 with 5, and 5 itself.
      + [('scanned', 3)]  # 6, 7 and 8.
      + [('plain', 1), ('outer', 1), ('scanned', 3)],
    )
    seen = [image for _, images in ran for image in images]
    expected = [batches[step].rows['image'][0, 0] for step in range(14)]
    np.testing.assert_array_equal(seen, expected)


if __name__ == '__main__':
  absltest.main()
