# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress of a transition, the number behind nearly every schedule."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks


def phase(
  step: ArrayLike,
  *,
  start: ArrayLike,
  end: ArrayLike,
  power: ArrayLike = 1.0,
) -> jax.Array:
  r"""Progress from 0 to 1 between two steps.

  .. math::
    \left( \frac{t - start}{end - start} \right)^{power}

  between `start` and `end`, 0 before and 1 from `end` on; a step at `start` if
  they are the same. ``power=5`` from 100 to 160 is that of PPW and PPS,
  ``power=3`` that of PPmix (Xu et al., `Phased Progressive Learning with
  Coupling-Regulation-Imbalance Loss for Imbalanced Data Classification
  <https://arxiv.org/abs/2205.12117>`_, arXiv 2022).

  >>> print([float(phase(t, start=1, end=3, power=2.0)) for t in range(5)])
  [0.0, 0.0, 0.25, 1.0, 1.0]

  Args:
    step: Step, a scalar or an array, may be traced.
    start: Step at which the transition begins.
    end: Step from which on the progress is 1, >= `start`.
    power: Exponent >= 0; 0 is a step at `start`.

  Returns:
    Float32 array of the shape of `step`.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If `start` > `end`, or `power` is negative or not finite.
  """
  _checks.number('start', start)
  _checks.number('end', end)
  _checks.number('power', power, low=0.0)
  if (
    isinstance(start, numbers.Real)
    and isinstance(end, numbers.Real)
    and start > end
  ):
    raise ValueError(
      f'`start` must not be after `end`, got start={start!r}, end={end!r}.'
    )
  since_start = elapsed(step, start)
  span = elapsed(end, start)
  # Without a span no step is between the two.
  progress = since_start / jnp.where(span > 0, span, 1.0)
  power = jnp.asarray(power).astype(jnp.float32)
  between = jnp.power(jnp.clip(progress, 0.0, 1.0), power)
  is_over = elapsed(step, end) >= 0
  return jnp.where(since_start < 0, 0.0, jnp.where(is_over, 1.0, between))


def elapsed(step: Any, start: Any) -> jax.Array:
  """``step - start`` as float32, from exact integers where both are whole.

  Raises:
    TypeError: If `step` is not a number.
  """
  step, start = _as_array('step', step), _as_array('start', start)
  if jnp.issubdtype(step.dtype, jnp.integer) and jnp.issubdtype(
    start.dtype, jnp.integer
  ):
    # Wide first: an unsigned step before `start` would wrap around.
    return (step.astype(int) - start.astype(int)).astype(jnp.float32)
  return step.astype(jnp.float32) - start.astype(jnp.float32)


def scalar_step(name: str, step: Any) -> jax.Array:
  """A step without axes.

  Raises:
    TypeError: If `step` is not a number.
    ValueError: If `step` has axes.
  """
  step = _as_array(name, step)
  if step.ndim:
    raise ValueError(
      f'`{name}` must be one number, got shape {step.shape}. Use `jax.vmap` '
      'for many.'
    )
  return step


def _as_array(name: str, value: Any) -> jax.Array:
  if isinstance(value, numbers.Real) and not isinstance(value, bool):
    # 0.8 * num_epochs is whole, but a float.
    number = float(value)
    if number.is_integer() and abs(number) < 2**31:
      value = int(number)
  value = jnp.asarray(value)
  _checks.real_dtype(name, value)
  return value
