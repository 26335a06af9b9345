# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The exact oracle: every row goes through every pass."""

from typing import Any

import jax
import optax

from imbsam_jax.oracles import _group_gradients
from imbsam_jax.oracles import _weighted_pass


def gradient_oracle(
  loss_fn: _weighted_pass.LossFn,
  params: optax.Params,
  batch: Any,
  *,
  group_weights: jax.typing.ArrayLike,
  num_microbatches: int = 1,
) -> tuple[
  tuple[jax.Array, Any], optax.Updates, _group_gradients.GroupGradients
]:
  """Loss, gradient and group gradients of one batch, for every model.

  All rows go through every pass and the weights select among them, so batch
  statistics (BatchNorm) are those of the whole batch, as in the published
  codes. For models without operations across rows `split_gradient_oracle`
  gives the same gradients for less.

  Args:
    loss_fn: ``loss_fn(params, batch, weights [B]) -> (sum_i weights_i * loss_i,
      aux)``: the weighted *sum*, not a mean, and any tree beside it (logits,
      metrics, BatchNorm statistics).
    params: Parameters, any tree of floating-point arrays.
    batch: Tree of arrays with B rows; with one micro-batch, whatever `loss_fn`
      takes.
    group_weights: Float array, shape ``[num_groups, B]``, group k's weights in
      row k, zero for rows of other groups; `head_tail_weights` makes them.
    num_microbatches: Number of parts in which the rows go through the model,
      one after the other, to save memory; it must divide B. The gradients are
      those of the whole batch (without BatchNorm). Arrays of aux with rows come
      back joined in the order of the rows, scalars as one array of that length.

  Returns:
    The triple ``((loss, aux), grads, grad_fn)``: loss, aux and gradient of the
    sum over groups at `params`, and the function for ``tx.update(grads, state,
    params, grad_fn=grad_fn)``.

    Cost: 1 forward and 1 backward pass; a group's gradient at `params` 1
    backward pass more, elsewhere 1 forward and 1 backward pass.

  Raises:
    ValueError: If `group_weights` have another shape, the loss is not a scalar,
      or `num_microbatches` does not divide the rows.
    TypeError: If weights or parameters are not floating point, `params` is a
      whole module, or `loss_fn` does not return a pair.
  """
  weights = _group_gradients.check_weights(
    group_weights, batch, shape='[num_groups, rows]'
  )
  grad_fn = _group_gradients.GroupGradients(
    loss_fn,
    params,
    [_group_gradients.RowGroup(batch, weights)],
    join_aux=lambda aux: aux[0],
    num_microbatches=num_microbatches,
  )
  return grad_fn.value, grad_fn.total(params), grad_fn
