# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class probabilities, from the counts or their effective numbers."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _effective_number


def class_probabilities(
  class_counts: ArrayLike, *, power: float = 1.0
) -> jax.Array:
  r"""Class probabilities :math:`p_c \propto n_c^{power}`.

  ====  =====================================================================
  1     every example alike
  1/2   square root (Kang et al., ICLR 2020)
  0     every class alike; the released code of CMO calls it r = 1
  -1    reversed: the second stream of BBN and DBN-Mix
  ====  =====================================================================

  Drawing examples with the weights :math:`n_y^{-a}` is the power 1 - a.

  >>> print(class_probabilities([16, 4, 0], power=0.5))
  [0.6666667  0.33333334 0.        ]

  Args:
    class_counts: Numbers, shape ``[C]``, concrete; only their ratios count. A
      class with 0 has probability 0, whatever the power.
    power: Exponent, see the table.

  Returns:
    Float32 array, shape ``[C]``, sum 1; computed in float64 on the host.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `power` is not finite, or counts are negative, not finite or
      all zero.
  """
  counts = _checks.host_counts(class_counts, zeros=True)
  power = _checks.host_number('power', power)
  return jnp.asarray(host_probabilities(counts, power), jnp.float32)


def effective_number_probabilities(
  class_counts: ArrayLike, *, beta: float = 0.9999
) -> jax.Array:
  r"""Class probabilities :math:`p_c \propto n_c / E_c`.

  What comes of drawing examples with the weights 1/E of their classes, as the
  "balanced" sampler in the released code of LDAM does (Cao et al., `Learning
  Imbalanced Datasets with Label-Distribution-Aware Margin Loss
  <https://arxiv.org/abs/1906.07413>`_, NeurIPS 2019). It is not uniform: with
  5000 to 50 images and beta = 0.9999 the head is still drawn 1.27 times as
  often as the tail.

  >>> p = effective_number_probabilities([5000, 50])
  >>> print(f'{p[0] / p[1]:.2f}')
  1.27

  Args:
    class_counts: Numbers, shape ``[C]``, concrete. A class with 0 has
      probability 0.
    beta: Parameter of `weights.effective_number`: 0 draws every example alike,
      1 every class alike.

  Returns:
    Float32 array, shape ``[C]``, sum 1; computed in float64 on the host.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `beta` is outside of [0, 1], or counts are negative, not
      finite or all zero.
  """
  counts = _checks.host_counts(class_counts, zeros=True)
  effective = _effective_number.host_effective_number(counts, beta)
  shares = counts / np.where(counts > 0, effective, 1.0)
  return jnp.asarray(shares / shares.sum(), jnp.float32)


def host_probabilities(counts: np.ndarray, power: float) -> np.ndarray:
  """`class_probabilities` in float64, of checked counts and power."""
  has_examples = counts > 0
  logs = power * np.log(np.where(has_examples, counts, 1.0))
  shares = np.exp(
    np.where(has_examples, logs, -np.inf) - logs[has_examples].max()
  )
  return shares / shares.sum()
