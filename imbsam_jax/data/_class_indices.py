# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels as people have them, as class indices."""

from collections.abc import Sequence
import difflib
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _errors
from imbsam_jax.data import _host_arrays

_LISTED = 10


class ClassIndices(NamedTuple):
  """Class indices, and the names of the classes.

  Attributes:
    labels: int32 ``[N]``.
    class_names: One name per class.
  """

  labels: np.ndarray
  class_names: list[str]


def class_indices(
  labels: Any, class_names: Sequence[str] | None = None
) -> ClassIndices:
  """Takes labels in every form whose meaning is certain.

  Those are class indices from 0, as integers, booleans or whole floats; names
  of classes; both as ``[N]`` or ``[N, 1]``; and one-hot rows ``[N, C]``, which
  hold one 1 and else 0.

  >>> class_indices(['cat', 'ant', 'cat'])
  ClassIndices(labels=array([1, 0, 1], dtype=int32), class_names=['ant', 'cat'])

  Args:
    labels: The labels.
    class_names: One name per class. None takes those of one-hot rows and of
      indices as '0', '1', ..., up to the largest, and sorts those of names.

  Raises:
    DataError: If there are no labels, or they are none of these; the message
      says what to pass.
  """
  names = None if class_names is None else [str(x) for x in class_names]
  array = _host_arrays.host_array(labels, '`labels`')
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  if array.dtype.kind in 'SUT':
    return _of_names(array, names)
  if array.ndim == 2 and array.size:
    array, num_classes = _of_one_hot_rows(array)
    if names is None:
      names = [str(c) for c in range(num_classes)]
    elif len(names) != num_classes:
      raise _errors.DataError(
        f'`labels` has one-hot rows of {num_classes} classes, but there are '
        f'{len(names)} names of classes. Give each class a name, and each row '
        'an entry for each class.'
      )
  array = _whole(array)
  if names is not None:
    _check_begin(array, names)
  indices = _checks.host_labels(
    array, None if names is None else len(names), error=_errors.DataError
  )
  if names is None:
    names = [str(c) for c in range(int(indices.max()) + 1)]
  return ClassIndices(indices, names)


def first_label_advice(labels: np.ndarray) -> str | None:
  """What to say about labels of which none is 0: MATLAB counts from 1.

  Args:
    labels: Class indices, int ``[N]``.
  """
  if not len(labels) or labels.min() < 1:
    return None
  return (
    f'labels begin at {labels.min()} (and end at {labels.max()}), classes at '
    f'0: subtract {labels.min()}, for the labels of all splits.'
  )


def _of_names(array: np.ndarray, names: list[str] | None) -> ClassIndices:
  if array.ndim != 1 or not array.size:
    raise _errors.DataError(
      '`labels` must be the name of a class for each row, at least one, got '
      f'shape {array.shape}.'
    )
  try:
    texts = np.char.decode(array, 'utf-8') if array.dtype.kind == 'S' else array
  except UnicodeDecodeError as error:
    raise _errors.DataError(f'`labels` are not UTF-8: {error}.') from error
  texts = texts.astype(str)
  distinct, inverse = np.unique(texts, return_inverse=True)
  if names is None:
    # 2 before 10, if all are numbers.
    names = distinct.tolist()
    if all(name.isdecimal() and name.isascii() for name in names):
      names.sort(key=int)
  places = {name: i for i, name in enumerate(names)}
  for k, text in enumerate(distinct):
    if text not in places:
      row = int(np.flatnonzero(inverse == k)[0])
      near = difflib.get_close_matches(text, names, n=1)
      hint = f' Did you mean {near[0]!r}?' if near else ''
      more = ', ...' if len(names) > _LISTED else ''
      raise _errors.DataError(
        f'`labels` has {str(text)!r} in row {row}, which is no class of the '
        f'{len(names)}: {", ".join(map(repr, names[:_LISTED]))}{more}.{hint}'
      )
  table = np.array([places[text] for text in distinct], np.int32)
  return ClassIndices(table[inverse.reshape(-1)], names)


def _of_one_hot_rows(array: np.ndarray) -> tuple[np.ndarray, int]:
  """Class indices of ``[N, C]``, and C."""
  if array.dtype.kind not in 'biuf':
    raise _errors.DataError(
      f'`labels` must be class indices, got {array.dtype} {array.shape}.'
    )
  if array.shape[0] == 1:
    raise _errors.DataError(
      '`labels` must be [N], one class index for each row, got '
      f'{array.shape}. If this is one row of {array.shape[1]} labels, pass '
      'labels[0].'
    )
  zero_or_one = np.isin(array, (0, 1)).all(axis=1)
  with np.errstate(all='ignore'):
    sums = array.sum(axis=1, dtype=np.float64)
  wrong = np.flatnonzero(~zero_or_one | (sums != 1))
  if not wrong.size:
    return array.argmax(axis=1), array.shape[1]
  row = array[wrong[0]]
  shown = (
    f'[{", ".join(f"{float(x):g}" for x in row[:6])}{", ..." * (len(row) > 6)}]'
  )
  if zero_or_one.all():
    what = (
      'several classes for a row (multi-label)'
      if row.sum() > 1
      else 'no class for a row'
    )
    advice = 'Keep the rows that have one class.'
  elif (array >= 0).all() and np.allclose(sums, 1, atol=1e-3):
    what = 'shares of classes (soft labels)'
    advice = 'Pass labels.argmax(axis=1) to take the class with the most.'
  else:
    what = f'{array.dtype} {array.shape}'
    advice = 'Pass the column that holds the class, such as labels[:, 0].'
  raise _errors.DataError(
    '`labels` must be [N], one class index for each row, or one-hot rows, got '
    f'{what}: {shown} in row {wrong[0]} ({wrong.size} such rows). {advice}'
  )


def _whole(array: np.ndarray) -> np.ndarray:
  """Booleans and whole floats as integers; others as they are."""
  if array.dtype == bool:
    return array.astype(np.int32)
  if not array.size or not _host_arrays.is_floating(array.dtype):
    return array
  values = array.astype(np.float64)
  missing = np.flatnonzero(np.isnan(values))
  if missing.size:
    raise _errors.DataError(
      f'`labels` is NaN in row {missing[0]} ({missing.size} such rows). Leave '
      'out the rows that have no label.'
    )
  wrong = np.flatnonzero((values != np.round(values)) | (abs(values) > 2**31))
  if wrong.size:
    raise _errors.DataError(
      f'`labels` must be class indices, got {values.ravel()[wrong[0]]:g} in '
      f'row {wrong[0]} ({wrong.size} such rows). Numbers to be predicted are '
      'no classes: number intervals of them, such as by numpy.digitize.'
    )
  return values.astype(np.int64)


def _check_begin(labels: np.ndarray, names: Sequence[str]) -> None:
  """Refuses numbers that are not meant as indices of these classes."""
  if labels.ndim != 1 or labels.dtype.kind not in 'iu' or not labels.size:
    return
  distinct = {str(x) for x in np.unique(labels)}
  # As names they would be other classes than as indices.
  if distinct <= {*names} and list(names) != [
    str(c) for c in range(len(names))
  ]:
    raise _errors.DataError(
      f'`labels` are integers, and the names of the classes are numbers too: '
      f'class 0 is {names[0]!r}. Pass the names, labels.astype(str).'
    )
  if labels.max() == len(names) and labels.min() >= 1:
    raise _errors.DataError(str(first_label_advice(labels)))
