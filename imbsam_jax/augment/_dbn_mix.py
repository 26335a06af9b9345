# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""DBN-Mix: mixup across an instance and a reversed stream."""

import jax

from imbsam_jax import losses
from imbsam_jax.augment import _mixup
from imbsam_jax.augment import _pairs


def dbn_mix(
  key: jax.Array,
  batch: _pairs.Batch,
  partner: _pairs.Batch,
  *,
  alpha: float = 1.0,
) -> tuple[jax.Array, losses.MixedLabels]:
  r"""Mixes the stream of the training set with the reversed one.

  .. math::
    \tilde x = \lambda x_u + (1 - \lambda) x_r, \qquad
    \lambda \sim Beta(\alpha, \alpha)

  Bilateral mixing of DBN-Mix (Baik et al., `DBN-Mix: Training Dual Branch
  Network Using Bilateral Mixup Augmentation for Long-Tailed Visual Recognition
  <https://arxiv.org/abs/2207.02173>`_, Pattern Recognition 2024): `mixup` whose
  `batch` comes from the instance stream (``class_probabilities(counts,
  power=1)``) and whose `partner` from the reversed one (``power=-1``). Labels
  are then ``(pi + pi_reversed) / 2`` in expectation. The method trains on them
  with `cdt_loss`.

  .. warning::
    Experimental, and reconstructed from the abstract: the Beta parameter, the
    exponent of the temperature, which branch sees which mix, and the fusion at
    test time are not known from a released code. The first version of the paper
    has a reversed stream, the second a re-balanced one: the sampler decides.

  Args:
    key: Key of `jax.random`; one share is drawn for the whole batch.
    batch: Pair of images, a float or uint8 array of shape ``[B, ...]``, and
      labels, an int array of shape ``[B]``, from the instance stream.
    partner: Pair like `batch`, from the reversed stream.
    alpha: Parameter >= 0 of the Beta distribution; 0 returns `batch`.

  Returns:
    ``(images, MixedLabels(batch, partner, lam))``, see `mixup`.

  Raises:
    ValueError: If `alpha` is negative, or shapes differ.
    TypeError: If an argument is not a pair (images, labels), or has another
      dtype.
  """
  return _mixup.mixup(key, batch, partner, alpha=alpha)
