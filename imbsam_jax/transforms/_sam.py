# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SAM: one group, the whole batch."""

import jax
import optax

from imbsam_jax import _masks
from imbsam_jax.transforms import _group_sam
from imbsam_jax.transforms import _perturbation


def sam(
  rho: _perturbation.Radius,
  *,
  average_decay: jax.typing.ArrayLike | None = None,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Sharpness-aware minimization (SAM), the gradient half of it.

  .. math::
    g = \nabla L(w + e), \qquad
    e = \rho \, \frac{\nabla L(w)}{\|\nabla L(w)\|_2 + \epsilon}.

  With class-weighted losses (deferred re-weighting, LDAM, VS) this is the
  method of Rangwani et al., `Escaping Saddle Points for Effective
  Generalization on Class-Imbalanced Data <https://arxiv.org/abs/2212.13827>`_,
  NeurIPS 2022, where radii of 0.1 to 0.8 were best.

  Args:
    rho: Radius, a float >= 0 or an `optax.Schedule`; 0.05 is usual.
    average_decay: Decay rate of a running average of the perturbed gradients
      to ascend along, from 0 to 1, without 1; None ascends along the gradient
      at w. See `group_sam`.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: True gives ASAM, where radii are about ten times larger.
    eps: Number that is added to the norm.

  Returns:
    The first link of a chain; the oracle has one group (weights ``[1, B]``).
    Cost: 2 forward and 2 backward passes, one pair of them passed in; with
    `average_decay` 1 of each, with BatchNorm too, whose statistics are then
    those of the rows at w + e.

  Raises:
    ValueError: If a radius is negative. What the update refuses is listed in
      `group_sam`.
    TypeError: If a radius is neither a number nor a schedule.

  .. note::
    The JAX code of Foret et al. puts the L2 penalty into the loss, so into the
    ascent direction, and divides by the norm without epsilon. Here weight
    decay is a later link of the chain, and a zero gradient is a zero step.

  References:
    Foret et al., `Sharpness-Aware Minimization for Efficiently Improving
    Generalization <https://arxiv.org/abs/2010.01412>`_, ICLR 2021.
  """
  return _group_sam.group_transform(
    'sam',
    {'rho': rho},
    mask=mask,
    adaptive=adaptive,
    eps=eps,
    average_decay=average_decay,
    required=('rho',),
  )
