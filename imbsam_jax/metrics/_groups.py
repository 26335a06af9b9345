# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many, medium and few: class groups by number of training examples."""

import numpy as np
from numpy.typing import ArrayLike

from imbsam_jax import _checks


def class_groups(
  class_counts: ArrayLike, *, many_above: float = 100, few_below: float = 20
) -> dict[str, np.ndarray]:
  """Masks of the many-, medium- and few-shot classes.

  Class c with n_c training examples is in

  .. code-block:: text

    many    if n_c > many_above
    few     if n_c < few_below
    medium  otherwise

  Both comparisons are strict, so with the defaults 20 and 100 are medium, as in
  Liu et al., `Large-Scale Long-Tailed Recognition in an Open World
  <https://arxiv.org/abs/1904.05160>`_, CVPR 2019, and the work that followed. A
  class without training examples is few.

  Args:
    class_counts: Int array, shape ``[num_classes]``, training examples per
      class, not negative.
    many_above: Classes with more training examples than this are ``'many'``.
    few_below: Classes with fewer training examples than this are ``'few'``.

  Returns:
    Dict with the keys ``'many'``, ``'medium'`` and ``'few'`` in this order;
    each value a bool array, shape ``[num_classes]``. Every class is in exactly
    one group; a group may be empty.

  Raises:
    TypeError: If the counts are not integers, or a threshold is not a number.
    ValueError: If the counts are not one-dimensional, empty or negative, or
      `many_above` is below `few_below`.

  Examples:
    >>> groups = class_groups([500, 101, 100, 20, 19])
    >>> {name: int(mask.sum()) for name, mask in groups.items()}
    {'many': 2, 'medium': 2, 'few': 1}
  """
  counts = _checks.count_array(
    class_counts, zeros=True, all_zero=True, whole=True
  )
  _checks.number('many_above', many_above, finite=False)
  _checks.number('few_below', few_below, finite=False)
  if many_above < few_below:
    raise ValueError(
      '`many_above` must not be below `few_below`, or a class could be in both '
      f'groups, got many_above={many_above!r} and few_below={few_below!r}. '
      f'Pass many_above={few_below!r} or more, or lower few_below.'
    )
  many = counts > many_above
  few = counts < few_below
  return {'many': many, 'medium': ~(many | few), 'few': few}
