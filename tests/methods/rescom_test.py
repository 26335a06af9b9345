# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps of ResCom, written out."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from tests.methods import choices as choices_lib
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

_SIZE = 3
_POSITIVES = 2
_NEGATIVES = 5
_DIM = 4
_TEMPERATURE = 0.5
_BETA = 0.9
_WEIGHT = 0.7
_TEXT = (
  f'rescom(weight={_WEIGHT}, beta={_BETA}, size={_SIZE}, dim={_DIM}, '
  f'num_positives={_POSITIVES}, num_negatives={_NEGATIVES}, '
  f'temperature={_TEMPERATURE})'
)
_COUNTS = np.array(tiny.COUNTS)
_NETWORK = models.MLP(num_classes=kinds.NUM_CLASSES, widths=(12,))
_SETUP = methods.Setup(schedules.Timeline(_COUNTS, 4, tiny.BATCH_SIZE), (6,))


class Parted(training.Supervised):
  """A base with a state: how often it weighed."""

  def __init__(self):
    super().__init__(
      lambda z, y: losses.balanced_softmax(z, y, _COUNTS),
      weigh=lambda found, step, state: (1.0 + jnp.arange(16.0), state + 1),
      weigh_state=jnp.int32(0),
    )


def _part():
  return methods.make_part('scheme', _TEXT, _SETUP)


def make(base=None, **options):
  """Network, state and step; see `tiny_objectives.make`."""
  part = _part()
  base = base or training.Supervised(
    lambda z, y: losses.balanced_softmax(z, y, _COUNTS)
  )
  return kinds.make(
    part.objective(base), net=part.model(_NETWORK), augment=shift, **options
  )


def shift(key, image):
  """An augmentation that draws."""
  return image + 0.3 * jax.random.normal(key, image.shape)


def _views(state, batch):
  """Both views of each row, as `training.Inputs` draws them."""
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
  rows = training.Inputs(lambda x: x, shift).look_up(
    batch.rows, None, jax.random.fold_in(key, 2), num_views=2
  )
  return [np.asarray(view) for view in rows['views']]


def _unit(x):
  return x / jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True))


def _forward(params, x):
  """Logits and projections."""
  net, head, projector = (
    params[name] for name in ('network', 'classifier', 'projector')
  )
  dense = net['dense1']
  features = jnp.maximum(x @ dense['kernel'] + dense['bias'][None], 0)
  one, two = projector['dense1'], projector['dense2']
  hidden = jnp.maximum(features @ one['kernel'] + one['bias'][None], 0)
  return (
    features @ head['kernel'] + head['bias'][None],
    _unit(hidden @ two['kernel'] + two['bias'][None]),
  )


def _hardest(projections, labels, keys):
  """By row its positive and its negative keys, ``[V, k, dim]``, by NumPy."""
  positives, negatives = [], []
  flat, owner = keys.reshape(-1, _DIM), np.repeat(np.arange(4), _SIZE)
  for row, label in zip(projections, labels, strict=True):
    own, others = flat[owner == label], flat[owner != label]
    positives.append(own[np.argsort(own @ row)[:_POSITIVES]])
    negatives.append(others[np.argsort(-(others @ row))[:_NEGATIVES]])
  return np.stack(positives), np.stack(negatives)


def _total(params, views, labels, hard, weights):
  """The weighted class term of both views, and the contrast."""
  prior = jnp.log(jnp.asarray(_COUNTS, jnp.float32))[None]
  (z1, p1), (z2, p2) = (_forward(params, view) for view in views)
  class_term = sum(
    -jnp.take_along_axis(
      jax.nn.log_softmax(z + prior), labels[:, None], axis=1
    )[:, 0]
    for z in (z1, z2)
  )
  rows = jnp.concatenate([p1, p2])
  twice = jnp.concatenate([labels, labels])
  effective = (1 - _BETA**_COUNTS) / (1 - _BETA)
  class_weights = jnp.asarray(effective.mean() / effective, jnp.float32)
  batch = jnp.exp(rows @ rows.T / _TEMPERATURE)
  own, others = (
    jnp.sum(keys * rows[:, None], axis=-1) / _TEMPERATURE for keys in hard
  )
  total = (
    batch.sum(axis=1)
    - jnp.diag(batch)
    + jnp.exp(own).sum(axis=1)
    + jnp.exp(others).sum(axis=1)
  )
  same = (twice[:, None] == twice[None]) & ~jnp.eye(len(twice), dtype=bool)
  in_batch = jnp.where(same, jnp.log(batch), 0.0)
  positive = in_batch.sum(axis=1) + own.sum(axis=1)
  count = same.sum(axis=1).astype(jnp.float32) + _POSITIVES
  mean = positive / count
  contrast = jnp.mean(class_weights[twice] * (jnp.log(total) - mean))
  return jnp.sum(weights * class_term / 2) + _WEIGHT * contrast


_gradient = jax.jit(jax.value_and_grad(_total))


def _pushed(queue, projections, labels):
  """Row after row, the oldest key leaves."""
  keys, pointer = np.array(queue.keys), np.array(queue.pointer)
  for row, label in zip(projections, labels, strict=True):
    keys[label, pointer[label]] = row
    pointer[label] = (pointer[label] + 1) % _SIZE
  return losses.ClassQueue(keys, pointer)


class StepTest(parameterized.TestCase):
  def test_two_steps_against_the_formula(self):
    state, update = make()
    for batch in (kinds.batches()[step] for step in range(2)):
      labels = batch.rows['label']
      views = _views(state, batch)
      projections = np.concatenate(
        [jax.jit(_forward)(state.params, view)[1] for view in views]
      )
      _, queue = state.loss_state
      np.testing.assert_allclose(
        np.linalg.norm(queue.keys, axis=-1), 1, rtol=1e-5
      )
      hard = _hardest(projections, np.tile(labels, 2), np.asarray(queue.keys))
      loss, gradient = _gradient(
        state.params, views, labels, hard, batch.weights[0]
      )
      after, metrics = update(state, batch)
      np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-5)
      chex.assert_trees_all_close(
        kinds.gradient(state, after), gradient, rtol=1e-4, atol=1e-5
      )
      # Of the first views alone, in the order of the rows.
      chex.assert_trees_all_close(
        after.loss_state[1],
        _pushed(queue, projections[: len(labels)], labels),
        rtol=1e-5,
        atol=1e-6,
      )
      state = after

  def test_the_state_of_the_base_is_its_own(self):
    state, update = make(Parted())
    batch = kinds.batches()[0]
    after, _ = update(state, batch)
    self.assertEqual(state.loss_state[0], 0)
    self.assertEqual(after.loss_state[0], 1)
    plain, _ = make()
    self.assertEqual(plain.loss_state[0], ())
    chex.assert_trees_all_equal(state.loss_state[1], plain.loss_state[1])


class WordTest(parameterized.TestCase):
  def test_what_it_brings(self):
    part = methods.make_part('scheme', 'rescom', _SETUP)
    objective = part.objective(training.Supervised(losses.cross_entropy))
    self.assertTrue(objective.coupled)
    self.assertEqual(objective.num_views, 2)
    _, queue = objective.init(jax.random.key(0), {})
    self.assertEqual(queue.keys.shape, (4, 8, 128))

  @parameterized.parameters(
    ('rescom(num_positives=9)', '`num_positives` must be at most 8'),
    ('rescom(num_negatives=25)', '`num_negatives` must be at most 24'),
    ('rescom(weight=-1.0)', '`weight` must be'),
    ('rescom(dim=0)', '`dim` must be'),
  )
  def test_values_out_of_range_are_refused(self, text, message):
    with self.assertRaisesRegex(ValueError, message):
      part = methods.make_part('scheme', text, _SETUP)
      part.model(_NETWORK)
      part.objective(training.Supervised(losses.cross_entropy))

  @parameterized.parameters(
    ('mixup', '`rescom` needs images of one example each, and `mixup`'),
    ('cmo', '`rescom` needs images of one example each, and `cmo`'),
    ('focal', "'rescom' and 'focal' cannot be combined: both choose"),
    ('absgd', '`balanced_softmax`.* `rescom` brings, and `absgd` both correct'),
    ('drs', '`balanced_softmax`.* `rescom` brings, and `drs` both correct'),
    ('etf', '`balanced_softmax` cannot be fitted to the cosines'),
  )
  def test_refuses(self, word, message):
    with self.assertRaisesRegex(ValueError, message):
      methods.check(choices_lib.of_words(f'rescom,{word}'))

  def test_it_corrects_for_the_counts_by_its_weights(self):
    choices = choices_lib.of_words('rescom') | {
      'loss': 'cross_entropy',
      'weights': 'drw',
    }
    with self.assertRaisesRegex(ValueError, '`drw` and `rescom` both correct'):
      methods.check(choices)
    methods.check(choices | {'scheme': 'rescom(beta=0.0)'})


if __name__ == '__main__':
  absltest.main()
