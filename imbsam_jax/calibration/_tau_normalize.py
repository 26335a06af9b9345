# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tau-normalization: classifier rows of more equal length."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _cosine


def tau_normalize(class_vectors: ArrayLike, *, tau: float = 1.0) -> jax.Array:
  r"""Divides each class vector by a power of its length.

  .. math::
    \tilde w_c = w_c / \|w_c\|_2^\tau

  Kang et al., `Decoupling Representation and Classifier for Long-Tailed
  Recognition <https://arxiv.org/abs/1910.09217>`_, ICLR 2020. Frequent classes
  have longer vectors; 0 leaves them, 1 makes all of length 1. The authors
  choose tau from 0, 0.1, ..., 2 on validation data, and use the vectors without
  the bias, which was trained for the other lengths: ``logits = features @
  tau_normalize(w).T``.

  >>> print(tau_normalize([[3.0, 4.0], [0.0, 0.5]]))
  [[0.6 0.8]
   [0.  1. ]]

  Args:
    class_vectors: Float array of any dtype, shape ``[C, D]``, a row per class;
      the transpose of a Flax `Dense` kernel.
    tau: Exponent >= 0.

  Returns:
    Float32 array, shape ``[C, D]``; a zero row stays zero.

  Raises:
    ValueError: If `tau` is negative, or `class_vectors` does not have two axes.
    TypeError: If `class_vectors` are not floating point.
  """
  _checks.number('tau', tau, low=0)
  vectors = _cosine.float_matrix('class_vectors', class_vectors)
  # Divided by the largest entry first: squares of tiny entries are zero.
  largest = jnp.max(jnp.abs(vectors), axis=1, keepdims=True)
  divisor = jnp.where(largest > 0, largest, 1.0)
  scaled = vectors / divisor
  squares = jnp.sum(jnp.square(scaled), axis=1, keepdims=True)
  norms = divisor * jnp.sqrt(jnp.where(largest > 0, squares, 1.0))
  return vectors / norms ** jnp.asarray(tau).astype(jnp.float32)
