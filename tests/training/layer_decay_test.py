# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""AdamW, factors by layer and what decays, against written-out NumPy."""

from absl.testing import absltest
from absl.testing import parameterized
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import training

_DECAY = 0.65

# Leaves of a transformer of 3 blocks: shape, number of the layer (None is the
# factor 1), and whether timm's rule decays it.
_LEAVES = {
  'trunk/patch_embed/kernel': ((2, 2, 1, 4), 0, True),
  'trunk/patch_embed/bias': ((4,), 0, False),
  'trunk/class_token': ((4,), 0, False),
  'trunk/position_embedding': ((3, 4), 0, False),
  'trunk/pre_norm/scale': ((4,), 0, False),
  'trunk/block0/norm1/scale': ((4,), 1, False),
  'trunk/block0/attention/query/kernel': ((4, 2, 2), 1, True),
  'trunk/block0/attention/query/bias': ((2, 2), 1, False),
  'trunk/block0/attention/query_norm/scale': ((2, 2), 1, False),
  'trunk/block0/prompts': ((2, 4), None, True),
  'trunk/block1/mlp/fc1/kernel': ((4, 8), 2, True),
  'trunk/block1/adaptformer/down/kernel': ((4, 2), None, True),
  'trunk/block1/attention/value/lora_a': ((4, 2), None, True),
  'trunk/block2/mlp/fc2/bias': ((4,), 3, False),
  'trunk/norm/scale': ((4,), 3, False),
  'trunk/norm/bias': ((4,), 3, False),
  'trunk/prompts': ((2, 4), None, True),
  'classifier/kernel': ((4, 3), 4, True),
  'classifier/bias': ((3,), 4, False),
}
_SHAPES = {path: shape for path, (shape, _, _) in _LEAVES.items()}
_FACTORS = {
  path: 1.0 if layer is None else _DECAY ** (4 - layer)
  for path, (_, layer, _) in _LEAVES.items()
}


def _tree(flat):
  return traverse_util.unflatten_dict(
    {path: jnp.asarray(x, jnp.float32) for path, x in flat.items()}, sep='/'
  )


def _flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def _draw(seed):
  rng = np.random.RandomState(seed)
  return {
    path: rng.randn(*shape).astype(np.float32)
    for path, shape in _SHAPES.items()
  }


def _clipped(gradients, norm):
  total = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradients))
  return [g.astype(np.float64) * min(1.0, norm / total) for g in gradients]


def _adamw(params, gradients, rates, *, b1, b2, eps, weight_decay, clip, decay):
  """AdamW with a group of parameters for each leaf, as torch has it."""
  weights = {path: p.astype(np.float64) for path, p in params.items()}
  mean = {path: np.zeros(p.shape) for path, p in params.items()}
  square = {path: np.zeros(p.shape) for path, p in params.items()}
  for t, (given, base) in enumerate(zip(gradients, rates, strict=True), 1):
    clipped = _clipped(list(given.values()), clip)
    for (path, w), g in zip(weights.items(), clipped, strict=True):
      rate = base * _FACTORS[path]
      w *= 1 - rate * weight_decay * (decay == 'all' or _LEAVES[path][2])
      mean[path] = b1 * mean[path] + (1 - b1) * g
      square[path] = b2 * square[path] + (1 - b2) * g**2
      root = np.sqrt(square[path] / (1 - b2**t)) + eps
      w -= rate * mean[path] / (1 - b1**t) / root
  return weights


def _sgd(params, gradients, rates, *, momentum, weight_decay, decay):
  """SGD of torch, with a group of parameters for each leaf."""
  weights = {path: p.astype(np.float64) for path, p in params.items()}
  buffers = {path: np.zeros(p.shape) for path, p in params.items()}
  for given, base in zip(gradients, rates, strict=True):
    for path, w in weights.items():
      wd = weight_decay * (decay == 'all' or _LEAVES[path][2])
      buffers[path] = momentum * buffers[path] + given[path] + wd * w
      w -= base * _FACTORS[path] * buffers[path]
  return weights


def _trained(tx, params, gradients):
  @jax.jit
  def step(params, state, gradient):
    updates, state = tx.update(gradient, state, params)
    return optax.apply_updates(params, updates), state

  params, state = _tree(params), tx.init(_tree(params))
  for gradient in gradients:
    params, state = step(params, state, _tree(gradient))
  return _flat(params), state


_RATES = (0.1, 0.2, 0.05)


def _schedule(count):
  return jnp.asarray(_RATES, jnp.float32)[count]


class TrajectoryTest(parameterized.TestCase):
  @parameterized.parameters('kernels', 'all')
  def test_adamw(self, decay):
    numbers = dict(b1=0.8, b2=0.95, eps=1e-3)
    params, gradients = _draw(0), [_draw(1), _draw(2), _draw(3)]
    gradients[1] = {path: 0.01 * g for path, g in gradients[1].items()}
    tx = training.make_optimizer(
      optax.identity(),
      _schedule,
      optimizer='adamw',
      weight_decay=0.5,
      decay=decay,
      clip_norm=1.0,
      layer_decay=_DECAY,
      **numbers,
    )
    found, _ = _trained(tx, params, gradients)
    expected = _adamw(
      params, gradients, _RATES, weight_decay=0.5, clip=1.0, decay=decay,
      **numbers,
    )  # fmt: skip
    self.assertCountEqual(found, expected)
    for path, value in expected.items():
      np.testing.assert_allclose(
        found[path], value, rtol=1e-6, atol=1e-6, err_msg=path
      )

  @parameterized.parameters('kernels', 'all')
  def test_sgd(self, decay):
    params, gradients = _draw(0), [_draw(1), _draw(2), _draw(3)]
    tx = training.make_optimizer(
      optax.identity(),
      _schedule,
      momentum=0.7,
      weight_decay=0.5,
      decay=decay,
      layer_decay=_DECAY,
    )
    found, state = _trained(tx, params, gradients)
    expected = _sgd(
      params, gradients, _RATES, momentum=0.7, weight_decay=0.5, decay=decay
    )
    for path, value in expected.items():
      np.testing.assert_allclose(
        found[path], value, rtol=1e-6, atol=1e-6, err_msg=path
      )
    # Factors keep no state.
    self.assertLen(jax.tree.leaves(state), 3 + len(_LEAVES) + 1)

  def test_a_factor_of_1_is_none(self):
    params, gradients = _draw(0), [_draw(1), _draw(2)]
    found = []
    for layer_decay in (None, 1.0):
      tx = training.make_optimizer(
        optax.identity(), 0.1, optimizer='adamw', layer_decay=layer_decay
      )
      found.append(_trained(tx, params, gradients)[0])
    for path in _LEAVES:
      np.testing.assert_array_equal(found[0][path], found[1][path])


class LayerFactorsTest(parameterized.TestCase):
  def test_layers_of_timm(self):
    found = _flat(training.layer_factors(_tree(_draw(0)), _DECAY))
    for path, factor in _FACTORS.items():
      self.assertAlmostEqual(found[path], factor, 12, path)

  def test_the_last_blocks_alone(self):
    # What is frozen is not among the parameters; the depth is known all the
    # same.
    kept = ('trunk/block2', 'trunk/norm', 'classifier')
    params = {p: x for p, x in _draw(0).items() if p.startswith(kept)}
    found = _flat(training.layer_factors(_tree(params), _DECAY))
    self.assertEqual(found, {path: _FACTORS[path] for path in params})

  @parameterized.parameters(
    (['Conv_0/kernel', 'classifier/kernel'], 'numbered.*in Conv_0, classifier'),
    (['trunk/block0/prompts', 'classifier/kernel'], 'has no effect'),
    (['block0/mlp/kernel', 'stem/kernel'], 'known how near .* stem/kernel is'),
  )
  def test_what_has_no_layers(self, paths, message):
    params = _tree({path: np.ones((2, 2)) for path in paths})
    tx = training.make_optimizer(optax.identity(), 0.1, layer_decay=0.5)
    with self.assertRaisesRegex(ValueError, message):
      tx.init(params)

  @parameterized.parameters(
    (0.0, ValueError), (1.5, ValueError), ('x', TypeError)
  )
  def test_decay_out_of_range(self, decay, error):
    with self.assertRaisesRegex(error, '`layer_decay` must be'):
      training.layer_factors(_tree(_draw(0)), decay)


if __name__ == '__main__':
  absltest.main()
