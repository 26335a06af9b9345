# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of a run that are not as they were written."""

import json
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from imbsam_jax import training


def _loss(step):
  return {'step': step, 'loss': step / 2}


def _validation(step):
  return {'step': step, 'validation': {'top1': 0.5}}


class _InFolder(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
      self.enter_context(tempfile.TemporaryDirectory())
    )


class ReadJsonTest(_InFolder):
  @parameterized.parameters(
    (b'', 'it is empty'),
    (b' \n', 'it is empty'),
    (b'{"a": 1', "Expecting ',' delimiter, line 1 column 8"),
    (b'[1]', 'it holds no object'),
    (b'7', 'it holds no object'),
    (b'{"a": NaN}', 'it holds NaN'),
    (b'{"a": -Infinity}', 'it holds -Infinity'),
    (b'{"a": 1e999}', 'it holds 1e999'),
    (b'{"a": ' + b'9' * 5000 + b'}', 'integer string'),
    (b'\xff{}', 'it is not UTF-8'),
    (b'{"a":' * 10_000 + b'1' + b'}' * 10_000, 'it is nested too deeply'),
  )
  def test_says_what_is_wrong(self, content, expected):
    path = self.folder / 'a.json'
    path.write_bytes(content)
    with self.assertRaisesRegex(training.TornFileError, expected):
      training.read_json(path)

  def test_what_is_no_file(self):
    path = self.folder / 'a.json'
    with self.assertRaisesRegex(training.TornFileError, 'no such file'):
      training.read_json(path)
    with self.assertRaisesRegex(training.TornFileError, 'it is a folder'):
      training.read_json(self.folder)
    os.mkfifo(path)  # Reading it would wait for ever.
    with self.assertRaisesRegex(training.TornFileError, 'it is no file'):
      training.read_json(path)

  def test_too_large(self):
    path = self.folder / 'a.json'
    path.write_text('{}')
    os.truncate(path, 2**33)
    with self.assertRaisesRegex(training.TornFileError, '8589934592 bytes'):
      training.read_json(path)

  def test_what_was_written(self):
    path = self.folder / 'a.json'
    content = {'a': [1, 2.5, None, 'ü'], 'b': {}}
    training.write_json(path, content)
    self.assertEqual(training.read_json(path), content)

  def test_folder_in_its_place_is_set_aside(self):
    path = self.folder / 'a.json'
    for text in ('first', 'second'):
      path.mkdir()
      (path / text).write_text('')
      training.write_json(path, {'a': text})
      self.assertEqual(training.read_json(path), {'a': text})
      aside = self.folder / 'a.json.damaged'
      self.assertEqual(os.listdir(aside), [text])
      path.unlink()


class WholeStepsTest(_InFolder):
  def _write(self, *lines):
    path = self.folder / 'metrics.jsonl'
    path.write_text(
      ''.join(x if type(x) is str else json.dumps(x) + '\n' for x in lines)
    )
    return path

  @parameterized.parameters(
    ((), 0),
    ((1, 2, 3), 3),
    ((1, 3), 1),
    ((2, 3), 0),
    ((1, 1, 2), 1),
    ((1, 2, 4, 3), 2),
  )
  def test_every_step_once_and_in_order(self, steps, expected):
    path = self._write(*map(_loss, steps))
    self.assertEqual(training.whole_steps(path), (expected, ''))

  def test_validations_belong_to_it(self):
    lines = [_loss(1), _loss(2), _validation(2), _loss(3), _loss(4)]
    for number, expected in enumerate([0, 1, 1, 2, 3, 3]):
      path = self._write(*lines[:number])
      self.assertEqual(training.whole_steps(path, {2, 4}), (expected, ''))
    # It is missing, with steps after it.
    path = self._write(_loss(1), _loss(2), _loss(3))
    self.assertEqual(training.whole_steps(path, {2}), (1, ''))

  @parameterized.parameters(
    ('{"step": 2, "lo\n', 'line 2: '),
    ('[]\n', 'line 2: it holds no object'),
    ('{"loss": 1.0}\n', 'line 2: it has no step'),
    ('{"step": 2.0, "loss": 1.0}\n', 'line 2: it has no step'),
    ('\n', 'line 2: '),
    ('x' * 2**20 + '\n', 'line 2'),
  )
  def test_broken_line_ends_it(self, line, expected):
    path = self._write(_loss(1), line, _loss(2))
    whole, problem = training.whole_steps(path)
    self.assertEqual(whole, 1)
    self.assertStartsWith(problem, expected)
    with self.assertRaisesRegex(training.CheckpointError, 'broken line.*line'):
      training.read_history(path)
    history = training.History(path, start=9)
    self.assertEqual(history.records, [_loss(1)])
    self.assertEqual(path.read_text(), json.dumps(_loss(1)) + '\n')

  def test_last_line_that_was_cut(self):
    path = self._write(_loss(1), '{"step": 2, "loss"')
    self.assertEqual(training.whole_steps(path), (1, ''))
    self.assertEqual(training.read_history(path), [_loss(1)])

  def test_also_sees_what_is_there_and_what_comes(self):
    path = self._write(_loss(1), _loss(2), _loss(3))
    seen = []
    history = training.History(path, start=2, also=seen.append)
    history.append([_loss(3)])
    self.assertEqual(seen, [[_loss(1), _loss(2)], [_loss(3)]])


if __name__ == '__main__':
  absltest.main()
