# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run and an evaluation keep of the images they are measured on."""

import collections
import csv
import json

import numpy as np
import pytest

from imbsam_jax import data as data_lib
from imbsam_jax import experiment
from imbsam_jax.experiment import _outcomes
from tests import programs
from tests.experiment import runs

_NAMES = ('a,"b"', 'line\nbreak', '=猫')


def _rows(path):
  with path.open(newline='', encoding='utf-8') as file:
    return [*csv.DictReader(file)]


@pytest.fixture(scope='module', name='run')
def _run(tfds_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  config = runs.small_config(
    tfds_dir, 'ldam', epochs=1, data__validation_per_class=2
  )
  exp = experiment.build(config)
  return folder, exp, experiment.run(exp, workdir=folder)


def test_predictions_of_a_run(run):
  folder, exp, result = run
  with np.load(folder / 'predictions.npz') as file:
    found = dict(file)
  assert [*found] == [
    'labels', 'predictions', 'confidences', 'top_classes',
    'top_probabilities', 'logits',
  ]  # fmt: skip
  np.testing.assert_array_equal(found['labels'], exp.data.test.labels)
  assert {str(x.dtype) for x in found.values()} == {'int32', 'float32'}
  # The logits by the step that the fits of calibration take, with their scale.
  logits = np.concatenate(
    [
      exp.logit_step(result.state.variables, exp.data.test.images[i : i + 9])[0]
      for i in range(0, len(exp.data.test.labels), 9)
    ]
  )
  logits = exp.objective.logit_scale * logits
  assert exp.objective.logit_scale != 1
  np.testing.assert_allclose(found['logits'], logits, rtol=1e-4, atol=1e-4)
  shares = np.exp(logits - logits.max(axis=1, keepdims=True))
  shares /= shares.sum(axis=1, keepdims=True)
  order = np.argsort(-found['logits'], axis=1, kind='stable')
  np.testing.assert_array_equal(found['predictions'], order[:, 0])
  np.testing.assert_array_equal(found['top_classes'], order[:, :5])
  np.testing.assert_allclose(found['confidences'], shares.max(1), rtol=1e-4)
  np.testing.assert_allclose(
    found['top_probabilities'],
    np.take_along_axis(shares, order[:, :5], axis=1),
    rtol=1e-3,
    atol=1e-6,
  )
  right = found['predictions'] == found['labels']
  assert right.mean() == result.summary['top1']


def test_confusions_of_a_run(run):
  folder, exp, _ = run
  with np.load(folder / 'predictions.npz') as file:
    labels, predictions = file['labels'], file['predictions']
  rows = _rows(folder / 'confusions.csv')
  pairs = collections.Counter(
    (int(t), int(p)) for t, p in zip(labels, predictions, strict=True) if t != p
  )
  assert len(pairs) > 3
  assert {
    (int(r['true']), int(r['predicted'])): int(r['count']) for r in rows
  } == pairs
  numbers = [int(row['count']) for row in rows]
  assert numbers == sorted(numbers, reverse=True)
  for row in rows:
    true = int(row['true'])
    assert row['true_name'] == exp.data.class_names[true]
    assert row['predicted_name'] == exp.data.class_names[int(row['predicted'])]
    share = int(row['count']) / (labels == true).sum()
    assert float(row['share_of_class']) == pytest.approx(share)


def test_order_of_confusions(tmp_path):
  labels = np.repeat([0, 1, 2], [4, 8, 2])
  predictions = np.array([1, 1, 0, 0, 0, 0, 2, 2, 1, 1, 1, 1, 0, 1])
  outcomes = _outcomes.of_outputs(labels, (predictions, np.ones(14)))
  found = _outcomes.confusions(outcomes, _NAMES)
  keys = ('true', 'predicted', 'count', 'share_of_class')
  assert [tuple(row[key] for key in keys) for row in found] == [
    # Twice: of the smaller class first, then by number of the class.
    (0, 1, 2, 0.5),
    (1, 0, 2, 0.25),
    (1, 2, 2, 0.25),
    (2, 0, 1, 0.5),
    (2, 1, 1, 0.5),
  ]
  _outcomes.write(tmp_path, outcomes, _NAMES)
  rows = _rows(tmp_path / 'confusions.csv')
  assert [row['true_name'] for row in rows[:2]] == [*_NAMES[:2]]
  with np.load(tmp_path / 'predictions.npz') as file:
    assert file.files == ['labels', 'predictions', 'confidences']
  before = (tmp_path / 'predictions.npz').read_bytes()
  _outcomes.write(tmp_path, outcomes, _NAMES)
  assert (tmp_path / 'predictions.npz').read_bytes() == before
  assert len([*tmp_path.iterdir()]) == 2


def test_nothing_is_confused(tmp_path):
  outcomes = _outcomes.of_outputs([0, 1], (np.array([0, 1]), np.ones(2)))
  assert _outcomes.confusions(outcomes, _NAMES) == []
  _outcomes.write(tmp_path, outcomes, _NAMES)
  text = (tmp_path / 'confusions.csv').read_text()
  assert (
    text == 'true,true_name,predicted,predicted_name,count,share_of_class\n'
  )


def test_no_more_than_500_pairs():
  labels = np.repeat(np.arange(40), 39)
  predictions = np.concatenate([np.delete(np.arange(40), c) for c in range(40)])
  found = _outcomes.confusions(
    _outcomes.of_outputs(labels, (predictions, np.ones(len(labels)))),
    [str(c) for c in range(40)],
  )
  assert len(found) == 500 and found[499]['true'] == 12


@pytest.mark.parametrize(
  ('num_test', 'num_validation', 'expected'),
  [(10_000, None, True), (10_486, None, False), (1, 10_486, False)],
)
def test_logits_are_kept_if_they_are_few(num_test, num_validation, expected):
  def examples(number):
    return data_lib.Examples(
      np.zeros([number, 1], np.float32), np.zeros(number, np.int32)
    )

  data = data_lib.LongTailedData(
    train=examples(1),
    validation=None if num_validation is None else examples(num_validation),
    test=examples(num_test),
    class_counts=np.ones(100, int),
    class_names=tuple(map(str, range(100))),
  )
  assert _outcomes.keeps_logits(data) is expected


def test_evaluation_of_a_run_is_kept(run, tmp_path):
  folder, exp, result = run
  there = {path.name for path in folder.iterdir()}
  done = programs.call('evaluate', f'--workdir={folder}', '--split=validation')
  assert done.returncode == 0, done.stderr
  names = ('evaluation_validation.json', 'evaluation_validation_per_class.csv')
  assert {path.name for path in folder.iterdir()} - there == {*names}
  assert str(folder / names[0]) in done.stdout
  evaluation = experiment.evaluate(exp, result.state, 'validation')
  content = json.loads((folder / names[0]).read_text())
  about = {
    'split': 'validation',
    'checkpoint': 'last',
    'step': exp.num_steps,
    'num_steps': exp.num_steps,
  }
  assert content == about | evaluation.scores
  assert len(_rows(folder / names[1])) == 10
  assert evaluation.table() == repr(evaluation)
  assert len(evaluation.confusions()) > 0
  output = tmp_path / 'mine.json'
  done = programs.call('evaluate', f'--workdir={folder}', f'--output={output}')
  assert done.returncode == 0, done.stderr
  content = json.loads(output.read_text())
  assert content['split'] == 'test'
  assert content['balanced'] == result.summary['balanced']
  assert (tmp_path / 'mine_per_class.csv').read_bytes() == (
    folder / 'per_class.csv'
  ).read_bytes()
  done = programs.call(
    'evaluate', f'--workdir={folder}', f'--output={tmp_path / "no" / "a.json"}'
  )
  assert done.returncode == 2 and 'Pass another file, --output=' in done.stderr
