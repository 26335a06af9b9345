# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Long-tailed subsets of balanced data, by the conventions of the field."""

from collections.abc import Sequence
import numbers
from typing import Literal

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _errors


def long_tail_class_counts(
  num_classes: int,
  max_count: int,
  imbalance_factor: float,
  *,
  profile: Literal['exp', 'step'] = 'exp',
) -> np.ndarray:
  r"""Number of training images of each class of a long-tailed subset.

  With f the imbalance factor, C classes and i = 0 .. C-1,

  .. math::
    n_i = \lfloor n_{max} \, f^{-i/(C-1)} \rfloor \quad (exp), \qquad
    n_i = n_{max} \text{ for } i < \lfloor C/2 \rfloor, \text{ else }
      \lfloor n_{max} / f \rfloor \quad (step).

  The middle one of an odd number of classes is rare, as half of them, rounded
  down, are frequent in the codes of the literature. A single class has n_max.

  >>> long_tail_class_counts(10, 5000, 100).tolist()
  [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

  Args:
    num_classes: Number of classes C; class 0 is the most frequent.
    max_count: Number of images n_max of class 0.
    imbalance_factor: Largest over smallest count, >= 1.
    profile: 'exp' or 'step'.

  Returns:
    int64 ``[C]``, truncated as in the literature (Cao et al., NeurIPS 2019).

  Raises:
    ValueError: If the imbalance factor is below 1, the profile is unknown,
      there are no classes, or the rarest class would have no images.
    TypeError: If an argument is no number.
  """
  _checks.integer('num_classes', num_classes)
  _checks.integer('max_count', max_count)
  hint = 'It is the largest class count over the smallest.'
  if isinstance(imbalance_factor, numbers.Real) and 0 < imbalance_factor < 1:
    hint += (
      f' Pass {1 / imbalance_factor:g} for a smallest count of '
      f'{imbalance_factor:g} times the largest.'
    )
  _checks.number('imbalance_factor', imbalance_factor, low=1, hint=hint)
  if profile == 'exp':
    exponents = np.arange(num_classes) / max(num_classes - 1, 1)
  elif profile == 'step':
    exponents = (np.arange(num_classes) >= num_classes // 2).astype(float)
    if num_classes == 1:
      exponents = np.zeros(1)
  else:
    raise ValueError(
      f"`profile` must be 'exp' or 'step', got {profile!r}. For counts of your "
      'own use them directly: `long_tail_indices(labels, class_counts)`.'
    )
  # The small excess keeps 98 / 49 from truncating to 1 through rounding.
  counts = np.floor(
    max_count * float(imbalance_factor) ** -exponents + 1e-9
  ).astype(np.int64)
  if counts.min() < 1:
    raise ValueError(
      f'`imbalance_factor`={imbalance_factor:g} leaves no image for the rarest '
      f'class: the most frequent has {max_count}. Pass at most {max_count}.'
    )
  return counts


def long_tail_indices(
  labels: Sequence[int] | np.ndarray,
  class_counts: Sequence[int] | np.ndarray,
  *,
  seed: int | None,
) -> np.ndarray:
  """Which examples a long-tailed subset keeps.

  >>> long_tail_indices([0, 1, 0, 1, 0], [2, 1], seed=None).tolist()
  [0, 2, 1]

  Args:
    labels: Int ``[N]``, values in ``[0, C)``.
    class_counts: Int ``[C]``, how many examples of each class to keep.
    seed: Each class's examples are shuffled, class 0 first, by
      ``numpy.random.RandomState(seed)``, and the first n_c kept: 0 is the
      subset of LDAM-DRW and its successors. None keeps the first n_c in file
      order, as the codes of ImbSAM and SSE-SAM do.

  Returns:
    int64 ``[sum(class_counts)]``: indices into `labels`, class by class.

  Raises:
    DataError: If a class has fewer examples than asked for, a class is empty,
      or labels are out of range.
  """
  counts = _checks.count_array(
    class_counts, whole=True, error=_errors.DataError
  )
  labels = _checks.host_labels(labels, len(counts), error=_errors.DataError)
  rng = None if seed is None else np.random.RandomState(seed)
  kept = []
  for label, count in enumerate(counts):
    candidates = np.flatnonzero(labels == label)
    if len(candidates) < count:
      raise _errors.DataError(
        f'class {label} has {len(candidates)} examples, the long-tailed subset '
        f'needs {count}. Lower `max_count` or the class counts.'
      )
    if rng is not None:
      rng.shuffle(candidates)
    kept.append(candidates[:count])
  return np.concatenate(kept)
