# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of what the caller hands to a metric, and casts to NumPy.

Each check names the argument, says what came, and what to type instead.
"""

import numpy as np
from numpy.typing import ArrayLike


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
