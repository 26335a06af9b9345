# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Vision Transformers, against NumPy and against the sources themselves.

``golden/trunks_expected.npz`` has features of small trunks, float64: `vit_gelu`
and `vit_gelu_tanh` of timm 1.0.31, `vit_epsilon_1e12` of transformers 5.24,
`clip` of OpenAI's CLIP.
"""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models
from imbsam_jax.models import _layer_norm
from tests.models import transformer_witness
from tests.models import witness

# ViT-B/16.
_BASE = models.VisionTransformer(
  width=768,
  depth=12,
  num_heads=12,
  mlp_width=3072,
  patch_size=16,
  image_size=224,
)


def _small(**attributes):
  sizes = dict(
    width=8, depth=2, num_heads=2, mlp_width=12, patch_size=4, image_size=8
  )
  return models.VisionTransformer(**(sizes | attributes))


def _apply(module, params, images):
  apply = jax.jit(lambda params, x: module.apply({'params': params}, x))
  return apply(params, images)


def _grads(module, params, images):
  def loss(params):
    features = module.apply({'params': params}, images)
    return (
      features * jnp.arange(1.0 * features.size).reshape(features.shape)
    ).sum()

  return jax.jit(jax.grad(loss))(params)


class GoldenTest(parameterized.TestCase):
  @parameterized.parameters(
    ('vit', 'vit_gelu', {}),
    ('vit', 'vit_gelu_tanh', dict(activation='gelu_tanh')),
    ('vit', 'vit_epsilon_1e12', dict(epsilon=1e-12)),
    ('clip', 'clip', {}),
  )
  def test_equals_the_sources(self, kind, name, attributes):
    expected = np.load(transformer_witness.FOLDER / 'trunks_expected.npz')
    params = transformer_witness.recipe_params(kind)
    images = transformer_witness.images(kind)
    with jax.enable_x64(True):
      module = transformer_witness.trunk(kind, dtype=jnp.float64, **attributes)
      features = _apply(module, params, images.astype(np.float64))
      self.assertEqual(features.dtype, jnp.float64)
      features = np.asarray(features)
    np.testing.assert_allclose(features, expected[name], rtol=0, atol=1e-13)
    # The sources differ by more than that.
    others = [expected[key] for key in expected if key != name]
    for other in others:
      self.assertGreater(np.abs(features - other).max(), 1e-6)


class WitnessTest(parameterized.TestCase):
  @parameterized.parameters(
    dict(),
    dict(image_size=(4, 12), num_heads=4, pre_norm=True, patch_bias=False),
    dict(activation='quick_gelu', epsilon=1e-3, depth=1, patch_size=2),
  )
  def test_features(self, **attributes):
    module = _small(**attributes)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, *module.image_size, 2)).astype(np.float32)
    params = witness.variables(module, images)['params']
    features = _apply(module, params, images)
    self.assertEqual(features.dtype, jnp.float32)
    expected, _ = transformer_witness.features(
      witness.float64(params), images, module
    )
    np.testing.assert_allclose(features, expected, atol=1e-5)

  def test_layer_norm_far_from_zero(self):
    # In one pass the variance would be off by 8%.
    tokens = 3 + 0.01 * np.random.default_rng(0).normal(size=(4, 64))
    tokens = tokens.astype(np.float32)
    params = {'scale': np.ones(64, np.float32), 'bias': np.zeros(64)}
    params['bias'] = params['bias'].astype(np.float32)
    layer = _layer_norm.LayerNorm(1e-6, jnp.float32)
    np.testing.assert_allclose(
      layer.apply({'params': params}, tokens),
      transformer_witness.norm(tokens.astype(np.float64), params, 1e-6),
      atol=2e-4,
    )

  def test_bfloat16(self):
    params = transformer_witness.recipe_params('vit')
    params = jax.tree.map(lambda x: x.astype(np.float32), params)
    images = transformer_witness.images('vit')
    exact = _apply(transformer_witness.trunk('vit'), params, images)
    module = transformer_witness.trunk('vit', dtype=jnp.bfloat16)
    features = _apply(module, params, images)
    self.assertEqual(features.dtype, jnp.float32)
    np.testing.assert_allclose(features, exact, atol=0.05)
    self.assertGreater(np.abs(features - exact).max(), 1e-3)
    # A frozen trunk that was cast, and a leaf that is trained in float32.
    cast = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    cast['norm'] = params['norm']
    np.testing.assert_allclose(_apply(module, cast, images), exact, atol=0.05)
    grads = _grads(module, cast, images)
    self.assertEqual(grads['norm']['scale'].dtype, jnp.float32)
    self.assertEqual(grads['class_token'].dtype, jnp.bfloat16)

  def test_rows_apart_equal_rows_together(self):
    params = transformer_witness.recipe_params('vit')
    params = jax.tree.map(lambda x: x.astype(np.float32), params)
    images = transformer_witness.images('vit')
    module = transformer_witness.trunk('vit')
    together = _apply(module, params, images)
    apart = [_apply(module, params, images[i : i + 1])[0] for i in range(2)]
    np.testing.assert_allclose(together, np.stack(apart), atol=1e-6)


class RematTest(absltest.TestCase):
  def test_changes_no_gradient(self):
    images = witness.images(2, 8)
    params = witness.variables(_small(), images)['params']
    expected = _grads(_small(), params, images)
    grads = _grads(_small(remat=True), params, images)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
      grads,
      expected,
    )


class SizesTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(), 85_798_656),
    (dict(pre_norm=True, patch_bias=False), 85_799_424),
  )
  def test_number_of_parameters(self, attributes, expected):
    module = _BASE.clone(**attributes)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)
    sizes = [leaf.size for leaf in jax.tree.leaves(shapes)]
    self.assertEqual(sum(sizes), expected)
    self.assertEqual(
      {leaf.dtype for leaf in jax.tree.leaves(shapes)}, {jnp.dtype('float32')}
    )

  def test_multiplications(self):
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(_BASE.init, jax.random.key(0), images)
    count = models.multiplications(_BASE.apply, shapes, images)
    self.assertAlmostEqual(count / 1e9, 17.56, places=2)

  def test_shapes(self):
    module = _small(image_size=(8, 12), pre_norm=True)
    images = jax.ShapeDtypeStruct((1, 8, 12, 3), jnp.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), images)['params']
    norm = {'scale': (8,), 'bias': (8,)}
    read = {'kernel': (8, 2, 4), 'bias': (2, 4)}
    block = {
      'norm1': norm,
      'attention': {
        'query': read,
        'key': read,
        'value': read,
        'out': {'kernel': (2, 4, 8), 'bias': (8,)},
      },
      'norm2': norm,
      'mlp': {
        'fc1': {'kernel': (8, 12), 'bias': (12,)},
        'fc2': {'kernel': (12, 8), 'bias': (8,)},
      },
    }
    self.assertEqual(
      jax.tree.map(jnp.shape, params),
      {
        'patch_embed': {'kernel': (4, 4, 3, 8), 'bias': (8,)},
        'class_token': (8,),
        'position_embedding': (7, 8),
        'pre_norm': norm,
        'block0': block,
        'block1': block,
        'norm': norm,
      },
    )

  def test_start(self):
    module = _small(width=64, mlp_width=128, depth=1)
    images = np.zeros((1, 8, 8, 3), np.float32)
    params = jax.jit(module.init)(jax.random.key(0), images)['params']
    block = params['block0']
    for values in (
      block['mlp']['fc1']['kernel'],
      block['attention']['query']['kernel'],
      block['attention']['out']['kernel'],
      params['position_embedding'],
    ):
      # A normal that is cut at two deviations has 0.88 of them left.
      self.assertBetween(np.abs(values).max(), 0.036, 0.04)
      self.assertBetween(np.std(values), 0.0165, 0.0187)
    patches = params['patch_embed']['kernel']
    self.assertBetween(np.std(patches) * 48**0.5, 0.95, 1.05)
    self.assertBetween(np.std(params['class_token']), 0.7e-6, 1.3e-6)
    for values in (params['patch_embed'], block['mlp']['fc2'], params['norm']):
      np.testing.assert_array_equal(values['bias'], 0)
    np.testing.assert_array_equal(block['norm1']['scale'], 1)
    hash(module)  # Static argument of a jitted function.


class ErrorsTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(width=9), ValueError, 'multiple of `num_heads`, got width=9'),
    (dict(depth=0), ValueError, '`depth` must be at least 1.*depth=12'),
    (dict(mlp_width=1.5), TypeError, '`mlp_width` must be an integer'),
    (
      dict(image_size=(8, 10)),
      ValueError,
      r'8x10 for patches of 4.*image_size=\(8, 12\)',
    ),
    (dict(image_size=(8, 8, 3)), ValueError, r'integer or \(height, width\)'),
    (dict(image_size='8'), TypeError, '`image_size` must be an integer'),
    (dict(patch_size=0), ValueError, '`patch_size` must be at least 1'),
    (
      dict(activation='relu'),
      ValueError,
      "`activation` must be one of 'gelu', 'gelu_tanh', 'quick_gelu'",
    ),
    (dict(pool='mean'), ValueError, "`pool` must be one of 'class'"),
    (dict(epsilon=0.0), ValueError, '`epsilon` must be finite and above 0'),
    (dict(dtype=jnp.int32), TypeError, '`dtype` must be a float dtype'),
    (dict(tuning='vpt'), TypeError, 'models.tuning.VptDeep'),
    (
      dict(tuning=models.tuning.AdaptFormer()),
      ValueError,
      r'AdaptFormer\(bottleneck=4\), or give .* models.TrunkClassifier',
    ),
    (
      dict(pool='class_and_prompts'),
      ValueError,
      'averages prompts, and there are none with tuning=None',
    ),
    (
      dict(pool='class_and_prompts', tuning=models.tuning.VptDeep(prompts=0)),
      ValueError,
      r'VptDeep\(prompts=10\)',
    ),
  )
  def test_attributes(self, attributes, error, message):
    with self.assertRaisesRegex(error, message):
      _small(**attributes)

  def test_images(self):
    module = _small()
    variables = witness.variables(module, witness.images(1, 8))
    with self.assertRaisesRegex(
      ValueError, r'8x8 pixels.*got 8x12.*image_size=\(8, 12\)'
    ):
      module.apply(variables, jnp.ones((1, 8, 12, 3)))
    with self.assertRaisesRegex(ValueError, 'must have shape'):
      module.apply(variables, jnp.ones((8, 8, 3)))
    with self.assertRaisesRegex(TypeError, 'must be a float array'):
      module.apply(variables, jnp.ones((1, 8, 8, 3), jnp.uint8))


if __name__ == '__main__':
  absltest.main()
