# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The numbers of a table's row, counted by hand at its thresholds."""

from absl.testing import absltest
import numpy as np

from imbsam_jax import metrics

# On either side of the thresholds 100 and 20; the last has no test example.
_COUNTS = [101, 100, 20, 19, 5]
_LABELS = np.repeat([0, 1, 2, 3], [4, 4, 2, 5])
# Right are 4 of 4, 3 of 4, 1 of 2 and 1 of 5.
_PREDICTIONS = np.array([0, 0, 0, 0, 1, 1, 1, 0, 2, 4, 3, 0, 0, 1, 4])
_CONFIDENCES = np.array(
  [0.9, 0.9, 0.9, 0.7, 0.8, 0.8, 0.6, 0.6, 0.5, 0.4, 0.3, 0.4, 0.5, 0.6, 0.7]
)
_RECALLS = [1, 3 / 4, 1 / 2, 1 / 5]
# 2 TP / (2 TP + FP + FN).
_F1 = [8 / 11, 6 / 8, 2 / 3, 2 / 6]


class SummaryTest(absltest.TestCase):
  def test_by_hand(self):
    found = metrics.classification_metrics(
      _LABELS, _PREDICTIONS, _CONFIDENCES, class_counts=_COUNTS
    )
    expected = {
      'top1': 9 / 15,
      'balanced': np.mean(_RECALLS),
      'many': 1.0,
      'medium': 0.625,
      'few': 0.2,
      'head': 0.75,
      'tail': 0.2,
      'worst_class': 0.2,
      'g_mean': 0.075**0.25,
      'macro_f1': np.mean(_F1),
    }
    for name, value in expected.items():
      np.testing.assert_allclose(found[name], value, err_msg=name)

  def test_thresholds_are_independent(self):
    found = metrics.classification_metrics(
      _LABELS,
      _PREDICTIONS,
      _CONFIDENCES,
      class_counts=_COUNTS,
      many_above=99,
      few_below=21,
      tail_below=101,
    )
    np.testing.assert_allclose(
      [found[name] for name in ('many', 'few', 'head', 'tail')],
      [0.875, 0.35, 1.0, (0.75 + 0.5 + 0.2) / 3],
    )
    self.assertIsNone(found['medium'])

  def test_fifteen_bins(self):
    # 1/15 = 0.0667 lies between; neither 1/14 nor 1/16 does.
    found = metrics.classification_metrics(
      [0, 0], [0, 1], [0.066, 0.068], class_counts=[1, 1]
    )
    np.testing.assert_allclose(found['ece'], (1 - 0.066 + 0.068) / 2)
    found = metrics.classification_metrics(
      [0, 0], [0, 1], [0.066, 0.068], class_counts=[1, 1], num_bins=1
    )
    np.testing.assert_allclose(found['ece'], 0.5 - 0.067)


class RowsTest(absltest.TestCase):
  def test_by_hand(self):
    rows = metrics.per_class_metrics(
      _LABELS,
      _PREDICTIONS,
      _CONFIDENCES,
      class_counts=_COUNTS,
      class_names=list('abcde'),
    )
    expected = {
      'class': [0, 1, 2, 3, 4],
      'name': list('abcde'),
      'train_count': _COUNTS,
      'test_count': [4, 4, 2, 5, 0],
      'accuracy': [*_RECALLS, None],
      'precision': [4 / 7, 3 / 4, 1, 1, 0],
      'recall': [*_RECALLS, None],
      'f1': [*_F1, None],
      'mean_confidence': [0.85, 0.7, 0.45, 0.5, None],
    }
    for name, values in expected.items():
      for row, value in zip(rows, values, strict=True):
        if isinstance(value, float):
          np.testing.assert_allclose(row[name], value, err_msg=name)
        else:
          self.assertEqual(row[name], value, name)


class GroupsTest(absltest.TestCase):
  def test_thresholds(self):
    for arguments, many, few in (
      (dict(), [1, 0, 0, 0, 0], [0, 0, 0, 1, 1]),
      (dict(many_above=20), [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]),
      (dict(few_below=100), [1, 0, 0, 0, 0], [0, 0, 1, 1, 1]),
      (dict(many_above=20, few_below=20), [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]),
    ):
      groups = metrics.class_groups(_COUNTS, **arguments)
      np.testing.assert_array_equal(groups['many'], many)
      np.testing.assert_array_equal(groups['few'], few)
      np.testing.assert_array_equal(
        groups['medium'], ~(groups['many'] | groups['few'])
      )


if __name__ == '__main__':
  absltest.main()
