# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every kind of objective on eight devices is what it is on one."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import methods
from imbsam_jax import models
from imbsam_jax import schedules
from imbsam_jax import training
from tests.training import tiny_objectives as kinds
from tests.training import tiny_training as tiny

_STEPS = 3


class _All(kinds.Queue):
  """A queue, of attacked rows, two views and a loss of further streams."""

  num_views = 2

  def prepare(self, ctx, rows):
    return kinds.Adversary().prepare(ctx, rows)

  def __call__(self, ctx, apply, rows):
    outcome = super().__call__(ctx, apply, rows)
    views = kinds.Views()(ctx, apply, rows)
    shared = kinds.Auxiliary()(ctx, apply, rows).shared
    return outcome._replace(losses=outcome.losses + views.losses, shared=shared)


def _penalised():
  return training.Supervised(
    losses.cross_entropy,
    penalty=lambda params: sum((x**2).sum() for x in jax.tree.leaves(params)),
  )


def _word(scheme, **options):
  """What a scheme of the library brings, on an MLP."""
  time = schedules.Timeline(np.array(tiny.COUNTS), 1, tiny.BATCH_SIZE)
  part = methods.make_part('scheme', scheme, methods.Setup(time, (6,)))
  network = models.MLP(num_classes=kinds.NUM_CLASSES, widths=(7, 5))
  objective = part.objective(training.Supervised(losses.cross_entropy))
  return objective, {'net': part.model(network), **options}


# By name an objective, and further arguments of `tiny_objectives.make`.
_KINDS = {
  'all': (_All(), {'augment': kinds.noise, 'plan': kinds.HEAD_ALONE}),
  'outer': (kinds.Weighted(every=1, start=0), {'outer': True}),
  'queue': (kinds.Queue(), {}),
  'streams': (kinds.Auxiliary(), {}),
  'views': (kinds.Views(), {'augment': kinds.noise}),
  'clean': (kinds.Adversary(), {}),
  'frozen': (_penalised(), {'plan': kinds.HEAD_ALONE}),
  'bbn': _word('bbn'),
  'rescom': _word('rescom(dim=4, size=3)', augment=kinds.noise),
}
# Those whose rows come in pairs.
_PAIRED = ('bbn',)


@functools.cache
def _batches(paired):
  # Rows of a device weigh more than those of another.
  class_weights = np.array([0.5, 1.0, 2.0, 3.0], np.float32)
  batches = kinds.batches(
    indexed=True,
    reweighting=data.Reweighting(lambda step: class_weights, 'mean'),
    out=kinds.stream(),
    again=kinds.stream(examples=kinds.indexed_examples(), seed=6),
    validation=kinds.stream(seed=8),
  )
  if paired:
    batches = data.paired_batches(
      *(
        data.shuffled_order(
          sum(tiny.COUNTS), batch_size=tiny.BATCH_SIZE, seed=seed
        )
        for seed in (0, 1)
      ),
      kinds.indexed_examples(),
      training.update_rules.sgd(tiny.COUNTS).group_weights_by_class,
      reweighting=data.Reweighting(lambda step: class_weights, 'mean'),
    )
  return [batches[step] for step in range(_STEPS)]


def _make(kind, **more):
  objective, options = _KINDS[kind]
  return kinds.make(objective, jit=False, **options, **more)


def _run(kind, step, state, mesh):
  resident_images = training.replicate(mesh, tiny.examples().images)
  state = training.replicate(mesh, state)
  losses_seen = []
  for batch in _batches(kind in _PAIRED):
    batch = training.shard_batch(mesh, batch, resident_images=resident_images)
    state, metrics = step(state, batch)
    losses_seen.append(metrics['loss'])
  return state, losses_seen


@functools.cache
def _on_one(kind):
  state, step = _make(kind)
  mesh = training.data_mesh(jax.devices()[:1])
  return jax.device_get(_run(kind, jax.jit(step), state, mesh))


def _by_device(kind):
  """State and step of devices that have their rows alone until the link."""
  return _make(kind, wrap_link=training.per_device_link, axis_name='data')


def _assert_same(kind, found):
  ends = [
    (state.replace(opt_state=jax.tree.leaves(state.opt_state)), seen)
    for state, seen in (jax.device_get(found), _on_one(kind))
  ]
  chex.assert_trees_all_close(*ends, rtol=1e-5, atol=1e-5)


def _check_sharded(kind):
  state, step = _make(kind)
  _assert_same(kind, _run(kind, jax.jit(step), state, training.data_mesh()))


def _check_by_device(kind):
  state, step = _by_device(kind)
  mesh = training.data_mesh()
  step = jax.jit(training.per_device(step, mesh))
  found = _run(kind, step, state, mesh)
  _assert_same(kind, found)
  # What is remembered is the same on every device.
  for leaf in jax.tree.leaves(found[0]):
    copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
    for copy in copies[1:]:
      np.testing.assert_array_equal(copy, copies[0])


class DevicesTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    assert len(jax.devices()) == 8

  @parameterized.parameters('all', 'outer')
  def test_sharded(self, kind):
    _check_sharded(kind)

  @parameterized.parameters('all', 'outer')
  def test_by_device(self, kind):
    _check_by_device(kind)

  def test_rows_of_a_stream_are_spread(self):
    seen = []

    class Sees(kinds.Auxiliary):
      def __call__(self, ctx, apply, rows):
        seen.append(jax.tree.map(lambda x: x.shape, ctx.streams['out']))
        return super().__call__(ctx, apply, rows)

    mesh = training.data_mesh()
    state, step = kinds.make(
      Sees(),
      jit=False,
      wrap_link=training.per_device_link,
      axis_name='data',
    )
    batch = training.shard_batch(mesh, kinds.batches(out=kinds.stream())[0])
    jax.eval_shape(training.per_device(step, mesh), state, batch)
    own = {'image': (1, 6)} | dict.fromkeys(('example', 'label', 'place'), (1,))
    self.assertEqual(seen[0], own)
    for leaf in jax.tree.leaves(batch.streams):
      self.assertEqual(leaf.sharding.spec, jax.P('data'))
    stacked = training.shard_batch(
      mesh,
      data.stack_batches(
        [kinds.batches(out=kinds.stream())[k] for k in (0, 1)]
      ),
      stacked=True,
    )
    for leaf in jax.tree.leaves(stacked.streams):
      self.assertEqual(leaf.sharding.spec, jax.P(None, 'data'))


@pytest.mark.extended
class EachKindTest(parameterized.TestCase):
  @parameterized.parameters(*sorted(_KINDS.keys() - {'all', 'outer'}))
  def test_sharded(self, kind):
    _check_sharded(kind)

  @parameterized.parameters(*sorted(_KINDS.keys() - {'all', 'outer'}))
  def test_by_device(self, kind):
    _check_by_device(kind)

  @parameterized.parameters(*_KINDS)
  def test_pmap(self, kind):
    state, step = _by_device(kind)
    resident_images = tiny.examples().images

    def cut(x, axis=0):
      """``[8, ...]`` of the rows along an axis."""
      return np.stack(np.split(x, 8, axis=axis))

    step = jax.pmap(step, axis_name='data', in_axes=(None, 0), out_axes=None)
    seen = []
    for batch in _batches(kind in _PAIRED):
      batch = dataclasses.replace(
        batch,
        rows=jax.tree.map(cut, batch.rows),
        weights=cut(batch.weights, axis=1),
        streams=jax.tree.map(cut, batch.streams),
        resident_images=np.stack([resident_images] * 8),
      )
      state, metrics = step(state, batch)
      seen.append(metrics['loss'])
    _assert_same(kind, (state, seen))


if __name__ == '__main__':
  absltest.main()
