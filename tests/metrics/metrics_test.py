# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tests of `imbsam_jax.metrics`."""

import json
import math
import os
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import matplotlib.style
import numpy as np
from PIL import Image
import pytest
from sklearn import metrics as sklearn_metrics

from imbsam_jax import metrics
from imbsam_jax.metrics import _frequency_curves

_KEYS = [
  'top1',
  'balanced',
  'many',
  'medium',
  'few',
  'head',
  'tail',
  'worst_class',
  'g_mean',
  'macro_f1',
  'ece',
]
_ROW_KEYS = [
  'class',
  'name',
  'train_count',
  'test_count',
  'accuracy',
  'precision',
  'recall',
  'f1',
  'mean_confidence',
]


def _example(seed, *, num_classes=7, num_examples=200, absent=()):
  """Random labels, predictions right more often than not, confidences."""
  rng = np.random.default_rng(seed)
  classes = [c for c in range(num_classes) if c not in absent]
  labels = rng.choice(classes, size=num_examples)
  predictions = np.where(
    rng.random(num_examples) < 0.6,
    labels,
    rng.integers(num_classes, size=num_examples),
  )
  confidences = rng.random(num_examples)
  counts = np.array([500, 101, 100, 60, 20, 19, 5])[:num_classes]
  return labels, predictions, confidences, counts


def _mean(values):
  return sum(values) / len(values) if values else None


def _naive_ece(confidences, correct, num_bins):
  """One bin after the other, as in the paper."""
  total = 0.0
  for b in range(num_bins):
    low, high = b / num_bins, (b + 1) / num_bins
    rows = [
      i
      for i, confidence in enumerate(confidences)
      if low < confidence <= high or (b == 0 and confidence == 0)
    ]
    if rows:
      accuracy = _mean([float(correct[i]) for i in rows])
      confidence = _mean([float(confidences[i]) for i in rows])
      total += len(rows) / len(confidences) * abs(accuracy - confidence)
  return total


def _naive_rows(labels, predictions, confidences, counts):
  """Every number of every class, counted row by row."""
  rows = []
  for c in range(len(counts)):
    hits = misses = alarms = 0
    confidence_of_class = []
    for label, prediction, confidence in zip(
      labels, predictions, confidences, strict=True
    ):
      hits += label == c and prediction == c
      misses += label == c and prediction != c
      alarms += label != c and prediction == c
      if label == c:
        confidence_of_class.append(confidence)
    tests, predicted = hits + misses, hits + alarms
    rows.append(
      {
        'test_count': tests,
        'accuracy': hits / tests if tests else None,
        'precision': hits / predicted if predicted else None,
        'recall': hits / tests if tests else None,
        'f1': 2 * hits / (2 * hits + misses + alarms) if tests else None,
        'mean_confidence': _mean(confidence_of_class),
      }
    )
  return rows


def _naive_metrics(labels, predictions, confidences, counts, tail_below):
  """The summary from the rows above."""
  rows = _naive_rows(labels, predictions, confidences, counts)
  present = [c for c in range(len(counts)) if rows[c]['test_count']]
  recall = {c: rows[c]['recall'] for c in present}
  correct = [a == b for a, b in zip(labels, predictions, strict=True)]
  return {
    'top1': _mean([float(value) for value in correct]),
    'balanced': _mean(list(recall.values())),
    'many': _mean([recall[c] for c in present if counts[c] > 100]),
    'medium': _mean([recall[c] for c in present if 20 <= counts[c] <= 100]),
    'few': _mean([recall[c] for c in present if counts[c] < 20]),
    'head': _mean([recall[c] for c in present if counts[c] >= tail_below]),
    'tail': _mean([recall[c] for c in present if counts[c] < tail_below]),
    'worst_class': min(recall.values()),
    'g_mean': math.prod(recall.values()) ** (1 / len(present)),
    'macro_f1': _mean([rows[c]['f1'] for c in present]),
    'ece': _naive_ece(confidences, correct, 15),
  }


class _TestCase(parameterized.TestCase):
  def assert_close(self, got, want):
    """Equal dicts of numbers and None, up to rounding."""
    for key, value in want.items():
      if value is None:
        self.assertIsNone(got[key], key)
      else:
        self.assertAlmostEqual(got[key], value, places=12, msg=key)


class ClassGroupsTest(_TestCase):
  def test_boundaries_are_medium(self):
    groups = metrics.class_groups([101, 100, 99, 21, 20, 19, 0])
    self.assertEqual(list(groups), ['many', 'medium', 'few'])
    for name, members in {
      'many': [0],
      'medium': [1, 2, 3, 4],
      'few': [5, 6],
    }.items():
      self.assertEqual(groups[name].dtype, bool)
      self.assertEqual(np.flatnonzero(groups[name]).tolist(), members)

  def test_cifar100_lt(self):
    counts = [int(500 * 0.01 ** (c / 99.0)) for c in range(100)]
    groups = metrics.class_groups(counts)
    sizes = {name: int(mask.sum()) for name, mask in groups.items()}
    self.assertEqual(sizes, {'many': 35, 'medium': 35, 'few': 30})

  def test_other_thresholds_and_an_empty_group(self):
    counts = [5000, 1000, 200, 50]
    groups = metrics.class_groups(counts, many_above=1000, few_below=200)
    np.testing.assert_array_equal(groups['many'], [1, 0, 0, 0])
    np.testing.assert_array_equal(groups['medium'], [0, 1, 1, 0])
    np.testing.assert_array_equal(groups['few'], [0, 0, 0, 1])
    groups = metrics.class_groups(counts, many_above=200, few_below=200)
    np.testing.assert_array_equal(groups['medium'], [0, 0, 1, 0])
    self.assertFalse(metrics.class_groups(counts)['few'].any())

  @parameterized.parameters(
    (
      ValueError,
      {'many_above': 10},
      r'`many_above` must not be below `few_below`.*many_above=10 and '
      r'few_below=20\. Pass many_above=20 or more',
    ),
    (TypeError, {'many_above': '100'}, r"`many_above` must be .*got '100'"),
    (TypeError, {'few_below': None}, r'`few_below` must be a number, got None'),
    (
      ValueError,
      {'few_below': math.nan},
      r'`few_below` must be a number, got nan',
    ),
  )
  def test_bad_thresholds(self, error, thresholds, message):
    with self.assertRaisesRegex(error, message):
      metrics.class_groups([1, 2], **thresholds)

  @parameterized.parameters(
    (ValueError, [], r'`class_counts` must have shape.*got \(0,\)\. Pass'),
    (ValueError, [[1, 2]], r'got \(1, 2\).*np\.bincount'),
    (TypeError, [0.5, 0.5], r'must be integers, got dtype float64.*np\.rint'),
    (ValueError, [3, -2], r'finite and at least 0, got -2 for class 1\.'),
  )
  def test_bad_counts(self, error, counts, message):
    with self.assertRaisesRegex(error, message):
      metrics.class_groups(counts)


class ExpectedCalibrationErrorTest(_TestCase):
  def test_by_hand(self):
    # (0, 1/2]: accuracy 1/2, confidence 0.4; (1/2, 1]: 1 and 0.9.
    got = metrics.expected_calibration_error(
      [0.4, 0.4, 0.9, 0.9], [True, False, True, True], num_bins=2
    )
    self.assertAlmostEqual(got, 0.5 * 0.1 + 0.5 * 0.1, places=14)

  def test_gaps_of_opposite_sign_add_up_across_bins_only(self):
    # One bin: accuracy 1/2, confidence 1/2. Two: 0.8 and 0.8 off.
    confidences, correct = [0.2, 0.8], [1, 0]
    self.assertAlmostEqual(
      metrics.expected_calibration_error(confidences, correct, num_bins=1), 0
    )
    self.assertAlmostEqual(
      metrics.expected_calibration_error(confidences, correct, num_bins=2), 0.8
    )

  def test_edge_belongs_to_the_lower_bin(self):
    # 0.5 joins 0.4: accuracy 1/2 at 0.45. In the upper bin it would give 0.45.
    got = metrics.expected_calibration_error([0.4, 0.5], [0, 1], num_bins=2)
    self.assertAlmostEqual(got, 0.05)

  @parameterized.parameters(
    ([1.0], [True], 0.0),
    ([1.0], [False], 1.0),
    ([0.0], [False], 0.0),
    ([0.0], [True], 1.0),
    ([0.25], [True], 0.75),
  )
  def test_single_example(self, confidences, correct, want):
    got = metrics.expected_calibration_error(confidences, correct)
    self.assertIsInstance(got, float)
    self.assertEqual(got, want)

  @parameterized.product(seed=(0, 1, 2), num_bins=[1, 2, 10, 15, 100])
  def test_matches_the_loop(self, seed, num_bins):
    rng = np.random.default_rng(seed)
    confidences = rng.random(300)
    correct = rng.random(300) < confidences
    self.assertAlmostEqual(
      metrics.expected_calibration_error(
        confidences, correct, num_bins=num_bins
      ),
      _naive_ece(confidences, correct, num_bins),
      places=12,
    )

  @parameterized.parameters(1, 3, 7, 10, 15, 49)
  def test_matches_the_loop_on_the_edges(self, num_bins):
    confidences = np.linspace(0, 1, num_bins + 1)
    correct = np.arange(num_bins + 1) % 2 == 0
    self.assertAlmostEqual(
      metrics.expected_calibration_error(
        confidences, correct, num_bins=num_bins
      ),
      _naive_ece(confidences, correct, num_bins),
      places=12,
    )

  @parameterized.parameters(np.float16, np.float32, np.float64)
  def test_dtypes(self, dtype):
    got = metrics.expected_calibration_error(
      np.array([0.75, 0.75], dtype), np.array([1, 0], dtype)
    )
    self.assertEqual(got, 0.25)

  @parameterized.parameters(
    (ValueError, [], [], 15, r'`confidences` must hold at least one.*\(0,\)'),
    (ValueError, [[0.5]], [1], 15, r'`confidences` must have shape.*\(1, 1\)'),
    (ValueError, [0.5], [1, 0], 15, r'got 1 confidences, 2 correct\. Concate'),
    (ValueError, [0.5], [0.3], 15, r'`correct` must be booleans.*such as 0\.3'),
    (ValueError, [0.5], [2], 15, r'such as 2\. Pass labels == predictions'),
    (TypeError, [True], [0.5], 15, r'`confidences` must be floats.*dtype bool'),
    (TypeError, ['a'], [1], 15, r'got dtype <U1\. Pass the largest softmax'),
    (TypeError, [0.5], [1], 1.5, r'`num_bins` must be an integer, got 1\.5\.'),
    (ValueError, [0.5], [1], 0, r'`num_bins` must be at least 1, got 0\.'),
  )
  def test_errors(self, error, confidences, correct, num_bins, message):
    with self.assertRaisesRegex(error, message):
      metrics.expected_calibration_error(
        confidences, correct, num_bins=num_bins
      )


class ClassificationMetricsTest(_TestCase):
  def test_by_hand(self):
    # Recalls 3/4, 1/2, 0; the many-shot class is 0, the others are few.
    got = metrics.classification_metrics(
      [0, 0, 0, 0, 1, 1, 2],
      [0, 0, 0, 1, 1, 0, 0],
      [1.0] * 7,
      class_counts=[200, 19, 2],
    )
    self.assertEqual(list(got), _KEYS)
    self.assert_close(
      got,
      {
        'top1': 4 / 7,
        'balanced': 1.25 / 3,
        'many': 0.75,
        'medium': None,
        'few': 0.25,
        'head': 0.75,
        'tail': 0.25,
        'worst_class': 0.0,
        'g_mean': 0.0,
        # 2 TP / (2 TP + FP + FN): 6/9, 2/4, 0/1.
        'macro_f1': (6 / 9 + 2 / 4 + 0) / 3,
        'ece': 3 / 7,
      },
    )

  def test_g_mean_by_hand(self):
    got = metrics.classification_metrics(
      [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
      [0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
      [0.5] * 10,
      class_counts=[10, 10],
    )
    self.assertAlmostEqual(got['g_mean'], 0.25)  # sqrt(1/2 * 1/8)

  @parameterized.product(
    seed=(0, 1, 2, 3),
    absent=[(), (0,), (2, 3, 4), (5, 6)],
    tail_below=[0, 20, 101],
  )
  def test_matches_the_loop(self, seed, absent, tail_below):
    labels, predictions, confidences, counts = _example(seed, absent=absent)
    got = metrics.classification_metrics(
      labels,
      predictions,
      confidences,
      class_counts=counts,
      tail_below=tail_below,
    )
    self.assertEqual(list(got), _KEYS)
    self.assert_close(
      got, _naive_metrics(labels, predictions, confidences, counts, tail_below)
    )

  @parameterized.parameters(*range(5))
  def test_matches_scikit_learn(self, seed):
    labels, predictions, confidences, counts = _example(seed)
    self.assertLen(set(labels.tolist()), len(counts))
    got = metrics.classification_metrics(
      labels, predictions, confidences, class_counts=counts
    )
    self.assert_close(
      got,
      {
        'top1': sklearn_metrics.accuracy_score(labels, predictions),
        'balanced': sklearn_metrics.balanced_accuracy_score(
          labels, predictions
        ),
        'macro_f1': sklearn_metrics.f1_score(
          labels, predictions, average='macro'
        ),
      },
    )

  def test_boundary_classes(self):
    # Only the classes with 20 and 100 training examples are right.
    got = metrics.classification_metrics(
      [0, 1, 2, 3], [1, 1, 2, 2], [1.0] * 4, class_counts=[101, 100, 20, 19]
    )
    self.assert_close(
      got, {'many': 0, 'medium': 1, 'few': 0, 'head': 2 / 3, 'tail': 0}
    )

  def test_thresholds_and_bins_are_passed_on(self):
    got = metrics.classification_metrics(
      [0, 1, 2],
      [0, 1, 1],
      [0.2, 0.8, 0.8],
      class_counts=[5000, 999, 50],
      many_above=1000,
      few_below=200,
      tail_below=1000,
      num_bins=1,
    )
    self.assert_close(
      got,
      {
        'many': 1,
        'medium': 1,
        'few': 0,
        'head': 1,
        'tail': 0.5,
        'ece': 2 / 3 - 0.6,
      },
    )

  def test_group_is_a_mean_over_classes_not_examples(self):
    got = metrics.classification_metrics(
      [0] * 9 + [1], [0] * 9 + [0], [1.0] * 10, class_counts=[5, 5]
    )
    self.assert_close(got, {'top1': 0.9, 'few': 0.5, 'balanced': 0.5})

  @pytest.mark.faults
  def test_f23_absent_class_is_not_available(self):
    # The only tail class has no test example but is predicted once.
    labels, predictions = [0, 0, 1], [0, 2, 1]
    got = metrics.classification_metrics(
      labels, predictions, [1.0] * 3, class_counts=[200, 50, 3]
    )
    self.assert_close(
      got,
      {
        'balanced': 0.75,
        'few': None,
        'tail': None,
        'worst_class': 0.5,
        'g_mean': math.sqrt(0.5),
        # Two classes, 2/3 and 1; scikit-learn also counts class 2, as 0.
        'macro_f1': (2 / 3 + 1) / 2,
      },
    )
    self.assertAlmostEqual(
      sklearn_metrics.f1_score(labels, predictions, average='macro'),
      (2 / 3 + 1 + 0) / 3,
    )

  def test_no_head_and_no_tail(self):
    for tail_below, empty in ((0, 'tail'), (1000, 'head')):
      got = metrics.classification_metrics(
        [0], [0], [1.0], class_counts=[50], tail_below=tail_below
      )
      self.assertIsNone(got[empty])

  @parameterized.parameters((1, 1.0), (0, 0.0))
  @pytest.mark.faults
  def test_f23_single_example(self, prediction, value):
    got = metrics.classification_metrics(
      [1], [prediction], [0.75], class_counts=[30, 5]
    )
    self.assertEqual(
      got,
      {
        'top1': value,
        'balanced': value,
        'many': None,
        'medium': None,
        'few': value,
        'head': None,
        'tail': value,
        'worst_class': value,
        'g_mean': value,
        'macro_f1': value,
        'ece': abs(value - 0.75),
      },
    )

  def test_more_classes_than_examples(self):
    # scikit-learn has a warning for labels that look like a regression target.
    got = metrics.classification_metrics(
      np.arange(40), np.arange(40), np.ones(40), class_counts=[9] * 50
    )
    self.assert_close(got, {'top1': 1, 'few': 1, 'macro_f1': 1, 'ece': 0})

  def test_dtypes_and_json(self):
    labels, predictions, confidences, counts = _example(0)
    want = metrics.classification_metrics(
      labels, predictions, confidences, class_counts=counts
    )
    got = metrics.classification_metrics(
      labels.astype(np.uint8),
      predictions.astype(np.int32).tolist(),
      confidences.tolist(),
      class_counts=counts.astype(np.int16),
    )
    self.assertEqual(got, want)
    self.assertEqual(json.loads(json.dumps(got)), want)
    for value in got.values():
      self.assertIs(type(value), float)

  def test_device_arrays(self):
    import jax.numpy as jnp

    got = metrics.classification_metrics(
      jnp.array([0, 1]),
      jnp.array([0, 0]),
      jnp.array([0.75, 0.5], jnp.bfloat16),
      class_counts=jnp.array([30, 5]),
    )
    self.assert_close(got, {'top1': 0.5, 'few': 0, 'ece': 0.375})

  @parameterized.parameters(
    (ValueError, 'labels', [], r'`labels` must hold at least one.*\(0,\)'),
    (ValueError, 'labels', [[0, 1]], r'`labels` must have shape.*got \(1, 2\)'),
    (
      ValueError,
      'predictions',
      np.ones((2, 3), int),
      r'`predictions` must have shape.*got \(2, 3\)\. .*argmax',
    ),
    (
      ValueError,
      'predictions',
      [0, 1, 2],
      r'one entry per example, got 2 labels, 3 predictions, 2 confidences\. C',
    ),
    (ValueError, 'confidences', [1.0], r'2 labels, 2 predictions, 1 confid'),
    (
      ValueError,
      'labels',
      [0, -1],
      r'`labels` must be in \[0, 3\), got -1 at row 1 .*Drop padded',
    ),
    (ValueError, 'labels', [0, 3], r'got 3 at row 1 .*Drop padded'),
    (ValueError, 'predictions', [0, 3], r'`predictions` must be in \[0, 3\)'),
    (ValueError, 'predictions', [-1, 0], r'`predictions` .*got -1 at row 0'),
    (
      TypeError,
      'labels',
      [0.0, 1.0],
      r'`labels` must be integers, got dtype float64\. .*labels\.astype',
    ),
    (TypeError, 'predictions', [0.0, 1.0], r'`predictions` must be integer'),
    (TypeError, 'labels', [True, False], r'`labels` .*got dtype bool'),
    (
      ValueError,
      'confidences',
      [0.5, 1.5],
      r'`confidences` must lie in \[0, 1\].*got 1\.5 in row 1\. Pass prob',
    ),
    (ValueError, 'confidences', [-0.1, 1.5], r'got -0\.1 in row 0'),
    (ValueError, 'confidences', [0.1, math.nan], r'got nan in row 1'),
    (ValueError, 'confidences', [0.1, math.inf], r'got inf in row 1'),
    (ValueError, 'many_above', 5, r'`many_above` must not be below'),
    (TypeError, 'tail_below', None, r'`tail_below` must be a number.*None'),
    (ValueError, 'num_bins', 0, r'`num_bins` must be at least 1, got 0'),
    (TypeError, 'num_bins', True, r'`num_bins` must be an integer, got True'),
  )
  def test_errors(self, error, name, value, message):
    arguments = {
      'labels': [0, 1],
      'predictions': [0, 1],
      'confidences': [0.5, 0.5],
      'class_counts': [10, 20, 30],
      name: value,
    }
    with self.assertRaisesRegex(error, message):
      metrics.classification_metrics(**arguments)


class PerClassMetricsTest(_TestCase):
  def test_by_hand(self):
    rows = metrics.per_class_metrics(
      [0, 0, 0, 1, 2],
      [0, 0, 1, 1, 3],
      [0.9, 0.6, 0.3, 0.8, 0.5],
      class_counts=[100, 9, 8, 7, 0],
      class_names=['a', 'b', 'c', 'd', 'e'],
    )
    self.assertLen(rows, 5)
    for index, row in enumerate(rows):
      self.assertEqual(list(row), _ROW_KEYS)
      self.assertEqual(row['class'], index)
      self.assertEqual(row['name'], 'abcde'[index])
    columns = {key: [row[key] for row in rows] for key in _ROW_KEYS}
    self.assertEqual(columns['train_count'], [100, 9, 8, 7, 0])
    self.assertEqual(columns['test_count'], [3, 1, 1, 0, 0])
    # Class 3 is predicted without a test example; class 2 is never predicted;
    # class 4 neither.
    want = {
      'accuracy': [2 / 3, 1, 0, None, None],
      'precision': [1, 1 / 2, None, 0, None],
      'f1': [4 / 5, 2 / 3, 0, None, None],
      'mean_confidence': [0.6, 0.8, 0.5, None, None],
    }
    self.assertEqual(columns['recall'], columns['accuracy'])
    for key, values in want.items():
      self.assert_close(dict(enumerate(columns[key])), dict(enumerate(values)))

  @parameterized.product(seed=(0, 1, 2, 3), absent=[(), (0,), (2, 3, 4)])
  def test_matches_the_loop(self, seed, absent):
    labels, predictions, confidences, counts = _example(
      seed, num_examples=40, absent=absent
    )
    rows = metrics.per_class_metrics(
      labels, predictions, confidences, class_counts=counts
    )
    want = _naive_rows(labels, predictions, confidences, counts)
    for index, (row, expected) in enumerate(zip(rows, want, strict=True)):
      self.assert_close(row, expected)
      self.assertEqual(row['name'], str(index))
      self.assertEqual(row['train_count'], counts[index])

  def test_agrees_with_the_summary(self):
    labels, predictions, confidences, counts = _example(7, absent=(6,))
    arguments = labels, predictions, confidences
    rows = metrics.per_class_metrics(*arguments, class_counts=counts)
    summary = metrics.classification_metrics(*arguments, class_counts=counts)
    present = [row for row in rows if row['test_count']]
    self.assert_close(
      summary,
      {
        'balanced': _mean([row['accuracy'] for row in present]),
        'worst_class': min(row['accuracy'] for row in present),
        'macro_f1': _mean([row['f1'] for row in present]),
      },
    )

  def test_json(self):
    labels, predictions, confidences, counts = _example(0, absent=(1,))
    rows = metrics.per_class_metrics(
      labels, predictions, confidences, class_counts=counts
    )
    self.assertEqual(json.loads(json.dumps(rows)), rows)

  @parameterized.parameters(
    (
      ValueError,
      'class_names',
      ['a', 'b'],
      r'`class_names` must have 3 names.*got 2\. Pass all names',
    ),
    (
      TypeError,
      'class_names',
      'abc',
      r"`class_names` must be a sequence of strings, got the string 'abc'\. P",
    ),
    (ValueError, 'labels', [], r'`labels` must hold at least one example'),
    (ValueError, 'labels', [0, 3], r'`labels` must be in \[0, 3\)'),
    (ValueError, 'predictions', [0], r'got 2 labels, 1 predictions, 2 conf'),
    (TypeError, 'labels', [0.0, 1.0], r'`labels` must be integers, got dt'),
    (ValueError, 'confidences', [0.5, math.nan], r'`confidences` must lie in'),
    (TypeError, 'class_counts', [1.0, 2.0], r'`class_counts` must be integers'),
  )
  def test_errors(self, error, name, value, message):
    arguments = {
      'labels': [0, 1],
      'predictions': [0, 1],
      'confidences': [0.5, 0.5],
      'class_counts': [10, 20, 30],
      name: value,
    }
    with self.assertRaisesRegex(error, message):
      metrics.per_class_metrics(**arguments)


class FrequencyCurvesTest(_TestCase):
  def test_mean_and_deviation_over_runs(self):
    counts = np.array([10, 50, 10, 50, 3])
    values = np.array(
      [
        [0.1, 0.8, 0.3, math.nan, math.nan],
        [0.2, 0.6, 0.6, 0.8, math.nan],
        [0.3, math.nan, 0.3, math.nan, math.nan],
      ]
    )
    groups = _frequency_curves.count_groups(counts)
    self.assertEqual([g.tolist() for g in groups], [[1, 3], [0, 2], [4]])
    curve = _frequency_curves.curve_of(counts, values, groups)
    # Means over the classes: 50 -> 0.8, 0.7, n/a; 10 -> 0.2, 0.4, 0.3.
    np.testing.assert_allclose(curve.positions, [50, 10])
    np.testing.assert_allclose(curve.mean, [0.75, 0.3])
    np.testing.assert_allclose(
      curve.std, [np.std([0.8, 0.7], ddof=1), np.std([0.2, 0.4, 0.3], ddof=1)]
    )

  def test_one_run_has_no_deviation(self):
    counts = np.array([5, 10])
    curve = _frequency_curves.curve_of(
      counts, np.array([[0.5, 0.9]]), _frequency_curves.count_groups(counts)
    )
    self.assertIsNone(curve.std)
    np.testing.assert_allclose(curve.mean, [0.9, 0.5])

  def test_many_counts_are_joined(self):
    counts = np.array([int(500 * 0.01 ** (c / 99.0)) for c in range(100)])
    groups = _frequency_curves.count_groups(counts)
    self.assertLen(groups, 12)
    # Every class once, most frequent first, equal counts never in two groups.
    self.assertEqual(np.concatenate(groups).tolist(), list(range(100)))
    for left, right in zip(groups[:-1], groups[1:], strict=True):
      self.assertGreater(counts[left].min(), counts[right].max())
    sizes = [len(group) for group in groups]
    self.assertBetween(min(sizes), 6, 8)
    self.assertBetween(max(sizes), 9, 11)


class PlotAccuracyByFrequencyTest(_TestCase):
  _COUNTS = np.array([100, 71, 51, 36, 26, 18, 13, 9, 6, 5])
  _BLUE = (0x00, 0x72, 0xB2)
  _ORANGE = (0xD5, 0x5E, 0x00)
  _TAIL = (0xF5, 0xF0, 0xE6)

  def _folder(self):
    # Not `create_tempdir`: it reads a flag, and pytest parses none.
    return self.enterContext(tempfile.TemporaryDirectory())

  def _plot(self, *arguments, **options):
    """Draws, checks the file, and returns its colors: {rgb: pixels}."""
    path = os.path.join(self._folder(), 'plot.png')
    metrics.plot_accuracy_by_frequency(path, *arguments, **options)
    with open(path, 'rb') as file:
      self.assertEqual(file.read(8), b'\x89PNG\r\n\x1a\n')
    with Image.open(path) as image:
      self.assertEqual(image.format, 'PNG')
      self.assertEqual(image.size, (1280, 736))
      colors = image.convert('RGB').getcolors(maxcolors=image.width * 736)
    self.assertIsNotNone(colors)
    return {color: pixels for pixels, color in colors}

  def test_one_run(self):
    colors = self._plot(
      self._COUNTS, {'imbsam': np.linspace(1.0, 0.6, 10)}, tail_below=20
    )
    self.assertGreater(colors[self._BLUE], 1000)
    self.assertGreater(colors[self._TAIL], 50_000)
    self.assertNotIn(self._ORANGE, colors)

  def test_methods_and_seeds(self):
    rng = np.random.default_rng(0)
    accuracies = {
      name: np.clip(
        np.linspace(1.0, low, 10) + rng.normal(0, 0.02, (5, 10)), 0, 1
      )
      for name, low in {
        'sgd': 0.5,
        'sam': 0.55,
        'imbsam': 0.7,
        'sse_sam': 0.65,
        'focal_sam': 0.6,
      }.items()
    }
    colors = self._plot(self._COUNTS, accuracies, tail_below=20, title='Digits')
    for color in (
      self._BLUE,
      self._ORANGE,
      (0x00, 0x9E, 0x73),
      (0xCC, 0x79, 0xA7),
      (0xE6, 0x9F, 0x00),
    ):
      self.assertGreater(colors[color], 1000)

  def test_hundred_classes(self):
    counts = np.array([int(500 * 0.01 ** (c / 99.0)) for c in range(100)])
    accuracies = np.linspace(0.9, 0.1, 100)
    self._plot(counts, {'imbsam': accuracies}, tail_below=20)
    self._plot(counts, {'a': accuracies, 'b': np.stack([accuracies] * 3)})

  def test_no_shading_without_a_tail(self):
    accuracies = {'sgd': np.linspace(1.0, 0.6, 10)}
    for tail_below in (None, 5):
      colors = self._plot(self._COUNTS, accuracies, tail_below=tail_below)
      self.assertNotIn(self._TAIL, colors)

  @parameterized.parameters(2, 10, 11, 200)
  def test_shading_starts_below_the_threshold(self, tail_below):
    counts, accuracies = [1000, 10, 1], {'a': [0.9, 0.8, 0.7]}
    got, whole = (
      self._plot(counts, accuracies, tail_below=limit)[self._TAIL]
      for limit in (tail_below, 1001)
    )
    # Half a count below; the axis has 1/20 of the range on both sides.
    margin = 0.05 * math.log(1000)
    share = (math.log(tail_below - 0.5) + margin) / (1.1 * math.log(1000))
    self.assertAlmostEqual(got / whole, share, delta=0.01)

  @parameterized.named_parameters(
    ('equal_counts', [50] * 3, [0.9, 0.8, 0.7]),
    ('step_profile', [50, 50, 5, 5], [[0.9, 0.8, 0.5, 0.4]] * 2),
    ('one_class', [1], [0.5]),
    ('unseen_class', [100, 10, 0], [0.9, 0.5, 0.0]),
    ('only_unseen', [0, 0], [0.9, 0.5]),
    ('small_counts', [3, 2, 1], [1.0, 1.0, 1.0]),
    ('none_is_left_out', [30, 20, 10], [0.9, None, 0.5]),
    ('nan_in_one_run', [30, 20], [[0.9, math.nan], [0.8, 0.5]]),
    ('nan_in_all_runs', [30, 20], [[0.9, math.nan], [0.8, math.nan]]),
    ('not_sorted', [10, 1000, 100], [0.5, 0.9, 0.7]),
    ('huge_range', [1_000_000, 1000, 1], [0.9, 0.5, 0.1]),
  )
  def test_unusual_inputs(self, counts, accuracies):
    colors = self._plot(counts, {'sgd': accuracies}, tail_below=20)
    self.assertGreater(colors[self._BLUE], 100)

  def test_names_are_shown_as_they_are(self):
    self._plot(
      [30, 20],
      {'_private $x$ $': [0.9, 0.8], 'one class': [0.8, 0.7]},
      title='5 $ of\nwork_done ' * 10,
    )
    self._plot([30, 20], {'imbsam,ldam_drw,cmo,class_balanced': [0.9, 0.8]})

  def test_same_input_same_bytes(self):
    folder = self._folder()
    contents = []
    for name in ('one.png', 'two.other_suffix'):
      path = os.path.join(folder, name)
      metrics.plot_accuracy_by_frequency(
        path, self._COUNTS, {'a': np.linspace(1, 0, 10)}, tail_below=20
      )
      with open(path, 'rb') as file:
        contents.append(file.read())
    self.assertEqual(*contents)

  def test_white_under_a_dark_style(self):
    accuracies = {'a': [0.9, 0.8]}
    want = self._plot([20, 10], accuracies)
    with matplotlib.style.context('dark_background'):
      got = self._plot([20, 10], accuracies)
    self.assertEqual(got[255, 255, 255], want[255, 255, 255])

  def test_order_of_classes_does_not_matter(self):
    accuracies = np.linspace(1.0, 0.6, 10)
    order = np.random.default_rng(0).permutation(10)
    self.assertEqual(
      self._plot(self._COUNTS, {'a': accuracies}),
      self._plot(self._COUNTS[order], {'a': accuracies[order]}),
    )

  @parameterized.parameters(
    (TypeError, [0.5, 0.4], r'`accuracies` must be a dict.*got list\. Pass \{'),
    (ValueError, {}, r'`accuracies` must have at least one.*empty dict\. Pass'),
    (
      ValueError,
      {'a': [0.5]},
      r"`accuracies\['a'\]` must have shape \[2\] or \[runs, 2\].*got \(1,\)\. "
      r'Stack',
    ),
    (ValueError, {'a': 0.5}, r'got \(\)\. Stack'),
    (ValueError, {'a': np.ones((1, 1, 2))}, r'got \(1, 1, 2\)\. Stack'),
    (ValueError, {'a': np.ones((0, 2))}, r'got \(0, 2\)\. Stack'),
    (
      ValueError,
      {'a': [50.0, 40.0]},
      r'must lie in \[0, 1\], got values from 40 to 50\. Divide percentages',
    ),
    (ValueError, {'a': [0.5, math.inf]}, r'got values from 0\.5 to inf'),
    (ValueError, {'a': [None, None]}, r'at least one class, got only NaN\. Le'),
    (TypeError, {'a': ['x', 'y']}, r'must be an array of floats, got \[.x.,'),
    (TypeError, {'a': [[0.1, 0.2], [0.1]]}, r'array of floats.*equally many'),
  )
  def test_bad_accuracies(self, error, accuracies, message):
    path = os.path.join(self._folder(), 'plot.png')
    with self.assertRaisesRegex(error, message):
      metrics.plot_accuracy_by_frequency(path, [20, 10], accuracies)
    self.assertFalse(os.path.exists(path))

  def test_bad_counts_and_threshold(self):
    with self.assertRaisesRegex(TypeError, '`class_counts` must be integers'):
      self._plot([0.5], {'a': [0.5]})
    with self.assertRaisesRegex(TypeError, '`tail_below` must be a number'):
      self._plot([5], {'a': [0.5]}, tail_below='20')


@pytest.mark.trains
class PackageTest(absltest.TestCase):
  def test_public_names(self):
    self.assertEqual(
      metrics.__all__,
      [
        'anomaly_metrics',
        'class_groups',
        'classification_metrics',
        'expected_calibration_error',
        'per_class_metrics',
        'plot_accuracy_by_frequency',
        'plot_anomaly_scores',
      ],
    )
    for name in metrics.__all__:
      self.assertTrue(callable(getattr(metrics, name)))

  def test_import_is_light(self):
    program = (
      'import sys, imbsam_jax.metrics\n'
      'print([m for m in ("sklearn", "matplotlib") if m in sys.modules])'
    )
    result = subprocess.run(
      [sys.executable, '-c', program],
      capture_output=True,
      text=True,
      check=True,
      env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    self.assertEqual(result.stdout.strip(), '[]')

  def test_plotting_leaves_pyplot_alone(self):
    program = (
      'import os, sys, tempfile, imbsam_jax.metrics as m\n'
      'path = os.path.join(tempfile.mkdtemp(), "a.png")\n'
      'm.plot_accuracy_by_frequency(path, [20, 10], {"a": [0.9, 0.8]})\n'
      'print("matplotlib.pyplot" in sys.modules)'
    )
    result = subprocess.run(
      [sys.executable, '-c', program],
      capture_output=True,
      text=True,
      check=True,
      env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    self.assertEqual(result.stdout.strip(), 'False')


if __name__ == '__main__':
  absltest.main()
