# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several steps in one call, several runs in one program, images on devices."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import training
from tests.training import tiny_training

_COUNTS = np.array(tiny_training.COUNTS)
_NUM_STEPS = 11


def _imbsam(rho=0.2):
  return training.update_rules.imbsam(_COUNTS, rho, threshold=6)


def _sse_sam(rho=0.2):
  return training.update_rules.sse_sam(
    _COUNTS, 0.1, rho, threshold=6, switch_step=6
  )


def _assert_close(one, two, rtol=1e-5, atol=1e-6):
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
  for x, y in pairs:
    np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


class _Setting:
  """Steps that look images up on the device and add noise to them."""

  def __init__(self, method, *, noise=0.1, mesh=None):
    self.method = method
    self.mesh = mesh or training.data_mesh(jax.devices()[:1])
    self.examples = tiny_training.examples()
    self.model = tiny_training.TinyNet()
    self.resident_images = training.replicate(self.mesh, self.examples.images)
    self.noise = noise

  def chain(self, stage, method=None):
    method = method or self.method
    return training.make_optimizer(method.stages[stage].link, 0.1)

  def step(self, stage, method=None):
    def add_noise(key, image):
      return image + self.noise * jax.random.normal(key, image.shape)

    return training.make_train_step(
      self.model,
      self.chain(stage, method),
      losses.cross_entropy,
      training.Inputs(lambda images: images, add_noise if self.noise else None),
    )

  def state(self, seed=0):
    state = training.create_train_state(
      self.model, self.chain(0), jax.random.key(seed), jnp.zeros((1, 6))
    )
    return training.replicate(self.mesh, state)

  def batches(self, seed=0, *, layout='split', indexed=True):
    examples = self.examples
    if indexed:
      indices = np.arange(len(examples.labels), dtype=np.int32)
      examples = examples._replace(images=indices)
    # One size, so that there is one program to compile.
    order = data.stratified_order(
      _COUNTS[examples.labels] < 6,
      batch_size=tiny_training.BATCH_SIZE,
      seed=seed,
    )
    arguments = (order, examples, self.method.group_weights_by_class)
    if layout == 'joint':
      return data.joint_batches(*arguments)
    return data.split_batches(*arguments, row_multiple=self.mesh.size)

  def put(self, batch, *, resident_images=True, stacked=False):
    return training.shard_batch(
      self.mesh,
      batch,
      resident_images=self.resident_images if resident_images else None,
      stacked=stacked,
    )

  def fit(self, *, seed=0, layout='split', indexed=True, **options):
    steps = [jax.jit(self.step(k)) for k in range(len(self.method.stages))]

    def train_step(step):
      return steps[self.method.stages.index(self.method.stage(step))]

    return training.fit(
      self.state(seed),
      train_step,
      self.batches(seed, layout=layout, indexed=indexed),
      num_steps=_NUM_STEPS,
      put_batch=lambda batch: self.put(batch, resident_images=indexed),
      **options,
    )[0]

  def scanned(self, number):
    steps = [
      jax.jit(training.scan_steps(self.step(k)))
      for k in range(len(self.method.stages))
    ]
    return training.ScannedSteps(
      number,
      lambda step: steps[self.method.stages.index(self.method.stage(step))],
      lambda batch: self.put(batch, stacked=True),
    )


class TableTest(parameterized.TestCase):
  def test_rows_from_the_table_are_the_rows(self):
    setting = _Setting(_imbsam(), noise=0.0)
    chex.assert_trees_all_equal(
      setting.fit().params, setting.fit(indexed=False).params
    )


class AugmentTest(parameterized.TestCase):
  def test_layouts_see_the_same_images(self):
    setting = _Setting(_imbsam())
    one, two = setting.fit(layout='joint'), setting.fit(layout='split')
    _assert_close(one.params, two.params)
    # It does something, and not the same at every step.
    plain = _Setting(_imbsam(), noise=0.0).fit()
    moved = np.abs(
      one.params['Dense_0']['kernel'] - plain.params['Dense_0']['kernel']
    )
    self.assertGreater(moved.max(), 1e-3)

  @pytest.mark.extended
  def test_devices_see_the_same_images(self):
    one = _Setting(_imbsam())
    many = _Setting(_imbsam(), mesh=training.data_mesh())
    self.assertGreater(many.mesh.size, 1)
    _assert_close(one.fit().params, many.fit().params)

  @pytest.mark.extended
  def test_passes_of_a_step_see_the_same_images_and_rows_their_own(self):
    seen = []

    def spy(key, image):
      noise = jax.random.normal(key, image.shape)
      jax.debug.callback(lambda x: seen.append(np.array(x)), noise)
      return image + noise

    setting = _Setting(training.update_rules.sam(_COUNTS, 0.1))
    step = training.make_train_step(
      setting.model,
      setting.chain(0),
      losses.cross_entropy,
      training.Inputs(lambda images: images, spy),
    )
    batches = setting.batches(layout='joint')
    state = setting.state()
    for number in range(2):
      state, _ = step(state, setting.put(batches[number]))
    jax.effects_barrier()
    # Drawn once per row and step, although SAM has two passes.
    rows = np.concatenate([x.reshape(-1, 6) for x in seen])
    self.assertEqual(rows.shape, (2 * tiny_training.BATCH_SIZE, 6))
    self.assertLen(np.unique(rows, axis=0), len(rows))


class ScanTest(parameterized.TestCase):
  def test_several_steps_are_the_steps(self):
    # 11 steps, a stage that begins at 6, a mark at 5: remainders everywhere.
    number = 2
    setting = _Setting(_sse_sam())
    calls = []
    scanned = setting.scanned(number)
    counted = scanned._replace(
      steps=lambda step: calls.append(step) or scanned.steps(step)
    )
    histories = []
    for options in ({}, {'scanned': counted}):
      records = []
      state = setting.fit(
        **options,
        evaluate=lambda state: {'step': float(state.step)},
        evaluate_at=(5,),
        describe=lambda step, batch: {'tail': len(batch.weights[1])},
        on_progress=records.extend,
      )
      histories.append((state, records))
    (one, expected), (two, found) = histories
    _assert_close(one, two)
    self.assertLen(found, _NUM_STEPS)
    for record, other in zip(found, expected, strict=True):
      self.assertEqual(record['step'], other['step'])
      self.assertAlmostEqual(record['loss'], other['loss'], places=5)
      self.assertGreaterEqual(record['tail'], other['tail'])
    # None crosses the mark at 5 or the stage at 6.
    self.assertNotEmpty(calls)
    for step in calls:
      for border in (5, 6):
        self.assertFalse(step < border < step + number, (step, border))

  def test_no_call_goes_over_a_step_with_another_program(self):
    calls = []

    def program(number):
      def step(state, batch):
        del batch
        calls.append((int(state.step), number))
        metrics = {'loss': np.zeros(number)}
        return state.replace(step=state.step + number), metrics

      return step

    usual, other, scanned = program(1), program(1), program(3)
    setting = _Setting(_imbsam())
    training.fit(
      setting.state(),
      lambda step: other if step % 4 == 1 else usual,
      setting.batches(),
      num_steps=9,
      put_batch=lambda batch: batch,
      scanned=training.ScannedSteps(3, lambda step: scanned, lambda b: b),
      # A signal in the last call comes too late to matter.
      stop=lambda: calls[-1][0] == 6,
    )
    self.assertEqual(calls, [(0, 1), (1, 1), (2, 3), (5, 1), (6, 3)])


class StackedTest(parameterized.TestCase):
  @pytest.mark.extended
  def test_each_run_is_what_it_is_alone(self):
    rhos = (0.05, 0.2, 0.4)
    setting = _Setting(_imbsam())

    def step_with_radius(state, batch, rho):
      return setting.step(0, _imbsam(rho))(state, batch)

    stacked_step = jax.jit(training.stack_runs(step_with_radius))
    folders = [tiny_training.folder(self) for _ in rhos]
    checkpoints = [training.Checkpoints(folder) for folder in folders]
    records = []
    states, seconds = training.fit_stacked(
      [setting.state(seed) for seed in range(3)],
      lambda step: stacked_step,
      [setting.batches(seed) for seed in range(3)],
      num_steps=_NUM_STEPS,
      put_batches=lambda batch: setting.put(batch, stacked=True),
      parameters=(jnp.array(rhos),),
      checkpoints=checkpoints,
      checkpoint_at=(4,),
      on_progress=records.extend,
    )
    self.assertGreater(seconds, 0)
    for seed, rho in enumerate(rhos):
      alone = _Setting(_imbsam(rho)).fit(seed=seed)
      _assert_close(states[seed].params, alone.params)
      self.assertEqual(int(states[seed].step), _NUM_STEPS)
      checkpoints[seed].close()
      saved = training.Checkpoints(folders[seed], read_only=True)
      restored, _ = saved.restore(alone)
      chex.assert_trees_all_equal(restored.params, states[seed].params)
      saved.close()
    kernels = [state.params['Dense_0']['kernel'] for state in states]
    self.assertGreater(np.abs(kernels[0] - kernels[1]).max(), 1e-2)
    self.assertEqual(
      [record['step'] for record in records], list(range(1, _NUM_STEPS + 1))
    )

  @pytest.mark.faults
  def test_f9_one_that_diverges_is_given_up(self):
    setting = _Setting(_imbsam(), noise=0.0)
    broken = setting.batches(1)
    bad = jax.tree.map(
      lambda x: x * np.nan if x.dtype == np.float32 else x, broken[0]
    )
    step = jax.jit(training.stack_runs(setting.step(0)))
    with self.assertRaisesRegex(training.DivergedError, 'steps 1 to'):
      training.fit_stacked(
        [setting.state(seed) for seed in range(2)],
        lambda number: step,
        [setting.batches(0), [bad] * 50],
        num_steps=50,
        put_batches=lambda batch: setting.put(batch, stacked=True),
      )


class PerDeviceTest(parameterized.TestCase):
  def test_a_remembered_direction_is_that_of_all_rows(self):
    method = training.update_rules.momentum_imbsam(_COUNTS, 0.3, threshold=10)
    ends = []
    for devices in (4, 1):
      mesh = training.data_mesh(jax.devices()[:devices])
      batches = _Setting(method, mesh=mesh).batches(
        layout='joint', indexed=False
      )
      step, end = self._step(method, mesh, by_device=devices > 1)
      for number in range(3):
        end, _ = step(end, training.shard_batch(mesh, batches[number]))
      for leaf in jax.tree.leaves(end.opt_state):
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        for shard in shards[1:]:
          np.testing.assert_array_equal(shard, shards[0])
      ends.append(end)
    _assert_close(ends[0].params, ends[1].params)
    _assert_close(
      ends[0].opt_state.inner_state[0][0].average,
      ends[1].opt_state.inner_state[0].average,
    )

  def _step(self, method, mesh, *, by_device):
    link = method.stages[0].link
    tx = training.make_optimizer(
      training.per_device_link(link) if by_device else link, 0.1
    )
    model = tiny_training.TinyNet()
    step = training.make_train_step(
      model,
      tx,
      losses.cross_entropy,
      lambda images: images,
      axis_name='data' if by_device else None,
    )
    if by_device:
      step = training.per_device(step, mesh)
    state = training.create_train_state(
      model, tx, jax.random.key(0), jnp.zeros((1, 6))
    )
    return jax.jit(step), training.replicate(mesh, state)

  def test_is_the_mean_of_ascents_of_the_parts(self):
    # SAM on each device's rows by itself, written out with the plain step.
    mesh = training.data_mesh(jax.devices()[:4])
    method = training.update_rules.sam(_COUNTS, 0.3)
    setting = _Setting(method, mesh=mesh)
    batch = setting.batches(layout='joint', indexed=False)[0]
    step, state = self._step(method, mesh, by_device=True)
    found, metrics = step(state, training.shard_batch(mesh, batch))
    alone = training.data_mesh(jax.devices()[:1])
    plain, start = self._step(method, alone, by_device=False)
    parts = []
    for k in range(4):
      rows = slice(4 * k, 4 * k + 4)
      part = data.TrainBatch(
        jax.tree.map(lambda x, rows=rows: x[rows], batch.rows),
        batch.weights[:, rows],
      )
      after, _ = plain(start, training.shard_batch(alone, part))
      parts.append(
        jax.tree.map(lambda a, b: np.asarray(a - b), after.params, start.params)
      )
    expected = jax.tree.map(
      lambda w, *moves: np.asarray(w) + sum(moves), start.params, *parts
    )
    _assert_close(found.params, expected)
    together, all_metrics = plain(start, training.shard_batch(alone, batch))
    for name in ('loss', 'train_accuracy'):
      np.testing.assert_allclose(metrics[name], all_metrics[name], rtol=1e-5)
    difference = jax.tree.map(
      lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max(),
      found.params,
      together.params,
    )
    self.assertGreater(max(jax.tree.leaves(difference)), 1e-4)

  def test_without_perturbation_it_is_the_plain_step(self):
    mesh = training.data_mesh()
    method = training.update_rules.imbsam(_COUNTS, 0.0, threshold=6)
    batch = _Setting(method, mesh=mesh).batches(indexed=False)[0]
    states = []
    for by_device in (False, True):
      step, state = self._step(method, mesh, by_device=by_device)
      states.append(step(state, training.shard_batch(mesh, batch))[0])
    _assert_close(states[0].params, states[1].params)


if __name__ == '__main__':
  absltest.main()
