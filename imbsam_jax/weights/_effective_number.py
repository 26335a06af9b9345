# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Effective number of examples, and the weights from it."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _effective_number
from imbsam_jax.weights import _normalize


def effective_number(
  class_counts: ArrayLike, *, beta: float = 0.9999
) -> jax.Array:
  r"""Effective number of examples of each class.

  .. math:: E_c = \frac{1 - \beta^{n_c}}{1 - \beta}

  Cui et al., `Class-Balanced Loss Based on Effective Number of Samples
  <https://arxiv.org/abs/1901.05555>`_, CVPR 2019. From 1 (beta = 0) to
  :math:`n_c` (beta = 1, the limit).

  >>> print(effective_number([1, 2, 3], beta=0.5))
  [1.   1.5  1.75]

  Args:
    class_counts: Numbers, shape ``[C]``, concrete. A class with 0 has 0.
    beta: Parameter from 0 to 1. 0.9999 is that of the authors' script for
      CIFAR; they try 0.9, 0.99, 0.999 and 0.9999.

  Returns:
    Float32 array, shape ``[C]``, computed in float64 on the host: :math:`1 -
    \beta^n` would lose its digits in float32.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `beta` is outside of [0, 1], or counts are negative, not
      finite or all zero.
  """
  counts = _checks.host_counts(class_counts, zeros=True)
  return jnp.asarray(
    _effective_number.host_effective_number(counts, beta), jnp.float32
  )


def class_balanced_weights(
  class_counts: ArrayLike, *, beta: float = 0.9999
) -> jax.Array:
  r"""Class weights :math:`w_c \propto 1 / E_c`, with sum C.

  The weights of the class-balanced loss (Cui et al., CVPR 2019) and, from epoch
  160 on, of LDAM-DRW: `schedules.deferred_reweighting`. ``beta=0`` gives ones,
  ``beta=1`` inverse frequencies.

  >>> print(class_balanced_weights([1, 3], beta=0.5))
  [1.2727273  0.72727275]

  Args:
    class_counts: Positive numbers, shape ``[C]``, concrete.
    beta: Parameter of `effective_number`, from 0 to 1.

  Returns:
    Float32 array, shape ``[C]``.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `beta` is outside of [0, 1], or a count is not positive.

  .. note::
    The class-balanced loss is the plain mean, ``reduction='mean'``; DRW divides
    by the sum of the weights, ``reduction='weighted_mean'``.
  """
  counts = _checks.host_counts(class_counts)
  weights = 1.0 / _effective_number.host_effective_number(counts, beta)
  return jnp.asarray(_normalize.host_normalized(weights), jnp.float32)


def rescom_weights(
  class_counts: ArrayLike, *, beta: float = 0.999
) -> jax.Array:
  r"""Class weights :math:`w_c = \frac{1}{C} \sum_k E_k / E_c`.

  The weights of `losses.rescom_loss` (Zhong et al., `Rebalanced Siamese
  Contrastive Mining for Long-Tailed Recognition
  <https://arxiv.org/abs/2203.11506>`_, arXiv 2022). In proportion to
  `class_balanced_weights`, but larger: a class with the mean effective number
  has weight 1, and the mean of the weights is above 1. ``beta=0`` gives ones.

  >>> print(rescom_weights([1, 1, 2], beta=0.0), rescom_weights([1, 3], beta=1))
  [1. 1. 1.] [2.        0.6666667]

  Args:
    class_counts: Positive numbers, shape ``[C]``, concrete.
    beta: Parameter of `effective_number`, from 0 to 1.

  Returns:
    Float32 array, shape ``[C]``, computed in float64 on the host.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `beta` is outside of [0, 1], or a count is not positive.
  """
  counts = _checks.host_counts(class_counts)
  effective = _effective_number.host_effective_number(counts, beta)
  return jnp.asarray(effective.mean() / effective, jnp.float32)
