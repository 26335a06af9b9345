# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The effective number of examples, in float64 on the host."""

import numpy as np

from imbsam_jax import _checks


def host_effective_number(counts: np.ndarray, beta: float) -> np.ndarray:
  """`weights.effective_number` in float64, of checked counts.

  Raises:
    TypeError: If `beta` is traced or not a number.
    ValueError: If `beta` is outside of [0, 1].
  """
  beta = _checks.host_number('beta', beta, low=0.0, high=1.0)
  if beta == 1.0:
    return counts
  if beta == 0.0:
    return np.where(counts > 0, 1.0, 0.0)
  return np.expm1(counts * np.log(beta)) / (beta - 1.0)
