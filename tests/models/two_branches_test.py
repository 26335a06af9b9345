# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two branches and projections, against the network that they are made of."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models
from tests.models import models_test

_SECOND = '_second'
# By name a network, and the layers of its last stage and last block.
_NETWORKS = {
  'mlp': (
    models.MLP(num_classes=5, widths=(16, 12), norm='none'),
    {'stage': {'dense2'}, 'block': {'dense2'}},
  ),
  'small_conv_net': (
    models.SmallConvNet(num_classes=5, width=4, norm='batch'),
    {'stage': {'conv3', 'norm3'}, 'block': {'conv3', 'norm3'}},
  ),
  'cifar_resnet': (
    models.CifarResNet(num_classes=5, stage_sizes=(1, 2), widths=(4, 8)),
    {'stage': {'stage2_block1', 'stage2_block2'}, 'block': {'stage2_block2'}},
  ),
  'bottleneck': (
    models.BottleneckResNet(
      num_classes=5, stage_sizes=(1, 2), widths=(4, 4), stem_width=4,
      norm='group',
    ),
    {'stage': {'stage2_block1', 'stage2_block2'}, 'block': {'stage2_block2'}},
  ),
  'wide_resnet': (
    models.WideResNet(num_classes=5, depth=16, width=1, dropout_rate=0.0),
    {
      'stage': {'stage3_block1', 'stage3_block2', 'last_norm'},
      'block': {'stage3_block2', 'last_norm'},
    },
  ),
}  # fmt: skip


def _two(name, own):
  network, layers = _NETWORKS[name]
  return network, models.TwoBranches(network=network, own=own), layers[own]


def _branch(variables, suffix):
  """Variables of the network itself, of one of its branches."""

  def own(layers):
    seconds = {k for k in layers if k.endswith(_SECOND)}
    firsts = {k.removesuffix(_SECOND) for k in seconds}
    trunk = layers.keys() - firsts - seconds
    branch = seconds if suffix else firsts
    return {k.removesuffix(_SECOND): layers[k] for k in trunk | branch}

  return {name: own(layers['network']) for name, layers in variables.items()}


@functools.partial(jax.jit, static_argnums=0, static_argnames='train')
def _applied(network, variables, x, *, train):
  return network.apply(
    variables, x, train=train, method='features', mutable=['batch_stats']
  )


def _features(network, variables, x, *, train=False):
  """Features and new statistics."""
  features, changed = _applied(network, variables, x, train=train)
  return np.asarray(features, np.float64), changed


@functools.cache
def _case(name, own='stage'):
  network, model, layers = _two(name, own)
  x = models_test._images(size=12)
  return network, model, layers, models_test._init(model, x), x


class TwoBranchesTest(parameterized.TestCase):
  @parameterized.product(name=list(_NETWORKS), own=['stage', 'block'])
  def test_the_last_layers_are_there_twice(self, name, own):
    network, model, layers, variables, x = _case(name, own)
    plain = models_test._init(network, x)
    params, own_params = variables['params'], plain['params']
    self.assertEqual(set(params), {'network', 'classifier'})
    self.assertEqual(
      set(params['network']),
      {*own_params, *(layer + _SECOND for layer in layers)} - {'classifier'},
    )
    chex.assert_trees_all_equal_shapes(
      {k: params['network'][k + _SECOND] for k in layers},
      {k: own_params[k] for k in layers},
    )
    dim = own_params['classifier']['kernel'].shape[0]
    self.assertEqual(params['classifier']['kernel'].shape, (2 * dim, 5))

  @parameterized.product(name=list(_NETWORKS))
  def test_features_are_those_of_two_networks(self, name):
    network, model, _, variables, x = _case(name)
    features, logits = jax.jit(
      functools.partial(model.apply, train=False, method='features_and_logits')
    )(variables, x)
    expected = np.concatenate(
      [
        _features(network, _branch(variables, suffix), x)[0]
        for suffix in ('', _SECOND)
      ],
      axis=1,
    )
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    self.assertGreater(np.abs(expected[:, :4] - expected[:, -4:]).max(), 0.01)
    head = variables['params']['classifier']
    np.testing.assert_allclose(
      logits, expected @ head['kernel'] + head['bias'], rtol=1e-4, atol=1e-4
    )

  @parameterized.parameters(0.0, 0.3, 0.5, 1.0)
  def test_fused(self, alpha):
    """Two passes: the statistics of the trunk are those of both."""
    network, model, layers, variables, x = _case('small_conv_net')
    other = models_test._images(size=12, seed=1) + 0.5
    logits, changed = _fused(model)(variables, x, other, alpha)
    first, after_first = _features(
      network, _branch(variables, ''), x, train=True
    )
    begin = _branch(variables, _SECOND)
    # The trunk goes on from where the first pass left it.
    begin['batch_stats'] = {
      **after_first['batch_stats'],
      **{k: v for k, v in begin['batch_stats'].items() if k in layers},
    }
    second, after_both = _features(network, begin, other, train=True)
    head = variables['params']['classifier']
    fused = 2 * np.concatenate([alpha * first, (1 - alpha) * second], axis=1)
    np.testing.assert_allclose(
      logits, fused @ head['kernel'] + head['bias'], rtol=1e-4, atol=1e-4
    )
    expected = {
      **after_both['batch_stats'],
      'norm3': after_first['batch_stats']['norm3'],
      'norm3_second': after_both['batch_stats']['norm3'],
    }
    chex.assert_trees_all_close(
      changed['batch_stats']['network'], expected, rtol=1e-4, atol=1e-5
    )

  def test_the_same_images_at_one_half_are_the_inference(self):
    _, model, _, variables, x = _case('cifar_resnet')
    both = jax.jit(
      lambda v: (
        model.apply(v, x, x, 0.5, train=False, method='fused'),
        model.apply(v, x, train=False),
      )
    )
    np.testing.assert_allclose(*both(variables), rtol=1e-5, atol=1e-5)

  def test_at_one_the_second_branch_gets_no_gradient(self):
    _, model, _, variables, x = _case('mlp')

    @jax.jit
    def gradient(params, alpha):
      def total(params):
        logits = model.apply(
          {'params': params}, x, 2 * x, alpha, train=False, method='fused'
        )
        return jnp.sum(logits**2)

      return jax.grad(total)(params)

    for alpha, still in ((1.0, 'dense2_second'), (0.0, 'dense2')):
      found = gradient(variables['params'], alpha)
      moved = {
        k for k, v in found['network'].items() if np.any(v['kernel'] != 0)
      }
      self.assertEqual(moved, {'dense1', 'dense2', 'dense2_second'} - {still})
      halves = np.split(found['classifier']['kernel'], 2)
      self.assertEqual(
        [bool(np.any(half)) for half in halves], [alpha == 1.0, alpha == 0.0]
      )

  def test_takes_what_the_network_has(self):
    network = models.SmallConvNet(
      num_classes=7, norm='none', head='cosine', dtype=jnp.bfloat16
    )
    for model in (
      models.TwoBranches(network=network), models.Projected(network=network)
    ):  # fmt: skip
      self.assertEqual(
        (model.num_classes, model.norm, model.head, model.dtype),
        (7, 'none', 'cosine', jnp.bfloat16),
      )

  def test_an_untrained_pass_of_the_trunk_is_one(self):
    network, model, _, variables, x = _case('bottleneck')
    plain = models_test._init(network, x)
    one, two = (
      models.multiplications(lambda v, x, m=m: m.apply(v, x, train=False), v, x)
      for m, v in ((network, plain), (model, variables))
    )
    self.assertLess(two, 2 * one)

  def test_refuses(self):
    class Net(nn.Module):
      @nn.compact
      def __call__(self, x, *, train):
        return x

    class Features(models.Classifier):
      @nn.compact
      def features(self, x, *, train):
        return x

    for network in (Net(), None, models.MLP):
      for model in (models.TwoBranches, models.Projected):
        with self.assertRaisesRegex(
          TypeError, 'is made of a models.Classifier'
        ):
          model(network=network)
    with self.assertRaisesRegex(TypeError, 'Features writes `features`'):
      models.TwoBranches(network=Features(num_classes=3))
    models.Projected(network=Features(num_classes=3))
    with self.assertRaisesRegex(ValueError, "`own` must be 'stage' or"):
      models.TwoBranches(network=models.MLP(num_classes=3), own='half')
    with self.assertRaisesRegex(ValueError, '`dim` must be'):
      models.Projected(network=models.MLP(num_classes=3), dim=0)
    empty = models.TwoBranches(network=models.MLP(num_classes=3, widths=()))
    with self.assertRaisesRegex(ValueError, 'without layers'):
      empty.init(jax.random.key(0), jnp.ones([2, 3]), train=False)


@functools.cache
def _fused(model):
  return jax.jit(
    functools.partial(
      model.apply, train=True, method='fused', mutable=['batch_stats']
    )
  )


class ProjectedTest(parameterized.TestCase):
  @parameterized.parameters('none', 'batch')
  def test_against_numpy(self, norm):
    network = models.MLP(num_classes=5, widths=(16,), norm=norm)
    model = models.Projected(network=network, dim=7)
    x = models_test._images()
    variables = models_test._init(model, x)
    self.assertEqual(
      set(variables['params']), {'network', 'classifier', 'projector'}
    )
    (logits, projections), _ = jax.jit(
      functools.partial(
        model.apply, train=True, method='logits_and_projections',
        mutable=['batch_stats'],
      )
    )(variables, x)  # fmt: skip
    features, _ = _features(
      network,
      {k: v['network'] for k, v in variables.items()},
      x,
      train=True,
    )
    head, projector = (
      variables['params'][name] for name in ('classifier', 'projector')
    )
    np.testing.assert_allclose(
      logits, features @ head['kernel'] + head['bias'], rtol=1e-4, atol=1e-5
    )
    hidden = features @ np.asarray(projector['dense1']['kernel'], np.float64)
    if norm == 'batch':
      self.assertNotIn('bias', projector['dense1'])
      spread = np.sqrt(hidden.var(axis=0) + 1e-5)
      hidden = (hidden - hidden.mean(axis=0)) / spread
    hidden = np.maximum(hidden, 0)
    expected = hidden @ np.asarray(projector['dense2']['kernel'], np.float64)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    self.assertEqual(projections.shape, (6, 7))
    np.testing.assert_allclose(projections, expected, rtol=1e-4, atol=1e-5)

  def test_a_zero_row_stays_finite(self):
    model = models.Projected(network=models.MLP(num_classes=3, widths=(4,)))
    x = jnp.zeros([2, 5])
    variables = models_test._init(model, x)

    def total(params):
      _, found = model.apply(
        {'params': params}, x, train=False, method='logits_and_projections'
      )
      return found.sum()

    value, gradient = jax.jit(jax.value_and_grad(total))(variables['params'])
    self.assertEqual(value, 0)
    chex.assert_tree_all_finite(gradient)


class MultiplicationsTest(parameterized.TestCase):
  def test_of_a_network(self):
    """On 8x8 images, 4x4 and 2x2 are left."""
    model = models.SmallConvNet(num_classes=10)
    x = jax.ShapeDtypeStruct((3, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False), x
    )
    convolutions = 64 * 9 * 3 * 16 + 16 * 9 * 16 * 32 + 4 * 9 * 32 * 64
    self.assertEqual(
      models.multiplications(
        lambda v, x: model.apply(v, x, train=False), variables, x
      ),
      3 * (convolutions + 64 * 10),
    )

  def test_of_groups_of_channels_and_batched_products(self):
    x = jax.ShapeDtypeStruct((2, 5, 5, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 2, 12), jnp.float32)

    def convolve(x, kernel):
      return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), 'SAME', feature_group_count=4,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )  # fmt: skip

    self.assertEqual(
      models.multiplications(convolve, x, kernel), 2 * 25 * 12 * 9 * 2
    )
    left = jax.ShapeDtypeStruct((4, 3, 5), jnp.float32)
    right = jax.ShapeDtypeStruct((4, 5, 6), jnp.float32)
    self.assertEqual(
      models.multiplications(jax.jit(jnp.matmul), left, right), 4 * 3 * 5 * 6
    )


if __name__ == '__main__':
  absltest.main()
