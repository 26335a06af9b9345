# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The cheap oracle: every group brings rows of its own."""

from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Sized
from typing import Any

import jax
import optax

from imbsam_jax.oracles import _group_gradients
from imbsam_jax.oracles import _weighted_pass


def split_gradient_oracle(
  loss_fn: _weighted_pass.LossFn,
  params: optax.Params,
  batches: Sequence[Any],
  *,
  group_weights: Sequence[jax.typing.ArrayLike],
  num_microbatches: int = 1,
) -> tuple[
  tuple[jax.Array, Any], optax.Updates, _group_gradients.GroupGradients
]:
  """Loss, gradient and group gradients of groups with rows of their own.

  Head rows go through one pass and tail rows through two, which is the least
  that ImbSAM can cost. It equals `gradient_oracle` on the joined rows for
  models without operations across rows (GroupNorm, LayerNorm); with BatchNorm
  it is another method.

  Args:
    loss_fn: Weighted sum of the losses and aux, see `gradient_oracle`; called
      once per group and pass.
    params: Parameters, any tree of floating-point arrays.
    batches: One batch per group, each with its own number of rows. A group
      without rows (0, a static shape) costs nothing but its aux: `loss_fn` sees
      one row of zeros with weight 0.
    group_weights: One float array ``[rows_k]`` per group, already divided by
      the size of the whole batch. Rows of weight 0 are padding.
    num_microbatches: Number of parts in which the rows of each group go through
      the model, see `gradient_oracle`.

  Returns:
    The triple ``((loss, aux), grads, grad_fn)`` as `gradient_oracle` does, but
    `aux` is a tuple with one entry per group.

    Cost in passes of the whole batch of N rows: 1 forward and 1 backward pass;
    a perturbed group of N_k rows N_k/N of both more.

  Raises:
    ValueError: If the numbers of batches and weights differ, weights have
      another shape, the loss is not a scalar, or `num_microbatches` does not
      divide the rows of a group.
    TypeError: If `batches` is one batch instead of one per group, weights or
      parameters are not floating point, `params` is a whole module, or
      `loss_fn` does not return a pair.
  """
  _check_sequence('batches', batches, '[head_rows, tail_rows]')
  _check_sequence(
    'group_weights', group_weights, '[head_weights, tail_weights]'
  )
  if len(batches) != len(group_weights):
    raise ValueError(
      '`batches` and `group_weights` must have one entry per group, got '
      f'{len(batches)} and {len(group_weights)}.'
    )
  if not batches:
    raise ValueError('`batches` must hold at least one group, got none.')
  row_groups = []
  for batch, weights in zip(batches, group_weights, strict=True):
    weights = _group_gradients.check_weights(weights, batch, shape='[rows]')
    row_groups.append(_group_gradients.RowGroup(batch, weights[None]))
  grad_fn = _group_gradients.GroupGradients(
    loss_fn,
    params,
    row_groups,
    join_aux=tuple,
    num_microbatches=num_microbatches,
  )
  return grad_fn.value, grad_fn.total(params), grad_fn


def _check_sequence(name: str, value: Any, example: str) -> None:
  """Refuses one tree of all rows where each group has its own."""
  if isinstance(value, Sized) and not isinstance(value, Mapping):
    return
  shown = f'one {type(value).__name__}'
  if isinstance(value, Mapping):
    shown += f' with the keys {", ".join(map(repr, value))}'
  raise TypeError(
    f'`{name}` must have one entry per group, got {shown}. Take the rows of '
    f'each group apart, {name}={example}, or pass all rows to '
    '`gradient_oracle`.'
  )
