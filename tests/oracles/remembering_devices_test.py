# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Links that remember gradients remember the same on eight devices."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import pytest

import imbsam_jax
from tests import problems
from tests import trees

pytestmark = pytest.mark.trains

_DEVICES = 8
# Name: link, group weights of a batch.
_LINKS = {
  'momentum_imbsam': (
    imbsam_jax.momentum_imbsam(0.3, decay=0.5),
    problems.head_tail_weights,
  ),
  'sam': (
    imbsam_jax.sam(0.3, average_decay=0.5),
    lambda labels: problems.mean_weights(),
  ),
  'sse_sam': (
    imbsam_jax.sse_sam(0.2, 0.3, average_decay=0.5),
    problems.head_tail_weights,
  ),
  'look_sam': (
    imbsam_jax.look_sam(0.3, every=2),
    lambda labels: problems.mean_weights(),
  ),
  'friendly_sam': (
    imbsam_jax.friendly_sam(0.3, lam=0.5),
    lambda labels: problems.mean_weights(),
  ),
}
_LABELS = tuple(tuple(np.roll(problems.LABELS, k)) for k in range(3))


def _steps(weights_fn):
  """Three batches and their weights, as arrays with a first axis of 3."""
  steps = [
    (problems.make_batch(labels, seed=seed), weights_fn(labels))
    for seed, labels in enumerate(_LABELS)
  ]
  return problems.to_jax(jax.tree.map(lambda *x: np.stack(x), *steps))


def _run(link, params, steps, *, sync=False, axis_name=None):
  """Gradients of three steps at the same parameters, and the last state."""
  state = link.init(params)
  found = []
  for step in range(3):
    batch, weights = jax.tree.map(lambda x, s=step: x[s], steps)
    _, grads, grad_fn = imbsam_jax.gradient_oracle(
      problems.loss_fn, params, batch, group_weights=weights
    )
    if sync:
      grads, local = _psum(grads), grad_fn
      grad_fn = lambda p, group, local=local: _psum(local(p, group))
    options = {} if axis_name is None else {'axis_name': axis_name}
    updates, state = link.update(
      grads, state, params, grad_fn=grad_fn, **options
    )
    found.append(updates if axis_name is None else _psum(updates))
  return found, state


def _psum(tree):
  return jax.lax.psum(tree, 'data')


@functools.cache
def _one_device(name):
  link, weights_fn = _LINKS[name]
  params = problems.to_jax(problems.make_params())
  return jax.jit(functools.partial(_run, link))(params, _steps(weights_fn))


_gradient = jax.jit(jax.grad(lambda *args: problems.loss_fn(*args)[0]))


def _ascent_by_device(name):
  """By hand, device by device, what is remembered being the sum of all."""
  params = problems.make_params()
  batches, weights = jax.tree.map(np.asarray, _steps(_LINKS[name][1]))

  def gradient(step, device, point):
    rows = slice(2 * device, 2 * device + 2)
    batch = jax.tree.map(lambda x: x[step, rows], batches)
    point = jax.tree.map(np.float32, point)
    return _gradient(point, batch, weights[step, 0, rows])

  def total(parts):
    return jax.tree.map(lambda *x: sum(map(np.float64, x)), *parts)

  def moved(direction):
    norm = trees.norm(direction)
    return jax.tree.map(
      lambda w, d: np.float32(w + 0.3 * d / norm), params, direction
    )

  memory, found = jax.tree.map(np.zeros_like, params), []
  for step in range(3):
    local = [gradient(step, device, params) for device in range(_DEVICES)]
    g = total(local)
    directions = local
    if name == 'friendly_sam':
      memory = jax.tree.map(lambda m, x: 0.5 * m + 0.5 * x, memory, g)
      # The mean over the rows of a device is eight times its share.
      directions = [
        jax.tree.map(lambda x, m: 8 * x - m, one, memory) for one in local
      ]
    if name == 'friendly_sam' or step % 2 == 0:
      sharp = total(
        gradient(step, device, moved(direction))
        for device, direction in enumerate(directions)
      )
      found.append(sharp)
      if name == 'look_sam':
        inner = sum(
          np.vdot(x, y)
          for x, y in zip(
            jax.tree.leaves(sharp), jax.tree.leaves(g), strict=True
          )
        )
        share = inner / trees.norm(g) ** 2
        memory = jax.tree.map(lambda s, x, c=share: s - c * x, sharp, g)
    else:
      ratio = 0.7 * trees.norm(g) / trees.norm(memory)
      found.append(jax.tree.map(lambda x, m, c=ratio: x + c * m, g, memory))
  return found, memory


def _mesh(axis_type=jax.sharding.AxisType.Auto):
  return jax.make_mesh((_DEVICES,), ('data',), axis_types=(axis_type,))


class DevicesTest(parameterized.TestCase):
  def _assert_close(self, found, expected):
    for one, other in zip(found, expected, strict=True):
      # What was made by hand is float64.
      other = jax.tree.map(lambda x, y: np.asarray(y, x.dtype), one, other)
      trees.assert_close(one, other, 2e-6)

  @parameterized.parameters(*_LINKS)
  def test_jit_over_a_mesh(self, name):
    link, weights_fn = _LINKS[name]
    mesh = _mesh()
    params = jax.device_put(
      problems.to_jax(problems.make_params()), jax.NamedSharding(mesh, jax.P())
    )
    batches, weights = _steps(weights_fn)
    batches = jax.device_put(
      batches, jax.NamedSharding(mesh, jax.P(None, 'data'))
    )
    found = jax.jit(functools.partial(_run, link))(params, (batches, weights))
    self._assert_close(found, _one_device(name))
    for leaf in jax.tree.leaves(found):
      self.assertTrue(leaf.sharding.is_fully_replicated)

  @parameterized.product(name=tuple(_LINKS), by_device=(False, True))
  def test_shard_map(self, name, by_device):
    link, weights_fn = _LINKS[name]

    # The state may only be given out as one if it is the same on all.
    @jax.jit
    @functools.partial(
      jax.shard_map,
      mesh=_mesh(),
      in_specs=(
        jax.P(),
        (jax.P(None, 'data'), jax.P(None, None, 'data')),
      ),
      out_specs=jax.P(),
    )
    def run(params, steps):
      params = jax.lax.pcast(params, 'data', to='varying')
      found, state = _run(
        link,
        params,
        steps,
        sync=not by_device,
        axis_name='data' if by_device else None,
      )
      return found, state

    found = run(problems.to_jax(problems.make_params()), _steps(weights_fn))
    self._assert_close(found, self._expected(name, by_device))

  @parameterized.product(name=tuple(_LINKS), by_device=(False, True))
  def test_pmap(self, name, by_device):
    link, weights_fn = _LINKS[name]
    batches, weights = _steps(weights_fn)
    batches = jax.tree.map(
      lambda x: x.reshape(3, _DEVICES, 2, *x.shape[2:]), batches
    )
    weights = weights.reshape(3, -1, _DEVICES, 2)

    @functools.partial(jax.pmap, axis_name='data', in_axes=(None, (1, 2)))
    def run(params, steps):
      return _run(
        link,
        params,
        steps,
        sync=not by_device,
        axis_name='data' if by_device else None,
      )

    found = run(problems.to_jax(problems.make_params()), (batches, weights))
    for device in range(_DEVICES):
      one = jax.tree.map(lambda x, d=device: np.asarray(x)[d], found)
      self._assert_close(one, self._expected(name, by_device))

  def _expected(self, name, by_device):
    if not by_device or name in ('momentum_imbsam', 'sam', 'sse_sam'):
      # The direction is that of all rows in any case.
      return _one_device(name)
    found, memory = _ascent_by_device(name)
    trees.assert_differ(found[2], _one_device(name)[0][2], 1e-3)
    return found, _one_device(name)[1]._replace(
      **{'average' if name == 'friendly_sam' else 'orthogonal': memory}
    )


if __name__ == '__main__':
  absltest.main()
