# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimizer chain around a link, and its learning-rate schedule."""

from collections.abc import Sequence
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import _checks
from imbsam_jax import transforms
from imbsam_jax.training import _layer_decay


def learning_rate_schedule(
  name: Literal['cosine', 'cosine_by_epoch', 'step', 'ldam', 'constant'],
  base: float,
  *,
  num_steps: int,
  warmup_steps: int = 0,
  from_zero: bool = False,
  epoch_starts: Sequence[int] | None = None,
  lag: int = 0,
) -> optax.Schedule:
  r"""Learning rate by step.

  'cosine_by_epoch' is a staircase, as in the codes of LIFT (Shi et al., ICML
  2024), GNM-PT (Li et al., NeurIPS 2024) and VPT (Jia et al., ECCV 2022),

  .. math::
    \frac{base}{2} \Bigl(1 + \cos \frac{\pi (e - w)}{E - w}\Bigr)

  in epoch e of E after w epochs of warm-up. LIFT and VPT have no `lag`; the
  scheduler of GNM-PT gives epoch 0 its rate twice, so that it is 1 there, and
  its last rate is 1.0e-5 of 0.005 instead of 2.5e-6.

  >>> schedule = learning_rate_schedule(
  ...   'cosine_by_epoch', 1.0, num_steps=9, epoch_starts=[0, 3, 6]
  ... )
  >>> [float(f'{schedule(step):.2f}') for step in range(9)]
  [1.0, 1.0, 1.0, 0.75, 0.75, 0.75, 0.25, 0.25, 0.25]

  Args:
    name: 'cosine' falls to 0 at `num_steps`, 'cosine_by_epoch' changes at the
      start of each epoch only; 'step' is multiplied by 0.1 after 80 % and again
      after 90 % of the steps, 'ldam' by 0.01 both times, as the codes of
      LDAM-DRW and its successors do; 'constant' stays.
    base: Learning rate after the warm-up.
    num_steps: Steps of the whole run.
    warmup_steps: Steps of a linear rise from ``base / warmup_steps``, counted
      in `num_steps`. 'cosine_by_epoch' rises by epoch, in those that begin
      within these steps.
    from_zero: Whether the rise begins with 0 and reaches `base` one step (or
      epoch) later, as in VPT and `optax.warmup_cosine_decay_schedule`.
    epoch_starts: First step of each epoch, from 0 on; for 'cosine_by_epoch'.
    lag: Epochs for which 'cosine_by_epoch' is late; the first of all lasts
      longer.

  Returns:
    An `optax.Schedule`.

  Raises:
    ValueError: If the name is unknown, the warm-up is as long as the run, or
      an argument is missing or has no effect.
  """
  if warmup_steps and warmup_steps >= num_steps:
    raise ValueError(
      f'the warm-up of {warmup_steps} steps must be shorter than the run of '
      f'{num_steps} steps. Lower `warmup_epochs`.'
    )
  if from_zero and not warmup_steps:
    raise ValueError(
      '`from_zero` says how a warm-up begins, and there is none. Set '
      '`warmup_epochs`, or leave `from_zero` out.'
    )
  by_epoch = name == 'cosine_by_epoch'
  if lag and not by_epoch:
    raise ValueError(
      f'`lag` has no effect on {name!r}. Leave it out, or choose '
      "'cosine_by_epoch'."
    )
  if by_epoch:
    return _cosine_by_epoch(base, epoch_starts, warmup_steps, from_zero, lag)
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
        "`schedule` must be 'cosine', 'cosine_by_epoch', 'step', 'ldam' or "
        f"'constant', got {name!r}."
      )
  if from_zero:
    warmup = optax.linear_schedule(0.0, base, warmup_steps)
    main = optax.join_schedules([warmup, main], [warmup_steps])
  elif warmup_steps:
    warmup = optax.linear_schedule(base / warmup_steps, base, warmup_steps - 1)
    main = optax.join_schedules([warmup, main], [warmup_steps])
  # optax mixes the count with floats, which strict promotion refuses.
  return lambda count: main(jnp.asarray(count, jnp.float32))


def _cosine_by_epoch(
  base: float,
  epoch_starts: Sequence[int] | None,
  warmup_steps: int,
  from_zero: bool,
  lag: int,
) -> optax.Schedule:
  """See `learning_rate_schedule`; a table, computed once on the host."""
  _checks.integer('lag', lag, low=0)
  starts = None if epoch_starts is None else np.asarray(epoch_starts)
  if (
    starts is None or starts[:1].tolist() != [0] or (np.diff(starts) < 0).any()
  ):
    raise ValueError(
      "'cosine_by_epoch' needs `epoch_starts`, the first step of each epoch, "
      f'like [0, 85, 170], got {epoch_starts}.'
    )
  warm = int(np.sum(starts < warmup_steps))
  if warm and warm >= len(starts):
    raise ValueError(
      f'the warm-up of {warm} epochs must be shorter than the run of '
      f'{len(starts)} epochs. Lower `warmup_epochs`.'
    )
  epochs = np.maximum(np.arange(len(starts)) - lag, 0)
  rise = (epochs + (0 if from_zero else 1)) / max(warm, 1)
  fall = 0.5 + 0.5 * np.cos(np.pi * (epochs - warm) / (len(starts) - warm))
  table = (base * np.where(epochs < warm, rise, fall)).astype(np.float32)

  def schedule(count):
    epoch = jnp.sum(jnp.asarray(count) >= jnp.asarray(starts[1:], jnp.int32))
    return jnp.asarray(table)[epoch]

  return schedule


def make_optimizer(
  link: optax.GradientTransformation,
  learning_rate: optax.ScalarOrSchedule,
  *,
  optimizer: Literal['sgd', 'adam', 'adamw'] = 'sgd',
  momentum: float = 0.9,
  weight_decay: float = 0.0,
  decay: Literal['kernels', 'all'] = 'kernels',
  clip_norm: float | None = None,
  max_skipped: int | None = 5,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  layer_decay: float | None = None,
) -> optax.GradientTransformationExtraArgs:
  """``skip_nonfinite(chain(link, clipping, weight decay, SGD or Adam))``.

  Of 'adamw' the weight decay is decoupled (Loshchilov and Hutter, ICLR 2019):
  it comes behind Adam, and is multiplied by the learning rate alone. The
  factors of `layer_decay` are last, so that they also multiply the decay, as
  groups of learning rates do in PyTorch.

  Args:
    link: The sharpness-aware link, the first of the chain.
    learning_rate: Float or schedule.
    optimizer: 'sgd', 'adam' as `optax.adam` has it, or 'adamw'.
    momentum: Heavy-ball momentum of SGD; 0 keeps no buffer. Adam has its own.
    weight_decay: Coupled decay, added to the gradient at the unperturbed w; of
      'adamw' decoupled.
    decay: 'kernels' decays leaves of two or more axes but biases, scales, the
      class token and the position embedding, which names tell; 'all' decays
      every leaf, as most of the published codes do.
    clip_norm: Clips the link's gradient, not the ascent direction.
    max_skipped: Non-finite updates in a row that are accepted; None is the
      chain alone, without `skip_nonfinite`.
    b1: Decay rate of the mean of gradients of Adam and AdamW.
    b2: Decay rate of the mean of their squares.
    eps: Number added to the root of that mean.
    layer_decay: Factor of the learning rate from layer to layer of a
      transformer, see `layer_factors`; None is the same rate for all.

  Returns:
    The transformation; pass it ``grad_fn``.

  Raises:
    ValueError: If `optimizer` is unknown, or `max_skipped` is negative; when
      the state is made, if `layer_decay` does not fit the parameters.
  """
  mask: Any = _layer_decay.decays if decay == 'kernels' else None
  decaying = (
    optax.add_decayed_weights(weight_decay, mask)
    if weight_decay
    else optax.identity()
  )
  rate = optax.scale_by_learning_rate(learning_rate)
  match optimizer:
    case 'sgd':
      parts = [decaying, optax.sgd(learning_rate, momentum=momentum or None)]
    case 'adam':
      parts = [decaying, optax.chain(_scale_by_adam(b1, b2, eps), rate)]
    case 'adamw':
      parts = [_scale_by_adam(b1, b2, eps), decaying, rate]
    case _:
      raise ValueError(
        f"`optimizer` must be 'sgd', 'adam' or 'adamw', got {optimizer!r}."
      )
  if layer_decay is not None:
    parts.append(_layer_decay.scale_by_layer(layer_decay))
  chain = optax.chain(
    link,
    optax.identity()
    if clip_norm is None
    else optax.clip_by_global_norm(clip_norm),
    *parts,
  )
  if max_skipped is None:
    return chain
  return transforms.skip_nonfinite(chain, max_consecutive=max_skipped)


def _scale_by_adam(
  b1: float, b2: float, eps: float
) -> optax.GradientTransformation:
  tx = optax.scale_by_adam(b1, b2, eps)

  # It mixes the count with floats, which strict promotion refuses.
  def update(updates, state, params=None):
    with jax.numpy_dtype_promotion('standard'):
      return tx.update(updates, state, params)

  return optax.GradientTransformation(tx.init, update)
