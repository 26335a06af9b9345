# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accuracy over all classes, over groups of classes, and per class."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.metrics import _calibration
from imbsam_jax.metrics import _groups
from imbsam_jax.metrics import _inputs


class _ClassScores(NamedTuple):
  """Scores per class, float64 ``[num_classes]``; NaN is n/a."""

  test_counts: np.ndarray
  recall: np.ndarray  # NaN: no test example of the class.
  precision: np.ndarray  # NaN: the class was never predicted.
  f1: np.ndarray  # NaN: no test example of the class.


def classification_metrics(
  labels: ArrayLike,
  predictions: ArrayLike,
  confidences: ArrayLike,
  *,
  class_counts: ArrayLike,
  many_above: float = 100,
  few_below: float = 20,
  tail_below: float = 20,
  num_bins: int = 15,
) -> dict[str, float | None]:
  """Summary of a classifier on a whole evaluation set.

  ``C`` classes; the recall of a class is the fraction of its test examples
  that were predicted right, its accuracy. Means over classes run over the
  classes that have test examples:

  - ``top1``: fraction of examples predicted right.
  - ``balanced``: mean recall.
  - ``many``, ``medium``, ``few``: mean recall over the classes of the group, by
    number of training examples (`class_groups`). Not the accuracy over the
    group's examples; on a balanced test set the two are the same.
  - ``head``, ``tail``: likewise; a class is tail if it has fewer than
    `tail_below` training examples.
  - ``worst_class``: smallest recall.
  - ``g_mean``: geometric mean of the recalls; 0 as soon as one of them is.
  - ``macro_f1``: mean of F1 = 2 TP / (2 TP + FP + FN).
  - ``ece``: `expected_calibration_error`.

  .. note::

    A class without test examples has no recall and no F1: it is not in any
    mean, even if it was predicted. The wrong predictions of it count once, as
    misses of the true classes. scikit-learn's ``f1_score(average='macro')``
    counts such a class as 0 instead; the two agree when every predicted class
    has test examples.

  Args:
    labels: Int array, shape ``[num_examples]``, values in ``[0, C)``.
    predictions: Int array, shape ``[num_examples]``, values in ``[0, C)``.
    confidences: Float array, shape ``[num_examples]``, values in [0, 1]: the
      largest softmax probability of each example.
    class_counts: Int array, shape ``[C]``, training examples per class.
    many_above: Classes with more training examples than this are ``'many'``.
    few_below: Classes with fewer training examples than this are ``'few'``.
    tail_below: Classes with fewer training examples than this are ``'tail'``,
      all others ``'head'``. Pass the threshold of the method, also for rows of
      a table whose method has none, so that rows compare.
    num_bins: Number of bins of the calibration error.

  Returns:
    Flat dict with the keys above in that order. Fractions in [0, 1], or None
    (n/a, never 0) for a group with no class in the test set. Plain Python
    numbers, so ``json.dump`` takes it.

  Raises:
    TypeError: If labels, predictions or counts are not integers, or confidences
      or thresholds are not real numbers.
    ValueError: If there is no example, the lengths differ, a class is outside
      ``[0, C)``, a confidence is outside [0, 1] or NaN, or `many_above` is
      below `few_below`.

  Examples:
    >>> metrics = classification_metrics(
    ...   labels=[0, 0, 0, 1],
    ...   predictions=[0, 0, 1, 1],
    ...   confidences=[0.9, 0.8, 0.6, 0.7],
    ...   class_counts=[500, 10],
    ... )
    >>> print(f'{metrics["top1"]:.3f} {metrics["balanced"]:.3f}')
    0.750 0.833
    >>> print(f'{metrics["many"]:.3f} {metrics["few"]:.3f}')
    0.667 1.000
    >>> print(metrics['medium'])
    None
  """
  counts = _checks.count_array(
    class_counts, zeros=True, all_zero=True, whole=True
  )
  labels, predictions, confidences = _as_examples(
    labels, predictions, confidences, num_classes=len(counts)
  )
  _checks.number('tail_below', tail_below, finite=False)
  groups = _groups.class_groups(
    counts, many_above=many_above, few_below=few_below
  )
  groups['head'] = counts >= tail_below
  groups['tail'] = counts < tail_below

  correct = labels == predictions
  scores = _class_scores(labels, predictions, num_classes=len(counts))
  present = scores.test_counts > 0
  recall = scores.recall[present]
  # The logarithm of a zero recall would warn on its way to the same result.
  g_mean = np.exp(np.log(recall).mean()) if recall.all() else 0.0
  return {
    'top1': float(correct.mean()),
    'balanced': float(recall.mean()),
    **{
      name: _mean_or_none(scores.recall[mask & present])
      for name, mask in groups.items()
    },
    'worst_class': float(recall.min()),
    'g_mean': float(g_mean),
    'macro_f1': float(scores.f1[present].mean()),
    'ece': _calibration.expected_calibration_error(
      confidences, correct, num_bins=num_bins
    ),
  }


def per_class_metrics(
  labels: ArrayLike,
  predictions: ArrayLike,
  confidences: ArrayLike,
  *,
  class_counts: ArrayLike,
  class_names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
  """Counts and accuracies of each class, one row per class.

  Args:
    labels: Int array, shape ``[num_examples]``, values in ``[0, C)``.
    predictions: Int array, shape ``[num_examples]``, values in ``[0, C)``.
    confidences: Float array, shape ``[num_examples]``, values in [0, 1]: the
      largest softmax probability of each example.
    class_counts: Int array, shape ``[C]``, training examples per class.
    class_names: ``C`` names, in the order of the class indices; the index as
      text by default.

  Returns:
    ``C`` dicts in class order, with the keys in this order (None is n/a):

    - ``class``, ``name``, ``train_count``, ``test_count``.
    - ``accuracy``: fraction of the test examples of the class predicted right;
      None without any. ``recall`` is the same number, under the name it has
      next to precision and F1.
    - ``precision``: fraction of the predictions of the class that were right;
      None if it was never predicted. A class without test examples that was
      predicted has precision 0.
    - ``f1``: 2 TP / (2 TP + FP + FN); None without test examples.
    - ``mean_confidence``: mean confidence over the test examples of the class,
      right or wrong, whatever was predicted; None without any.

  Raises:
    TypeError: If labels, predictions or counts are not integers, confidences
      are not real numbers, or `class_names` is one string.
    ValueError: If there is no example, the lengths differ, a class is outside
      ``[0, C)``, a confidence is outside [0, 1] or NaN, or `class_names` has
      not one name per class.

  Examples:
    >>> rows = per_class_metrics(
    ...   labels=[0, 0, 0, 1],
    ...   predictions=[0, 0, 1, 1],
    ...   confidences=[0.9, 0.8, 0.6, 0.7],
    ...   class_counts=[500, 10],
    ...   class_names=['cat', 'lynx'],
    ... )
    >>> for row in rows:
    ...   print(f'{row["name"]} {row["recall"]:.3f} {row["precision"]:.3f}')
    cat 0.667 1.000
    lynx 1.000 0.500
  """
  counts = _checks.count_array(
    class_counts, zeros=True, all_zero=True, whole=True
  )
  num_classes = len(counts)
  labels, predictions, confidences = _as_examples(
    labels, predictions, confidences, num_classes=num_classes
  )
  names = _as_class_names(class_names, num_classes)

  scores = _class_scores(labels, predictions, num_classes=num_classes)
  confidence_sums = np.bincount(
    labels, weights=confidences, minlength=num_classes
  )
  rows = []
  for index in range(num_classes):
    test_count = int(scores.test_counts[index])
    accuracy = _number_or_none(scores.recall[index])
    rows.append(
      {
        'class': index,
        'name': names[index],
        'train_count': int(counts[index]),
        'test_count': test_count,
        'accuracy': accuracy,
        'precision': _number_or_none(scores.precision[index]),
        'recall': accuracy,
        'f1': _number_or_none(scores.f1[index]),
        'mean_confidence': (
          float(confidence_sums[index] / test_count) if test_count else None
        ),
      }
    )
  return rows


def _as_examples(
  labels: ArrayLike,
  predictions: ArrayLike,
  confidences: ArrayLike,
  *,
  num_classes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The three arrays over the evaluation set, checked."""
  labels = _checks.host_labels(labels, num_classes)
  predictions = _checks.host_labels(
    predictions, num_classes, name='predictions'
  )
  confidences = _inputs.as_confidences(confidences)
  _inputs.check_same_length(
    labels=labels, predictions=predictions, confidences=confidences
  )
  return labels, predictions, confidences


def _as_class_names(
  class_names: Sequence[str] | None, num_classes: int
) -> list[str]:
  """One name per class."""
  if class_names is None:
    return [str(index) for index in range(num_classes)]
  # A string of the right length would pass as a sequence of letters.
  if isinstance(class_names, str):
    raise TypeError(
      '`class_names` must be a sequence of strings, got the string '
      f'{class_names!r}. Pass a list: class_names=[{class_names!r}, ...].'
    )
  if len(class_names) != num_classes:
    raise ValueError(
      f'`class_names` must have {num_classes} names, one per entry of '
      f'`class_counts`, got {len(class_names)}. Pass all names in the order of '
      'the class indices, or class_names=None to use the indices.'
    )
  return list(class_names)


def _class_scores(
  labels: np.ndarray, predictions: np.ndarray, *, num_classes: int
) -> _ClassScores:
  """Recall, precision and F1 of each class."""
  # Not at the top: it takes about a second, and `imbsam_jax.metrics` is
  # imported by programs that never evaluate (`--help`).
  from sklearn import metrics as sklearn_metrics

  precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
    labels,
    predictions,
    labels=np.arange(num_classes),
    average=None,
    zero_division=0,
  )
  test_counts = np.bincount(labels, minlength=num_classes)
  predicted_counts = np.bincount(predictions, minlength=num_classes)
  # What has no denominator is n/a, not the 0 it gets above. F1 has one also for
  # a class that was predicted but has no test example: see the public note.
  return _ClassScores(
    test_counts=test_counts,
    recall=np.where(test_counts > 0, recall, np.nan),
    precision=np.where(predicted_counts > 0, precision, np.nan),
    f1=np.where(test_counts > 0, f1, np.nan),
  )


def _mean_or_none(values: np.ndarray) -> float | None:
  return float(values.mean()) if values.size else None


def _number_or_none(value: float) -> float | None:
  return None if np.isnan(value) else float(value)
