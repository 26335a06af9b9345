# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of examples by their losses, against a running average."""

import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks


class AbsgdState(NamedTuple):
  """State of `absgd_weights`, one number.

  Attributes:
    log_average: Float32 scalar, the logarithm of the running average u; -inf
      before the first batch.
  """

  log_average: jax.Array


def absgd_init() -> AbsgdState:
  """The state before the first batch.

  >>> print(absgd_init().log_average)
  -inf
  """
  return AbsgdState(jnp.asarray(-jnp.inf, jnp.float32))


def absgd_weights(
  losses: ArrayLike,
  state: AbsgdState,
  *,
  lam: float = 1.0,
  gamma: float = 0.1,
  alpha: float = 0.5,
  axis_name: str | None = None,
) -> tuple[jax.Array, AbsgdState]:
  r"""Weights of attentional-biased SGD: larger losses weigh more.

  .. math::
    u \leftarrow (1 - \gamma) u + \gamma \alpha \,
      \frac{1}{B} \sum_i e^{\ell_i / \lambda}, \qquad
    p_i = \frac{e^{\ell_i / \lambda}}{B u}

  Qi et al., `Attentional-Biased Stochastic Gradient Descent
  <https://arxiv.org/abs/2012.06951>`_, TMLR 2023. Use as ``sum(weights *
  losses)``. The losses may be of any kind, and may already carry class weights.
  No gradient flows through weights or state.

  >>> state = absgd_init()
  >>> losses = jnp.array([0.0, 1.0])
  >>> weights, state = absgd_weights(losses, state, alpha=1.0)
  >>> print(weights)  # softmax(losses / lam)
  [0.26894143 0.7310586 ]

  Args:
    losses: Real array, shape ``[B]``, B >= 1.
    state: Result of `absgd_init`, later the state that the last call returned.
    lam: Temperature, not 0. A large one gives nearly equal weights: 200 and
      more stand for the plain mean, the authors' first stage; then they use 1
      to 5. A negative one weighs large losses down, against label noise.
    gamma: Share of the new batch in the average, in (0, 1]. 0.1 as in the
      authors' script, like `lam` and `alpha`.
    alpha: Factor > 0 of the average; in the long run the weights sum to about
      1/alpha, so that it scales the learning rate.
    axis_name: Mapped axis or axes over which the batch is split. The average
      and B are then those of the whole batch: weights are the same as without
      the split, and the losses of the shards are summed, not averaged
      (``reduce_loss(..., reduction='sum', axis_name=axis_name)``).

  Returns:
    Weights, a float32 array of shape ``[B]``, at most ``1 / (gamma * alpha)``
    each, and the new state. If a loss is NaN or infinite, the weights are NaN
    and the state stays as it was.

  Raises:
    TypeError: If `losses` are not real numbers, or `state` is not an
      `AbsgdState`.
    ValueError: If `losses` does not have one axis, `lam` is 0 or not finite,
      `gamma` is outside of (0, 1], or `alpha` is not positive.

  .. note::
    The released code begins with u = 0: the first weights sum to
    ``1 / (gamma * alpha)``, 20 times 1 with its values. Here the first batch
    sets u = alpha * mean(exp(l / lam)). Its u also keeps the graph of all
    earlier steps; here it is a constant. All is done in logarithms: for lam =
    0.1, exp(l / lam) would leave the range of float32 from l = 8.9 on.
  """
  _check_numbers(lam, gamma, alpha)
  losses = _check_losses(losses)
  if not isinstance(state, AbsgdState):
    raise TypeError(
      f'`state` must be AbsgdState, got {type(state).__name__}. Begin with '
      '`absgd_init()`, and pass the state that the last call returned.'
    )
  # All of them: the maximum over a mapped axis has no derivative.
  losses, log_average, temperature, new_share, factor = (
    jax.lax.stop_gradient(jnp.asarray(x).astype(jnp.float32))
    for x in (losses, state.log_average, lam, gamma, alpha)
  )
  # The loss with the largest l / lam becomes the origin, also of u: then only
  # differences of losses meet an exponential.
  sign = jnp.where(temperature > 0, 1.0, -1.0)
  largest = jnp.max(sign * losses)
  batch_size = losses.shape[0]
  if axis_name is not None:
    largest = jax.lax.pmax(largest, axis_name)
    batch_size = jax.lax.psum(batch_size, axis_name)
  origin = sign * largest
  exponents = (losses - origin) / temperature
  shift = origin / temperature
  mean = jnp.mean(jnp.exp(exponents))
  if axis_name is not None:
    mean = jax.lax.pmean(mean, axis_name)
  batch_average = jnp.log(factor) + jnp.log(mean)
  average = jnp.where(
    jnp.isneginf(log_average),
    batch_average,
    jnp.logaddexp(
      jnp.log1p(-new_share) + (log_average - shift),
      jnp.log(new_share) + batch_average,
    ),
  )
  weights = jnp.exp(exponents - average) / batch_size
  new = average + shift
  return weights, AbsgdState(jnp.where(jnp.isfinite(new), new, log_average))


def _check_numbers(lam: float, gamma: float, alpha: float) -> None:
  _checks.number('lam', lam)
  if isinstance(lam, numbers.Real) and lam == 0:
    raise ValueError(
      '`lam` must not be 0. Pass a large value, such as 200, for nearly equal '
      'weights.'
    )
  _checks.number('gamma', gamma, above=0.0, high=1.0)
  _checks.number('alpha', alpha, above=0.0)


def _check_losses(losses: ArrayLike) -> jax.Array:
  losses = jnp.asarray(losses)
  _checks.real_dtype('losses', losses)
  if losses.ndim != 1 or not losses.shape[0]:
    raise ValueError(
      f'`losses` must have shape [B], one per example and at least one, got '
      f'{losses.shape}. Pass the losses before they are reduced.'
    )
  return losses
