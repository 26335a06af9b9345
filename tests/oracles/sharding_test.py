# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Eight devices equal one: jit over a mesh, pmap and shard_map."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import imbsam_jax
from tests import problems
from tests import trees

pytestmark = pytest.mark.trains

DEVICES = 8
MEAN, HEAD_TAIL = problems.mean_weights(), problems.head_tail_weights()
# Name: link, group weights.
LINKS = {
  'group_sam': (imbsam_jax.group_sam((0.2, None)), HEAD_TAIL),
  'sam': (imbsam_jax.sam(0.3), MEAN),
  'asam': (imbsam_jax.sam(0.3, adaptive=True), MEAN),
  'imbsam': (imbsam_jax.imbsam(0.3), HEAD_TAIL),
  'sse_sam': (imbsam_jax.sse_sam(0.2, 0.3), HEAD_TAIL),
  'focal_sam': (imbsam_jax.focal_sam(0.3), HEAD_TAIL),
  'rsam': (imbsam_jax.rsam(0.3, key=jax.random.key(0)), MEAN),
  'look_sam': (imbsam_jax.look_sam(0.3), MEAN),
  'gsam': (imbsam_jax.gsam(0.3, alpha=0.5), MEAN),
  'skip_nonfinite': (
    imbsam_jax.skip_nonfinite(
      optax.chain(imbsam_jax.imbsam(0.3), optax.sgd(0.1, momentum=0.9))
    ),
    HEAD_TAIL,
  ),
}


def _updates(params, batch, states):
  """One update of each link that has a state among `states`."""
  found, new_states = {}, {}
  for name, state in states.items():
    link, weights = LINKS[name]
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      problems.loss_fn, params, batch, group_weights=weights
    )
    found[name], new_states[name] = link.update(
      grads, state, params, grad_fn=grad_fn
    )
  return found, new_states


@functools.cache
def _updates_of_one_device():
  params = problems.to_jax(problems.make_params())
  return jax.jit(_updates)(
    params,
    problems.to_jax(problems.make_batch()),
    {name: link.init(params) for name, (link, _) in LINKS.items()},
  )


class JitTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('Auto', jax.sharding.AxisType.Auto, tuple(LINKS)),
    ('Explicit', jax.sharding.AxisType.Explicit, ('imbsam', 'rsam')),
  )
  def test_batch_over_a_mesh(self, axis_type, names):
    params = problems.to_jax(problems.make_params())
    batch = problems.to_jax(problems.make_batch())
    states = {name: LINKS[name][0].init(params) for name in names}
    mesh = jax.make_mesh((DEVICES,), ('data',), axis_types=(axis_type,))
    with jax.set_mesh(mesh):
      replicated = jax.NamedSharding(mesh, jax.P())
      params, states = jax.device_put((params, states), replicated)
      batch = jax.device_put(batch, jax.NamedSharding(mesh, jax.P('data')))
      found, new_states = jax.jit(_updates)(params, batch, states)
    expected, expected_states = _updates_of_one_device()
    for name in names:
      trees.assert_close(found[name], expected[name], 1e-6)
      trees.assert_close(new_states[name], expected_states[name], 1e-6)
    for old, new in zip(
      jax.tree.leaves(states), jax.tree.leaves(new_states), strict=True
    ):
      self.assertTrue(new.sharding.is_equivalent_to(old.sharding, new.ndim))
      self.assertEqual(jax.typeof(new), jax.typeof(old))


def _per_device(tree):
  """Rows dealt to devices: leading axes [devices, rows]."""
  return jax.tree.map(
    lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), problems.to_jax(tree)
  )


def _weights_per_device(weights):
  return weights.reshape(len(weights), DEVICES, -1).swapaxes(0, 1)


def _psum(tree):
  return jax.lax.psum(tree, 'data')


def _update(link, params, batch, weights, *, sync):
  """One update from the rows of one device."""
  _, grads, grad_fn = imbsam_jax.gradient_oracle(
    problems.loss_fn, params, batch, group_weights=weights
  )
  if sync:
    grads, local = _psum(grads), grad_fn
    grad_fn = lambda p, group: _psum(local(p, group))
  return link.update(grads, link.init(params), params, grad_fn=grad_fn)[0]


@functools.cache
def _global_ascent(name):
  return problems.gradient(
    LINKS[name][0],
    problems.make_params(),
    problems.make_batch(),
    LINKS[name][1],
  )


@functools.cache
def _per_device_ascent(name):
  """The sum over devices, each with a perturbation of its own: a loop."""
  link, weights = LINKS[name]
  total = jax.jit(
    lambda params, batch, weights: jax.tree.map(
      lambda x: x.sum(axis=0),
      jax.vmap(functools.partial(_update, link, params, sync=False))(
        batch, weights
      ),
    )
  )
  return total(
    problems.to_jax(problems.make_params()),
    _per_device(problems.make_batch()),
    _weights_per_device(weights),
  )


class ManualTest(parameterized.TestCase):
  """Weights of the global batch, gradients summed over devices."""

  @parameterized.parameters('sse_sam', 'rsam')
  def test_pmap(self, name):
    link, weights = LINKS[name]
    params = problems.to_jax(problems.make_params())

    @functools.partial(jax.pmap, axis_name='data', in_axes=(None, 0, 0))
    def run(params, batch, weights):
      synced = _update(link, params, batch, weights, sync=True)
      unsynced = _update(link, params, batch, weights, sync=False)
      return synced, _psum(unsynced)

    synced, unsynced = run(
      params, _per_device(problems.make_batch()), _weights_per_device(weights)
    )
    self._assert_equal_on_devices(synced, _global_ascent(name))
    self._assert_equal_on_devices(unsynced, _per_device_ascent(name))
    self._assert_ascents_differ(name)

  @parameterized.parameters('sse_sam', 'rsam')
  def test_shard_map(self, name):
    link, weights = LINKS[name]
    mesh = jax.make_mesh(
      (DEVICES,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )

    @jax.jit
    @functools.partial(
      jax.shard_map,
      mesh=mesh,
      in_specs=(jax.P(), jax.P('data'), jax.P(None, 'data')),
      out_specs=jax.P(),
    )
    def run(params, batch, weights):
      # Otherwise gradients are summed over devices already.
      params = jax.lax.pcast(params, 'data', to='varying')
      synced = _update(link, params, batch, weights, sync=True)
      unsynced = _update(link, params, batch, weights, sync=False)
      return synced, _psum(unsynced)

    synced, unsynced = run(
      *problems.to_jax((problems.make_params(), problems.make_batch(), weights))
    )
    trees.assert_close(synced, _global_ascent(name), 1e-6)
    trees.assert_close(unsynced, _per_device_ascent(name), 1e-6)

  def test_shard_map_with_replicated_parameters_is_global_as_it_is(self):
    # Without `pcast` every gradient comes back summed: nothing to sync.
    link, weights = LINKS['imbsam']
    mesh = jax.make_mesh(
      (DEVICES,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
    )
    run = jax.jit(
      jax.shard_map(
        functools.partial(_update, link, sync=False),
        mesh=mesh,
        in_specs=(jax.P(), jax.P('data'), jax.P(None, 'data')),
        out_specs=jax.P(),
      )
    )
    found = run(
      *problems.to_jax((problems.make_params(), problems.make_batch(), weights))
    )
    trees.assert_close(found, _global_ascent('imbsam'), 1e-6)

  def test_rsam_draws_the_same_noise_on_every_device(self):
    link, weights = LINKS['rsam']

    @functools.partial(jax.pmap, axis_name='data', in_axes=(None, 0))
    def noise(params, batch):
      points = []

      def grad_fn(point, group):
        del group
        points.append(point)
        return point

      del batch
      link.update(params, link.init(params), params, grad_fn=grad_fn)
      return jax.tree.map(jnp.subtract, points[0], params)

    params = problems.to_jax(problems.make_params())
    found = noise(params, jnp.zeros(DEVICES))
    first = jax.tree.map(lambda x: np.asarray(x)[0], found)
    self.assertGreater(trees.norm(first), 0.1)
    for device in range(DEVICES):
      trees.assert_equal(
        jax.tree.map(lambda x, i=device: np.asarray(x)[i], found), first
      )

  def _assert_equal_on_devices(self, found, expected):
    for device in range(DEVICES):
      one = jax.tree.map(lambda x, i=device: np.asarray(x)[i], found)
      trees.assert_close(one, expected, 1e-6)

  def _assert_ascents_differ(self, name):
    globally, locally = _global_ascent(name), _per_device_ascent(name)
    if name == 'rsam':  # No ascent: noise knows no data.
      trees.assert_close(locally, globally, 1e-6)
    else:
      trees.assert_differ(locally, globally, 1e-3)


if __name__ == '__main__':
  absltest.main()
