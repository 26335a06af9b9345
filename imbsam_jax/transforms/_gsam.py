# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""GSAM: the surrogate gap is lowered along with the perturbed loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax import _masks
from imbsam_jax.transforms import _group_sam
from imbsam_jax.transforms import _oracle_checks
from imbsam_jax.transforms import _perturbation


def gsam(
  rho: _perturbation.Radius,
  *,
  alpha: jax.typing.ArrayLike,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Surrogate gap guided sharpness-aware minimization (GSAM).

  With :math:`g = \nabla L(w)` and the gradient :math:`g_p` of SAM,

  .. math::
    g_p = \nabla L(w + e), \qquad
    e = \rho \, \frac{g}{\|g\|_2 + \epsilon}, \qquad
    g_\perp = g - \frac{\langle g, g_p \rangle}{\|g_p\|^2} \, g_p,

  the update is :math:`g_p - \alpha g_\perp`: along :math:`g_\perp` the
  perturbed loss does not change to first order, and its gap to L falls. Norms
  and products are over all parameters together.

  The authors let the radius follow the learning rate from a largest to a
  smallest value of both; a schedule says so:

  >>> import optax
  >>> rate = optax.cosine_decay_schedule(0.1, decay_steps=100)
  >>> def rho(count):
  ...   return 0.02 + (0.05 - 0.02) * rate(count) / 0.1
  >>> tx = optax.chain(gsam(rho, alpha=0.1), optax.sgd(rate, momentum=0.9))

  Args:
    rho: Radius, a float >= 0 or an `optax.Schedule`.
    alpha: Factor >= 0 of the orthogonal part; it is tuned for each model. 0 is
      `sam`.
    mask: Leaves that are perturbed and counted in the norm of the perturbation,
      see `group_sam`. The parts above are of all leaves.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm in e.

  Returns:
    An `optax.GradientTransformationExtraArgs`, the first link of a chain; the
    oracle has one group. Cost: 2 SGD steps, one of them passed in.

  Raises:
    ValueError: If `rho` or `alpha` is negative. What the update refuses is
      listed in `group_sam`.
    TypeError: If `rho` is neither a number nor a schedule, or `alpha` is not a
      number.

  .. note::
    Where every device ascends on its own rows it also splits its own gradients,
    and the results are added up, as the authors recommend.

  References:
    Zhuang et al., `Surrogate Gap Minimization Improves Sharpness-Aware Training
    <https://arxiv.org/abs/2203.08065>`_, ICLR 2022; code:
    github.com/juntang-zhuang/GSAM.
  """
  _checks.radius('rho', rho)
  _checks.number('alpha', alpha, low=0, hint='Pass 0.0 for SAM.')

  def init_fn(params: optax.Params) -> _group_sam.GroupSamState:
    del params
    return _group_sam.GroupSamState(jnp.zeros([], jnp.int32))

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    *,
    grad_fn: Any = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, _group_sam.GroupSamState]:
    del extra_args
    grad_fn = _oracle_checks.check_grad_fn('gsam', grad_fn, num_groups=1)
    _perturbation.check_params('gsam', params)
    new_state = _group_sam.GroupSamState(
      jnp.asarray(optax.safe_increment(state.count))
    )
    if _perturbation.is_zero(rho):
      return updates, new_state
    _oracle_checks.check_updates('gsam', updates, grad_fn)
    gradient = _perturbation.wide(updates)
    sharp = _perturbation.sharp_gradient(
      grad_fn,
      params,
      gradient,
      _perturbation.radius_at(rho, state.count),
      eps=eps,
      **_perturbation.resolve_masks(params, mask=mask, adaptive=adaptive),
    )
    gap = _perturbation.orthogonal_part(gradient, sharp)
    descended = _perturbation.add_scaled(sharp, -jnp.asarray(alpha, float), gap)
    return _perturbation.cast_like(descended, updates), new_state

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)
