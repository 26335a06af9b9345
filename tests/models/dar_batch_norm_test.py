# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batch normalization that keeps rows of noise apart, in and out of models."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import models
from imbsam_jax import training

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(6, 3, 2, 4)) * [1, 2, 3, 0.1] + [0, 1, -3, 2]).astype('f')
NOISE = np.array([False, True, False, False, True, False])
X[NOISE] = 5 * X[NOISE] - 3
SCALE = RNG.normal(size=4).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
UP = RNG.normal(size=X.shape).astype(np.float32)


def _witness(x, noise_mask, epsilon=1e-5):
  """Value by value in float64."""
  y = np.zeros(x.shape)
  statistics = np.zeros((2, x.shape[-1]))
  for channel in range(x.shape[-1]):
    for kind in (True, False):
      rows = [i for i in range(len(x)) if noise_mask[i] == kind]
      values = [float(v) for i in rows for v in x[i, ..., channel].ravel()]
      if not values:
        continue
      mean = sum(values) / len(values)
      variance = sum((v - mean) ** 2 for v in values) / len(values)
      for i in rows:
        standard = (x[i, ..., channel] - mean) / np.sqrt(variance + epsilon)
        y[i, ..., channel] = SCALE[channel] * standard + BIAS[channel]
      if not kind:
        statistics[:, channel] = mean, variance
  return y, *statistics


@functools.partial(jax.jit, static_argnames='noise_gradient')
def _pulled_back(x, noise_mask, up, noise_gradient):
  """Outputs, statistics, and gradients of <up, y> by x, scale and bias."""

  def apply(x, scale, bias):
    y, *statistics = models.dar_batch_norm(
      x, noise_mask, scale, bias, noise_gradient=noise_gradient
    )
    return y, statistics

  y, pull, statistics = jax.vjp(apply, x, SCALE, BIAS, has_aux=True)
  return y, statistics, pull(up)


def _value_and_pullback(x, noise_mask, up=UP, noise_gradient=True):
  # Not the defaults of the compiled one, which would be constants of another
  # program.
  return _pulled_back(x, noise_mask, up, noise_gradient)


@jax.jit
def _library(x, up):
  """Flax's layer on rows of one kind: outputs and gradients."""
  layer = nn.BatchNorm(use_running_average=False, epsilon=1e-5)
  stats = {'mean': jnp.zeros(4), 'var': jnp.ones(4)}

  def apply(x, scale, bias):
    variables = {'params': {'scale': scale, 'bias': bias}, 'batch_stats': stats}
    return layer.apply(variables, x, mutable=['batch_stats'])[0]

  y, pull = jax.vjp(apply, x, SCALE, BIAS)
  return y, pull(up)


_close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)


class DarBatchNormTest(parameterized.TestCase):
  @parameterized.parameters(
    [NOISE], [~NOISE], [np.zeros(6, bool)], [np.ones(6, bool)]
  )
  def test_equals_the_witness(self, noise_mask):
    y, (mean, variance), pulled = _value_and_pullback(X, noise_mask)
    expected = _witness(X, noise_mask)
    for found, value in zip((y, mean, variance), expected, strict=True):
      self.assertEqual(found.dtype, jnp.float32)
      _close(found, value)
    chex.assert_tree_all_finite(pulled)

  def test_rows_of_vectors(self):
    call = jax.jit(functools.partial(models.dar_batch_norm, epsilon=0.1))
    found = call(X[:, 0, 0], NOISE, SCALE, BIAS)
    expected = _witness(X[:, 0, 0], NOISE, epsilon=0.1)
    jax.tree.map(_close, tuple(found), expected)

  @parameterized.parameters(True, False)
  def test_gradients_are_those_of_the_kinds_by_themselves(self, noise_gradient):
    y, _, (dx, dscale, dbias) = _value_and_pullback(
      X, NOISE, noise_gradient=noise_gradient
    )
    natural_y, natural = _library(X[~NOISE], UP[~NOISE])
    noise_y, noise = _library(X[NOISE], UP[NOISE])
    _close(y[~NOISE], natural_y)
    _close(y[NOISE], noise_y)
    _close(dx[~NOISE], natural[0])
    # Scale and bias hear nothing of noise.
    _close(dscale, natural[1])
    _close(dbias, natural[2])
    if noise_gradient:
      _close(dx[NOISE], noise[0])
      self.assertGreater(np.abs(noise[0]).max(), 0.1)
    else:
      np.testing.assert_array_equal(dx[NOISE], np.zeros_like(X[NOISE]))

  def test_without_noise_it_is_batch_normalization(self):
    y, _, pulled = _value_and_pullback(X, np.zeros(6, bool))
    expected_y, expected = _library(X, UP)
    np.testing.assert_allclose(y, expected_y, rtol=1e-5, atol=1e-5)
    jax.tree.map(_close, pulled, expected)

  @parameterized.parameters(0.0, 1e4, np.inf, np.nan)
  def test_natural_rows_do_not_depend_on_noise_rows(self, value):
    y, statistics, (dx, *others) = _value_and_pullback(X, NOISE)
    changed = X.copy()
    changed[NOISE] = value
    # What comes back through them is another thing too.
    up = np.where(NOISE[:, None, None, None], 7 * UP, UP)
    again_y, again_statistics, (again_dx, *again_others) = _value_and_pullback(
      changed, NOISE, up if np.isfinite(value) else UP
    )
    np.testing.assert_array_equal(y[~NOISE], again_y[~NOISE])
    np.testing.assert_array_equal(dx[~NOISE], again_dx[~NOISE])
    jax.tree.map(np.testing.assert_array_equal, statistics, again_statistics)
    jax.tree.map(np.testing.assert_array_equal, others, again_others)

  @parameterized.parameters(
    [NOISE], [np.zeros(6, bool)], [np.ones(6, bool)], [np.arange(6) == 2]
  )
  def test_finite_without_rows_or_variance(self, noise_mask):
    for x in (0 * X, 0 * X + 3):
      result = _value_and_pullback(x, noise_mask)
      chex.assert_tree_all_finite(result)
      # The bias, up to the rounding of 3 * 3 - 9, over the root of epsilon.
      _close(result[0], np.broadcast_to(BIAS, X.shape), atol=2e-3)

  def test_without_natural_rows_there_are_no_statistics(self):
    _, statistics, (_, *others) = _value_and_pullback(X, np.ones(6, bool))
    np.testing.assert_array_equal(statistics, np.zeros((2, 4)))
    np.testing.assert_array_equal(others, np.zeros((2, 4)))

  @parameterized.parameters('bfloat16', 'float16')
  def test_computes_in_float32(self, dtype):
    x = jnp.asarray(X, dtype)
    y, mean, variance = jax.jit(models.dar_batch_norm)(x, NOISE, SCALE, BIAS)
    self.assertEqual({y.dtype, mean.dtype, variance.dtype}, {jnp.dtype('f4')})
    _close(y, _witness(np.asarray(x, np.float32), NOISE)[0])

  @parameterized.parameters(
    (dict(x=np.ones(3, 'f')), ValueError, r'`x` must have shape \[B, \.\.\.'),
    (dict(x=np.ones((6, 4), int)), TypeError, '`x` must be a float array'),
    (dict(noise_mask=NOISE[:2]), ValueError, r'`noise_mask` .* shape \[6\]'),
    (dict(noise_mask=np.ones(6)), TypeError, '`noise_mask` must be bool'),
    (dict(scale=SCALE[:2]), ValueError, r'`scale` must have shape \[4\]'),
    (dict(bias=np.ones(4, int)), TypeError, '`bias` must be a float array'),
    (dict(epsilon=0.0), ValueError, '`epsilon` must be finite and above 0'),
  )
  def test_errors(self, changes, error, message):
    arguments = dict(x=X, noise_mask=NOISE, scale=SCALE, bias=BIAS) | changes
    with self.assertRaisesRegex(error, message):
      models.dar_batch_norm(**arguments)


IMAGES = RNG.normal(size=(6, 8, 8, 2)).astype(np.float32)


def _model(name, norm):
  if name == 'mlp':
    return models.MLP(num_classes=3, widths=(5, 4), norm=norm)
  return models.create_model(name, num_classes=3, norm=norm)


@functools.cache
def _variables(name, norm='batch'):
  """Variables as `init` shapes them, drawn without a compiler."""
  shapes = jax.eval_shape(
    lambda: _model(name, norm).init(jax.random.key(0), IMAGES, train=False)
  )
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    values = rng.normal(size=leaf.shape) * (2 / max(leaf.size, 1)) ** 0.5
    positive = path[-1].key in ('scale', 'var')
    return (1 + abs(values) if positive else values).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.partial(jax.jit, static_argnames=('name', 'norm', 'train'))
def _apply(name, norm, x, noise_mask=None, train=True):
  return _model(name, norm).apply(
    _variables(name),
    x,
    train=train,
    noise_mask=noise_mask,
    mutable=['batch_stats'],
  )


_equal = functools.partial(jax.tree.map, np.testing.assert_array_equal)


class ModelsTest(parameterized.TestCase):
  @parameterized.parameters('small_conv_net', 'resnet20')
  def test_without_noise_it_is_norm_batch(self, name):
    # The same variables, and the same layer where there is no mask.
    chex.assert_trees_all_equal(_variables(name), _variables(name, 'dar_batch'))
    expected = _apply(name, 'batch', IMAGES)
    _equal(_apply(name, 'dar_batch', IMAGES), expected)
    found = _apply(name, 'dar_batch', IMAGES, np.zeros(6, bool))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
      found,
      expected,
    )

  @parameterized.parameters('small_conv_net', 'resnet20')
  def test_natural_rows_do_not_depend_on_noise_rows(self, name):
    logits, stats = _apply(name, 'dar_batch', IMAGES, NOISE)
    others = IMAGES.copy()
    others[NOISE] = 10 * RNG.normal(size=others[NOISE].shape) + 3
    again, again_stats = _apply(name, 'dar_batch', others, NOISE)
    np.testing.assert_array_equal(logits[~NOISE], again[~NOISE])
    self.assertGreater(np.abs(logits - again)[NOISE].max(), 1e-3)
    _equal(stats, again_stats)

  def test_natural_rows_are_those_of_a_batch_without_noise(self):
    logits, stats = _apply('small_conv_net', 'dar_batch', IMAGES, NOISE)
    alone, alone_stats = _apply('small_conv_net', 'batch', IMAGES[~NOISE])
    _close(logits[~NOISE], alone)
    jax.tree.map(_close, stats, alone_stats)
    # The ablation: BatchNorm takes noise as all other rows.
    mixed = _apply('small_conv_net', 'batch', IMAGES, NOISE)
    _equal(mixed, _apply('small_conv_net', 'batch', IMAGES))
    self.assertGreater(np.abs(mixed[0] - logits).max(), 1e-2)

  def test_evaluation_is_that_of_batch(self):
    _equal(
      _apply('small_conv_net', 'dar_batch', IMAGES, NOISE, train=False),
      _apply('small_conv_net', 'batch', IMAGES, train=False),
    )

  def test_group_norm_has_nothing_to_keep_apart(self):
    apply = jax.jit(functools.partial(_model('mlp', 'group').apply, train=True))
    variables = _variables('mlp', 'group')
    _equal(apply(variables, IMAGES, noise_mask=NOISE), apply(variables, IMAGES))

  def test_running_averages(self):
    layer = models.Normalization('dar_batch')
    variables = {
      'params': {'BatchNorm_0': {'scale': SCALE, 'bias': BIAS}},
      'batch_stats': {'BatchNorm_0': {'mean': 2 * BIAS, 'var': SCALE**2}},
    }
    shapes = jax.eval_shape(
      lambda: layer.init(jax.random.key(0), X, train=True, noise_mask=NOISE)
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, variables)

    @jax.jit
    def apply(noise_mask):
      return layer.apply(
        variables, X, train=True, noise_mask=noise_mask, mutable='batch_stats'
      )

    _, updates = apply(NOISE)
    found = updates['batch_stats']['BatchNorm_0']
    _, mean, variance = _witness(X, NOISE)
    _close(found['mean'], 0.9 * 2 * BIAS + 0.1 * mean)
    _close(found['var'], 0.9 * SCALE**2 + 0.1 * variance)
    # Nothing to take in.
    _, updates = apply(np.ones(6, bool))
    _equal(updates['batch_stats'], variables['batch_stats'])

  def test_initial_averages_see_no_batch(self):
    layer = models.Normalization('dar_batch')
    init = jax.jit(functools.partial(layer.init, train=True))
    variables = init(jax.random.key(0), X, noise_mask=NOISE)
    stats = variables['batch_stats']['BatchNorm_0']
    np.testing.assert_array_equal(stats['mean'], np.zeros(4))
    np.testing.assert_array_equal(stats['var'], np.ones(4))

  def test_noise_rows_teach_neither_scale_nor_bias(self):
    variables = _variables('mlp')

    @jax.jit
    def gradients(noise_mask):
      def loss(params):
        logits, _ = _model('mlp', 'dar_batch').apply(
          {**variables, 'params': params},
          IMAGES,
          train=True,
          noise_mask=noise_mask,
          mutable=['batch_stats'],
        )
        return jnp.sum(jnp.where(NOISE[:, None], logits, 0.0) ** 2)

      return jax.grad(loss)(variables['params'])

    found = gradients(NOISE)
    for norm in ('norm1', 'norm2'):
      for leaf in found[norm]['BatchNorm_0'].values():
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))
    # But the layers below the normalizations learn from them.
    self.assertGreater(np.abs(found['dense1']['kernel']).max(), 1e-3)

  def test_vmap_has_a_mask_for_each(self):
    masks = np.stack([NOISE, np.roll(NOISE, 1)])
    logits, _ = jax.vmap(lambda mask: _apply('mlp', 'dar_batch', IMAGES, mask))(
      masks
    )
    for one, mask in zip(logits, masks, strict=True):
      _close(one, _apply('mlp', 'dar_batch', IMAGES, mask)[0])

  @parameterized.parameters('batch', 'dar_batch')
  def test_sharded_rows_have_common_statistics(self, norm):
    x = RNG.normal(size=(16, 5)).astype(np.float32)
    mask = np.arange(16) % 5 < 2
    model = models.MLP(num_classes=3, widths=(4,), norm=norm)
    variables = jax.jit(functools.partial(model.init, train=False))(
      jax.random.key(0), x
    )

    @jax.jit
    def apply(x, mask):
      return model.apply(
        variables, x, train=True, noise_mask=mask, mutable=['batch_stats']
      )

    mesh = training.data_mesh()
    self.assertEqual(mesh.size, 8)
    rows = jax.NamedSharding(mesh, jax.P('data'))
    found = apply(*jax.device_put((x, mask), rows))
    jax.tree.map(_close, found, apply(x, mask))
    # Within `jax.shard_map` a device has statistics of its own rows.
    by_device, _ = jax.shard_map(
      apply,
      mesh=mesh,
      in_specs=(jax.P('data'), jax.P('data')),
      out_specs=(jax.P('data'), jax.P()),
      check_vma=False,
    )(x, mask)
    alone, _ = jax.vmap(apply)(x.reshape(8, 2, 5), mask.reshape(8, 2))
    _close(by_device, alone.reshape(16, 3))

  @parameterized.parameters(
    (NOISE[:3], ValueError, r'`noise_mask` must have shape \[6\]'),
    (np.ones(6, np.int32), TypeError, '`noise_mask` must be bool'),
  )
  def test_errors(self, noise_mask, error, message):
    for norm in ('dar_batch', 'group'):
      with self.assertRaisesRegex(error, message):
        _model('mlp', norm).apply(
          _variables('mlp', norm), IMAGES, train=True, noise_mask=noise_mask
        )

  def test_words(self):
    self.assertEqual(models.BATCH_NORMS, ('batch', 'dar_batch'))
    for norm in models.NORMS:
      has_statistics = 'batch_stats' in _variables('mlp', norm)
      self.assertEqual(has_statistics, norm in models.BATCH_NORMS)


if __name__ == '__main__':
  absltest.main()
