# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of `imbsam_jax.models`."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _initializers
from imbsam_jax import models
from imbsam_jax.models import _cifar_resnet

# A model of each kind, small enough to compile in a second or two.
_SMALL_MODELS = {
  'mlp': (models.MLP, dict(widths=(16, 16))),
  'small_conv_net': (models.SmallConvNet, dict(width=4)),
  'pad': (
    models.CifarResNet,
    dict(stage_sizes=(1, 1), widths=(4, 8), shortcut='pad'),
  ),
  'projection': (
    models.CifarResNet,
    dict(stage_sizes=(1, 1), widths=(4, 8), shortcut='projection'),
  ),
}


def _small_model(name, **attributes):
  model, sizes = _SMALL_MODELS[name]
  return model(num_classes=5, **sizes, **attributes)


def _init(model, x):
  """Variables as `model.init` shapes them, drawn without a compiler."""
  rng = np.random.default_rng(0)
  variables = jax.eval_shape(
    lambda: model.init(jax.random.key(0), x, train=False)
  )

  def draw(path, leaf):
    name = path[-1].key
    if name in ('scale', 'var'):
      return np.ones(leaf.shape, leaf.dtype)
    if name in ('bias', 'mean'):
      return np.zeros(leaf.shape, leaf.dtype)
    scale = (2 * leaf.shape[-1] / leaf.size) ** 0.5
    return scale * rng.standard_normal(leaf.shape).astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(draw, variables)


def _images(batch=6, size=8, channels=2, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(batch, size, size, channels)).astype(np.float32)


def _num_params(model, shape):
  variables = jax.eval_shape(
    lambda key: model.init(key, jnp.zeros(shape), train=False),
    jax.random.key(0),
  )
  return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


def _dtypes(tree):
  return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


def _numpy_cosines(features, class_vectors):
  features = np.asarray(features, np.float64)
  class_vectors = np.asarray(class_vectors, np.float64)
  lengths = np.linalg.norm(features, axis=1)
  class_lengths = np.linalg.norm(class_vectors, axis=1)
  return features @ class_vectors.T / np.outer(lengths, class_lengths)


class CosineLogitsTest(parameterized.TestCase):
  def test_equals_numpy(self):
    rng = np.random.default_rng(0)
    features, class_vectors = rng.normal(size=(7, 12)), rng.normal(size=(5, 12))
    cosines = jax.jit(models.cosine_logits)(features, class_vectors)
    self.assertEqual(cosines.dtype, jnp.float32)
    np.testing.assert_allclose(
      cosines, _numpy_cosines(features, class_vectors), atol=3e-7
    )

  @parameterized.parameters(1e-25, 1e-3, 1e25)
  def test_does_not_depend_on_length(self, length):
    rng = np.random.default_rng(1)
    features, class_vectors = rng.normal(size=(7, 12)), rng.normal(size=(5, 12))
    cosines = models.cosine_logits(length * features, class_vectors)
    np.testing.assert_allclose(
      cosines, _numpy_cosines(features, class_vectors), atol=3e-7
    )

  def test_never_leaves_the_range(self):
    rows = np.random.default_rng(2).normal(size=(200, 33)).astype(np.float32)
    rows = np.concatenate([rows, -rows])
    cosines = np.asarray(models.cosine_logits(rows, rows))
    self.assertLessEqual(np.abs(cosines).max(), 1.0)
    np.testing.assert_allclose(np.diag(cosines), 1.0, atol=3e-7)

  def test_derivatives_equal_the_naive_formula(self):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(2, 4)).astype(np.float32)
    class_vectors = rng.normal(size=(3, 4)).astype(np.float32)

    def naive(features, class_vectors):
      lengths = jnp.sqrt(jnp.sum(features**2, axis=1, keepdims=True))
      class_lengths = jnp.sqrt(jnp.sum(class_vectors**2, axis=1, keepdims=True))
      return (features / lengths) @ (class_vectors / class_lengths).T

    def derivatives(cosines):
      def loss(features, class_vectors):
        return jnp.sum(jnp.exp(3.0 * cosines(features, class_vectors)))

      arguments = (0, 1)
      return jax.jit(
        lambda *args: (
          jax.grad(loss, arguments)(*args),
          jax.hessian(loss, arguments)(*args),
        )
      )(features, class_vectors)

    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      derivatives(models.cosine_logits),
      derivatives(naive),
    )

  @parameterized.named_parameters(
    ('features', 0), ('class_vectors', 1), ('both', None)
  )
  def test_zero_row(self, argument):
    rng = np.random.default_rng(4)
    arguments = [
      rng.normal(size=(3, 6)).astype(np.float32),
      rng.normal(size=(4, 6)).astype(np.float32),
    ]
    zeroed = (0, 1) if argument is None else (argument,)
    for i in zeroed:
      arguments[i][1] = 0.0

    def total(features, class_vectors):
      return jnp.sum(jnp.exp(models.cosine_logits(features, class_vectors)))

    cosines = models.cosine_logits(*arguments)
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(*arguments)
    chex.assert_tree_all_finite((cosines, gradients))
    for i, gradient in enumerate(gradients):
      self.assertGreater(np.abs(gradient[0]).max(), 0.0)
      if i in zeroed:
        np.testing.assert_array_equal(gradient[1], np.zeros(6))
    if 0 in zeroed:
      np.testing.assert_array_equal(cosines[1], np.zeros(4))
    if 1 in zeroed:
      np.testing.assert_array_equal(cosines[:, 1], np.zeros(3))

  def test_bfloat16_arguments(self):
    features = jnp.ones((2, 3), jnp.bfloat16)
    cosines = models.cosine_logits(features, jnp.eye(3))
    self.assertEqual(cosines.dtype, jnp.float32)
    np.testing.assert_allclose(cosines, 3**-0.5, rtol=1e-6)

  def test_errors(self):
    rows = np.ones((3, 4), np.float32)
    with self.assertRaisesRegex(
      TypeError, '`features` must be a float array, got dtype int32.*astype'
    ):
      models.cosine_logits(rows.astype(np.int32), rows)
    with self.assertRaisesRegex(
      ValueError, r'`class_vectors` must have two axes.*\(4,\).*\[None\]'
    ):
      models.cosine_logits(rows, rows[0])
    with self.assertRaisesRegex(
      ValueError, r'got \(4, 2\) for features \(3, 4\).*class_vectors\.T'
    ):
      models.cosine_logits(rows, np.ones((4, 2), np.float32))


class HeadsTest(parameterized.TestCase):
  def test_linear_head(self):
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    head = models.LinearHead(3)
    variables = head.init(jax.random.key(0), features)
    self.assertEqual(
      jax.tree.map(jnp.shape, variables),
      {'params': {'kernel': (6, 3), 'bias': (3,)}},
    )
    params = dict(variables['params'], bias=jnp.array([1.0, 2.0, 3.0]))
    logits = head.apply({'params': params}, features)
    np.testing.assert_allclose(
      logits, features @ params['kernel'] + params['bias'][None], rtol=1e-5
    )

  def test_kernel_starts_with_variance_one_over_dim(self):
    head = models.LinearHead(50)
    variables = head.init(jax.random.key(0), jnp.ones((1, 400)))
    std = np.std(variables['params']['kernel'])
    np.testing.assert_allclose(std, 1 / 20, rtol=0.02)

  def test_cosine_head(self):
    features = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    head = models.CosineHead(3)
    variables = head.init(jax.random.key(0), features)
    self.assertEqual(
      jax.tree.map(jnp.shape, variables), {'params': {'class_vectors': (3, 6)}}
    )
    np.testing.assert_allclose(
      head.apply(variables, features),
      _numpy_cosines(features, variables['params']['class_vectors']),
      atol=3e-7,
    )

  def test_class_vectors_start_with_length_about_one(self):
    head = models.CosineHead(50)
    variables = head.init(jax.random.key(0), jnp.ones((1, 400)))
    lengths = np.linalg.norm(variables['params']['class_vectors'], axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=0.15)

  @parameterized.parameters(models.LinearHead, models.CosineHead)
  def test_errors(self, head):
    with self.assertRaisesRegex(ValueError, '`features` must have two axes'):
      head(3).init(jax.random.key(0), jnp.ones((2, 3, 4)))


class NormalizationTest(parameterized.TestCase):
  @parameterized.parameters(
    (1, 1), (2, 1), (3, 1), (6, 3), (8, 4), (12, 6), (16, 8), (31, 1), (64, 8),
    (100, 5), (512, 8),
  )  # fmt: skip
  def test_num_groups(self, channels, expected):
    self.assertEqual(models.num_groups(channels), expected)

  def test_batch_statistics(self):
    x = 3.0 + 2.0 * _images()
    layer = models.Normalization('batch')
    variables = layer.init(jax.random.key(0), x, train=True)
    y, updates = layer.apply(variables, x, train=True, mutable=['batch_stats'])
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(
      y, (x - mean[None, None, None]) / np.sqrt(variance + 1e-5), atol=1e-4
    )
    stats = updates['batch_stats']['BatchNorm_0']
    np.testing.assert_allclose(stats['mean'], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(stats['var'], 0.9 + 0.1 * variance, rtol=1e-4)
    # Evaluation reads the running statistics and updates nothing.
    z, updates = layer.apply(variables, x, train=False, mutable=['batch_stats'])
    np.testing.assert_allclose(z, x / np.sqrt(1.0 + 1e-5), rtol=1e-5)
    np.testing.assert_array_equal(
      updates['batch_stats']['BatchNorm_0']['mean'], np.zeros(2)
    )

  @parameterized.parameters((3.0, 1.0, 1e-5), (100.0, 1.0, 2e-3))
  def test_group_is_the_layer_of_flax(self, mean, scale, tolerance):
    # Its gradients too; where means are far from 0 both lose digits.
    rng = np.random.default_rng(0)
    x = (mean + scale * rng.normal(size=(3, 5, 4, 12))).astype(np.float32)
    up = rng.normal(size=x.shape).astype(np.float32)
    params = {
      'scale': rng.normal(size=12).astype(np.float32),
      'bias': rng.normal(size=12).astype(np.float32),
    }
    ours = models.Normalization('group')
    theirs = nn.GroupNorm(models.num_groups(12), epsilon=1e-5)

    def pulled_back(apply):
      y, pull = jax.vjp(apply, params, x)
      return y, *pull(up)

    result = pulled_back(
      lambda p, x: ours.apply({'params': {'GroupNorm_0': p}}, x, train=True)
    )
    expected = pulled_back(lambda p, x: theirs.apply({'params': p}, x))
    jax.tree.map(
      lambda one, other: np.testing.assert_allclose(
        one, other, rtol=tolerance, atol=tolerance * np.abs(other).max()
      ),
      result,
      expected,
    )

  @parameterized.parameters('batch', 'group')
  def test_bfloat16_keeps_float32_statistics(self, norm):
    # In bfloat16 the squares of 8 +- 0.1 would drown the variance.
    x = jnp.asarray(8.0 + 0.1 * _images(), jnp.bfloat16)
    layer = models.Normalization(norm, dtype=jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x, train=True)
    y, _ = layer.apply(variables, x, train=True, mutable=['batch_stats'])
    self.assertEqual(y.dtype, jnp.bfloat16)
    self.assertEqual(_dtypes(variables), {'float32'})
    self.assertAlmostEqual(
      float(jnp.std(y.astype(jnp.float32))), 1.0, delta=0.02
    )

  def test_unknown_word(self):
    with self.assertRaisesRegex(
      ValueError, "'batch', 'dar_batch', 'group', 'none', got 'layer'"
    ):
      models.Normalization('layer').init(
        jax.random.key(0), jnp.ones((2, 3)), train=True
      )


class InitializersTest(parameterized.TestCase):
  @parameterized.parameters(('fan_in', 8 * 9), ('fan_out', 64 * 9))
  def test_he_normal(self, fan, count):
    shape = (3, 3, 8, 64)
    kernel = _initializers.he_normal(fan)(jax.random.key(0), shape)
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / count), rtol=0.03)
    # Drawn flat, which compiles faster, and still the draw of that shape.
    draw = jax.random.normal(jax.random.key(0), shape)
    np.testing.assert_allclose(kernel, np.sqrt(2 / count) * draw, rtol=1e-5)

  def test_models_draw_their_kernels_so(self):
    model = models.CifarResNet(
      num_classes=2, stage_sizes=(1,), widths=(16,), fan='fan_out'
    )
    variables = model.init(
      jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False
    )
    kernel = variables['params']['stem']['kernel']
    np.testing.assert_allclose(np.std(kernel), (2 / (9 * 16)) ** 0.5, rtol=0.1)
    self.assertEqual(models.ResNet32(10).fan, 'fan_in')
    self.assertEqual(models.CifarResNet34(10).fan, 'fan_out')

  def test_unknown_fan(self):
    with self.assertRaisesRegex(
      ValueError, "'fan_in' or 'fan_out', got 'fan_avg'.*Use fan='fan_in'"
    ):
      models.CifarResNet(10, fan='fan_avg')


class ModelsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('mlp', 'group', 'cosine'),
    ('mlp', 'batch', 'linear'),
    ('small_conv_net', 'group', 'linear'),
    ('small_conv_net', 'batch', 'cosine'),
    ('pad', 'group', 'cosine'),
    ('projection', 'batch', 'linear'),
  )
  def test_logits_features_and_collections(self, name, norm, head):
    x = _images()
    model = _small_model(name, norm=norm, head=head)
    variables = _init(model, x)
    collections = {'params', 'batch_stats'} if norm == 'batch' else {'params'}
    self.assertEqual(set(variables), collections)
    self.assertEqual(_dtypes(variables), {'float32'})

    @jax.jit
    def apply(variables, x):
      features = model.apply(variables, x, train=False, method='features')
      return model.apply(variables, x, train=False), features

    logits, features = apply(variables, x)
    self.assertEqual(logits.shape, (6, 5))
    self.assertEqual(logits.dtype, jnp.float32)
    self.assertEqual(features.dtype, jnp.float32)
    # The head by itself, on stored features.
    module = dict(linear=models.LinearHead, cosine=models.CosineHead)[head](5)
    classifier = {'params': variables['params']['classifier']}
    np.testing.assert_allclose(
      logits, module.apply(classifier, features), rtol=1e-5, atol=1e-5
    )

  @parameterized.parameters(
    ('mlp', 'none'),
    ('mlp', 'group'),
    ('small_conv_net', 'none'),
    ('small_conv_net', 'group'),
    ('small_conv_net', 'batch'),
    ('pad', 'group'),
    ('projection', 'group'),
  )
  def test_rows_are_independent_without_batch_norm(self, name, norm):
    x = _images()
    model = _small_model(name, norm=norm)
    variables = _init(model, x)

    @jax.jit
    def logits(x):
      return model.apply(variables, x, train=True, mutable=['batch_stats'])[0]

    before = logits(x)
    others = x.copy()
    others[1:] = 10.0 * _images(5, seed=1)
    after = logits(others)
    if norm == 'batch':
      self.assertGreater(np.abs(before[0] - after[0]).max(), 1e-3)
      return
    np.testing.assert_allclose(before[0], after[0], rtol=0, atol=1e-6)
    # Nor on how many rows there are.
    np.testing.assert_allclose(before[:2], logits(x[:2]), rtol=0, atol=3e-6)

  @parameterized.parameters(
    ('small_conv_net', 'group', 'cosine'),
    ('small_conv_net', 'batch', 'linear'),
    ('pad', 'group', 'linear'),
    ('mlp', 'none', 'cosine'),
  )
  def test_gradients_are_finite(self, name, norm, head):
    x = _images()
    x[0] = 0.0  # A padded row: no variance anywhere.
    model = _small_model(name, norm=norm, head=head)
    variables = dict(_init(model, x))
    params = variables.pop('params')

    @jax.jit
    def value_and_grad(params, x):
      def loss(params):
        logits, _ = model.apply(
          {'params': params, **variables},
          x,
          train=True,
          mutable=['batch_stats'],
        )
        return -jnp.mean(jax.nn.log_softmax(logits)[:, 0])

      return jax.value_and_grad(loss)(params)

    for images in (x, np.zeros_like(x)):
      loss, gradients = value_and_grad(params, images)
      chex.assert_tree_all_finite((loss, gradients))

  @parameterized.parameters(
    ('mlp', 'none'), ('small_conv_net', 'group'), ('pad', 'batch')
  )
  def test_bfloat16(self, name, norm):
    x = _images()
    models_by_dtype = {
      dtype: _small_model(name, norm=norm, dtype=dtype)
      for dtype in ('float32', 'bfloat16')
    }
    variables = _init(models_by_dtype['bfloat16'], x)
    self.assertEqual(_dtypes(variables), {'float32'})

    @jax.jit
    def apply(variables, x):
      return {
        dtype: model.apply(variables, x, train=True, mutable=['batch_stats'])
        for dtype, model in models_by_dtype.items()
      }

    outputs = apply(variables, x)
    self.assertEqual(_dtypes(outputs), {'float32'})
    full, half = outputs['float32'][0], outputs['bfloat16'][0]
    np.testing.assert_allclose(half, full, atol=0.1)
    self.assertGreater(np.abs(half - full).max(), 0.0)

  def test_bfloat16_is_used_inside(self):
    x = _images()
    model = _small_model('small_conv_net', dtype=jnp.bfloat16)
    variables = _init(model, x)
    program = str(
      jax.make_jaxpr(lambda x: model.apply(variables, x, train=True))(x)
    )
    convolutions = [
      line for line in program.splitlines() if 'conv_general' in line
    ]
    self.assertLen(convolutions, 3)
    for line in convolutions:
      self.assertIn('bf16', line)

  def test_mlp_flattens_and_may_have_no_hidden_layer(self):
    x = _images()
    model = models.MLP(num_classes=3, widths=[])
    variables = _init(model, x)
    logits = model.apply(variables, x, train=False)
    classifier = variables['params']['classifier']
    np.testing.assert_allclose(
      logits, x.reshape(6, -1) @ classifier['kernel'], atol=1e-5
    )

  def test_a_few_steps_reduce_the_loss(self):
    labels = np.arange(32) % 4
    x = _images(32, 8, 1)
    x[np.arange(32), labels, labels] += 4.0
    model = models.SmallConvNet(num_classes=4, width=8)
    params = _init(model, x)['params']

    @jax.jit
    def step(params):
      def loss(params):
        logits = model.apply({'params': params}, x, train=True)
        return -jnp.mean(jax.nn.log_softmax(logits)[np.arange(32), labels])

      value, gradients = jax.value_and_grad(loss)(params)
      return value, jax.tree.map(lambda p, g: p - 0.3 * g, params, gradients)

    first, params = step(params)
    for _ in range(40):
      last, params = step(params)
    self.assertLess(last, 0.2 * first)

  @parameterized.parameters(8, 15, 32)
  def test_image_sizes(self, size):
    for name in ('small_conv_net', 'resnet20'):
      model = models.create_model(name, num_classes=7)
      logits = jax.eval_shape(
        lambda model=model: model.init_with_output(
          jax.random.key(0), jnp.zeros((2, size, size, 3)), train=False
        )[0]
      )
      self.assertEqual(logits.shape, (2, 7))


class ResNetTest(parameterized.TestCase):
  @parameterized.parameters((4, 2, 8), (3, 2, 8), (4, 1, 7), (5, 2, 9))
  def test_pad_shortcut_equals_numpy(self, in_channels, stride, size):
    x = _images(2, size, in_channels)
    expected = x[:, ::stride, ::stride]
    zeros = np.zeros(expected.shape[:3] + (8 - in_channels,), np.float32)
    before, behind = np.split(zeros, [(8 - in_channels) // 2], axis=-1)
    expected = np.concatenate([before, expected, behind], axis=-1)
    np.testing.assert_array_equal(
      _cifar_resnet.pad_shortcut(x, 8, stride), expected
    )

  def test_block_adds_the_shortcut(self):
    x = _images(2, 8, 4)
    block = _cifar_resnet.BasicBlock(8, stride=2)
    variables = _init(block, x)
    self.assertEqual(
      set(variables['params']), {'conv1', 'conv1_norm', 'conv2', 'conv2_norm'}
    )
    zeros = jax.tree.map(jnp.zeros_like, variables['params'])
    y = block.apply({**variables, 'params': zeros}, x, train=False)
    expected = np.pad(
      np.maximum(x[:, ::2, ::2], 0), [(0, 0), (0, 0), (0, 0), (2, 2)]
    )
    np.testing.assert_array_equal(y, expected)

  def test_strided_convolution_is_centred_on_the_kept_pixels(self):
    x = _images(1, 8, 1)
    block = _cifar_resnet.BasicBlock(1, stride=2, shortcut='projection')
    variables = _init(block, x)
    _, state = block.apply(
      variables, x, train=False, capture_intermediates=True, mutable=True
    )
    intermediates = state['intermediates']
    kernel = np.asarray(variables['params']['conv1']['kernel'])[:, :, 0, 0]
    padded = np.pad(x[0, :, :, 0], 1)
    expected = np.array(
      [
        [np.sum(kernel * padded[i : i + 3, j : j + 3]) for j in range(0, 8, 2)]
        for i in range(0, 8, 2)
      ]
    )
    np.testing.assert_allclose(
      intermediates['conv1']['__call__'][0][0, :, :, 0], expected, atol=1e-5
    )
    np.testing.assert_allclose(
      intermediates['projection']['__call__'][0][0, :, :, 0],
      x[0, ::2, ::2, 0] * variables['params']['projection']['kernel'][0, 0],
      atol=1e-6,
    )

  # ResNet-34 by hand, 100 classes. A 3x3 convolution from a to b channels has
  # 9ab weights, a normalization of b channels 2b.
  #   stem     9*3*64 + 2*64                                       =      1,856
  #   stage 1  3 * (2*9*64^2 + 4*64)                               =    221,952
  #   stage 2  9*64*128 + 9*128^2 + 64*128 + 6*128
  #            + 3 * (2*9*128^2 + 4*128)    = 230,144 +   886,272  =  1,116,416
  #   stage 3  9*128*256 + 9*256^2 + 128*256 + 6*256
  #            + 5 * (2*9*256^2 + 4*256)    = 919,040 + 5,903,360  =  6,822,400
  #   stage 4  9*256*512 + 9*512^2 + 256*512 + 6*512
  #            + 2 * (2*9*512^2 + 4*512)  = 3,673,088 + 9,441,280  = 13,114,368
  #   head     512*100 + 100                                       =     51,300
  #   sum                                                          = 21,328,292
  # Torchvision's own, with a 7x7 stem and 1000 classes, has 21,797,672: add
  # 64*3*(49 - 9) for the stem and 513*900 for the classes.
  @parameterized.parameters(
    ('resnet20', 10, 269_722),
    ('resnet32', 10, 464_154),
    ('resnet32', 100, 470_004),
    ('resnet34', 100, 21_328_292),
    ('resnet34', 1000, 21_797_672 - 64 * 3 * (49 - 9)),
  )
  def test_number_of_parameters(self, name, num_classes, expected):
    for norm in ('batch', 'group'):
      model = models.create_model(name, num_classes=num_classes, norm=norm)
      self.assertEqual(_num_params(model, (1, 32, 32, 3)), expected)

  def test_cosine_head_has_no_bias(self):
    model = models.create_model('resnet32', num_classes=100, head='cosine')
    self.assertEqual(_num_params(model, (1, 32, 32, 3)), 470_004 - 100)


class CreateModelTest(parameterized.TestCase):
  def test_names(self):
    self.assertEqual(
      models.MODEL_NAMES,
      (
        'mlp',
        'small_conv_net',
        'strided_conv_net',
        'resnet20',
        'resnet32',
        'resnet34',
        'wide_resnet28_10',
        'resnet50',
        'resnext50',
        'vit_tiny_patch4',
        'vit_small_patch4',
      ),
    )

  @parameterized.parameters(
    ('mlp', models.MLP, 'none'),
    ('small_conv_net', models.SmallConvNet, 'group'),
    ('resnet20', models.ResNet20, 'batch'),
    ('resnet32', models.ResNet32, 'batch'),
    ('resnet34', models.CifarResNet34, 'batch'),
    ('wide_resnet28_10', models.WideResNet28x10, 'batch'),
    ('resnet50', models.ResNet50, 'batch'),
    ('resnext50', models.ResNeXt50, 'batch'),
  )
  def test_defaults_and_attributes(self, name, expected_type, norm):
    model = models.create_model(name, num_classes=10)
    self.assertIs(type(model), expected_type)
    self.assertEqual(
      (model.num_classes, model.norm, model.head, model.dtype),
      (10, norm, 'linear', jnp.float32),
    )
    model = models.create_model(
      name,
      num_classes=np.int64(3),
      norm='group',
      head='cosine',
      dtype=jnp.bfloat16,
    )
    self.assertEqual(
      (model.num_classes, model.norm, model.head, model.dtype),
      (3, 'group', 'cosine', jnp.bfloat16),
    )
    hash(model)  # Static argument of a jitted function.

  def test_small_conv_net_size(self):
    model = models.create_model('small_conv_net', num_classes=10)
    self.assertEqual(_num_params(model, (1, 8, 8, 1)), 24_058)

  @parameterized.parameters(
    (
      dict(name='resnet18'),
      ValueError,
      "one of 'mlp', 'small_conv_net', 'strided_conv_net', 'resnet20', "
      "'resnet32', 'resnet34', 'wide_resnet28_10', "
      "'resnet50', 'resnext50', 'vit_tiny_patch4', "
      "'vit_small_patch4', got 'resnet18'.*Use name='small_conv_net'",
    ),
    (
      dict(norm='layer'),
      ValueError,
      "`norm` must be one of 'batch', .*, 'none', got 'layer'.*Use norm=",
    ),
    (
      dict(name='resnet32', norm='none'),
      ValueError,
      "'batch', 'dar_batch', 'group', got 'none'.*Use norm='batch'",
    ),
    (
      dict(head='arc'),
      ValueError,
      "'cosine', 'scaled_cosine', 'etf', 'prototypes', got 'arc'.*Use head=",
    ),
    (
      dict(num_classes=0),
      ValueError,
      '`num_classes` must be at least 1, got 0. Pass num_classes=10',
    ),
    (
      dict(num_classes=10.0),
      TypeError,
      '`num_classes` must be an integer, got 10.0. Pass num_classes',
    ),
    (
      dict(dtype=jnp.int8),
      TypeError,
      '`dtype` must be a float dtype, got .*int8.*Pass dtype=jnp.float32',
    ),
    (
      dict(dtype='half-ish'),
      TypeError,
      "`dtype` must be a float dtype, got 'half-ish'",
    ),
  )
  def test_errors(self, arguments, error, message):
    arguments = dict(name='mlp', num_classes=10) | arguments
    with self.assertRaisesRegex(error, message):
      models.create_model(**arguments)

  @parameterized.parameters(
    (models.MLP, dict(widths=(8, 0)), ValueError, r'widths=\(128, 128\)'),
    (models.SmallConvNet, dict(width=0), ValueError, 'width=16'),
    (models.SmallConvNet, dict(width=1.5), TypeError, 'width=16'),
    (
      models.CifarResNet,
      dict(stage_sizes=(5, 5)),
      ValueError,
      r'one entry per stage, got \(5, 5\) and \(16, 32, 64\)',
    ),
    (
      models.CifarResNet,
      dict(widths=(4, 8, -1)),
      ValueError,
      '`widths` must be',
    ),
    (
      models.CifarResNet,
      dict(stage_sizes=(1, 1, 0)),
      ValueError,
      '`stage_sizes` must be',
    ),
    (
      models.CifarResNet,
      dict(shortcut='conv'),
      ValueError,
      "'pad' or 'projection', got 'conv'",
    ),
  )
  def test_size_errors(self, model, attributes, error, message):
    with self.assertRaisesRegex(error, message):
      model(num_classes=10, **attributes)

  @parameterized.parameters('mlp', 'small_conv_net', 'resnet20')
  def test_integer_images(self, name):
    model = models.create_model(name, num_classes=10)
    with self.assertRaisesRegex(
      TypeError,
      r'got dtype uint8. Scale it first: .*astype\(jnp.float32\) / 255',
    ):
      model.init(
        jax.random.key(0), np.zeros((2, 8, 8, 3), np.uint8), train=False
      )

  @parameterized.product(
    name=('small_conv_net', 'resnet20'), shape=((2, 8, 8), (2, 192))
  )
  def test_number_of_axes(self, name, shape):
    model = models.create_model(name, num_classes=10)
    with self.assertRaisesRegex(
      ValueError, r'\[batch, height, width, channels\], got.*x\[\.\.\., None\]'
    ):
      model.init(jax.random.key(0), jnp.zeros(shape), train=False)

  def test_mlp_needs_a_batch_axis(self):
    with self.assertRaisesRegex(
      ValueError, r'got shape \(4,\). Pass x\[None\]'
    ):
      models.MLP(num_classes=10).init(
        jax.random.key(0), jnp.zeros(4), train=False
      )


if __name__ == '__main__':
  absltest.main()
