# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random labels of auxiliary images, which balance those of the data set."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.sampling import _draws

# How far `alpha` may be below the largest share by rounding, such as to
# float32.
_ROUNDING = 1e-6


def complementary_probabilities(
  class_counts: ArrayLike, *, alpha: float | None = None
) -> jax.Array:
  r"""Class probabilities that are larger the rarer the class.

  .. math::
    \Gamma_c = \frac{\alpha - \pi_c}{C \alpha - 1}, \qquad \pi_c = n_c / N

  Wei et al., `Open-Sampling: Exploring Out-of-Distribution Data for
  Re-balancing Long-tailed Datasets <https://arxiv.org/abs/2206.08802>`_, ICML
  2022. An auxiliary image, of none of the classes, gets a label from them that
  `sample_labels` draws anew at every step; its loss is weighted by C times the
  probability of its label. With N (C alpha - 1) such images all classes have as
  many labels.

  >>> print(complementary_probabilities([6, 3, 1]))
  [0.09090909 0.36363637 0.54545456]

  Args:
    class_counts: Numbers, shape ``[C]``, concrete; only their ratios count. A
      class with 0 is the rarest, with the largest probability.
    alpha: Number, at least the largest share, to which the most frequent class
      then has probability 0; None is the sum of the largest and the smallest
      share. A large one gives nearly equal probabilities.

  Returns:
    Float32 array, shape ``[C]``, sum 1; computed in float64 on the host. Equal
    counts give equal probabilities.

  Raises:
    TypeError: If an argument is traced or not a number.
    ValueError: If `alpha` is below the largest share or not finite, or counts
      are negative, not finite or all zero.
  """
  counts = _checks.host_counts(class_counts, zeros=True)
  # By the largest first: then the sum does not leave the range.
  shares = counts / counts.max()
  shares = shares / shares.sum()
  largest = shares.max()
  if alpha is None:
    alpha = largest + shares.min()
  alpha = _checks.host_number('alpha', alpha)
  if alpha < largest * (1.0 - _ROUNDING):
    raise ValueError(
      f'`alpha` must be at least the largest share of a class, {largest:.6g}, '
      f'got {alpha!r}. Pass None for {largest + shares.min():.6g}.'
    )
  missing = np.maximum(alpha - shares, 0.0)
  if (shares == largest).all():  # Also where nothing is missing.
    missing = np.ones_like(shares)
  return jnp.asarray(missing / missing.sum(), jnp.float32)


def sample_labels(
  key: jax.Array, probabilities: ArrayLike, *, num_samples: int
) -> jax.Array:
  """Draws labels by their probabilities.

  For Open-sampling, new ones at every step for the auxiliary images of the
  batch.

  >>> labels = sample_labels(jax.random.key(0), [0.0, 1.0], num_samples=5)
  >>> print(labels)
  [1 1 1 1 1]

  Args:
    key: Key of `jax.random`, a new one for each step.
    probabilities: Numbers >= 0, shape ``[C]``, such as
      `complementary_probabilities`; may be traced. They are divided by their
      sum.
    num_samples: Number of draws.

  Returns:
    Int32 array, shape ``[num_samples]``, independent draws. Traced
    probabilities that are all zero give 2147483647, which is no class.

  Raises:
    TypeError: If `probabilities` are not real numbers, or `num_samples` is not
      an integer.
    ValueError: If `num_samples` < 1, `probabilities` does not have one axis, or
      concrete ones are negative, not finite or all zero.
  """
  num_samples = _checks.integer('num_samples', num_samples)
  if not isinstance(probabilities, jax.core.Tracer):
    probabilities = np.asarray(probabilities)
  _checks.real_dtype('probabilities', probabilities)
  if probabilities.ndim != 1 or not probabilities.shape[0]:
    raise ValueError(
      '`probabilities` must have shape [num_classes], got '
      f'{probabilities.shape}.'
    )
  if not isinstance(probabilities, jax.core.Tracer):
    _checks.shares_of_classes('probabilities', probabilities)
  return _draw(
    key,
    jnp.asarray(probabilities).astype(jnp.float32),
    num_samples=num_samples,
  )


@functools.partial(jax.jit, static_argnames='num_samples')
def _draw(
  key: jax.Array, probabilities: jax.Array, *, num_samples: int
) -> jax.Array:
  return _draws.draw_classes(key, probabilities, num_samples)
