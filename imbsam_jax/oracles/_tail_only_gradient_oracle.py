# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The approximate oracle for BatchNorm: the correction from tail rows alone."""

from typing import Any

import jax
import optax

from imbsam_jax.oracles import _group_gradients
from imbsam_jax.oracles import _weighted_pass


def tail_only_gradient_oracle(
  loss_fn: _weighted_pass.LossFn,
  params: optax.Params,
  batch: Any,
  tail_batch: Any,
  *,
  group_weights: jax.typing.ArrayLike,
  tail_weights: jax.typing.ArrayLike,
  num_microbatches: int = 1,
) -> tuple[
  tuple[jax.Array, Any], optax.Updates, _group_gradients.GroupGradients
]:
  r"""Loss and gradient of a batch, group gradients of its tail rows alone.

  .. math::
    g = \nabla L(w) - \nabla \tilde L_{tail}(w)
      + \nabla \tilde L_{tail}(w + e), \qquad
    e = \rho N(\nabla \tilde L_{tail}(w))

  with :math:`\tilde L_{tail}` from a pass of the tail rows by themselves, whose
  batch statistics are their own. Loss, aux and running statistics are those of
  the pass of all rows.

  .. note::
    With BatchNorm this is not ImbSAM but an approximation of it for less than
    half of the price; `gradient_oracle` is exact. Only the difference of two
    gradients is approximated: at radius 0 it is SGD, bit for bit up to
    rounding. For models without operations across rows it is exact, and
    `split_gradient_oracle` is cheaper.

  Args:
    loss_fn: Weighted sum of the losses and aux, see `gradient_oracle`.
    params: Parameters, any tree of floating-point arrays.
    batch: Tree of arrays with all B rows.
    tail_batch: The tail rows once more; rows of weight 0 fill them up.
    group_weights: Float array, shape ``[2, B]``, head and tail, as
      `head_tail_weights` makes them.
    tail_weights: Float array, shape ``[rows]``, those of `tail_batch`, divided
      by B as well.
    num_microbatches: Number of parts in which the rows of both batches go
      through the model, see `gradient_oracle`.

  Returns:
    The triple ``((loss, aux), grads, grad_fn)`` of `gradient_oracle`.

    Cost in passes of the whole batch: 1 forward and 1 backward pass, and
    N_tail/N of both for each of the two gradients of the tail. A perturbed head
    (SSE-SAM) costs a pass of all rows, and is exact.

  Raises:
    ValueError: If there are not two groups, weights have another shape, the
      loss is not a scalar, or `num_microbatches` does not divide the rows.
    TypeError: If weights or parameters are not floating point, `params` is a
      whole module, or `loss_fn` does not return a pair.
  """
  weights = _group_gradients.check_weights(
    group_weights, batch, shape='[2, rows]'
  )
  if len(weights) != 2:
    raise ValueError(
      '`group_weights` must have one row for the head and one for the tail, '
      f'got {len(weights)}. Use `gradient_oracle` for other groups.'
    )
  tail = _group_gradients.check_weights(
    tail_weights, tail_batch, shape='[rows]'
  )
  grad_fn = _group_gradients.GroupGradients(
    loss_fn,
    params,
    [
      _group_gradients.RowGroup(batch, weights),
      _group_gradients.RowGroup(tail_batch, tail[None]),
    ],
    join_aux=lambda aux: aux[0],
    num_microbatches=num_microbatches,
    places=[(0, 0), (1, 0)],
    num_total=1,
  )
  return grad_fn.value, grad_fn.total(params), grad_fn
