# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Focal-SAM: soft class groups instead of head and tail."""

import optax

from imbsam_jax import _masks
from imbsam_jax.transforms import _group_sam
from imbsam_jax.transforms import _perturbation


def focal_sam(
  rho: _perturbation.Radius,
  *,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Focal sharpness-aware minimization (Focal-SAM).

  With class weights :math:`\omega_c = (1 - n_c/N)^\gamma`,

  .. math::
    g = \nabla \tfrac{1}{B}\sum_i (1 - \lambda\omega_{y_i})\, l_i(w)
      + \nabla \tfrac{1}{B}\sum_i \lambda\omega_{y_i}\, l_i(w + e), \qquad
    e = \rho \, \frac{\nabla \sum_i \omega_{y_i} l_i(w)}
      {\|\nabla \sum_i \omega_{y_i} l_i(w)\|_2 + \epsilon}.

  The weights are `focal_weights`, which holds gamma and lambda.

  Args:
    rho: Radius of the weighted part; the authors use 0.2 on CIFAR-10-LT and 0.3
      on CIFAR-100-LT, with the logit-adjusted loss.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm.

  Returns:
    The first link of a chain; the oracle has the two rows of `focal_weights`.
    Cost: 2.67 SGD steps. Every row is in both groups, so splitting rows saves
    nothing.

  Raises:
    ValueError: If a radius is negative. What the update refuses is listed in
      `group_sam`.
    TypeError: If a radius is neither a number nor a schedule.

  References:
    Li et al., `Focal-SAM: Focal Sharpness-Aware Minimization for Long-Tailed
    Classification <https://arxiv.org/abs/2505.01660>`_, ICML 2025; code:
    github.com/scongl/Focal-SAM.
  """
  return _group_sam.group_transform(
    'focal_sam',
    {'unweighted': None, 'rho': rho},
    mask=mask,
    adaptive=adaptive,
    eps=eps,
    required=('rho',),
  )
