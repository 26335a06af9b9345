# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ImbSAM at the price of SGD: the tail ascends along its running average."""

import jax
import optax

from imbsam_jax import _checks
from imbsam_jax import _masks
from imbsam_jax.transforms import _group_sam
from imbsam_jax.transforms import _perturbation


def momentum_imbsam(
  rho: _perturbation.Radius,
  *,
  decay: jax.typing.ArrayLike = 0.99,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""ImbSAM whose ascent direction is remembered: tail rows pay once.

  .. math::
    g_t = \nabla L_{head}(w_t) + \nabla L_{tail}(w_t + e_t), \qquad
    e_t = \rho \, \frac{m_t}{\|m_t\|_2 + \epsilon}, \qquad
    m_{t+1} = \beta m_t + (1 - \beta) \nabla L_{tail}(w_t + e_t),

  with :math:`m_0 = 0`, so that the first perturbation is zero. `imbsam` takes
  the direction from the tail's gradient at w, a pass that goes into nothing
  else; here it is the running average of gradients that are computed anyway.
  A step without tail rows leaves the average as it is.

  Args:
    rho: Radius of the tail group, a float >= 0 or an `optax.Schedule`.
    decay: Decay rate beta of the running average, from 0 to 1, without 1. With
      0 the direction is the gradient of the last step with tail rows. On
      Digits-LT 0 to 0.95 gained less than the default.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm.

  Returns:
    An `optax.GradientTransformationExtraArgs`, the first link of a chain; the
    oracle has the groups head and tail. It reads ``grad_fn(w, 0)`` and
    ``grad_fn(w + e, 1)``, never the gradient passed in: under `jax.jit` the
    tail's clean pass is then dead code.

    Cost in SGD steps: 1 with `split_gradient_oracle`, where loss and aux of
    these two passes are ``grad_fn.value``. With `gradient_oracle` 2, since each
    group has a forward and a backward pass of all rows; ``grad_fn.value`` is
    that of all rows at w. With `tail_only_gradient_oracle` 1 + N_tail / N. One
    tree of parameters more in memory.

  Raises:
    ValueError: If `rho` is negative, or `decay` is outside of its range. What
      the update refuses is listed in `group_sam`.
    TypeError: If `rho` is neither a number nor a schedule, or `decay` is not a
      number.

  .. note::
    This rule is the library's own. A remembered direction is that of Becker et
    al., `Momentum-SAM <https://arxiv.org/abs/2401.12033>`_, 2024, where it is
    the momentum of the optimizer, for the whole loss, and taken with a minus:
    downhill. Here it is an average of perturbed gradients of the tail alone,
    and the perturbation goes up, as that of `imbsam` does.

  .. note::
    Where every device ascends on its own rows, call the update with
    ``axis_name='data'``: the average is then that of the sum over devices, the
    same on each of them. The direction is therefore that of all rows in any
    case, and ascent by device is not another method.
  """
  _checks.number('decay', decay, low=0, below=1)
  return _group_sam.group_transform(
    'momentum_imbsam',
    {'head': None, 'rho': rho},
    average_decay=decay,
    mask=mask,
    adaptive=adaptive,
    eps=eps,
    required=('rho',),
  )
