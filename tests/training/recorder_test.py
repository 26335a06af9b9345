# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is noted of the steps of a run, and when, without any training."""

import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from imbsam_jax import training
from imbsam_jax.training import _recorder
from tests.training import tiny_training


class _Checkpoints:
  """Remembers what it was told to save."""

  def __init__(self):
    self.saved = []

  def save(self, state, *, metrics, seconds):
    self.saved.append((state, metrics, seconds))


def _recorder_of(**options):
  return _recorder.Recorder(
    **{
      'num_steps': 200,
      'elapsed': lambda: 1.5,
      'evaluate': None,
      'evaluate_at': (),
      'checkpoints': None,
      'checkpoint_at': (),
      'history': None,
      'on_progress': None,
      **options,
    }
  )


def _metrics(**changes):
  return {
    'loss': jnp.float32(0.5),
    'train_accuracy': jnp.float32(0.25),
    'skipped': jnp.bool_(False),
    'exhausted': jnp.bool_(False),
    **changes,
  }


def _records(recorder_options, calls):
  """What is noted of calls, and where the run ends with the last of them."""
  records = []
  recorder = _recorder_of(on_progress=records.extend, **recorder_options)
  for call in calls:
    recorder.note(*call)
  recorder.after(200, None)
  return records


class RecordsTest(parameterized.TestCase):
  def test_a_step(self):
    (record,) = _records({}, [(3, [{'cost': 2.0}], _metrics())])
    self.assertEqual(
      list(record.items()),
      [('step', 4), ('cost', 2.0), ('loss', 0.5), ('train_accuracy', 0.25)],
    )
    self.assertIsInstance(record['loss'], float)

  def test_a_skipped_step(self):
    metrics = _metrics(skipped=jnp.bool_(True))
    (record,) = _records({}, [(0, [{}], metrics)])
    self.assertEqual(
      list(record.items()),
      [('step', 1), ('loss', None), ('train_accuracy', 0.25),
       ('skipped', True)],
    )  # fmt: skip

  def test_whatever_a_step_gives(self):
    metrics = {'agreement': np.float32(0.75), 'rows': jnp.int32(3)}
    (record,) = _records({}, [(0, [{}], metrics)])
    self.assertEqual(record, {'step': 1, 'agreement': 0.75, 'rows': 3.0})
    # What JSON cannot hold is left out where the step was.
    metrics |= {'norm': jnp.float32(np.nan), 'skipped': jnp.bool_(True)}
    (record,) = _records({}, [(0, [{}], metrics)])
    self.assertEqual(
      record,
      {'step': 1, 'agreement': 0.75, 'rows': 3.0, 'norm': None,
       'skipped': True},
    )  # fmt: skip

  def test_several_steps_in_a_call(self):
    metrics = _metrics(
      loss=jnp.array([1.0, 2.0, 3.0]),
      train_accuracy=jnp.zeros(3),
      skipped=jnp.array([False, True, False]),
      exhausted=jnp.zeros(3, bool),
    )
    records = _records({}, [(6, [{'k': 0}, {'k': 1}, {'k': 2}], metrics)])
    self.assertEqual([r['step'] for r in records], [7, 8, 9])
    self.assertEqual([r['k'] for r in records], [0, 1, 2])
    self.assertEqual([r['loss'] for r in records], [1.0, None, 3.0])
    self.assertEqual([r.get('skipped') for r in records], [None, True, None])

  def test_one_of_several_runs(self):
    metrics = _metrics(
      loss=jnp.array([1.0, 2.0]),
      train_accuracy=jnp.array([0.5, 1.0]),
      skipped=jnp.array([True, False]),
      exhausted=jnp.zeros(2, bool),
    )
    for run, expected in ((0, (None, 0.5)), (1, (2.0, 1.0))):
      (record,) = _records({'run': run}, [(0, [{}], metrics)])
      self.assertEqual((record['loss'], record['train_accuracy']), expected)


class WhenTest(parameterized.TestCase):
  def _sizes(self, num_steps, **options):
    """How many records are read after which step."""
    sizes = {}
    recorder = _recorder_of(
      num_steps=num_steps,
      on_progress=lambda records: sizes.update({done: len(records)}),
      **options,
    )
    for done in range(1, num_steps + 1):
      recorder.note(done - 1, [{}], _metrics())
      recorder.after(done, None)
    return sizes

  def test_seldom_and_at_the_end(self):
    self.assertEqual(self._sizes(120), {50: 50, 100: 50, 120: 20})

  def test_at_marks(self):
    self.assertEqual(
      self._sizes(
        60,
        evaluate=lambda state: {},
        evaluate_at=(5,),
        checkpoints=_Checkpoints(),
        checkpoint_at=(8,),
      ),
      {5: 5, 8: 3, 58: 50, 60: 2},
    )

  def test_marks_of_nothing_are_none(self):
    self.assertEqual(
      self._sizes(9, evaluate_at=(5,), checkpoint_at=(8,)), {9: 9}
    )

  def test_where_it_stops(self):
    checkpoints, records = _Checkpoints(), []
    recorder = _recorder_of(
      checkpoints=checkpoints,
      on_progress=records.extend,
      evaluate=lambda state: self.fail('a run that stops is not evaluated'),
    )
    recorder.note(0, [{}], _metrics())
    recorder.after(1, 'state', stopping=True)
    self.assertLen(records, 1)
    self.assertEqual(checkpoints.saved, [('state', None, 1.5)])
    # Also where nothing is saved.
    recorder = _recorder_of(on_progress=records.extend)
    recorder.note(0, [{}], _metrics())
    recorder.after(1, None, stopping=True)
    self.assertLen(records, 2)

  def test_next_mark(self):
    recorder = _recorder_of(evaluate_at=(5, 40), checkpoint_at=(8, 40))
    self.assertEqual(
      [recorder.next_mark(step) for step in (0, 4, 5, 7, 8, 39, 40, 199)],
      [5, 5, 8, 8, 40, 40, 200, 200],
    )


class MarksTest(absltest.TestCase):
  def test_validated_then_saved_with_what_was_found(self):
    path = pathlib.Path(tiny_training.folder(self)) / 'metrics.jsonl'
    history, checkpoints = training.History(path), _Checkpoints()
    recorder = _recorder_of(
      evaluate=lambda state: {'score': float(state), 'none': None},
      evaluate_at=(1,),
      checkpoints=checkpoints,
      checkpoint_at=(1, 2),
      history=history,
      run=1,
    )
    metrics = _metrics()
    both = {name: jnp.stack([value, value]) for name, value in metrics.items()}
    for done in (1, 2):
      recorder.note(done - 1, [{}], both)
      recorder.after(done, jnp.array([10.0, 20.0]))
    self.assertEqual(
      [(float(state), found) for state, found, _ in checkpoints.saved],
      [(20.0, {'score': 20.0}), (20.0, None)],
    )
    self.assertEqual(
      [r.get('validation', r['step']) for r in history.records],
      [1, {'score': 20.0, 'none': None}, 2],
    )

  def test_what_was_skipped_before_a_restart_is_named(self):
    path = pathlib.Path(tiny_training.folder(self)) / 'metrics.jsonl'
    history, checkpoints = training.History(path), _Checkpoints()
    history.append([{'step': 1}, {'step': 3, 'skipped': True}])
    recorder = _recorder_of(
      num_steps=6, history=history, checkpoints=checkpoints
    )
    # The chain gives up at step 5, and stays so.
    for step, exhausted in ((3, False), (4, True), (5, True)):
      bad = _metrics(skipped=jnp.bool_(True), exhausted=jnp.bool_(exhausted))
      recorder.note(step, [{}], bad)
    with self.assertRaisesRegex(training.DivergedError, 'steps 3 to 5'):
      recorder.after(6, None)
    # They are noted, and not saved.
    self.assertEqual(history.records[-1]['step'], 6)
    self.assertEmpty(checkpoints.saved)


if __name__ == '__main__':
  absltest.main()
