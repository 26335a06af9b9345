# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of `WideResNet`, against NumPy in float64."""

import math

from absl.testing import absltest
from absl.testing import parameterized
import flax
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models
from imbsam_jax.models import _wide_resnet
from tests.models import witness


def _small_model(**attributes):
  """All shortcuts: with 16 channels the first stage has the identity."""
  return models.WideResNet(5, **(dict(depth=10, width=1) | attributes))


def _apply(module, variables, x, dropout_key=None):
  """Result of a training pass, and what dropout let through by its path."""
  outputs, state = jax.jit(
    lambda variables, x, key: module.apply(
      variables,
      x,
      train=True,
      mutable=['batch_stats', 'intermediates'],
      capture_intermediates=lambda part, _: part.name == 'dropout',
      rngs=None if key is None else {'dropout': key},
    )
  )(variables, x, dropout_key)
  return outputs, jax.tree.map(np.asarray, state['intermediates'])


# The witness. It takes any of the parameters of the network by their names, and
# the results of dropout to know which values it has drawn.


def _block(x, params, stride, dropped, rate):
  active = np.maximum(witness.norm(x, params['norm1']), 0)
  if 'projection' in params:
    x = witness.conv(active, params['projection']['kernel'], stride)
  y = witness.conv(active, params['conv1']['kernel'], stride)
  y = np.maximum(witness.norm(y, params['norm2']), 0)
  (result,) = dropped['dropout']['__call__']
  y = np.where(result != 0, y / (1 - rate), 0)
  return x + witness.conv(y, params['conv2']['kernel'], 1)


def _network(x, params, dropped, rate):
  x = witness.conv(x, params['stem']['kernel'], 1)
  for i, stride in ((1, 1), (2, 2), (3, 2)):
    name = f'stage{i}_block1'
    x = _block(x, params[name], stride, dropped[name], rate)
  x = np.maximum(witness.norm(x, params['last_norm']), 0)
  head = params['classifier']
  return x.mean((1, 2)) @ head['kernel'] + head['bias']


class WitnessTest(parameterized.TestCase):
  @parameterized.parameters(
    # Wider; stride 2 of an odd size; the identity.
    (24, 1, 'batch', 8, 16),
    (8, 2, 'group', 7, 8),
    (8, 1, 'group', 6, 8),
  )
  def test_block(self, channels, stride, norm, size, in_channels):
    x = witness.images(3, size, in_channels)
    block = _wide_resnet.PreActivationBlock(channels, stride, norm=norm)
    variables = witness.variables(block, x)
    params = variables['params']
    self.assertEqual(
      'projection' in params, stride > 1 or in_channels != channels
    )
    y, dropped = _apply(block, variables, x)
    expected = _block(
      witness.float64(x), witness.float64(params), stride, dropped, 0.0
    )
    half = -(-size // stride)
    self.assertEqual(y.shape, (3, half, half, channels))
    np.testing.assert_allclose(y, expected, atol=3e-5)

  @parameterized.parameters(('batch', 0.0), ('group', 0.3))
  def test_network(self, norm, rate):
    x = witness.images(size=9)
    model = _small_model(norm=norm, dropout_rate=rate)
    variables = witness.variables(model, x)
    key = jax.random.key(0) if rate else None
    logits, dropped = _apply(model, variables, x, key)
    expected = _network(
      witness.float64(x), witness.float64(variables['params']), dropped, rate
    )
    np.testing.assert_allclose(logits, expected, atol=1e-4)


class DropoutTest(parameterized.TestCase):
  def test_share_and_keys(self):
    x = witness.images(8, 8, 32)
    block = _wide_resnet.PreActivationBlock(32, dropout_rate=0.3, norm='group')
    params = dict(witness.variables(block, x)['params'])
    # Nothing is 0 before dropout.
    scale, bias = np.zeros(32, np.float32), np.ones(32, np.float32)
    params['norm2'] = {'GroupNorm_0': {'scale': scale, 'bias': bias}}

    @jax.jit
    def dropout(key):
      _, state = block.apply(
        {'params': params},
        x,
        train=True,
        rngs={'dropout': key},
        capture_intermediates=True,
        mutable=['intermediates'],
      )
      return state['intermediates']['dropout']['__call__'][0]

    first, second, again = map(dropout, map(jax.random.key, (0, 1, 0)))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.7], rtol=1e-6)
    # Each value by itself.
    spread = math.sqrt(0.3 * 0.7 / first.size)
    for share, probability in (
      (np.mean(first == 0), 0.3),
      (np.mean((first == 0) & (second == 0)), 0.3**2),
      (np.mean((first[1:] == 0) & (first[:-1] == 0)), 0.3**2),
      (np.mean((first[..., 1:] == 0) & (first[..., :-1] == 0)), 0.3**2),
    ):
      self.assertLess(abs(share - probability), 5 * spread)

  def test_only_training_draws(self):
    x = witness.images()
    with_dropout, without = _small_model(), _small_model(dropout_rate=0.0)
    variables = witness.variables(with_dropout, x)

    def program(model):
      return str(
        jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(
          variables, x
        )
      )

    self.assertEqual(program(with_dropout), program(without))
    with self.assertRaisesRegex(flax.errors.InvalidRngError, 'dropout'):
      with_dropout.apply(variables, x, train=True, mutable=['batch_stats'])


class FullSizeTest(parameterized.TestCase):
  """WRN-28-10 itself, by its shapes."""

  # By hand, 10 classes. A 3x3 convolution from a to b channels has 9ab weights,
  # a 1x1 convolution ab, a normalization of b channels 2b.
  #   stem     9*3*16                                              =        432
  #   stage 1  2*16 + 9*16*160 + 2*160 + 9*160^2 + 16*160
  #            + 3 * (4*160 + 2*9*160^2)   =   256,352 +  1,384,320
  #   stage 2  2*160 + 9*160*320 + 2*320 + 9*320^2 + 160*320
  #            + 3 * (4*320 + 2*9*320^2)   = 1,434,560 +  5,533,440
  #   stage 3  2*320 + 9*320*640 + 2*640 + 9*640^2 + 320*640
  #            + 3 * (4*640 + 2*9*640^2)   = 5,736,320 + 22,126,080
  #   the last normalization and the head  1,280 + 6,410
  #   sum                                                         = 36,479,194
  # The paper has 36.5 million in table 4.
  @parameterized.parameters(
    (10, 'batch', 36_479_194), (100, 'group', 36_479_194 + 641 * 90)
  )
  def test_parameters_shapes_and_cost(self, num_classes, norm, num_params):
    model = models.create_model(
      'wide_resnet28_10', num_classes=num_classes, norm=norm
    )
    self.assertEqual(model.dropout_rate, 0.3)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False), x
    )
    params = variables['params']
    self.assertEqual(
      sum(leaf.size for leaf in jax.tree.leaves(params)), num_params
    )
    self.assertEqual(
      {str(leaf.dtype) for leaf in jax.tree.leaves(variables)}, {'float32'}
    )
    (features, logits), state = jax.eval_shape(
      lambda variables, x: model.apply(
        variables,
        x,
        train=False,
        method='features_and_logits',
        capture_intermediates=True,
        mutable=['intermediates'],
      ),
      variables,
      x,
    )
    self.assertEqual(logits.shape, (2, num_classes))
    self.assertEqual((features.shape, features.dtype), ((2, 640), jnp.float32))
    outputs = state['intermediates']
    multiplications = 640 * num_classes
    for i, (channels, size) in enumerate(
      ((160, 32), (320, 16), (640, 8)), start=1
    ):
      for j in range(1, 5):
        name = f'stage{i}_block{j}'
        (output,) = outputs[name]['__call__']
        self.assertEqual(output.shape, (2, size, size, channels))
        self.assertEqual('projection' in params[name], j == 1)
        for part in params[name].values():
          # The stride is that of the first convolution.
          weights = part['kernel'].size if 'kernel' in part else 0
          multiplications += size**2 * weights
      self.assertNotIn(f'stage{i}_block5', outputs)
    multiplications += 32**2 * params['stem']['kernel'].size
    self.assertAlmostEqual(multiplications / 1e9, 5.24, delta=5e-3)

  def test_bfloat16_is_used_inside(self):
    x = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    model = _small_model(dtype=jnp.bfloat16)
    variables = jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False), x
    )
    program = jax.make_jaxpr(
      lambda variables, x, key: model.apply(
        variables, x, train=True, mutable=['batch_stats'], rngs={'dropout': key}
      )
    )(variables, x, jax.random.key(0))
    self.assertEqual(
      {str(output.dtype) for output in program.out_avals}, {'float32'}
    )
    lines = str(program).splitlines()
    convolutions = [line for line in lines if 'conv_general' in line]
    # A stem, three blocks of two, two projections.
    self.assertLen(convolutions, 1 + 6 + 2)
    for line in convolutions:
      self.assertIn('bf16', line)


class AttributesTest(parameterized.TestCase):
  def test_kernels_have_variance_two_over_fan_out(self):
    block = _wide_resnet.PreActivationBlock(64, stride=2)
    params = jax.jit(lambda x: block.init(jax.random.key(0), x, train=False))(
      jnp.zeros((1, 2, 2, 256))
    )['params']
    for name, count in (
      ('conv1', 9 * 64),
      ('conv2', 9 * 64),
      ('projection', 64),
    ):
      std = np.std(params[name]['kernel'])
      np.testing.assert_allclose(std, (2 / count) ** 0.5, rtol=0.05)

  def test_norms_and_heads_are_those_of_the_other_networks(self):
    self.assertEqual(
      models.WideResNet.allowed_norms, models.CifarResNet.allowed_norms
    )
    model = _small_model(norm='group', head='cosine')
    variables = jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False),
      witness.images(),
    )
    self.assertEqual(set(variables), {'params'})
    self.assertEqual(set(variables['params']['classifier']), {'class_vectors'})
    hash(model)

  @parameterized.parameters(
    (dict(depth=20), ValueError, 'must be 6 n \\+ 4.*got 20. Pass depth=28'),
    (dict(depth=4), ValueError, '`depth` must be at least 10, got 4'),
    (dict(depth=28.0), TypeError, '`depth` must be an integer'),
    (dict(width=0), ValueError, '`width` must be at least 1, got 0. Pass w'),
    (dict(dropout_rate=1.0), ValueError, '`dropout_rate` must be .* below 1'),
    (dict(dropout_rate=-0.1), ValueError, '`dropout_rate` must be .*at least'),
    (dict(norm='none'), ValueError, "`norm` must be one of 'batch'"),
  )
  def test_errors(self, attributes, error, message):
    with self.assertRaisesRegex(error, message):
      _small_model(**attributes)


if __name__ == '__main__':
  absltest.main()
