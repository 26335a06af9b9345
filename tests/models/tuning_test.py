# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tuning of trunks, against NumPy and against GNM-PT itself.

``golden/gnm_pt_expected.npz`` has features, cosines, a loss and its gradients
of GNM-PT's own network on the trunk `vit` of `transformer_witness`, float64.
"""

import functools
import math

from absl.testing import absltest
from absl.testing import parameterized
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models
from imbsam_jax.models import tuning
from tests.models import transformer_witness

_METHODS = (
  tuning.VptShallow(prompts=3),
  tuning.VptDeep(prompts=2),
  tuning.AdaptFormer(bottleneck=4),
  tuning.Adapter(bottleneck=4),
  tuning.Lora(rank=2),
  tuning.Lora(rank=2, scale=0.7, init='rank'),
  tuning.Ssf(),
  tuning.BitFit(),
  tuning.LayerNormTuning(),
  tuning.Partial(blocks=2),
  tuning.Full(),
)
_BLOCKS = ('block0', 'block1', 'block2')


def _params(module, dtype=np.float64):
  """Parameters of the small ViT, and new leaves that are not their start."""
  images = transformer_witness.images('vit')
  shapes = jax.eval_shape(module.init, jax.random.key(0), images)['params']
  flat = traverse_util.flatten_dict(transformer_witness.recipe_params('vit'))
  for path, leaf in traverse_util.flatten_dict(shapes).items():
    if path not in flat:
      values = transformer_witness.recipe_leaf(
        'new', '/'.join(path), leaf.shape
      )
      flat[path] = values + (path[-1] == 'scale')
  flat = {path: np.asarray(x, dtype) for path, x in flat.items()}
  return traverse_util.unflatten_dict(flat)


def _trained(params, method):
  flat = traverse_util.flatten_dict(params)
  return {path: x for path, x in flat.items() if method.trains(path, _BLOCKS)}


def _merged(params, trained):
  flat = traverse_util.flatten_dict(params) | trained
  return traverse_util.unflatten_dict(flat)


def _features(module, params, images):
  apply = jax.jit(lambda params, x: module.apply({'params': params}, x))
  return np.asarray(apply(params, images))


@functools.cache
def _plain():
  module = transformer_witness.trunk('vit')
  images = transformer_witness.images('vit')
  return _features(module, _params(module, np.float32), images)


class EquationsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    (f'{i}_{type(method).__name__}', method)
    for i, method in enumerate(_METHODS)
  )
  def test_features_and_gradients(self, method):
    images = transformer_witness.images('vit').astype(np.float64)
    weights = np.random.default_rng(0).normal(size=(2, 32))
    scale = 1.0
    if isinstance(method, tuning.Lora):
      scale = 1 / method.rank if method.scale is None else method.scale

    def expected(params):
      features, _ = transformer_witness.features(
        params, images, module, lora_scale=scale
      )
      return features

    with jax.enable_x64(True):
      module = transformer_witness.trunk(
        'vit', tuning=method, dtype=jnp.float64
      )
      params = _params(module)
      trained = _trained(params, method)

      def loss(trained):
        features = module.apply({'params': _merged(params, trained)}, images)
        return (weights * features).sum(), features

      grads, features = jax.jit(jax.grad(loss, has_aux=True))(trained)
      grads, features = jax.tree.map(np.asarray, (grads, features))
    np.testing.assert_allclose(features, expected(params), atol=1e-12)
    self.assertTrue(trained)
    step, rng = 1e-5, np.random.default_rng(1)
    # A direction for each kind of leaf, and each block.
    for path in trained:
      direction = rng.normal(size=trained[path].shape)
      up, down = (
        (
          weights
          * expected(_merged(params, {path: trained[path] + sign * direction}))
        ).sum()
        for sign in (step, -step)
      )
      np.testing.assert_allclose(
        (grads[path] * direction).sum(),
        (up - down) / (2 * step),
        rtol=1e-5,
        atol=1e-7,
        err_msg='/'.join(path),
      )

  def test_gnm_pt(self):
    expected = np.load(transformer_witness.FOLDER / 'gnm_pt_expected.npz')
    labels = np.array([3, 0])
    with jax.enable_x64(True):
      module = transformer_witness.trunk(
        'vit',
        tuning=tuning.VptDeep(prompts=3),
        pool='class_and_prompts',
        dtype=jnp.float64,
      )
      params = _params(module)
      images = transformer_witness.images('vit').astype(np.float64)

      def loss(prompts, class_vectors):
        merged = _merged(
          params,
          {(block, 'prompts'): prompts[i] for i, block in enumerate(_BLOCKS)},
        )
        features = module.apply({'params': merged}, images)
        unit = [
          x / jnp.linalg.norm(x, axis=1, keepdims=True)
          for x in (features, class_vectors)
        ]
        cosines = unit[0] @ unit[1].T
        log_p = jax.nn.log_softmax(25 * cosines)
        return -log_p[np.arange(2), labels].mean(), (features, cosines)

      (value, (features, cosines)), grads = jax.jit(
        jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
      )(
        expected['param/prompts'].astype(np.float64),
        expected['param/class_vectors'].astype(np.float64),
      )
      found = jax.tree.map(
        np.asarray, (features, cosines, value, grads[0], grads[1])
      )
    names = (
      'features',
      'cosines',
      'ce25_loss',
      'grad/Prompt_Tokens',
      'grad/prompt_learner.head.weight',
    )
    for values, name in zip(found, names, strict=True):
      np.testing.assert_allclose(
        values, expected[name], rtol=1e-10, atol=1e-11, err_msg=name
      )


class IdentitiesTest(parameterized.TestCase):
  @parameterized.parameters(tuning.VptShallow, tuning.VptDeep)
  def test_no_prompts(self, method):
    module = transformer_witness.trunk('vit', tuning=method(prompts=0))
    params = _params(module, np.float32)
    np.testing.assert_array_equal(
      _features(module, params, transformer_witness.images('vit')), _plain()
    )

  @parameterized.parameters(
    tuning.AdaptFormer(bottleneck=2),
    tuning.Adapter(bottleneck=2),
    tuning.Lora(rank=2),
    tuning.Probe(),
    tuning.Full(),
  )
  def test_starts_as_the_trunk(self, method):
    module = transformer_witness.trunk('vit', tuning=method)
    images = transformer_witness.images('vit')
    start = jax.jit(module.init)(jax.random.key(0), images)['params']
    new = traverse_util.flatten_dict(start)
    own = traverse_util.flatten_dict(_params(transformer_witness.trunk('vit')))
    params = traverse_util.unflatten_dict(
      new | {path: x.astype(np.float32) for path, x in own.items()}
    )
    np.testing.assert_array_equal(_features(module, params, images), _plain())

  def test_ssf_does_not(self):
    module = transformer_witness.trunk('vit', tuning=tuning.Ssf())
    images = transformer_witness.images('vit')
    start = jax.jit(module.init)(jax.random.key(0), images)['params']
    for name, values in start['block0']['mlp']['ssf_fc1'].items():
      center = 1.0 if name == 'scale' else 0.0
      self.assertBetween(np.mean(values) - center, -0.01, 0.01)
      self.assertBetween(np.std(values), 0.015, 0.025)

  def test_order_of_prompts(self):
    module = transformer_witness.trunk('vit', tuning=tuning.VptDeep(prompts=4))
    images = transformer_witness.images('vit')
    params = _params(module, np.float32)
    turned = {
      (block, 'prompts'): params[block]['prompts'][::-1] for block in _BLOCKS
    }
    np.testing.assert_allclose(
      _features(module, _merged(params, turned), images),
      _features(module, params, images),
      atol=3e-6,
    )

  def test_deep_is_not_shallow(self):
    images = transformer_witness.images('vit')
    shallow = transformer_witness.trunk(
      'vit', tuning=tuning.VptShallow(prompts=2)
    )
    deep = transformer_witness.trunk('vit', tuning=tuning.VptDeep(prompts=2))
    params = _params(shallow, np.float32)
    prompts = {(block, 'prompts'): params['prompts'] for block in _BLOCKS}
    differences = _features(shallow, params, images) - _features(
      deep, _merged(_params(deep, np.float32), prompts), images
    )
    self.assertGreater(np.abs(differences).max(), 0.1)

  def test_lora_merged_into_the_kernels(self):
    method = tuning.Lora(rank=2, scale=0.7)
    module = transformer_witness.trunk('vit', tuning=method)
    params = _params(module, np.float32)
    merged = {}
    for block in _BLOCKS:
      attention = params[block]['attention']
      for name in ('query', 'value'):
        lora = attention[f'lora_{name}']
        product = np.einsum('dr,rhk->dhk', lora['down'], lora['up'])
        path = (block, 'attention', name, 'kernel')
        merged[path] = attention[name]['kernel'] + np.float32(0.7) * product
    images = transformer_witness.images('vit')
    plain = transformer_witness.trunk('vit')
    np.testing.assert_allclose(
      _features(plain, _merged(_params(plain, np.float32), merged), images),
      _features(module, params, images),
      atol=1e-5,
    )

  @parameterized.parameters(
    tuning.VptDeep(prompts=3), tuning.AdaptFormer(bottleneck=2)
  )
  def test_rows_apart_equal_rows_together(self, method):
    module = transformer_witness.trunk('vit', tuning=method)
    params = _params(module, np.float32)
    images = transformer_witness.images('vit')
    together = _features(module, params, images)
    apart = [_features(module, params, images[i : i + 1])[0] for i in range(2)]
    np.testing.assert_allclose(together, np.stack(apart), atol=3e-6)

  @parameterized.parameters(
    tuning.VptDeep(prompts=2), tuning.BitFit(), tuning.Partial(blocks=1)
  )
  def test_gradients_of_what_is_trained_alone(self, method):
    module = transformer_witness.trunk('vit', tuning=method)
    params = _params(module, np.float32)
    images = transformer_witness.images('vit')

    def loss(trained):
      features = module.apply({'params': _merged(params, trained)}, images)
      return jnp.square(features - 1.0).sum()

    alone = jax.jit(jax.grad(loss))(_trained(params, method))
    everything = jax.jit(jax.grad(loss))(traverse_util.flatten_dict(params))
    for path, grad in alone.items():
      np.testing.assert_allclose(
        grad, everything[path], rtol=1e-4, atol=1e-4, err_msg='/'.join(path)
      )


class LeavesTest(parameterized.TestCase):
  @parameterized.parameters(
    (tuning.Full(), 85_798_656),
    (tuning.Probe(), 0),
    (tuning.Partial(), 7_087_872),
    (tuning.Partial(blocks=12), 85_054_464),
    (tuning.BitFit(), 101_376),
    (tuning.LayerNormTuning(), 36_864),
    (tuning.VptShallow(), 7_680),
    (tuning.VptDeep(), 92_160),
    (tuning.AdaptFormer(), 12 * (2 * 768 + 2 * 768 * 4 + 4 + 768 + 1)),
    (tuning.Adapter(), 12 * (2 * 768 + 2 * 768 * 4 + 4 + 768)),
    (tuning.Lora(), 4 * 768 * 4 * 12),
    (tuning.Ssf(['attention']), 12 * 8 * 768),
    (tuning.Ssf('mlp'), 12 * 2 * (3072 + 768)),
    (tuning.Ssf(('norms',)), 12 * 4 * 768),
  )
  def test_trained_in_vit_b16(self, method, expected):
    trunk = models.VisionTransformer(
      width=768,
      depth=12,
      num_heads=12,
      mlp_width=3072,
      patch_size=16,
      image_size=224,
    )
    model = models.TrunkClassifier(100, trunk=trunk, tuning=method)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(
      functools.partial(model.init, train=False), jax.random.key(0), images
    )
    flat = traverse_util.flatten_dict(shapes['params'])
    sizes = {path: x.size for path, x in flat.items() if model.trains(path)}
    head = {path for path in sizes if path[0] == 'classifier'}
    self.assertLen(head, 2)
    self.assertEqual(
      sum(n for path, n in sizes.items() if path not in head), expected
    )
    # What is added to the trunk is trained, and nothing else by its method.
    new = {
      path for path in flat if path not in head and path not in _plain_leaves()
    }
    if new:
      self.assertEqual(set(sizes) - head, new)

  @parameterized.parameters(
    (tuning.VptDeep(2), {'prompts': (2, 32)}),
    (
      tuning.Adapter(2),
      {
        'adapter/norm/scale': (32,),
        'adapter/norm/bias': (32,),
        'adapter/down/kernel': (32, 2),
        'adapter/down/bias': (2,),
        'adapter/up/kernel': (2, 32),
        'adapter/up/bias': (32,),
      },
    ),
    (
      tuning.AdaptFormer(2),
      {
        'adaptformer/norm/scale': (32,),
        'adaptformer/norm/bias': (32,),
        'adaptformer/down/kernel': (32, 2),
        'adaptformer/down/bias': (2,),
        'adaptformer/up/kernel': (2, 32),
        'adaptformer/up/bias': (32,),
        'adaptformer/scale': (),
      },
    ),
    (
      tuning.Lora(rank=2),
      {
        'attention/lora_query/down': (32, 2),
        'attention/lora_query/up': (2, 4, 8),
        'attention/lora_value/down': (32, 2),
        'attention/lora_value/up': (2, 4, 8),
      },
    ),
    (
      tuning.Ssf(),
      {
        f'{name}/{leaf}': shape
        for name, shape in (
          ('ssf_norm1', (32,)),
          ('attention/ssf_query', (4, 8)),
          ('attention/ssf_key', (4, 8)),
          ('attention/ssf_value', (4, 8)),
          ('attention/ssf_out', (32,)),
          ('ssf_norm2', (32,)),
          ('mlp/ssf_fc1', (128,)),
          ('mlp/ssf_fc2', (32,)),
        )
        for leaf in ('scale', 'shift')
      },
    ),
  )
  def test_new_leaves(self, method, expected):
    module = transformer_witness.trunk('vit', tuning=method)
    images = transformer_witness.images('vit')
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)['params']
    flat = traverse_util.flatten_dict(shapes)
    new = {
      path: x.shape
      for path, x in flat.items()
      if ('trunk', *path) not in _plain_leaves()
    }
    self.assertEqual(
      new,
      {
        (block, *name.split('/')): shape
        for name, shape in expected.items()
        for block in _BLOCKS
      },
    )

  @parameterized.parameters(
    (10, 12, 1), (100, 12, 4), (365, 12, 8), (1000, 12, 32), (8142, 12, 256),
    (48, 12, 2), (47, 12, 1), (100, 3, 16),
  )  # fmt: skip
  def test_bottleneck(self, num_classes, depth, expected):
    self.assertEqual(tuning.lift_bottleneck(num_classes, depth=depth), expected)
    for method in (tuning.AdaptFormer, tuning.Adapter):
      given = dict(num_classes=num_classes, depth=depth)
      self.assertEqual(method().resolved(**given), method(bottleneck=expected))
      self.assertEqual(method(3).resolved(**given), method(3))

  def test_descriptions(self):
    self.assertEqual(tuning.VptDeep(3), tuning.VptDeep(prompts=3))
    self.assertNotEqual(tuning.VptDeep(3), tuning.VptShallow(3))
    self.assertLen({*_METHODS, *_METHODS}, len(_METHODS))
    self.assertEqual(
      tuning.Ssf(['norms', 'attention']), tuning.Ssf(('attention', 'norms'))
    )
    self.assertEqual(repr(tuning.VptShallow(3).prompts), '3')
    self.assertEqual(tuning.VptDeep(3).num_prompts, 3)
    self.assertEqual(tuning.Full().num_prompts, 0)

  @parameterized.parameters(
    (tuning.VptShallow(prompts=32), ('prompts',), math.sqrt(6 / 224)),
    (tuning.VptDeep(prompts=32), ('block1', 'prompts'), math.sqrt(6 / 224)),
    (
      tuning.Lora(rank=16),
      ('block1', 'attention', 'lora_value', 'down'),
      32**-0.5,
    ),
    (
      tuning.Lora(rank=16, init='rank'),
      ('block1', 'attention', 'lora_value', 'down'),
      0.25,
    ),
  )
  def test_uniform_start(self, method, path, bound):
    values = self._start(method)[path]
    self.assertBetween(np.abs(values).max(), 0.97 * bound, bound)
    self.assertBetween(np.std(values) / bound * 3**0.5, 0.93, 1.07)

  def test_normal_start(self):
    method = tuning.VptDeep(prompts=32, init='normal')
    start = self._start(method)
    values = start['block1', 'prompts']
    self.assertBetween(np.abs(values).max(), 0.036, 0.04)
    self.assertBetween(np.std(values), 0.0165, 0.0187)
    self.assertFalse(np.array_equal(values, start['block0', 'prompts']))
    start = self._start(tuning.AdaptFormer(bottleneck=32))
    values = start['block1', 'adaptformer', 'down', 'kernel']
    self.assertBetween(np.std(values) * 96**0.5, 0.93, 1.07)
    self.assertEqual(start['block1', 'adaptformer', 'scale'], 1)

  def _start(self, method):
    module = transformer_witness.trunk('vit', tuning=method)
    images = transformer_witness.images('vit')
    start = jax.jit(module.init)(jax.random.key(0), images)['params']
    return traverse_util.flatten_dict(start)


@functools.cache
def _plain_leaves():
  trunk = transformer_witness.trunk('vit', depth=12)
  images = transformer_witness.images('vit')
  shapes = jax.eval_shape(trunk.init, jax.random.key(0), images)['params']
  return {('trunk', *path) for path in traverse_util.flatten_dict(shapes)}


class ErrorsTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda: tuning.VptDeep(-1), ValueError, '`prompts` must be at least 0'),
    (lambda: tuning.VptDeep(2.0), TypeError, '`prompts` must be an integer'),
    (
      lambda: tuning.VptShallow(init='zeros'),
      ValueError,
      "`init` must be 'uniform' or 'normal', got 'zeros'",
    ),
    (lambda: tuning.AdaptFormer(0), ValueError, '`bottleneck` must be at leas'),
    (lambda: tuning.Lora(rank=0), ValueError, '`rank` must be at least 1'),
    (lambda: tuning.Lora(scale=0), ValueError, '`scale` must be .*above 0'),
    (
      lambda: tuning.Lora(init='x'),
      ValueError,
      "`init` must be 'inputs' or 'rank', got 'x'",
    ),
    (
      lambda: tuning.Ssf(('mlp', 'head')),
      ValueError,
      "`where` must name some of 'attention', 'mlp', 'norms', got",
    ),
    (lambda: tuning.Ssf(()), ValueError, '`where` must name some'),
    (lambda: tuning.Partial(0), ValueError, r'at least 1.*tuning.Probe\(\)'),
    (
      lambda: tuning.Partial(4).trains(('block0',), _BLOCKS),
      ValueError,
      r'`blocks` must be at most 3.*got 4. tuning.Full\(\)',
    ),
  )
  def test_attributes(self, make, error, message):
    with self.assertRaisesRegex(error, message):
      make()

  def test_what_a_method_must_write(self):
    with self.assertRaisesRegex(NotImplementedError, 'Tuning'):
      tuning.Tuning().trains(('norm', 'bias'), _BLOCKS)


if __name__ == '__main__':
  absltest.main()
