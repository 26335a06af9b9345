# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parameters that are loaded, and parameters that stay."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from imbsam_jax import losses
from imbsam_jax import training
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

methods = training.update_rules


def _supervised():
  return training.Supervised(losses.cross_entropy)


def _numpy_trunk(variables):
  """A trunk of ones, as a file has it: float64, and not of JAX."""
  trunk = jax.tree.map(
    lambda x: np.ones(x.shape, np.float64), variables['params']['trunk']
  )
  return {**variables, 'params': {**variables['params'], 'trunk': trunk}}


class FrozenTest(parameterized.TestCase):
  @parameterized.parameters('sgd', 'imbsam')
  def test_only_what_is_trained_moves(self, word):
    method = {
      'sgd': methods.sgd(tiny.COUNTS),
      'imbsam': methods.imbsam(tiny.COUNTS, 0.3, threshold=10),
    }[word]
    whole, _ = kinds.make(_supervised(), method, jit=False)
    state, step = kinds.make(
      _supervised(), method, plan=kinds.HEAD_ALONE, ema=True, ema_decay=0.75
    )
    for tree in (state.params, state.ema_params):
      self.assertEqual(list(tree), ['classifier'])
    self.assertEqual(list(state.frozen), ['trunk'])
    chex.assert_trees_all_equal(state.variables['params'], whole.params)

    batch = kinds.batches(method)[0]
    trunk = state.frozen['trunk']

    def of(head, weights):
      found = kinds.cross_entropy(
        {**head, 'trunk': trunk}, batch.rows['image'], batch.rows['label']
      )
      return jnp.sum(weights * found)

    slope = jax.jit(jax.grad(of))
    point = state.params
    if word == 'imbsam':  # The norm is that of what is trained, too.
      ascent = slope(point, batch.weights[1])
      norm = np.sqrt(sum((g**2).sum() for g in tiny.leaves(ascent)))
      point = jax.tree.map(lambda p, g: p + 0.3 * g / norm, point, ascent)
    expected = slope(point, batch.weights[-1])
    if word == 'imbsam':
      head = slope(state.params, batch.weights[0])
      expected = jax.tree.map(jnp.add, expected, head)
    after, _ = step(state, batch)
    chex.assert_trees_all_close(
      kinds.gradient(state, after), expected, rtol=1e-6, atol=3e-6
    )
    chex.assert_trees_all_equal(after.frozen, state.frozen)
    average = jax.tree.map(
      lambda p, q: 0.75 * p + 0.25 * q, state.params, after.params
    )
    chex.assert_trees_all_close(
      after.variables['params'],
      {**average, 'trunk': trunk},
      rtol=1e-6,
      atol=1e-6,
    )

  def test_the_optimiser_keeps_nothing_of_what_is_frozen(self):
    net = kinds.Net()
    tx = training.make_optimizer(
      methods.sgd(tiny.COUNTS).stages[0].link, 0.1, momentum=0.9
    )
    make = lambda **options: jax.eval_shape(  # noqa: E731
      lambda key: training.create_train_state(
        net, tx, key, jnp.zeros((1, 6)), **options
      ),
      jax.random.key(0),
    )

    def shapes(state):
      return [x.shape for x in jax.tree.leaves(state.opt_state) if x.ndim]

    width = kinds.WIDTH
    self.assertCountEqual(
      shapes(make(plan=kinds.HEAD_ALONE)), [(4,), (width, 4)]
    )
    self.assertCountEqual(
      shapes(make()), [(width,), (6, width), (4,), (width, 4)]
    )

  def test_nothing_trained(self):
    for path in ('trunk/kernel', 'classifier/bias'):
      with self.assertRaisesRegex(
        ValueError, f'no parameter would be trained.*{path}'
      ):
        kinds.make(
          _supervised(), plan=training.ParamPlan(trains=lambda path: False)
        )

  def test_parts_of_one_layer(self):
    plan = training.ParamPlan(trains=lambda path: path == ('trunk', 'bias'))
    whole, _ = kinds.make(_supervised(), jit=False)
    state, _ = kinds.make(_supervised(), plan=plan, jit=False)
    self.assertEqual(jax.tree.leaves(state.params)[0].shape, (kinds.WIDTH,))
    self.assertLen(jax.tree.leaves(state.frozen), 3)
    chex.assert_trees_all_equal(state.variables['params'], whole.params)

  def test_everything_trained_is_as_without_a_plan(self):
    plan = training.ParamPlan(trains=lambda path: True)
    chex.assert_trees_all_equal(
      kinds.make(_supervised(), plan=plan, jit=False)[0],
      kinds.make(_supervised(), jit=False)[0],
    )


class _Wide(nn.Module):
  """A trunk and a classifier that outweigh all else."""

  @nn.compact
  def __call__(self, images, *, train):
    features = nn.tanh(nn.Dense(160, name='trunk')(images))
    return nn.Dense(96, name='classifier')(features)


class FlopsTest(parameterized.TestCase):
  # Of the products of matrices: forward, gradients of weights, of inputs.
  @parameterized.named_parameters(
    ('All', lambda path: True, 2, 3),
    ('HeadAlone', lambda path: path[0] == 'classifier', 1, 2),
    ('TrunkAlone', lambda path: path[0] == 'trunk', 2, 2),
  )
  def test_no_backward_pass_of_what_is_frozen(self, trains, trunk, head):
    rows, inputs, width, classes = 256, 128, 160, 96
    tx = training.make_optimizer(
      methods.sgd(tiny.COUNTS).stages[0].link, 0.1, momentum=0.0
    )
    state = jax.eval_shape(
      lambda key: training.create_train_state(
        _Wide(),
        tx,
        key,
        jnp.zeros((1, inputs)),
        plan=training.ParamPlan(trains=trains),
      ),
      jax.random.key(0),
    )
    step = jax.jit(
      training.make_train_step(
        _Wide(), tx, losses.cross_entropy, lambda images: images
      )
    )
    batch = kinds.data.TrainBatch(
      {
        'image': np.zeros((rows, inputs), np.float32),
        'label': np.zeros(rows, np.int32),
      },
      np.ones((1, rows), np.float32) / rows,
    )
    flops = step.lower(state, batch).compile().cost_analysis()['flops']
    expected = 2 * rows * width * (trunk * inputs + head * classes)
    # Beside them: sums over rows, the loss, the update.
    np.testing.assert_allclose(flops, expected, rtol=0.05)


class CheckpointTest(absltest.TestCase):
  def test_does_not_hold_what_is_frozen(self):
    state, step = kinds.make(_supervised(), plan=kinds.HEAD_ALONE, ema=True)
    start = state
    state, _ = step(state, kinds.batches()[0])
    folder = tiny.folder(self)
    with training.Checkpoints(folder) as checkpoints:
      checkpoints.save(state)
    saved = ocp.metadata(f'{folder}/1').metadata
    self.assertNotIn('frozen', saved)
    for name in ('params', 'ema_params'):
      self.assertEqual(list(saved[name]), ['classifier'])
    self.assertNotIn('trunk', str(jax.tree.structure(saved)))

    other = jax.tree.map(lambda x: x + 1.0, start.frozen)
    with training.Checkpoints(folder, read_only=True) as checkpoints:
      restored, _ = checkpoints.restore(start)
      moved, _ = checkpoints.restore(start.replace(frozen=other))
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal(moved, state.replace(frozen=other))


class LoadTest(absltest.TestCase):
  def test_loaded_parameters_are_where_it_begins(self):
    for plan in (
      training.ParamPlan(load=_numpy_trunk),
      kinds.HEAD_ALONE._replace(load=_numpy_trunk),
    ):
      state, step = kinds.make(_supervised(), plan=plan, ema=True, jit=False)
      plain, _ = kinds.make(_supervised(), jit=False)
      found = state.variables['params']
      chex.assert_trees_all_equal(
        found['classifier'], plain.params['classifier']
      )
      for leaf in jax.tree.leaves(found['trunk']):
        self.assertIsInstance(leaf, jax.Array)
        self.assertEqual(leaf.dtype, jnp.float32)
        np.testing.assert_array_equal(leaf, 1.0)
    chex.assert_trees_all_equal(state.ema_params, state.params)

  def test_what_was_read_is_there_for_the_next_run(self):
    trunk = jax.tree.map(
      jnp.ones_like, kinds.make(_supervised(), jit=False)[0].params['trunk']
    )

    def load(variables):
      return {**variables, 'params': {**variables['params'], 'trunk': trunk}}

    plan = training.ParamPlan(load=load)
    state, step = kinds.make(_supervised(), plan=plan, jit=False)
    step = jax.jit(step, donate_argnums=0)
    step(state, kinds.batches()[0])
    again, _ = kinds.make(_supervised(), plan=plan, jit=False)
    np.testing.assert_array_equal(again.params['trunk']['bias'], 1.0)

  def test_of_another_model(self):
    def changed(change):
      def load(variables):
        params = jax.tree.map(lambda x: x, variables['params'])
        change(params)
        return {**variables, 'params': params}

      return training.ParamPlan(load=load)

    def transpose(params):
      params['trunk']['kernel'] = params['trunk']['kernel'].T

    for change, path in (
      (transpose, 'trunk.*kernel'),
      (lambda params: params.pop('classifier'), 'classifier.*bias'),
      (lambda params: params.update(more=jnp.ones(2)), 'more'),
    ):
      with self.assertRaisesRegex(ValueError, f'of another shape: .*{path}'):
        kinds.make(_supervised(), plan=changed(change), jit=False)


if __name__ == '__main__':
  absltest.main()
