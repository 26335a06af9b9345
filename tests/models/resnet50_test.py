# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of ResNet-50 and ResNeXt-50, against NumPy in float64."""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import imbsam_jax
from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.models import _resnet50
from tests.models import witness


def _small_model(**attributes):
  """Both kinds of shortcut, grouped convolutions, a stage of stride 2."""
  sizes = dict(
    stage_sizes=(1, 2), widths=(4, 8), expansion=2, groups=2, stem_width=8
  )
  return models.BottleneckResNet(5, **(sizes | attributes))


def _apply(module, variables, x):
  """Result of a training pass, compiled."""
  return jax.jit(
    lambda variables, x: module.apply(
      variables, x, train=True, mutable=['batch_stats']
    )[0]
  )(variables, x)


def _dtypes(tree):
  return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


# The witness. It takes any of the parameters of the network by their names.


def _conv_norm(x, params, name, stride=1, groups=1):
  x = witness.conv(x, params[name]['kernel'], stride, groups)
  return witness.norm(x, params[f'{name}_norm'])


def _block(x, params, stride, groups):
  y = np.maximum(_conv_norm(x, params, 'conv1'), 0)
  y = np.maximum(_conv_norm(y, params, 'conv2', stride, groups), 0)
  y = _conv_norm(y, params, 'conv3')
  if 'projection' in params:
    x = _conv_norm(x, params, 'projection', stride)
  return np.maximum(x + y, 0)


def _network(x, params, groups):
  x = np.maximum(_conv_norm(x, params, 'stem', 2), 0)
  x = witness.windows(x, 3, 2, -np.inf).max((4, 5))
  x = _block(x, params['stage1_block1'], 1, groups)
  x = _block(x, params['stage2_block1'], 2, groups)
  x = _block(x, params['stage2_block2'], 1, groups)
  head = params['classifier']
  return x.mean((1, 2)) @ head['kernel'] + head['bias']


class WitnessTest(parameterized.TestCase):
  @parameterized.parameters(
    # Stride 2, grouped; an odd size; the identity; wider without a stride.
    (dict(width=8, expansion=2, stride=2, groups=4), 'batch', 8, 12),
    (dict(width=4, expansion=4, stride=2, groups=2), 'group', 7, 16),
    (dict(width=4, expansion=4), 'batch', 6, 16),
    (dict(width=8, expansion=2), 'group', 6, 4),
  )
  def test_block(self, attributes, norm, size, channels):
    x = witness.images(3, size, channels)
    block = _resnet50.BottleneckBlock(**attributes, norm=norm)
    variables = witness.variables(block, x)
    params = variables['params']
    y = _apply(block, variables, x)
    stride, groups = block.stride, block.groups
    self.assertEqual(
      'projection' in params, stride > 1 or channels != y.shape[-1]
    )
    self.assertEqual(
      params['conv2']['kernel'].shape,
      (3, 3, block.width // groups, block.width),
    )
    expected = _block(
      witness.float64(x), witness.float64(params), stride=stride, groups=groups
    )
    half = -(-size // stride)
    self.assertEqual(y.shape, (3, half, half, block.expansion * block.width))
    np.testing.assert_allclose(y, expected, atol=3e-5)

  @parameterized.parameters('batch', 'group')
  def test_network(self, norm):
    x = witness.images()
    model = _small_model(norm=norm)
    variables = witness.variables(model, x)
    expected = _network(
      witness.float64(x), witness.float64(variables['params']), model.groups
    )
    logits = _apply(model, variables, x)
    np.testing.assert_allclose(logits, expected, atol=1e-4)

  @parameterized.parameters(4, 5)
  def test_max_pool_of_negative_values(self, size):
    # Padding with zeros would win at the border.
    x = -1.0 - np.abs(witness.images(2, size))
    y = _resnet50.max_pool(jnp.asarray(x))
    np.testing.assert_array_equal(
      y, witness.windows(x, 3, 2, -np.inf).max((4, 5))
    )
    half = _resnet50.max_pool(jnp.asarray(x, jnp.bfloat16))
    self.assertEqual(half.dtype, jnp.bfloat16)
    np.testing.assert_array_equal(half, y.astype(jnp.bfloat16))


def _at(tree, path):
  return functools.reduce(lambda node, key: node[key], path, tree)


class FullSizeTest(parameterized.TestCase):
  """The networks themselves, by their shapes."""

  # Torchvision's numbers: `num_params` and `_ops` (in billions) of
  # `ResNet50_Weights` and `ResNeXt50_32X4D_Weights`.
  @parameterized.parameters(
    ('resnet50', 'batch', 25_557_032, 4.089, (64, 128, 256, 512)),
    ('resnext50', 'group', 25_028_904, 4.230, (128, 256, 512, 1024)),
  )
  def test_parameters_shapes_and_cost(
    self, name, norm, num_params, billions, widths
  ):
    model = models.create_model(name, num_classes=1000, norm=norm)
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False), x
    )
    params = variables['params']
    self.assertEqual(
      sum(leaf.size for leaf in jax.tree.leaves(params)), num_params
    )
    self.assertEqual(_dtypes(variables), {'float32'})

    logits, state = jax.eval_shape(
      lambda variables, x: model.apply(
        variables,
        x,
        train=False,
        capture_intermediates=True,
        mutable=['intermediates'],
      ),
      variables,
      x,
    )
    outputs = state['intermediates']
    self.assertEqual(logits.shape, (1, 1000))
    features = jax.eval_shape(
      functools.partial(model.apply, train=False, method='features'),
      variables,
      x,
    )
    self.assertEqual((features.shape, features.dtype), ((1, 2048), jnp.float32))

    def shape(*path):
      (output,) = _at(outputs, path)['__call__']
      return output.shape

    self.assertEqual(shape('stem'), (1, 112, 112, 64))
    stages = zip(
      (3, 4, 6, 3), widths, (256, 512, 1024, 2048), (56, 28, 14, 7), strict=True
    )
    for i, (num_blocks, width, channels, size) in enumerate(stages, start=1):
      for j in range(1, num_blocks + 1):
        block = f'stage{i}_block{j}'
        self.assertEqual(shape(block), (1, size, size, channels))
        self.assertEqual(shape(block, 'conv2'), (1, size, size, width))
        self.assertEqual('projection' in outputs[block], j == 1)
      self.assertNotIn(f'stage{i}_block{num_blocks + 1}', outputs)
      # The first convolution has no stride.
      before = size if i == 1 else 2 * size
      self.assertEqual(
        shape(f'stage{i}_block1', 'conv1'), (1, before, before, width)
      )
    self.assertNotIn('stage5_block1', outputs)

    # Every weight of a kernel multiplies once per pixel of its result.
    multiplications = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
      *module, name = (entry.key for entry in path)
      if name == 'kernel':
        multiplications += math.prod(shape(*module)[1:-1]) * leaf.size
    self.assertAlmostEqual(multiplications / 1e9, billions, delta=1e-3)

  @parameterized.parameters(32, 33)
  def test_image_sizes(self, size):
    logits = jax.eval_shape(
      lambda x: models.ResNet50(7).init_with_output(
        jax.random.key(0), x, train=False
      )[0],
      jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32),
    )
    self.assertEqual(logits.shape, (2, 7))

  def test_bfloat16_is_used_inside(self):
    x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    model = models.ResNeXt50(7, dtype=jnp.bfloat16)
    program = jax.make_jaxpr(
      lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0]
    )(x)
    lines = str(program).splitlines()
    convolutions = [line for line in lines if 'conv_general' in line]
    # A stem, 16 blocks of three, 4 projections.
    self.assertLen(convolutions, 1 + 3 * 16 + 4)
    for line in convolutions:
      self.assertIn('bf16', line)
    (pooling,) = [line for line in lines if 'reduce_window_max' in line]
    self.assertIn('bf16', pooling)

  @pytest.mark.extended
  def test_a_step_of_sam(self):
    model = models.ResNet50(4)
    optimizer = training.make_optimizer(imbsam_jax.sam(0.05), 0.1)
    state = jax.eval_shape(
      lambda key: training.create_train_state(
        model, optimizer, key, jnp.zeros((1, 64, 64, 3))
      ),
      jax.random.key(0),
    )
    step = training.make_train_step(
      model, optimizer, losses.cross_entropy, lambda images: images
    )
    rows = {
      'image': jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.float32),
      'label': jax.ShapeDtypeStruct((8,), jnp.int32),
    }
    weights = jax.ShapeDtypeStruct((1, 8), jnp.float32)
    after, metrics = jax.eval_shape(step, state, data.TrainBatch(rows, weights))
    self.assertEqual(metrics['loss'].shape, ())

    def shapes(tree):
      return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    self.assertEqual(shapes(after), shapes(state))


class RowsTest(parameterized.TestCase):
  @parameterized.parameters(('group', True), ('batch', True), ('batch', False))
  def test_rows_depend_on_each_other_in_training_with_batch_norm(
    self, norm, train
  ):
    x = witness.images()
    model = _small_model(norm=norm)
    variables = witness.variables(model, x)

    @jax.jit
    def logits(x):
      return model.apply(variables, x, train=train, mutable=['batch_stats'])[0]

    before = logits(x)
    others = x.copy()
    others[1:] = 10.0 * witness.images(3, seed=1)
    difference = np.abs(logits(others) - before).max(axis=1)
    self.assertGreater(difference[1:].min(), 1e-2)
    if norm == 'batch' and train:
      self.assertGreater(difference[0], 1e-2)
    else:
      self.assertLess(difference[0], 1e-6)

  def test_no_rows(self):
    # A batch without tail rows.
    model = _small_model(norm='group')
    x = witness.images()
    variables = witness.variables(model, x)
    gradients = jax.jit(
      jax.grad(lambda v, x: jnp.sum(model.apply(v, x, train=True)))
    )(variables, x[:0])
    for gradient in jax.tree.leaves(gradients):
      np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


class DtypeTest(parameterized.TestCase):
  def test_bfloat16(self):
    x = witness.images(8)
    x[0] = 0.0  # A padded row: no variance anywhere.
    sizes = dict(norm='group', stage_sizes=(1,), widths=(8,))
    full_model = _small_model(**sizes)
    half_model = _small_model(**sizes, dtype=jnp.bfloat16)
    variables = witness.variables(half_model, x)

    @functools.partial(jax.jit, static_argnums=0)
    def grad_and_logits(model, variables, x):
      def loss(variables):
        logits = model.apply(variables, x, train=True)
        return -jnp.mean(jax.nn.log_softmax(logits)[:, 0]), logits

      return jax.grad(loss, has_aux=True)(variables)

    full_gradients, full = grad_and_logits(full_model, variables, x)
    half_gradients, half = grad_and_logits(half_model, variables, x)
    self.assertEqual(half.dtype, jnp.float32)
    self.assertEqual(_dtypes(variables), {'float32'})
    self.assertEqual(_dtypes(half_gradients), {'float32'})
    np.testing.assert_allclose(half, full, atol=0.1)
    self.assertGreater(np.abs(half - full).max(), 0.0)
    full_gradients, half_gradients = (
      np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
      for tree in (full_gradients, half_gradients)
    )
    # In the same direction, but for rounding.
    lengths = np.linalg.norm(full_gradients) * np.linalg.norm(half_gradients)
    self.assertGreater(full_gradients @ half_gradients, 0.97 * lengths)

  def test_bfloat16_with_batch_norm(self):
    x = witness.images(8)
    sizes = dict(norm='batch', stage_sizes=(1,), widths=(8,))
    full_model = _small_model(**sizes)
    half_model = _small_model(**sizes, dtype=jnp.bfloat16)
    variables = witness.variables(half_model, x)
    half = _apply(half_model, variables, x)
    np.testing.assert_allclose(half, _apply(full_model, variables, x), atol=0.1)

    def loss(params):
      logits, state = half_model.apply(
        variables | {'params': params}, x, train=True, mutable=['batch_stats']
      )
      return jnp.mean(logits), state

    outputs = jax.eval_shape(jax.grad(loss, has_aux=True), variables['params'])
    self.assertEqual(_dtypes((half, variables, outputs)), {'float32'})


class AttributesTest(parameterized.TestCase):
  def test_kernels_are_drawn_with_the_fan_of_all_groups(self):
    # PyTorch's fan_out is that of the whole convolution.
    block = _resnet50.BottleneckBlock(64, groups=8)
    params = jax.jit(lambda x: block.init(jax.random.key(0), x, train=False))(
      jnp.zeros((1, 2, 2, 256))
    )['params']
    std = np.std(params['conv2']['kernel'])
    np.testing.assert_allclose(std, (2 / (9 * 64)) ** 0.5, rtol=0.05)
    std = np.std(params['conv1']['kernel'])
    np.testing.assert_allclose(std, (2 / 64) ** 0.5, rtol=0.05)
    # All normalizations start as the identity, as torchvision's.
    scale = params['conv3_norm']['BatchNorm_0']['scale']
    np.testing.assert_array_equal(scale, np.ones(256))

  def test_resnext(self):
    model = models.ResNeXt50(10)
    # 32 groups of 4 channels.
    self.assertEqual((model.groups, model.widths[0] // model.groups), (32, 4))
    self.assertIsInstance(model, models.BottleneckResNet)
    hash(_small_model(stage_sizes=[1, 1], widths=[4, 4]))

  @parameterized.parameters(
    (
      dict(widths=(64, 128)),
      ValueError,
      r'one entry per stage, got \(3, 4, 6, 3\) and \(64, 128\)\. ResNet-50',
    ),
    (
      dict(groups=3),
      ValueError,
      r'multiples of `groups`, got \(64, 128, 256, 512\) for groups=3\. ResNeX',
    ),
    (dict(stage_sizes=(3, 4, 6, 0)), ValueError, '`stage_sizes` must'),
    (dict(groups=0), ValueError, '`groups` must be.*groups=32'),
    (dict(expansion=2.0), TypeError, '`expansion` must.*expansion=4'),
    (dict(stem_width=0), ValueError, '`stem_width` must.*stem_width=64'),
    (dict(norm='none'), ValueError, "`norm` must be one of 'batch', 'dar_"),
  )
  def test_errors(self, attributes, error, message):
    with self.assertRaisesRegex(error, message):
      models.ResNet50(num_classes=10, **attributes)


if __name__ == '__main__':
  absltest.main()
