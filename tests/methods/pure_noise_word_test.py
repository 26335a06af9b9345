# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The word pure_noise: which rows are noise, and what a network makes of it."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import augment
from imbsam_jax import data
from imbsam_jax import experiment
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

_COUNTS = np.array(tiny.COUNTS)
# Of 44 rows, so that 11 steps of 16 rows are 4 epochs.
_TIME = schedules.Timeline(_COUNTS, 10, tiny.BATCH_SIZE)
_LATE = 24  # Epoch 8 is that of steps 22 to 24.


def _objective(base=None, time=_TIME, **options):
  text = ', '.join(f'{name}={value}' for name, value in options.items())
  part = methods.make_part(
    'scheme', f'pure_noise({text})', methods.Setup(time, (6,))
  )
  return part.objective(base or training.Supervised(losses.cross_entropy))


def _context(step, seed=0):
  key = jax.random.fold_in(jax.random.key(seed), step)
  return training.Context(jnp.int32(step), key, (), {}, None)


def _rows(number, seed=0):
  rng = np.random.RandomState(seed)
  return {
    'image': rng.randn(number, 6).astype(np.float32) + 50,
    'label': rng.randint(0, 4, number).astype(np.int32),
    'place': np.arange(number, dtype=np.int32),
    'example': np.arange(number, dtype=np.int32),
  }


def _prepared(objective, step, rows, seed=0):
  found = jax.jit(objective.prepare)(_context(step, seed), rows)
  return jax.tree.map(np.asarray, dict(found))


class RowsTest(parameterized.TestCase):
  @parameterized.parameters((0, 0), (21, 0), (22, 1), (27, 1))
  def test_from_a_share_of_the_run_on(self, step, noisy):
    rows = _rows(64)
    found = _prepared(_objective(), step, rows)
    self.assertEqual(found['noise_mask'].any(), noisy)
    self.assertEqual(found['noise_mask'].dtype, bool)
    np.testing.assert_array_equal(found['label'], rows['label'])
    natural = ~found['noise_mask']
    np.testing.assert_array_equal(
      found['image'][natural], rows['image'][natural]
    )

  def test_start_is_that_of_the_sampler(self):
    for start in (0.0, 0.25, 0.8, 1.0):
      drs = methods.make_part(
        'sampler', f'drs(start={start})', methods.Setup(_TIME, (6,))
      )
      noisy = jax.jit(_objective(start=start, delta=1.0).prepare)
      for step in range(0, 28):
        balanced = len(set(np.asarray(drs.probabilities(step)).tolist())) == 1
        found = noisy(_context(step), _rows(32))['noise_mask']
        self.assertEqual(bool(found.any()), balanced, (start, step))

  def test_shares_and_values(self):
    rows = _rows(40_000)
    found = _prepared(_objective(delta=0.6), _LATE, rows)
    for label in range(4):
      own = found['noise_mask'][rows['label'] == label]
      expected = 0.6 * (1 - _COUNTS[label] / _COUNTS.max())
      self.assertAlmostEqual(own.mean(), expected, delta=0.02)
    noise = found['image'][found['noise_mask']].astype(np.float64)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(np.cov(noise.T), np.eye(6), atol=0.05)

  def test_rows_draw_by_their_place(self):
    rows = _rows(64)
    objective = _objective(delta=1.0)
    whole = _prepared(objective, _LATE, rows)
    chosen = np.flatnonzero(rows['label'] > 1)[::-1]
    part = _prepared(objective, _LATE, {k: v[chosen] for k, v in rows.items()})
    for name, values in part.items():
      np.testing.assert_array_equal(values, whole[name][chosen])
    # That of one row, with its key.
    place = int(chosen[0])
    key = jax.random.fold_in(jax.random.fold_in(_context(_LATE).key, 3), place)
    image, is_noise = augment.pure_noise(
      key,
      (rows['image'][place][None], rows['label'][place][None]),
      _COUNTS,
      delta=1.0,
    )
    np.testing.assert_array_equal(whole['image'][place], image[0])
    self.assertEqual(whole['noise_mask'][place], is_noise[0])

  def test_other_steps_have_other_noise(self):
    rows = _rows(64) | {'label': np.full(64, 3, np.int32)}
    one, two = (_prepared(_objective(), step, rows) for step in (24, 25))
    self.assertFalse(np.array_equal(one['noise_mask'], two['noise_mask']))
    both = one['noise_mask'] & two['noise_mask']
    self.assertTrue((one['image'][both] != two['image'][both]).all())

  def test_balanced_classes_have_no_noise(self):
    time = _TIME._replace(class_counts=np.full(4, 11))
    found = _prepared(_objective(time=time, delta=1.0), _LATE, _rows(64))
    self.assertFalse(found['noise_mask'].any())

  def test_rows_are_those_that_the_base_prepares(self):
    class Shifted(training.Supervised):
      def prepare(self, ctx, rows):
        return {**rows, 'image': rows['image'] + 7}

    rows = _rows(32)
    objective = _objective(Shifted(losses.cross_entropy), delta=1.0)
    found = _prepared(objective, _LATE, rows)
    natural = ~found['noise_mask']
    np.testing.assert_array_equal(
      found['image'][natural], rows['image'][natural] + 7
    )
    self.assertLess(np.abs(found['image'][~natural]).max(), 7)

  @parameterized.parameters(
    ({'delta': 1.5}, '`delta` must be'), ({'start': 2}, 'shares of the run')
  )
  def test_parameters(self, options, message):
    with self.assertRaisesRegex(ValueError, message):
      _objective(**options)


class _Masked(nn.Module):
  """A network of one's own that has the argument."""

  @nn.compact
  def __call__(self, images, *, train, noise_mask=None):
    logits = nn.Dense(4)(images)
    if noise_mask is not None:
      logits = jnp.where(noise_mask[:, None], 0.0, logits)
    return logits


def _prepared_in(objective, state, batch):
  """The rows of a batch in the step after a state."""
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
  ctx = _context(_LATE)._replace(key=key)
  found = jax.jit(objective.prepare)(ctx, batch.rows)
  return jax.tree.map(np.asarray, dict(found))


def _late(objective, net, step=_LATE, **options):
  state, train_step = kinds.make(objective, net=net, **options)
  return state.replace(step=jnp.asarray(step, jnp.int32)), train_step


class NetworkTest(parameterized.TestCase):
  def test_by_hand_with_dar_batch(self):
    """A step of an MLP, written out: two kinds of rows, two statistics."""
    objective = _objective(delta=1.0)
    net = models.MLP(4, norm='dar_batch', widths=(5,))
    state, step = _late(objective, net)
    batch = kinds.batches()[0]
    after, metrics = step(state, batch)
    rows = _prepared_in(objective, state, batch)
    mask = rows['noise_mask']
    self.assertTrue(1 < mask.sum() < 15)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), state.params)
    layers = sorted(set(params) - {'classifier'})
    dense, norm = (params[name] for name in layers)
    x = np.asarray(rows['image'], np.float64) @ dense['kernel']
    x = x + dense.get('bias', 0)
    y = np.empty_like(x)
    for kind in (mask, ~mask):
      variance = x[kind].var(axis=0)
      y[kind] = (x[kind] - x[kind].mean(axis=0)) / np.sqrt(variance + 1e-5)
    norm = norm['BatchNorm_0']
    y = np.maximum(norm['scale'] * y + norm['bias'], 0)
    head = params['classifier']
    z = y @ head['kernel'] + head['bias']
    found = np.log(np.exp(z).sum(axis=1)) - z[np.arange(16), rows['label']]
    self.assertAlmostEqual(float(metrics['loss']), found.mean(), delta=1e-5)
    running = after.model_state['batch_stats'][layers[1]]['BatchNorm_0']
    np.testing.assert_allclose(
      running['mean'], 0.1 * x[~mask].mean(axis=0), rtol=1e-4, atol=1e-5
    )

  def test_a_network_gets_the_mask_if_it_has_the_argument(self):
    batch = kinds.batches()[0]
    objective = _objective(delta=1.0)
    state, step = _late(objective, _Masked())
    after, metrics = step(state, batch)
    rows = _prepared_in(objective, state, batch)
    mask = rows['noise_mask']
    self.assertTrue(mask.any())
    gradient = kinds.gradient(state, after)
    images = np.asarray(rows['image'], np.float64)
    z = images @ np.asarray(state.params['Dense_0']['kernel'], np.float64)
    z[mask] = 0
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    labels = np.asarray(rows['label'])
    loss = -np.log(p[np.arange(16), labels]).mean()
    self.assertAlmostEqual(float(metrics['loss']), loss, delta=1e-5)
    p[np.arange(16), labels] -= 1
    p[mask] = 0
    np.testing.assert_allclose(
      gradient['Dense_0']['kernel'], images.T @ p / 16, rtol=1e-3, atol=1e-5
    )

  def test_other_networks_train_on_noise_as_on_any_image(self):
    """GroupNorm and none: as on these images without the word."""
    batch = kinds.batches()[0]
    objective = _objective(delta=1.0)
    for net in (kinds.Net(), models.MLP(4, norm='group', widths=(8,))):
      state, step = _late(objective, net)
      rows = _prepared_in(objective, state, batch)
      self.assertTrue(rows['noise_mask'].any())
      _, plain = _late(training.Supervised(losses.cross_entropy), net)
      prepared = data.TrainBatch(
        {**batch.rows, 'image': rows['image']}, batch.weights
      )
      chex.assert_trees_all_close(
        step(state, batch)[0].params, plain(state, prepared)[0].params
      )

  def test_before_the_start_it_is_the_base(self):
    batch = kinds.batches()[0]
    for norm in ('dar_batch', 'group'):
      net = models.MLP(4, norm=norm, widths=(8,))
      state, step = _late(_objective(), net, step=3)
      _, plain = _late(training.Supervised(losses.cross_entropy), net, step=3)
      chex.assert_trees_all_close(
        *(f(state, batch)[0].variables for f in (step, plain)),
        rtol=1e-5,
        atol=1e-6,
      )

  def test_split_rows_are_joint_ones(self):
    """Rows of each class group draw as in a batch that is whole."""
    method = training.update_rules.imbsam(_COUNTS, rho=0.1, threshold=6)
    found = []
    for layout in ('joint', 'split'):
      state, step = _late(_objective(delta=1.0), kinds.Net(), method=method)
      batch = kinds.batches(method, layout)[0]
      found.append(step(state, batch)[0].params)
    chex.assert_trees_all_close(*found, rtol=1e-5, atol=1e-6)

  def test_evaluation_has_no_noise(self):
    images = np.ones((3, 6), np.float32)
    seen = []

    def apply(*inputs, **options):
      seen.append((inputs, options))
      return jnp.zeros((3, 4))

    _objective().predict(apply, images)
    self.assertEqual(seen, [((images,), {})])


def _sources(shape=(6, 6, 1)):
  rng = np.random.RandomState(0)
  labels = np.repeat(np.arange(3), (30, 12, 6))
  images = rng.randint(0, 256, (48, *shape)).astype(np.uint8)
  test = images[::6], labels[::6]
  return experiment.Sources(train=(images, labels), test=test)


def _build(words, sources=None, **fields):
  fields = {
    'epochs': 2,
    'data.batch_size': 16,
    'model.name': 'mlp',
    'optimizer.threshold': 10,
    **fields,
  }
  config = experiment.config('own', words, fields)
  return experiment.build(config, data=sources or _sources())


class WordTest(parameterized.TestCase):
  def test_what_it_sets(self):
    config = experiment.config('digits_lt', 'pure_noise')
    self.assertEqual(config.data.sampler, 'drs')
    self.assertEqual(config.model.norm, 'dar_batch')
    config = experiment.config(
      'digits_lt', 'pure_noise', {'model.norm': 'group'}
    )
    self.assertEqual(config.model.norm, 'group')

  def test_rows_stay_together_by_the_norm_alone(self):
    exp = _build('imbsam,pure_noise')
    self.assertEqual(exp.layout, 'joint')
    self.assertFalse(exp.objective.coupled)
    exp = _build('imbsam,pure_noise', **{'model.norm': 'group'})
    self.assertEqual(exp.layout, 'split')
    with self.assertRaisesRegex(experiment.ConfigError, 'not exact with Batch'):
      _build('imbsam,pure_noise', **{'optimizer.rows': 'split'})

  def test_noise_is_in_the_space_of_the_input(self):
    """Mean and deviation per channel are those of the training images."""
    rng = np.random.RandomState(1)
    images = rng.randn(48, 9, 9, 2) * (3.0, 0.2) + (40.0, -7.0)
    sources = _sources()
    labels = sources.train[1]
    images = images.astype(np.float32)
    exp = _build(
      'pure_noise',
      experiment.Sources(train=(images, labels), test=(images, labels)),
      **{'objective.scheme': 'pure_noise(delta=1.0, start=0.0)'},
    )
    inputs = np.asarray(data.standardization(images)(jnp.asarray(images)))
    rows = {
      'image': np.tile(inputs, (20, 1, 1, 1)),
      'label': np.full(960, 2),
      'place': np.arange(960),
    }
    found = _prepared(exp.objective, 0, rows)
    noise = found['image'][found['noise_mask']]
    self.assertGreater(len(noise), 600)
    for values in (noise, inputs):
      np.testing.assert_allclose(values.mean(axis=(0, 1, 2)), 0, atol=0.02)
      np.testing.assert_allclose(values.std(axis=(0, 1, 2)), 1, atol=0.02)

  @parameterized.parameters('mixup', 'remix', 'cmo', 'bilateral_mix', 'ppmix')
  def test_mixings_are_refused(self, word):
    with self.assertRaisesRegex(
      experiment.ConfigError,
      f'`pure_noise` needs images of one example each, and `{word}` mixes',
    ):
      experiment.check_config(experiment.config('own', f'pure_noise,{word}'))

  def test_a_sampler_that_it_brings_is_named(self):
    with self.assertRaisesRegex(
      experiment.ConfigError,
      '`drw` and `drs`, which `pure_noise` brings, both correct',
    ):
      experiment.check_config(experiment.config('own', 'pure_noise,ldam_drw'))
    with self.assertRaisesRegex(
      experiment.ConfigError, '`drw` and `drs` both correct'
    ):
      experiment.check_config(experiment.config('own', 'drw,drs'))
    with self.assertRaisesRegex(
      experiment.ConfigError, "'class_balanced_sampling' cannot be combined"
    ):
      experiment.config('own', 'pure_noise,class_balanced_sampling')


if __name__ == '__main__':
  absltest.main()
