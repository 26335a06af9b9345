# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SSE-SAM: head and tail classes perturbed apart, the head only at first."""

import jax
import optax

from imbsam_jax import _masks
from imbsam_jax.transforms import _group_sam
from imbsam_jax.transforms import _perturbation


def sse_sam(
  head_rho: _perturbation.Radius,
  tail_rho: _perturbation.Radius,
  *,
  average_decay: jax.typing.ArrayLike | None = None,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Stage-wise saddles escaping SAM (SSE-SAM).

  .. math::
    g = \sum_{k \in \{head, tail\}} \nabla L_k(w + e_k), \qquad
    e_k = \rho_k \, \frac{\nabla L_k(w)}{\|\nabla L_k(w)\|_2 + \epsilon}.

  The method has two stages: after a share gamma of the epochs the head's
  radius is zero for good, and what is left is `imbsam`. Pass
  ``head_rho=stage_switch(0.05, 0.0, boundary)`` for one chain that does both;
  compile the second stage as `imbsam(tail_rho)` (the states are alike) to stop
  paying for the head's second pass, as the trainer does. With `average_decay`
  that is ``sse_sam(0.0, tail_rho, average_decay=...)``.

  Args:
    head_rho: Radius of the head group; the authors use 0.05.
    tail_rho: Radius of the tail group; the authors use 0.10.
    average_decay: Decay rate of running averages of the perturbed gradients,
      one of each group, to ascend along, from 0 to 1, without 1; None ascends
      along the gradients at w. See `group_sam`.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm.

  Returns:
    The first link of a chain; the oracle has the groups head and tail.
    Cost in SGD steps: 2 with `split_gradient_oracle`, 3.67 with
    `gradient_oracle`; in the second stage those of `imbsam`. With
    `average_decay` 1 and 2.33, then 1 and 2.

  Raises:
    ValueError: If a radius is negative. What the update refuses is listed in
      `group_sam`.
    TypeError: If a radius is neither a number nor a schedule.

  .. note::
    Equal radii are not SAM: the two groups have directions of their own.

  .. note::
    In the authors' released code gamma = 0, its default, fails, and the second
    stage still runs all four passes. Here a boundary of 0 is the second stage
    from the start.

  References:
    Lyu et al., `SSE-SAM: Balancing Head and Tail Classes Gradually through
    Stage-Wise SAM <https://arxiv.org/abs/2412.13715>`_, AAAI 2025; code:
    github.com/Zemdalk/SSE-SAM.
  """
  return _group_sam.group_transform(
    'sse_sam',
    {'head_rho': head_rho, 'tail_rho': tail_rho},
    mask=mask,
    adaptive=adaptive,
    eps=eps,
    average_decay=average_decay,
    required=('head_rho', 'tail_rho'),
  )
