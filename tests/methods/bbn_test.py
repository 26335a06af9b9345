# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A step of BBN, written out."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from tests.methods import choices as choices_lib
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

_EPOCHS = 4
_WEIGHTS = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
_RHO = 0.3
_NETWORK = models.MLP(num_classes=kinds.NUM_CLASSES, widths=(7, 5))
_SETUP = methods.Setup(
  schedules.Timeline(np.array(tiny.COUNTS), _EPOCHS, tiny.BATCH_SIZE), (6,)
)


def make(loss=losses.cross_entropy, method=None, **options):
  """Network, state and step; see `tiny_objectives.make`."""
  part = methods.make_part('scheme', 'bbn', _SETUP)
  objective = part.objective(training.Supervised(loss))
  net = part.model(_NETWORK)
  return kinds.make(objective, method, net=net, **options)


def batches(method=None, reweighting=None):
  method = method or training.update_rules.sgd(tiny.COUNTS)
  part = methods.make_part('scheme', 'bbn', _SETUP)
  examples = tiny.examples()
  order = data.shuffled_order(
    sum(tiny.COUNTS), batch_size=tiny.BATCH_SIZE, seed=0
  )
  return data.paired_batches(
    order,
    part.partners(order, examples.labels, 0),
    examples,
    method.group_weights_by_class,
    reweighting=reweighting,
  )


def _layer(x, layer):
  return jnp.maximum(x @ layer['kernel'] + layer['bias'][None], 0)


def _losses(params, batch, alpha, gamma=0.0):
  """By row of each stream its share of the loss, focal with gamma."""
  net, head = params['network'], params['classifier']
  images, labels = batch.rows['image'], batch.rows['label']
  conventional = _layer(_layer(images[0::2], net['dense1']), net['dense2'])
  rebalancing = _layer(
    _layer(images[1::2], net['dense1']), net['dense2_second']
  )
  fused = 2 * jnp.concatenate(
    [alpha * conventional, (1 - alpha) * rebalancing], axis=1
  )
  log_p = jax.nn.log_softmax(fused @ head['kernel'] + head['bias'][None])

  def of(labels):
    own = jnp.take_along_axis(log_p, labels[:, None], axis=1)[:, 0]
    return -((1 - jnp.exp(own)) ** gamma) * own

  return alpha * of(labels[0::2]), (1 - alpha) * of(labels[1::2])


def _total(params, batch, weights, alpha, gamma=0.0):
  """Each label with the weight of its own row."""
  first, second = _losses(params, batch, alpha, gamma)
  return jnp.sum(weights[0::2] * first + weights[1::2] * second)


_gradient = functools.partial(jax.jit, static_argnums=4)(
  jax.value_and_grad(_total)
)


class StepTest(parameterized.TestCase):
  @parameterized.parameters((0, 1.0), (2, 1.0), (3, 0.9375), (8, 0.75))
  def test_against_the_formula(self, step, alpha):
    """44 rows in steps of 16: 3 steps are an epoch, and a bit."""
    self.assertEqual(step * 16 // 44, round(_EPOCHS * (1 - alpha) ** 0.5))
    reweighting = data.Reweighting(lambda step: _WEIGHTS, 'weighted_mean')
    state, update = _made()
    batch = batches(reweighting=reweighting)[step]
    after, metrics = update(state.replace(step=jnp.int32(step)), batch)
    loss, gradient = _gradient(
      state.params, batch, batch.weights[0], alpha, 0.0
    )
    np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-5)
    chex.assert_trees_all_close(
      kinds.gradient(state, after), gradient, rtol=1e-4, atol=1e-5
    )
    still = not np.any(gradient['network']['dense2_second']['kernel'])
    self.assertEqual(still, alpha == 1)

  def test_a_loss_of_another_word(self):
    state, update = make(functools.partial(losses.focal_loss, gamma=2.0))
    batch = batches()[8]
    after, _ = update(state.replace(step=jnp.int32(8)), batch)
    _, gradient = _gradient(state.params, batch, batch.weights[0], 0.75, 2.0)
    chex.assert_trees_all_close(
      kinds.gradient(state, after), gradient, rtol=1e-4, atol=1e-5
    )

  def test_each_label_is_in_the_group_of_its_own_row(self):
    """ImbSAM: only tail labels are perturbed, of whichever stream."""
    method = training.update_rules.imbsam(tiny.COUNTS, threshold=10, rho=_RHO)
    state, update = make(method=method)
    batch = batches(method)[8]
    head, tail = batch.weights
    mixed = (head[0::2] > 0) & (tail[1::2] > 0)
    self.assertTrue(mixed.any())
    after, _ = update(state.replace(step=jnp.int32(8)), batch)
    _, of_head = _gradient(state.params, batch, head, 0.75, 0.0)
    _, of_tail = _gradient(state.params, batch, tail, 0.75, 0.0)
    norm = np.sqrt(sum(np.sum(x**2) for x in jax.tree.leaves(of_tail)))
    perturbed = jax.tree.map(
      lambda p, g: p + _RHO * g / norm, state.params, of_tail
    )
    _, of_tail = _gradient(perturbed, batch, tail, 0.75, 0.0)
    chex.assert_trees_all_close(
      kinds.gradient(state, after),
      jax.tree.map(jnp.add, of_head, of_tail),
      rtol=1e-4,
      atol=1e-5,
    )

  def test_the_second_stream_is_reversed(self):
    rows = batches()
    own, partner = (
      np.bincount(
        np.concatenate(
          [rows[step].rows['label'][half::2] for step in range(200)]
        ),
        minlength=4,
      )
      / (200 * tiny.BATCH_SIZE)
      for half in (0, 1)
    )
    counts = np.array(tiny.COUNTS)
    reversed_ = (1 / counts) / (1 / counts).sum()
    np.testing.assert_allclose(own, counts / counts.sum(), atol=0.01)
    # Three standard deviations of 3200 draws.
    np.testing.assert_allclose(partner, reversed_, atol=0.027)


@functools.cache
def _made():
  return make()


class WordTest(parameterized.TestCase):
  @parameterized.parameters(
    ('mixup', '`mixup` and `bbn` both give every row a partner'),
    ('bilateral_mix', '`bilateral_mix` and `bbn` both give'),
    ('absgd', '`absgd` and `bbn` both correct'),
    ('drs', '`drs` and `bbn` both correct'),
    ('arb', '`arb` and `bbn` both correct'),
    ('ldam', '`bbn` is made for a linear head'),
    ('etf', 'the etf head gives cosines'),
    ('zero_centroid', '`bbn` is made for a linear head'),
    ('rescom', "'bbn' and 'rescom' cannot be combined: both choose"),
  )
  def test_refuses(self, word, message):
    with self.assertRaisesRegex(ValueError, message):
      methods.check(choices_lib.of_words(f'bbn,{word}'))

  @parameterized.parameters('focal', 'imbsam', 'instance_sampling')
  def test_takes(self, word):
    methods.check(choices_lib.of_words(f'bbn,{word}'))

  def test_options(self):
    part = methods.make_part('scheme', "bbn(own='block')", _SETUP)
    self.assertEqual(part.model(_NETWORK).own, 'block')
    self.assertEqual(methods.needs_batch(choices_lib.of_words('bbn')), 'bbn')


if __name__ == '__main__':
  absltest.main()
