# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loop, checkpoints and files: stop anywhere, go on, end the same."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbsam_jax import data
from imbsam_jax import losses
from imbsam_jax import models
from imbsam_jax import training
from tests.training import tiny_training as tiny

methods = training.update_rules
_NUM_STEPS = 9


class _PoisonedBatches:
  """Batches of which some hold NaN."""

  def __init__(self, batches, steps):
    self._batches, self._steps = batches, steps

  def __getitem__(self, step):
    batch = self._batches[step]
    if step not in self._steps:
      return batch
    rows = dict(batch.rows, image=np.full_like(batch.rows['image'], np.nan))
    return data.TrainBatch(rows, batch.weights)


class _StopError(Exception):
  """Stands for whatever ends a process."""


class _StoppingBatches:
  def __init__(self, batches, at):
    self._batches, self._at = batches, at

  def __getitem__(self, step):
    if step == self._at:
      raise _StopError
    return self._batches[step]


def _method():
  return methods.sse_sam(tiny.COUNTS, 0.1, 0.2, threshold=10, switch_step=5)


def _run(folder, parts, batches, *, checkpoint_at=(3, 6)):
  """As the programs do it: restore what is there, then go on."""
  state, train_step = parts
  folder = pathlib.Path(folder)
  folder.mkdir(exist_ok=True)
  mesh = training.data_mesh(jax.devices()[:1])
  state = training.replicate(mesh, state)
  with training.Checkpoints(
    folder / 'checkpoints', best_metric='score'
  ) as checkpoints:
    if checkpoints.latest_step is not None:
      state, _ = checkpoints.restore(state)
    history = training.History(folder / 'metrics.jsonl', start=int(state.step))
    state, _ = training.fit(
      state,
      train_step,
      batches,
      num_steps=_NUM_STEPS,
      put_batch=lambda batch: training.shard_batch(mesh, batch),
      evaluate=lambda s: {'score': float(-jnp.abs(s.step - 6)), 'none': None},
      evaluate_at=checkpoint_at,
      checkpoints=checkpoints,
      checkpoint_at=checkpoint_at,
      history=history,
    )
    steps = (checkpoints.latest_step, checkpoints.best_step)
  return state, (folder / 'metrics.jsonl').read_text(), steps


class ResumeTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.method = _method()
    cls.parts = tiny.make(cls.method, batch_norm=True, ema_decay=0.9)
    cls.batches = tiny.batches(cls.method, split=False)
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.whole = _run(folder, cls.parts, cls.batches)

  # Before and after a checkpoint, at the switch of stages, in the last step.
  @parameterized.parameters(0, 2, 3, 4, 5, 6, 8)
  def test_stopped_run_ends_bit_identical(self, stop):
    folder = tiny.folder(self)
    with self.assertRaises(_StopError):
      _run(folder, self.parts, _StoppingBatches(self.batches, stop))
    state, history, steps = _run(folder, self.parts, self.batches)
    chex.assert_trees_all_equal(state, self.whole[0])
    self.assertEqual(history, self.whole[1])
    self.assertEqual(steps, self.whole[2])

  def test_complete_run_is_not_trained_again(self):
    folder = tiny.folder(self)
    first, history, _ = _run(folder, self.parts, self.batches)
    again, history_again, _ = _run(
      folder, self.parts, _StoppingBatches(self.batches, 0)
    )
    chex.assert_trees_all_equal(first, again)
    self.assertEqual(history, history_again)

  @pytest.mark.faults
  def test_f22_history_cut_in_a_line_is_repaired(self):
    folder = pathlib.Path(tiny.folder(self))
    with self.assertRaises(_StopError):
      _run(folder, self.parts, _StoppingBatches(self.batches, 8))
    path = folder / 'metrics.jsonl'
    with path.open('a') as file:
      # As if steps after the checkpoint had been noted, the last in part.
      file.write('{"step": 7, "loss": 9.0}\n{"step": 8, "lo')
    _, history, _ = _run(folder, self.parts, self.batches)
    self.assertEqual(history, self.whole[1])

  def test_each_step_is_noted_once(self):
    records = [json.loads(line) for line in self.whole[1].splitlines()]
    steps = [r['step'] for r in records if 'loss' in r]
    self.assertEqual(steps, list(range(1, _NUM_STEPS + 1)))
    validated = [r['step'] for r in records if 'validation' in r]
    self.assertEqual(validated, [3, 6, 9])

  def test_last_and_best_checkpoints_stay(self):
    folder = pathlib.Path(tiny.folder(self))
    _, _, steps = _run(
      folder, self.parts, self.batches, checkpoint_at=(2, 6, 7)
    )
    self.assertEqual(steps, (9, 6))
    found = (folder / 'checkpoints').iterdir()
    kept = sorted(int(p.name) for p in found if p.is_dir())
    self.assertEqual(kept, [6, 9])


class NonFiniteTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.method = methods.imbsam(tiny.COUNTS, 0.1, threshold=10)
    self.parts = tiny.make(self.method, max_skipped=2)
    self.batches = tiny.batches(self.method, split=False)

  @pytest.mark.faults
  def test_f8_bad_batches_are_skipped_and_named(self):
    poisoned = _PoisonedBatches(self.batches, {3, 6})
    folder = tiny.folder(self)
    state, history, _ = _run(folder, self.parts, poisoned)
    records = [json.loads(line) for line in history.splitlines()]
    skipped = [r['step'] for r in records if r.get('skipped')]
    self.assertEqual(skipped, [4, 7])
    self.assertEqual(int(state.opt_state.skipped), 2)
    # As if the two batches had not been there.
    clean, train_step = self.parts
    for step in set(range(_NUM_STEPS)) - {3, 6}:
      clean, _ = train_step(step)(clean, self.batches[step])
    chex.assert_trees_all_equal(state.params, clean.params)

  @pytest.mark.faults
  def test_f9_too_many_end_the_run(self):
    poisoned = _PoisonedBatches(self.batches, set(range(4, 9)))
    folder = tiny.folder(self)
    with self.assertRaisesRegex(
      training.DivergedError, 'steps 5 to 7.*learning rate.*clip_norm'
    ):
      _run(folder, self.parts, poisoned, checkpoint_at=range(10))
    with training.Checkpoints(folder + '/checkpoints') as checkpoints:
      restored, _ = checkpoints.restore(self.parts[0])
    chex.assert_tree_all_finite(restored.params)
    self.assertLessEqual(int(restored.step), 7)


class CheckpointsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.state, _ = tiny.make(_method(), ema_decay=0.9)
    self.folder = tiny.folder(self)

  def test_round_trip(self):
    state = self.state.replace(step=jnp.array(4, jnp.int32))
    with training.Checkpoints(self.folder) as checkpoints:
      checkpoints.save(state, seconds=12.5)
    with training.Checkpoints(self.folder) as checkpoints:
      restored, seconds = checkpoints.restore(self.state)
    self.assertEqual(seconds, 12.5)
    self.assertEqual(jax.tree.structure(restored), jax.tree.structure(state))
    chex.assert_trees_all_equal(restored, state)

  @pytest.mark.faults
  def test_f9_not_finite_is_not_saved(self):
    bad = jax.tree.map(lambda x: x * jnp.inf, self.state.params)
    with training.Checkpoints(self.folder) as checkpoints:
      with self.assertRaisesRegex(training.CheckpointError, 'not finite'):
        checkpoints.save(self.state.replace(params=bad))
      self.assertIsNone(checkpoints.latest_step)

  def test_nothing_there(self):
    with training.Checkpoints(self.folder) as checkpoints:
      with self.assertRaisesRegex(training.CheckpointError, 'no checkpoint in'):
        checkpoints.restore(self.state)
      with self.assertRaisesRegex(
        training.CheckpointError, 'no checkpoint of step 7'
      ):
        checkpoints.restore(self.state, 7)

  def test_reader_leaves_a_save_in_progress_alone(self):
    unfinished = pathlib.Path(self.folder) / '7.orbax-checkpoint-tmp'
    with training.Checkpoints(self.folder) as checkpoints:
      checkpoints.save(self.state)
    unfinished.mkdir()
    with training.Checkpoints(self.folder, read_only=True) as checkpoints:
      self.assertEqual(checkpoints.latest_step, 0)
    self.assertTrue(unfinished.exists())
    with training.Checkpoints(self.folder):
      self.assertFalse(unfinished.exists())
    with self.assertRaisesRegex(training.CheckpointError, 'no folder'):
      training.Checkpoints(self.folder + '/none', read_only=True)

  @pytest.mark.faults
  def test_f7_another_model(self):
    with training.Checkpoints(self.folder) as checkpoints:
      checkpoints.save(self.state)
    other, _ = tiny.make(_method(), batch_norm=True)
    with training.Checkpoints(self.folder) as checkpoints:
      with self.assertRaisesRegex(training.CheckpointError, 'cannot be read'):
        checkpoints.restore(other)


class PredictTest(parameterized.TestCase):
  @parameterized.parameters(1, 7, 8, 9, 44)
  @pytest.mark.faults
  def test_f23_every_example_counts_once(self, number):
    all_examples = tiny.examples()
    rows = np.random.RandomState(number).permutation(44)[:number]
    examples = data.Examples(
      all_examples.images[rows], all_examples.labels[rows]
    )
    state, _ = tiny.make(methods.sgd(tiny.COUNTS))
    net = tiny.TinyNet()
    predict_step = jax.jit(training.make_predict_step(net, lambda x: x))
    classes, confidences = training.predict(
      predict_step,
      state.variables,
      examples,
      batch_size=8,
      mesh=training.data_mesh(),
    )
    logits = net.apply(state.variables, examples.images, train=False)
    np.testing.assert_array_equal(classes, np.argmax(logits, axis=1))
    odds = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    expected = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
    np.testing.assert_allclose(confidences, expected, rtol=1e-5)

  def test_no_examples(self):
    empty = data.Examples(np.zeros((0, 6), np.float32), np.zeros(0, np.int32))
    with self.assertRaisesRegex(ValueError, '`examples`.*at least one'):
      training.predict(None, {}, empty, batch_size=8, mesh=training.data_mesh())


class CostTest(parameterized.TestCase):
  """The costs that runs report, against FLOPs of the compiled steps."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    sgd = methods.sgd(tiny.COUNTS)
    cls.sgd = cls._flops(sgd, cls._batch(sgd, split=False))

  @staticmethod
  def _flops(method, batch):
    model = models.SmallConvNet(len(tiny.COUNTS), norm='none')
    tx = training.make_optimizer(method.stages[0].link, 0.1, weight_decay=1e-3)
    step = jax.jit(
      training.make_train_step(model, tx, losses.cross_entropy, lambda x: x)
    )
    state = jax.eval_shape(
      lambda key: training.create_train_state(
        model, tx, key, jnp.zeros((1, 16, 16, 1))
      ),
      jax.random.key(0),
    )
    cost = step.lower(state, batch).compile().cost_analysis()
    return cost['flops']

  @staticmethod
  def _batch(method, *, split):
    batch = tiny.batches(method, split=split)[0]

    # The same rows, as images large enough to outweigh the optimizer.
    def enlarge(leaf):
      if leaf.ndim == 2 and leaf.dtype == np.float32 and leaf.shape[1] == 6:
        return np.zeros((len(leaf), 16, 16, 1), np.float32)
      return leaf

    return jax.tree.map(enlarge, batch)

  # FLOPs of the links are in tests/oracles/flops_test.py, for every day.
  @parameterized.parameters(
    ('sam', False, 2.0),
    ('rsam', False, 1.0),
    ('imbsam', False, 8 / 3),
    ('imbsam', True, None),
    ('momentum_imbsam', True, None),
    ('momentum_imbsam', False, 2.0),
    ('sse_sam', True, None),
    ('momentum_sam', False, 1.0),
    ('momentum_sse_sam', True, None),
    ('momentum_sse_sam', False, 7 / 3),
  )
  @pytest.mark.extended
  def test_cost_is_the_ratio_of_flops(self, word, split, expected):
    method = {
      'sam': methods.sam(tiny.COUNTS, 0.1),
      'rsam': methods.rsam(tiny.COUNTS, 0.1, key=jax.random.key(0)),
      'imbsam': methods.imbsam(tiny.COUNTS, 0.1, threshold=10),
      'momentum_imbsam': methods.momentum_imbsam(
        tiny.COUNTS, 0.1, threshold=10
      ),
      'sse_sam': _method(),
      'momentum_sam': methods.sam(tiny.COUNTS, 0.1, average_decay=0.5),
      'momentum_sse_sam': methods.sse_sam(
        tiny.COUNTS, 0.1, 0.1, threshold=10, switch_step=3, average_decay=0.5
      ),
    }[word]
    batch = self._batch(method, split=split)
    cost = training.step_cost(
      method.stage(0), batch, batch_size=tiny.BATCH_SIZE
    )
    if expected:
      self.assertAlmostEqual(cost, expected)
    ratio = self._flops(method, batch) / self.sgd
    np.testing.assert_allclose(ratio, cost, rtol=0.05)

  def test_joint_costs(self):
    soft = methods.focal_sam(tiny.COUNTS, 0.1, gamma=1.0, lam=0.8)
    for method, expected in (
      (methods.sgd(tiny.COUNTS), 1.0),
      (soft, 8 / 3),
      (_method(), 11 / 3),
      (methods.momentum_imbsam(tiny.COUNTS, 0.1, threshold=10), 2.0),
    ):
      batch = tiny.batches(method, split=False)[0]
      cost = training.step_cost(method.stage(0), batch, batch_size=16)
      self.assertAlmostEqual(cost, expected)

  def test_costs_of_rules_that_remember(self):
    sam = methods.sam(tiny.COUNTS, 0.1, average_decay=0.5)
    sse = methods.sse_sam(
      tiny.COUNTS, 0.1, 0.1, threshold=10, switch_step=3, average_decay=0.5
    )
    joint = tiny.batches(sse, split=False)[0]
    split = tiny.batches(sse, split=True)[0]
    rows = sum(map(len, split.weights))
    for method, step, batch, expected in (
      (sam, 0, tiny.batches(sam, split=False)[0], 1.0),
      (sse, 0, joint, 7 / 3),
      (sse, 3, joint, 2.0),
      (sse, 0, split, rows / 16),
      (sse, 3, split, rows / 16),
    ):
      cost = training.step_cost(method.stage(step), batch, batch_size=16)
      self.assertAlmostEqual(cost, expected)

  def test_costs_of_stages_that_take_turns(self):
    method = methods.look_sam(tiny.COUNTS, 0.1, every=3, alpha=0.7)
    batch = tiny.batches(method, split=False)[0]
    costs = [
      training.step_cost(method.stage(step), batch, batch_size=16)
      for step in range(5)
    ]
    self.assertEqual(costs, [2.0, 1.0, 1.0, 2.0, 1.0])

  def test_costs_of_the_momentum_form(self):
    method = methods.momentum_imbsam(tiny.COUNTS, 0.1, threshold=10)
    imbsam = methods.imbsam(tiny.COUNTS, 0.1, threshold=10)
    batch = tiny.batches(method, split=True)[0]
    head, tail = map(len, batch.weights)
    for one, expected in ((method, head + tail), (imbsam, head + 2 * tail)):
      cost = training.step_cost(one.stage(0), batch, batch_size=16)
      self.assertAlmostEqual(cost, expected / 16)
    order = data.shuffled_order(sum(tiny.COUNTS), batch_size=16, seed=0)
    batch = data.tail_only_batches(
      order, tiny.examples(), method.group_weights_by_class
    )[0]
    tail = len(batch.weights[1])
    self.assertGreater(tail, 0)
    for one, passes in ((method, 1), (imbsam, 2)):
      cost = training.step_cost(one.stage(0), batch, batch_size=16)
      self.assertAlmostEqual(cost, 1 + passes * tail / 16)
    sse = methods.sse_sam(
      tiny.COUNTS, 0.1, 0.1, threshold=10, switch_step=3, average_decay=0.5
    )
    for step, expected in ((0, 4 / 3), (3, 1)):
      cost = training.step_cost(sse.stage(step), batch, batch_size=16)
      self.assertAlmostEqual(cost, expected + tail / 16)


if __name__ == '__main__':
  absltest.main()
