# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks that the oracle and the gradient of a link belong together."""

from collections.abc import Callable
import sys
from typing import Any
import warnings

import optax

GradFn = Callable[[optax.Params, int], optax.Updates]

_FIRST = (
  'Put `{name}` first, and whatever else you use after it: '
  'optax.chain({name}(...), optax.adam(1e-3)); to accumulate gradients '
  'optax.chain({name}(...), optax.MultiSteps(optax.adam(1e-3), 4)).'
)


def check_grad_fn(name: str, grad_fn: Any, *, num_groups: int) -> GradFn:
  """Refuses a missing gradient oracle and one with other groups."""
  if grad_fn is None:
    raise ValueError(_missing(name))
  if not callable(grad_fn):
    raise TypeError(
      f'`grad_fn` must be a function (params, group) -> gradient, got '
      f'{grad_fn!r}. `imbsam_jax.gradient_oracle` builds one.'
    )
  # Hand-written oracles have no such attribute, and are taken at their word.
  groups = getattr(grad_fn, 'num_groups', num_groups)
  if groups != num_groups:
    raise ValueError(
      f'`{name}` works on {num_groups} class group(s), but `grad_fn` was built '
      f'for {groups}. Give the oracle `group_weights` with {num_groups} row(s)'
      + (
        ': `weights.sum(axis=0, keepdims=True)` joins all groups.'
        if num_groups == 1
        else ': `head_tail_weights` makes the rows head and tail.'
      )
    )
  return grad_fn


def check_updates(name: str, updates: optax.Updates, grad_fn: Any) -> None:
  """Refuses a gradient that is not the one that the oracle gave out.

  Oracles of one's own cannot tell, and are taken at their word.
  """
  gave = getattr(grad_fn, 'gave', None)
  answer = True if gave is None else gave(updates)
  if answer:
    return
  first = _FIRST.format(name=name)
  # Of the two branches of MultiSteps, the one traced first tells us nothing.
  if answer is None and not _is_called_by('MultiSteps.update'):
    warnings.warn(
      f'`{name}` cannot see whether the gradient that it got is that of the '
      'oracle: it came as an argument of a function that is traced by itself '
      '(jax.lax.cond, jax.jit). Call the oracle in that function, or leave the '
      f'gradient out of its arguments. {first}',
      stacklevel=3,
    )
    return
  raise ValueError(
    f'`{name}` needs the gradient as the oracle gave it, got one that was '
    'changed: another transformation stands before or around it. '
    f'{first} If you changed it yourself, by a sum over devices for example, '
    'pass a function that does the same: '
    "grad_fn=lambda p, k: jax.lax.psum(grad_fn(p, k), 'data')."
  )


def _missing(name: str) -> str:
  if _is_called_by('TrainState.apply_gradients'):
    return (
      f'`{name}` got no `grad_fn`: `TrainState.apply_gradients` of flax does '
      'not hand it on. Take the gradient from f = imbsam_jax.value_and_grad('
      f'loss_fn, link) with link = {name}(...), and leave the link out of the '
      "state's `tx`; or call updates, opt_state = state.tx.update(grads, "
      'state.opt_state, state.params, grad_fn=grad_fn) yourself, then '
      'state.replace(step=state.step + 1, opt_state=opt_state, '
      'params=optax.apply_updates(state.params, updates)).'
    )
  return (
    f'`{name}` needs the extra argument `grad_fn(params, group)`, got none. '
    'Pass it to `update`: tx.update(grads, state, params, grad_fn=grad_fn); '
    '`imbsam_jax.gradient_oracle` builds one. If your training loop cannot '
    'pass extra arguments, use `imbsam_jax.value_and_grad`.'
  )


def _is_called_by(function: str) -> bool:
  """Whether a function of this name is among those that are running."""
  frame = sys._getframe()
  while frame is not None:
    if frame.f_code.co_qualname == function:
      return True
    frame = frame.f_back
  return False
