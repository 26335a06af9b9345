# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of what the caller hands to a metric, and casts to NumPy.

Each check names the argument, says what came, and what to type instead.
"""

import numbers

import numpy as np
from numpy.typing import ArrayLike


def as_class_counts(class_counts: ArrayLike) -> np.ndarray:
  """Training examples per class as an int64 array, shape ``[C]``."""
  counts = np.asarray(class_counts)
  if counts.ndim != 1 or counts.size == 0:
    raise ValueError(
      '`class_counts` must have shape [num_classes] with at least one class, '
      f'got shape {counts.shape}. Count the training labels: '
      'np.bincount(train_labels, minlength=num_classes).'
    )
  if not np.issubdtype(counts.dtype, np.integer):
    raise TypeError(
      f'`class_counts` must be integers, got dtype {counts.dtype}. If these '
      'are priors, multiply by the size of the training set; then cast: '
      'np.rint(class_counts).astype(np.int64).'
    )
  if counts.min() < 0:
    raise ValueError(
      '`class_counts` must not be negative, got '
      f'{counts.min()} for class {counts.argmin()}. Count the training labels: '
      'np.bincount(train_labels, minlength=num_classes).'
    )
  return counts.astype(np.int64)


def as_class_indices(
  name: str, values: ArrayLike, num_classes: int
) -> np.ndarray:
  """Labels or predictions as an int64 array, shape ``[num_examples]``."""
  indices = _as_rows(name, values)
  if not np.issubdtype(indices.dtype, np.integer):
    raise TypeError(
      f'`{name}` must be integer class indices, got dtype {indices.dtype}. '
      f'Cast them: np.asarray({name}).astype(np.int64).'
    )
  if indices.min() < 0 or indices.max() >= num_classes:
    raise ValueError(
      f'`{name}` must lie in [0, {num_classes}), the classes of '
      f'`class_counts`, got values from {indices.min()} to {indices.max()}. '
      'Drop padded and unlabelled rows (label -1) first, or pass '
      '`class_counts` with one entry per class.'
    )
  return indices.astype(np.int64)


def as_confidences(confidences: ArrayLike) -> np.ndarray:
  """Confidences as a float64 array, shape ``[num_examples]``."""
  values = _as_rows('confidences', confidences)
  # Booleans here are nearly always `correct` in the wrong place.
  if values.dtype.kind in 'bcmMOSU':
    raise TypeError(
      f'`confidences` must be floats in [0, 1], got dtype {values.dtype}. Pass '
      'the largest softmax probability of each row: '
      'jax.nn.softmax(logits).max(-1).'
    )
  values = values.astype(np.float64)
  # Written so that NaN, which fails every comparison, is refused too.
  inside = (values >= 0) & (values <= 1)
  if not inside.all():
    row = int(np.argmin(inside))
    raise ValueError(
      '`confidences` must lie in [0, 1] and be finite, got '
      f'{float(values[row])!r} in row {row}. Pass probabilities, not logits or '
      'percentages: jax.nn.softmax(logits).max(-1).'
    )
  return values


def as_correct(correct: ArrayLike) -> np.ndarray:
  """Hits as a float64 array of 0 and 1, shape ``[num_examples]``."""
  values = _as_rows('correct', correct)
  if not np.isin(values, (0, 1)).all():
    raise ValueError(
      '`correct` must be booleans, or numbers that are 0 or 1, got '
      f'{values.dtype} values such as '
      f'{values[~np.isin(values, (0, 1))][0]!s}. Pass labels == predictions.'
    )
  return values.astype(np.float64)


def check_same_length(**arrays: np.ndarray) -> None:
  """Raises ValueError unless all arrays have the same number of rows."""
  lengths = {name: len(array) for name, array in arrays.items()}
  if len(set(lengths.values())) > 1:
    names = ', '.join(f'`{name}`' for name in lengths)
    got = ', '.join(f'{length} {name}' for name, length in lengths.items())
    raise ValueError(
      f'{names} must have one entry per example, got {got}. Concatenate the '
      'evaluation batches of each in the same order, and drop the padded rows '
      'of all of them.'
    )


def check_threshold(name: str, value: float) -> None:
  """Raises TypeError or ValueError unless this is a real number."""
  if not isinstance(value, numbers.Real) or isinstance(value, bool):
    raise TypeError(
      f'`{name}` must be a number of training examples, got {value!r}. Pass a '
      f'number, for example {name}=20.'
    )
  if value != value:
    raise ValueError(
      f'`{name}` must be a number of training examples, got NaN. Pass a '
      f'number, for example {name}=20.'
    )


def check_num_bins(num_bins: int) -> None:
  """Raises TypeError or ValueError unless this is a positive integer."""
  if not isinstance(num_bins, numbers.Integral) or isinstance(num_bins, bool):
    raise TypeError(
      f'`num_bins` must be an integer, got {num_bins!r}. Pass a positive '
      'integer, for example num_bins=15.'
    )
  if num_bins < 1:
    raise ValueError(
      f'`num_bins` must be at least 1, got {num_bins!r}. Pass a positive '
      'integer, for example num_bins=15.'
    )


def _as_rows(name: str, values: ArrayLike) -> np.ndarray:
  """One value per example, at least one example."""
  rows = np.asarray(values)
  # Before the dtype: NumPy makes an empty list an array of floats.
  if rows.size == 0:
    raise ValueError(
      f'`{name}` must hold at least one example, got shape {rows.shape}. Check '
      'that the evaluation split is not empty and that the padding mask keeps '
      'the real rows.'
    )
  if rows.ndim != 1:
    raise ValueError(
      f'`{name}` must have shape [num_examples], got {rows.shape}. Reduce '
      'logits or probabilities over the classes (argmax(-1) for predictions, '
      'max(-1) for confidences), and join batches with np.concatenate.'
    )
  return rows
