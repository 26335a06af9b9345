# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizer chain around a link, and its learning-rate schedule."""

from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import transforms


def learning_rate_schedule(
  name: Literal['cosine', 'step', 'ldam', 'constant'],
  base: float,
  *,
  num_steps: int,
  warmup_steps: int = 0,
) -> optax.Schedule:
  """Learning rate by step.

  Args:
    name: 'cosine' falls to 0 at `num_steps`; 'step' is multiplied by 0.1 after
      80 % and again after 90 % of the steps, 'ldam' by 0.01 both times, as the
      codes of LDAM-DRW and its successors do; 'constant' stays.
    base: Learning rate after the warm-up.
    num_steps: Steps of the whole run.
    warmup_steps: Steps of a linear rise from ``base / warmup_steps``, counted
      in `num_steps`.

  Returns:
    An `optax.Schedule`.

  Raises:
    ValueError: If the name is unknown, or the warm-up is as long as the run.
  """
  if warmup_steps and warmup_steps >= num_steps:
    raise ValueError(
      f'the warm-up of {warmup_steps} steps must be shorter than the run of '
      f'{num_steps} steps. Lower `warmup_epochs`.'
    )
  match name:
    case 'cosine':
      main = optax.cosine_decay_schedule(base, num_steps - warmup_steps)
    case 'step' | 'ldam':
      factor = 0.1 if name == 'step' else 0.01
      boundaries = [round(share * num_steps) for share in (0.8, 0.9)]
      main = optax.piecewise_constant_schedule(
        base, {step - warmup_steps: factor for step in boundaries}
      )
    case 'constant':
      main = optax.constant_schedule(base)
    case _:
      raise ValueError(
        f"`schedule` must be 'cosine', 'step', 'ldam' or 'constant', got "
        f'{name!r}.'
      )
  if warmup_steps:
    warmup = optax.linear_schedule(base / warmup_steps, base, warmup_steps - 1)
    main = optax.join_schedules([warmup, main], [warmup_steps])
  # optax mixes the count with floats, which strict promotion refuses.
  return lambda count: main(jnp.asarray(count, jnp.float32))


def make_optimizer(
  link: optax.GradientTransformation,
  learning_rate: optax.ScalarOrSchedule,
  *,
  optimizer: Literal['sgd', 'adam'] = 'sgd',
  momentum: float = 0.9,
  weight_decay: float = 0.0,
  decay: Literal['kernels', 'all'] = 'kernels',
  clip_norm: float | None = None,
  max_skipped: int | None = 5,
) -> optax.GradientTransformationExtraArgs:
  """``skip_nonfinite(chain(link, clipping, weight decay, SGD or Adam))``.

  Args:
    link: The sharpness-aware link, the first of the chain.
    learning_rate: Float or schedule.
    optimizer: 'sgd', or 'adam' as `optax.adam` has it.
    momentum: Heavy-ball momentum of SGD; 0 keeps no buffer. Adam has its own.
    weight_decay: Coupled decay, added to the gradient at the unperturbed w.
    decay: 'kernels' decays leaves of two or more axes, 'all' every leaf, as
      most of the published codes do.
    clip_norm: Clips the link's gradient, not the ascent direction.
    max_skipped: Non-finite updates in a row that are accepted; None is the
      chain alone, without `skip_nonfinite`.

  Returns:
    The transformation; pass it ``grad_fn``.

  Raises:
    ValueError: If `optimizer` is unknown, or `max_skipped` is negative.
  """
  match optimizer:
    case 'sgd':
      descent = optax.sgd(learning_rate, momentum=momentum or None)
    case 'adam':
      descent = _adam(learning_rate)
    case _:
      raise ValueError(
        f"`optimizer` must be 'sgd' or 'adam', got {optimizer!r}."
      )
  mask: Any = _is_kernel if decay == 'kernels' else None
  chain = optax.chain(
    link,
    optax.identity()
    if clip_norm is None
    else optax.clip_by_global_norm(clip_norm),
    optax.add_decayed_weights(weight_decay, mask)
    if weight_decay
    else optax.identity(),
    descent,
  )
  if max_skipped is None:
    return chain
  return transforms.skip_nonfinite(chain, max_consecutive=max_skipped)


def _adam(
  learning_rate: optax.ScalarOrSchedule,
) -> optax.GradientTransformation:
  tx = optax.adam(learning_rate)

  # It mixes the count with floats, which strict promotion refuses.
  def update(updates, state, params=None):
    with jax.numpy_dtype_promotion('standard'):
      return tx.update(updates, state, params)

  return optax.GradientTransformation(tx.init, update)


def _is_kernel(params: optax.Params) -> Any:
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
