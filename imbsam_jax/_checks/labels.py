# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of labels that are class indices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax._checks import numbers


def label_array(
  labels: Any,
  *,
  name: str = 'labels',
  num_rows: int | None = None,
  empty: bool = True,
  error: type[Exception] | None = None,
  hint: str = '',
) -> Any:
  """Labels as an array of their own dtype.

  Args:
    labels: Int array, shape ``[N]``, values not checked.
    name: Name of the argument.
    num_rows: Number N of rows, where it is known; None allows any.
    empty: Whether there may be no rows.
    error: Class of all errors, instead of the two below.
    hint: Sentence at the end of the message about a dtype.

  Returns:
    A NumPy array, or traced labels as they came.

  Raises:
    TypeError: If the labels are not integers, or are a named tuple of arrays.
    ValueError: If the labels have another rank or length.
  """
  if isinstance(labels, tuple) and hasattr(labels, '_fields'):
    raise (error or TypeError)(
      f'`{name}` must be an int array, got {type(labels).__name__}.'
    )
  if not isinstance(labels, jax.core.Tracer):
    labels = np.asarray(labels)
    # Before the dtype: NumPy makes an empty list an array of floats.
    if not labels.size and not empty:
      raise (error or ValueError)(
        f'`{name}` must hold at least one example, got shape {labels.shape}.'
      )
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise (error or TypeError)(
      f'`{name}` must be integers, got dtype {labels.dtype}. Pass class '
      f'indices: {_as_integers(name, labels)}.{" " if hint else ""}{hint}'
    )
  if labels.ndim != 1 or num_rows not in (None, labels.shape[0]):
    raise (error or ValueError)(
      f'`{name}` must have shape [{"N" if num_rows is None else num_rows}], '
      f'one class index for each row, got {labels.shape}.'
      f'{_as_vector(name, labels)}'
    )
  return labels


def _as_integers(name: str, labels: Any) -> str:
  """What to pass instead of labels of another dtype."""
  if labels.ndim == 2 and labels.shape[1] == 1:
    name = f'{name}[:, 0]'
  elif labels.ndim > 1:
    return f'{name}.argmax(axis=-1) for one-hot rows'
  if not jnp.issubdtype(labels.dtype, jnp.number) and labels.dtype != bool:
    return f'numpy.unique({name}, return_inverse=True)[1] for names of classes'
  return f'{name}.astype("int32")'


def _as_vector(name: str, labels: Any) -> str:
  """What to pass instead of labels of another rank."""
  if labels.ndim != 2:
    return ''
  if labels.shape[1] == 1:
    return f' Pass {name}[:, 0].'
  return f' For one-hot rows pass {name}.argmax(axis=-1).'


def class_labels(
  labels: Any,
  num_classes: int | None,
  *,
  name: str = 'labels',
  num_rows: int | None = None,
  empty: bool = True,
  error: type[Exception] | None = None,
  hint: str = '',
) -> Any:
  """Class indices as an array of their own dtype.

  Args:
    labels: Int array, shape ``[N]``.
    num_classes: Number of classes, which labels are below. None, where the
      labels say how many classes there are: there are not more classes than
      rows.
    name: Name of the argument.
    num_rows: Number N of rows, where it is known; None allows any.
    empty: Whether there may be no rows.
    error: Class of all errors, instead of the two below.
    hint: Sentence at the end of the message about a dtype.

  Returns:
    A NumPy array, or traced labels as they came, whose range is not checked.

  Raises:
    TypeError: If the labels are not integers, or are a named tuple of arrays.
    ValueError: If the labels have another rank or length, or are out of range.
  """
  labels = label_array(
    labels, name=name, num_rows=num_rows, empty=empty, error=error, hint=hint
  )
  if isinstance(labels, jax.core.Tracer):
    return labels
  limit = len(labels) if num_classes is None else num_classes
  wrong = np.flatnonzero((labels < 0) | (labels >= limit))
  # How many classes there are, negative labels do not tell.
  if num_classes is None and (negative := np.flatnonzero(labels < 0)).size:
    raise (error or ValueError)(
      f'`{name}` must not be negative, got {labels[negative[0]]} at row '
      f'{negative[0]} ({negative.size} such rows). Drop padded and unlabeled '
      'rows, and number the classes from 0.'
    )
  if wrong.size:
    raise (error or ValueError)(
      f'`{name}` must be in [0, {limit}), got {labels[wrong[0]]} at row '
      f'{wrong[0]} ({wrong.size} such rows). Drop padded and unlabeled rows, '
      'and number the classes from 0.'
    )
  return labels


def device_labels(
  labels: Any, num_classes: int, *, num_rows: int, hint: str = ''
) -> jax.Array:
  """Class indices as int32 ``[num_rows]`` on the device.

  Raises:
    TypeError: If the labels are not integers.
    ValueError: If there is not one label for each row, or a label is out of
      range.
  """
  labels = class_labels(labels, num_classes, num_rows=num_rows, hint=hint)
  return jnp.asarray(labels).astype(jnp.int32)


def host_labels(
  labels: Any,
  num_classes: int | None,
  *,
  name: str = 'labels',
  error: type[Exception] | None = None,
) -> np.ndarray:
  """Class indices as int32 ``[N]`` on the host, at least one.

  Args:
    labels: Int array, shape ``[N]``, concrete.
    num_classes: Number of classes, which labels are below. None, where the
      labels say how many classes there are, see `class_labels`.
    name: Name of the argument.
    error: Class of all errors, instead of the two below.

  Raises:
    TypeError: If the labels are traced or not integers.
    ValueError: If there are no labels, or they have another rank or are out of
      range.
  """
  numbers.concrete(name, labels)
  labels = class_labels(
    labels, num_classes, name=name, empty=False, error=error
  )
  return labels.astype(np.int32)
