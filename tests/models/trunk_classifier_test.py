# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A head on a trunk: its features, what is trained, what is refused."""

from absl.testing import absltest
from absl.testing import parameterized
from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models
from imbsam_jax.models import tuning
from tests.models import witness

_SIZES = dict(
  width=8, depth=3, num_heads=2, mlp_width=12, patch_size=4, image_size=8
)
_VIT = models.VisionTransformer(**_SIZES)
_RESNET = models.BottleneckResNet(
  7, stage_sizes=(1, 1), widths=(4, 4), stem_width=4, norm='batch'
)


class _Flat(nn.Module):
  """A trunk of one's own, which takes images alone."""

  axes: int = 1

  @nn.compact
  def __call__(self, images):
    x = nn.Dense(6)(images)
    return x.reshape(len(x), -1) if self.axes == 1 else x


def _variables(model):
  return witness.variables(model, witness.images(2, 8))


def _call(model, variables, method=None, **options):
  options = {'train': False, **options}
  images = witness.images(2, 8)
  return jax.jit(
    lambda variables: model.apply(variables, images, method=method, **options)
  )(variables)


def _flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


class FeaturesTest(parameterized.TestCase):
  @parameterized.parameters('linear', 'cosine')
  def test_of_a_transformer(self, head):
    model = models.TrunkClassifier(5, head=head, trunk=_VIT)
    self.assertEqual(
      (model.norm, model.head, model.num_classes, model.dtype),
      ('none', head, 5, jnp.float32),
    )
    hash(model)
    variables = _variables(model)
    self.assertEqual(set(variables['params']), {'trunk', 'classifier'})
    features, logits = _call(model, variables, 'features_and_logits')
    np.testing.assert_allclose(
      features,
      _call(_VIT, {'params': variables['params']['trunk']}),
      atol=1e-6,
    )
    np.testing.assert_allclose(logits, _call(model, variables), atol=1e-6)
    np.testing.assert_allclose(
      model.apply(variables, features, train=False, method='logits_of'),
      logits,
      atol=1e-6,
    )
    module = models.LinearHead(5) if head == 'linear' else models.CosineHead(5)
    np.testing.assert_allclose(
      module.apply({'params': variables['params']['classifier']}, features),
      logits,
      atol=1e-6,
    )

  def test_of_a_residual_network(self):
    model = models.TrunkClassifier(5, trunk=_RESNET)
    self.assertEqual(model.norm, 'batch')
    variables = _variables(model)
    params = variables['params']
    # Without the head that it has by itself, and otherwise as by itself.
    own = _variables(_RESNET)
    self.assertEqual(set(params['trunk']), set(own['params']) - {'classifier'})
    own = {name: variables[name]['trunk'] for name in variables}
    features = _call(model, variables, 'features')
    np.testing.assert_allclose(
      features, _call(_RESNET, own, 'features'), atol=1e-6
    )
    logits, changed = _call(
      model, variables, train=True, mutable=['batch_stats']
    )
    self.assertEqual(logits.shape, (2, 5))
    before = _flat(variables['batch_stats'])
    for name, values in _flat(changed['batch_stats']).items():
      self.assertFalse(np.array_equal(values, before[name]), name)

  def test_statistics_that_stay(self):
    model = models.TrunkClassifier(5, trunk=_RESNET, freeze_statistics=True)
    self.assertEqual(model.norm, 'none')
    self.assertEqual(model.clone().norm, 'none')
    variables = _variables(model)
    logits, changed = _call(
      model, variables, train=True, mutable=['batch_stats']
    )
    np.testing.assert_array_equal(logits, _call(model, variables))
    before = _flat(variables['batch_stats'])
    for name, values in _flat(changed['batch_stats']).items():
      np.testing.assert_array_equal(values, before[name])

  def test_of_a_module_of_ones_own(self):
    model = models.TrunkClassifier(3, trunk=_Flat(), tuning=tuning.Probe())
    variables = _variables(model)
    self.assertEqual(_call(model, variables).shape, (2, 3))
    wrong = models.TrunkClassifier(3, trunk=_Flat(axes=3))
    with self.assertRaisesRegex(
      ValueError, r'float features \[batch, dim\], got float32 of shape \(2, 8'
    ):
      wrong.init(jax.random.key(0), witness.images(2, 8), train=False)

  def test_dropout(self):
    model = models.TrunkClassifier(5, trunk=_VIT, feature_dropout=0.25)
    variables = _variables(model)
    expected = _call(model, variables, 'features')
    keys = {'dropout': jax.random.key(0)}
    features = np.concatenate(
      [
        _call(
          model, variables, 'features', train=True,
          rngs={'dropout': jax.random.key(i)},
        )
        for i in range(3)
      ]
    )  # fmt: skip
    kept = features != 0
    self.assertBetween(kept.mean(), 0.55, 0.95)
    scaled = np.tile(expected, (3, 1)) / 0.75
    np.testing.assert_allclose(features[kept], scaled[kept], rtol=1e-5)
    # Evaluation draws nothing.
    np.testing.assert_array_equal(
      _call(model, variables, 'features', rngs=keys), expected
    )


class TrainsTest(parameterized.TestCase):
  def _trained(self, model):
    shapes = jax.eval_shape(
      lambda: model.init(jax.random.key(0), witness.images(2, 8), train=False)
    )
    flat = traverse_util.flatten_dict(shapes['params'])
    return flat, {path for path in flat if model.trains(path)}

  @parameterized.parameters(None, tuning.Full())
  def test_all(self, method):
    for trunk in (_VIT, _RESNET):
      flat, trained = self._trained(
        models.TrunkClassifier(5, trunk=trunk, tuning=method)
      )
      self.assertEqual(trained, set(flat))

  @parameterized.parameters(_VIT, _RESNET, _Flat())
  def test_the_head_alone(self, trunk):
    model = models.TrunkClassifier(5, trunk=trunk, tuning=tuning.Probe())
    _, trained = self._trained(model)
    self.assertEqual(
      trained, {('classifier', 'kernel'), ('classifier', 'bias')}
    )

  @parameterized.parameters(
    (_VIT, tuning.Partial(2), {'block1', 'block2'}),
    (_RESNET, tuning.Partial(1), {'stage2_block1'}),
    (
      models.ResNet50(7),
      tuning.Partial(2),
      {f'stage3_block{i}' for i in range(1, 7)}
      | {f'stage4_block{i}' for i in range(1, 4)},
    ),
  )
  def test_last_parts(self, trunk, method, expected):
    model = models.TrunkClassifier(5, trunk=trunk, tuning=method)
    flat, trained = self._trained(model)
    self.assertEqual(
      {path for path in flat if path[1] in expected},
      {path for path in trained if path[0] == 'trunk'},
    )

  def test_biases(self):
    for trunk, others in (
      (_VIT, {'patch_embed', 'norm'}),
      (_RESNET, {'stem_norm'}),
    ):
      model = models.TrunkClassifier(5, trunk=trunk, tuning=tuning.BitFit())
      flat, trained = self._trained(model)
      self.assertEqual(
        {path for path in trained if path[0] == 'trunk'},
        {
          path
          for path in flat
          if path[0] == 'trunk' and path[-1] == 'bias' and path[1] not in others
        },
      )

  def test_what_follows_from_the_classes(self):
    model = models.TrunkClassifier(100, trunk=_VIT, tuning=tuning.AdaptFormer())
    self.assertEqual(model.tuning, tuning.AdaptFormer(bottleneck=16))
    flat, trained = self._trained(model)
    shape = flat['trunk', 'block2', 'adaptformer', 'down', 'kernel'].shape
    self.assertEqual(shape, (8, 16))
    self.assertIn(('trunk', 'block2', 'adaptformer', 'scale'), trained)
    self.assertEqual(model.clone(num_classes=5).tuning, model.tuning)

  def test_a_trunk_that_was_made_with_it(self):
    method = tuning.VptDeep(prompts=2)
    trunk = _VIT.clone(tuning=method, pool='class_and_prompts')
    for given in (None, method):
      model = models.TrunkClassifier(5, trunk=trunk, tuning=given)
      self.assertEqual((model.tuning, model.trunk), (method, trunk))
    self.assertFalse(model.trains(('trunk', 'norm', 'bias')))


class RegistryTest(parameterized.TestCase):
  @parameterized.parameters(
    ('vit_tiny_patch4', 192, 3, 5_362_762),
    ('vit_small_patch4', 384, 6, 21_342_346),
  )
  def test_by_name(self, name, width, num_heads, expected):
    model = models.create_model(name, num_classes=10)
    self.assertIsInstance(model, models.TrunkClassifier)
    self.assertEqual(
      (model.norm, model.trunk.width, model.trunk.num_heads),
      ('none', width, num_heads),
    )
    self.assertEqual(model.trunk.image_size, (32, 32))
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False), images
    )
    sizes = [leaf.size for leaf in jax.tree.leaves(shapes['params'])]
    self.assertEqual(sum(sizes), expected)

  def test_attributes(self):
    model = models.create_model(
      'vit_tiny_patch4', num_classes=3, norm='none', head='cosine',
      dtype=jnp.bfloat16, image_size=(8, 12),
    )  # fmt: skip
    self.assertEqual(
      (model.head, model.dtype, model.trunk.image_size),
      ('cosine', jnp.bfloat16, (8, 12)),
    )
    with self.assertRaisesRegex(ValueError, "which has 'none', got 'group'"):
      models.create_model('vit_tiny_patch4', num_classes=3, norm='group')
    # Others take images of any size.
    models.create_model('resnet20', num_classes=3, image_size=30)


class ErrorsTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(trunk=None), TypeError, '`trunk` must be a Linen module.*got None'),
    (dict(num_classes=0), ValueError, '`num_classes` must be at least 1'),
    (dict(feature_dropout=1.0), ValueError, '`feature_dropout` must be'),
    (dict(head='dot'), ValueError, '`head` must be one of'),
    (dict(tuning='probe'), TypeError, r'models.tuning.Probe\(\)'),
    (dict(norm='batch'), ValueError, "has 'none', got 'batch'. Pass norm="),
    (dict(tuning=tuning.Partial(4)), ValueError, '`blocks` must be at most 3'),
    (
      dict(
        trunk=_VIT.clone(tuning=tuning.VptDeep()), tuning=tuning.VptShallow()
      ),
      ValueError,
      'was made with tuning=VptDeep.*tuned by VptShallow.*Pass one',
    ),
    (
      dict(trunk=_RESNET, tuning=tuning.VptDeep()),
      ValueError,
      'VptDeep tunes blocks of a transformer, and BottleneckResNet has none.'
      r'*tuning.BitFit\(\), tuning.Partial',
    ),
    (
      dict(trunk=_RESNET, tuning=tuning.LayerNormTuning()),
      ValueError,
      'LayerNormTuning tunes blocks',
    ),
    (
      dict(trunk=_RESNET, tuning=tuning.Partial(3)),
      ValueError,
      '`blocks` must be at most 2',
    ),
    (
      dict(trunk=models.MLP(5), tuning=tuning.BitFit()),
      ValueError,
      r'BitFit tunes blocks or stages, and MLP has none. Use tuning.Probe\(\)',
    ),
  )
  def test_attributes(self, attributes, error, message):
    with self.assertRaisesRegex(error, message):
      models.TrunkClassifier(**(dict(num_classes=5, trunk=_VIT) | attributes))

  def test_branches(self):
    model = models.TrunkClassifier(5, trunk=_VIT)
    with self.assertRaisesRegex(
      ValueError, 'gives its features once.*models.TwoBranches'
    ):
      models.TwoBranches(network=model).init(
        jax.random.key(0), witness.images(2, 8), train=False
      )


if __name__ == '__main__':
  absltest.main()
