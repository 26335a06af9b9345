# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LookSAM: SAM every few steps, and what is remembered of it between."""

from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax import _device_axis
from imbsam_jax import _masks
from imbsam_jax.transforms import _oracle_checks
from imbsam_jax.transforms import _perturbation


class LookSamState(NamedTuple):
  """State of `look_sam`.

  Attributes:
    count: Number of completed updates, int32.
    orthogonal: Part of the last SAM gradient that is orthogonal to the gradient
      of its step, a tree like the parameters, float32 (float64 for float64).
  """

  count: jax.Array
  orthogonal: Any


def look_sam(
  rho: _perturbation.Radius,
  *,
  every: int | None = 10,
  alpha: jax.typing.ArrayLike = 0.7,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""LookSAM: a SAM gradient every k steps, and its sharp part in between.

  With :math:`g = \nabla L(w)` and the unit vector :math:`\hat g` along it,
  every k-th update, the first one included, is that of SAM, and is split:

  .. math::
    g_s = \nabla L(w + e), \qquad
    e = \rho \, \frac{g}{\|g\|_2 + \epsilon}, \qquad
    g_v = g_s - \langle g_s, \hat g \rangle \, \hat g.

  The others are :math:`g + \alpha \frac{\|g\|}{\|g_v\|} g_v`, with the last
  :math:`g_v`. All norms and products are over all parameters together.

  Args:
    rho: Radius, a float >= 0 or an `optax.Schedule`.
    every: Number k of updates from one SAM gradient to the next. 1 is `sam`.
      None takes none: with that, and 1, there is a link for each of the two
      kinds of steps.
    alpha: Factor >= 0 of the remembered part.
    mask: Leaves that are perturbed and counted in the norm of the perturbation,
      see `group_sam`. The parts above are of all leaves.
    adaptive: True scales the perturbation by each weight's magnitude.
    eps: Number that is added to the norm in e.

  Returns:
    An `optax.GradientTransformationExtraArgs`, the first link of a chain; the
    oracle has one group. Cost in SGD steps: 1 + 1/k on average, 2 at every k-th
    step and 1 at the others. One tree of parameters more in memory.

    The two kinds of steps are branches of a `jax.lax.cond`. On CPUs, where
    convolutions are slow in branches, and under `jax.vmap`, which takes both
    branches, compile two steps, with ``every=1`` and ``every=None``, and choose
    on the host, as the trainer does: the states are alike.

  Raises:
    ValueError: If `rho` or `alpha` is negative, or `every` is below 1. What the
      update refuses is listed in `group_sam`.
    TypeError: If `rho` is neither a number nor a schedule, `every` is not an
      integer, or `alpha` is not a number.

  .. note::
    Unofficial codes, the only ones, project and scale each tensor by itself,
    and divide by norms that may be zero. Here both are global, as the equations
    have them; without a gradient, or a part orthogonal to it, nothing is added.

  .. note::
    Where every device ascends on its own rows, call the update with
    ``axis_name='data'``: the remembered part is then that of the sums over
    devices, the same on each of them.

  References:
    Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
    <https://arxiv.org/abs/2203.02714>`_, CVPR 2022.
  """
  _checks.radius('rho', rho)
  if every is not None:
    every = _checks.integer(
      'every',
      every,
      low=1,
      hint='It is a number of updates: pass 1 for SAM, 10 for the default.',
    )
  _checks.number('alpha', alpha, low=0)

  def init_fn(params: optax.Params) -> LookSamState:
    return LookSamState(
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
  ) -> tuple[optax.Updates, LookSamState]:
    del extra_args
    grad_fn = _oracle_checks.check_grad_fn('look_sam', grad_fn, num_groups=1)
    _perturbation.check_params('look_sam', params)
    count = jnp.asarray(optax.safe_increment(state.count))
    if _perturbation.is_zero(rho):
      return updates, LookSamState(count, state.orthogonal)
    _oracle_checks.check_updates('look_sam', updates, grad_fn)
    masks = _perturbation.resolve_masks(params, mask=mask, adaptive=adaptive)
    gradient = _perturbation.wide(updates)
    total = _device_axis.summed(gradient, axis_name)

    def look():
      sharp = _perturbation.sharp_gradient(
        grad_fn,
        params,
        gradient,
        _perturbation.radius_at(rho, state.count),
        eps=eps,
        **masks,
      )
      return sharp, _perturbation.orthogonal_part(
        _device_axis.summed(sharp, axis_name), total
      )

    def remember():
      scale = _ratio(total, state.orthogonal, alpha)
      # Of the sum over devices each of them adds its share.
      scale /= _device_axis.size(axis_name)
      return (
        _perturbation.add_scaled(gradient, scale, state.orthogonal),
        state.orthogonal,
      )

    if every is None:
      gradient, orthogonal = remember()
    elif every == 1:
      gradient, orthogonal = look()
    else:
      gradient, orthogonal = jax.lax.cond(
        state.count % every == 0, look, remember
      )
    return (
      _perturbation.cast_like(gradient, updates),
      LookSamState(count, orthogonal),
    )

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _ratio(
  gradient: optax.Updates, part: Any, alpha: jax.typing.ArrayLike
) -> jax.Array:
  """The factor alpha ||gradient|| / ||part||, zero without a part."""
  norm = _perturbation.global_norm(part)
  ratio = _perturbation.global_norm(gradient) / jnp.where(norm == 0, 1, norm)
  return jnp.where(norm == 0, 0, jnp.asarray(alpha, norm.dtype) * ratio)
