# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Friendly SAM: the ascent leaves out what all batches have in common."""

from typing import Any
from typing import Literal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax import _device_axis
from imbsam_jax import _masks
from imbsam_jax.transforms import _oracle_checks
from imbsam_jax.transforms import _perturbation


class FriendlySamState(NamedTuple):
  """State of `friendly_sam`.

  Attributes:
    count: Number of completed updates, int32.
    average: Running average of the gradients at w, a tree like the parameters,
      float32 (float64 for float64).
  """

  count: jax.Array
  average: Any


def friendly_sam(
  rho: _perturbation.Radius,
  *,
  sigma: jax.typing.ArrayLike = 1.0,
  lam: jax.typing.ArrayLike = 0.9,
  average: Literal['current', 'previous'] = 'current',
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Friendly sharpness-aware minimization (F-SAM).

  SAM whose direction is the gradient of the batch without the estimated
  gradient of the whole loss. With :math:`g_t = \nabla L(w_t)`,

  .. math::
    m_t = \lambda m_{t-1} + (1 - \lambda) g_t, \qquad
    d_t = g_t - \sigma m_t, \qquad
    g = \nabla L\Big(w_t + \rho \frac{d_t}{\|d_t\|_2 + \epsilon}\Big),

  and :math:`m_{-1} = 0`; the average is not corrected for its beginning.

  Args:
    rho: Radius, a float >= 0 or an `optax.Schedule`; the authors use 0.2 on
      CIFAR.
    sigma: Factor of what is taken away. 0 is `sam`.
    lam: Decay rate lambda of the running average, from 0 to 1, without 1; the
      authors use 0.6 to 0.95.
    average: Which average is taken away: 'current' is :math:`m_t` as above,
      'previous' is :math:`m_{t-1}`, with :math:`m_0 = g_0`, as in the released
      code.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm.

  Returns:
    An `optax.GradientTransformationExtraArgs`, the first link of a chain; the
    oracle has one group. Cost: 2 SGD steps, one of them passed in. One tree of
    parameters more in memory.

  Raises:
    ValueError: If `rho` or `sigma` is negative, `lam` is outside of its range,
      or `average` is unknown. What the update refuses is listed in `group_sam`.
    TypeError: If `rho` is neither a number nor a schedule, or `sigma` or `lam`
      is not a number.

  .. note::
    With sigma = 1 the two kinds of `average` are the same direction, since
    :math:`g_t - m_t = \lambda (g_t - m_{t-1})`, but for the beginning of the
    average. The first step is that of SAM with either.

  .. note::
    Where every device ascends on its own rows, call the update with
    ``axis_name='data'``: each takes the average of the sums over devices away
    from the mean gradient of its own rows.

  References:
    Li et al., `Friendly Sharpness-Aware Minimization
    <https://arxiv.org/abs/2403.12350>`_, CVPR 2024; code:
    github.com/nblt/F-SAM.
  """
  _checks.radius('rho', rho)
  _checks.number('sigma', sigma, low=0, hint='Pass 0.0 for SAM.')
  _checks.number('lam', lam, low=0, below=1)
  if average not in ('current', 'previous'):
    raise ValueError(
      f"`average` must be 'current' or 'previous', got {average!r}. Pass "
      "'previous' for the released code."
    )

  def init_fn(params: optax.Params) -> FriendlySamState:
    return FriendlySamState(
      jnp.zeros([], jnp.int32), _perturbation.zeros_like(params)
    )

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    *,
    grad_fn: Any = None,
    axis_name: str | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, FriendlySamState]:
    del extra_args
    name = 'friendly_sam'
    grad_fn = _oracle_checks.check_grad_fn(name, grad_fn, num_groups=1)
    _perturbation.check_params(name, params)
    count = jnp.asarray(optax.safe_increment(state.count))
    if _perturbation.is_zero(rho):
      return updates, FriendlySamState(count, state.average)
    _oracle_checks.check_updates(name, updates, grad_fn)
    gradient = _perturbation.wide(updates)
    total = _device_axis.summed(gradient, axis_name)
    new = _perturbation.running_average(state.average, total, lam)
    if average == 'previous':
      new = jax.tree.map(
        lambda m, g: jnp.where(state.count == 0, g, m), new, total
      )
    # The rows of a device weigh as much as all rows do together.
    share = jnp.asarray(sigma, float) / _device_axis.size(axis_name)
    direction = _perturbation.add_scaled(
      gradient, -share, new if average == 'current' else state.average
    )
    sharp = _perturbation.sharp_gradient(
      grad_fn,
      params,
      gradient,
      _perturbation.radius_at(rho, state.count),
      along=direction,
      eps=eps,
      **_perturbation.resolve_masks(params, mask=mask, adaptive=adaptive),
    )
    return (
      _perturbation.cast_like(sharp, updates),
      FriendlySamState(count, new),
    )

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)
