# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cells of a table that are so far off that nothing else could be seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# How many times farther from the median than the next one.
_GAP = 1e3
# Share of the rows of a column that may be wild; one may always.
_SHARE = 0.01
# Distances below this share of the median are rounding.
_ROUNDING = 1e-9
_LISTED = 3


class Ranges(NamedTuple):
  """Where the usual values of the columns are.

  Attributes:
    minimum: Float64 ``[D]``.
    maximum: Float64 ``[D]``.
    wild: int64 ``[K, 2]``, row and column of each wild cell.
  """

  minimum: np.ndarray
  maximum: np.ndarray
  wild: np.ndarray


def usual_ranges(rows: np.ndarray) -> Ranges:
  r"""Minimum and maximum of each column, without wild cells.

  With the distances :math:`d_1 <= ... <= d_N` of a column from its median,
  cells beyond a gap :math:`d_{i+1} > 1000 \, d_i > 0` are wild, if there are
  not more of them than a hundredth of the rows, or one. On the tables of ODDS
  the largest :math:`d_{i+1} / d_i` is 2.

  Args:
    rows: Float64 ``[N, D]``, finite.
  """
  minimum, maximum = rows.min(axis=0), rows.max(axis=0)
  most = max(int(_SHARE * len(rows)), 1)
  wild = []
  with np.errstate(over='ignore'):
    medians = np.median(rows, axis=0)
    distances = np.abs(rows - medians)
  for column in range(rows.shape[1]):
    own = distances[:, column]
    # Of few rows all are in the tail.
    tail = np.sort(own)[-most - 1 :]
    near, far = tail[:-1], tail[1:]
    with np.errstate(over='ignore'):
      gaps = (far > _GAP * near) & (near > _ROUNDING * abs(medians[column]))
    if not gaps.any():
      continue
    is_wild = own > near[np.argmax(gaps)]
    wild += [(row, column) for row in np.flatnonzero(is_wild)]
    minimum[column] = rows[~is_wild, column].min()
    maximum[column] = rows[~is_wild, column].max()
  return Ranges(minimum, maximum, np.array(wild, np.int64).reshape(-1, 2))


def describe(
  rows: np.ndarray, wild: np.ndarray, names: Sequence[str] | None
) -> str:
  """A sentence on wild cells, which names the first.

  Args:
    rows: The table, ``[N, D]``.
    wild: Rows and columns of the cells, ``[K, 2]``, at least one.
    names: Names of the columns, if they have some.
  """
  listed = ', '.join(
    f'{rows[row, column]:g} in row {row}, column '
    f'{column if names is None else repr(str(names[column]))}'
    for row, column in wild[:_LISTED]
  )
  more = '' if len(wild) <= _LISTED else f' and {len(wild) - _LISTED} more'
  return (
    f'{len(wild)} {"cell is" if len(wild) == 1 else "cells are"} more than '
    f'{_GAP:g} times farther off than all others of the column: {listed}{more}'
  )
