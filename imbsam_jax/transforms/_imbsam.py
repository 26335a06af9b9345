# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ImbSAM: only the tail classes are perturbed."""

import optax

from imbsam_jax import _masks
from imbsam_jax.transforms import _group_sam
from imbsam_jax.transforms import _perturbation


def imbsam(
  rho: _perturbation.Radius,
  *,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Class-imbalanced sharpness-aware minimization (ImbSAM).

  .. math::
    g = \nabla L_{head}(w) + \nabla L_{tail}(w + e), \qquad
    e = \rho \, \frac{\nabla L_{tail}(w)}{\|\nabla L_{tail}(w)\|_2 + \epsilon},

  where each L is the sum of its rows' losses divided by the whole batch size:
  `head_tail_weights` makes these weights.

  Args:
    rho: Radius of the tail group, a float >= 0 or an `optax.Schedule`. The
      authors use 0.05.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm.

  Returns:
    The first link of a chain; the oracle has the groups head and tail.
    Cost in SGD steps: (N_head + 2 N_tail) / N with `split_gradient_oracle`,
    2.67 with `gradient_oracle`, whatever the share of the tail.

  Raises:
    ValueError: If a radius is negative. What the update refuses is listed in
      `group_sam`.
    TypeError: If a radius is neither a number nor a schedule.

  .. note::
    The authors' released code doubles the tail loss since September 2023, which
    leaves e as it is and doubles the tail's share of the step:
    ``head_tail_weights(..., tail_weight=2.0)`` reproduces it. The default, 1.0,
    is the method as stated.

  References:
    Zhou et al., `ImbSAM: A Closer Look at Sharpness-Aware Minimization in
    Class-Imbalanced Recognition <https://arxiv.org/abs/2308.07815>`_, ICCV
    2023; code: github.com/cool-xuan/Imbalanced_SAM.
  """
  return _group_sam.group_transform(
    'imbsam',
    {'head': None, 'rho': rho},
    mask=mask,
    adaptive=adaptive,
    eps=eps,
    required=('rho',),
  )
