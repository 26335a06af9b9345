# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The function `grad_fn` that oracles hand to the links of a chain."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax.oracles import _descent
from imbsam_jax.oracles import _params
from imbsam_jax.oracles import _weighted_pass


class RowGroup(NamedTuple):
  """Rows that go through the model together.

  Attributes:
    batch: Tree of arrays with rows.
    weights: Float array, shape ``[groups, rows]``, one row for each group that
      these rows can belong to.
  """

  batch: Any
  weights: jax.Array


class GroupGradients:
  """Gradients per group: ``grad_fn(params, group: int) -> gradient``.

  Made by `gradient_oracle` and `split_gradient_oracle`. Group gradients at the
  very `params` of the oracle are pullbacks of its clean forward pass.

  Attributes:
    num_groups: Number of groups.
    value: ``(loss, aux)`` of the pass that the update is made from: the clean
      one, unless a link evaluated `total` elsewhere (`rsam`), or groups with
      rows of their own `apart` (`momentum_imbsam`). Read it after
      ``tx.update``, in the same traced function.
  """

  def __init__(
    self,
    loss_fn: _weighted_pass.LossFn,
    params: optax.Params,
    row_groups: Sequence[RowGroup],
    *,
    join_aux: Callable[[tuple[Any, ...]], Any],
    num_microbatches: int,
    places: Sequence[tuple[int, int]] | None = None,
    num_total: int | None = None,
  ):
    """Runs the clean passes.

    Args:
      loss_fn: Weighted sum of the losses and aux, see `gradient_oracle`.
      params: Parameters at which the passes are clean.
      row_groups: Rows that go through the model together, for each such pass.
      join_aux: Function that makes one aux of those of the row groups that are
        the total.
      num_microbatches: Number of parts in which rows go through the model, one
        after the other.
      places: For each group its row group, and its row in the weights of that
        row group; by default all rows of all row groups.
      num_total: Number of row groups, the first ones, of which the total is the
        sum; all by default.
    """
    _params.check_params(params)
    self._loss_fn = loss_fn
    self._params = params
    self._row_groups = row_groups
    self._join_aux = join_aux
    self._num_microbatches = num_microbatches
    self._places = places or [
      (i, row)
      for i, row_group in enumerate(row_groups)
      for row in range(len(row_group.weights))
    ]
    self._num_total = len(row_groups) if num_total is None else num_total
    self.num_groups = len(self._places)
    # Row 0 is the user's own pass, the sum over groups; the first group is what
    # the others leave of it.
    self._clean = [
      self._pass(
        i, params, jnp.concatenate([_total(row_group), row_group.weights[1:]])
      )
      for i, row_group in enumerate(row_groups)
    ]
    # Kept: for a group with rows of its own this is the clean group gradient.
    self._clean_totals = [one.gradient(0) for one in self._clean]
    self.value = self._value(self._clean[: self._num_total])
    # The very arrays that are given out, so that links know them again.
    self._gradient = _sum_of_trees(self._clean_totals[: self._num_total])

  def __call__(self, params: optax.Params, group: int) -> optax.Updates:
    """Gradient of one group's loss at `params`."""
    group = _checks.integer(
      'group',
      group,
      low=0,
      high=self.num_groups - 1,
      hint='It is known while tracing; give the oracle one row of '
      '`group_weights` for each group.',
    )
    i, row = self._places[group]
    weights = self._row_groups[i].weights
    if self._is_clean(params) and len(weights) == 1:
      return self._clean_totals[i]
    if self._is_clean(params):
      # The first group of shared rows is what the others leave of the total.
      clean = self._clean[i]
      return clean.gradient(row) if row > 0 else clean.remainder()
    return self._pass(i, params, weights[row][None]).gradient(0)

  def total(self, params: optax.Params) -> optax.Updates:
    """Gradient of the sum over groups at `params`; sets `value`."""
    if self._is_clean(params):
      self.value = self._value(self._clean[: self._num_total])
      return self._gradient
    passes = [
      self._pass(i, params, _total(row_group))
      for i, row_group in enumerate(self._row_groups[: self._num_total])
    ]
    self.value = self._value(passes)
    return _sum_of_trees([one.gradient(0) for one in passes])

  def apart(self, points: Sequence[optax.Params]) -> list[optax.Updates]:
    """Gradients of all groups, each at a point of its own; sets `value`.

    A group with rows of its own brings loss and aux of its only pass, so that
    its clean pass is dead code under `jax.jit`. Groups that share rows leave
    `value` that of the clean pass.

    Args:
      points: Parameters of each group.
    """
    gradients = []
    passes = self._clean[: self._num_total]
    for group, point in enumerate(points):
      i, _ = self._places[group]
      weights = self._row_groups[i].weights
      if self._is_clean(point) or len(weights) > 1 or i >= self._num_total:
        gradients.append(self(point, group))
        continue
      passes[i] = self._pass(i, point, weights)
      gradients.append(passes[i].gradient(0))
    self.value = self._value(passes)
    return gradients

  def gave(self, updates: optax.Updates) -> bool | None:
    """Whether `updates` are the oracle's gradient; None is unknown."""
    return _descent.is_given(updates, self._gradient)

  def _pass(
    self, i: int, params: optax.Params, weights: jax.Array
  ) -> _weighted_pass.WeightedPass:
    return _weighted_pass.weighted_pass(
      self._loss_fn,
      params,
      self._row_groups[i].batch,
      weights,
      num_microbatches=self._num_microbatches,
    )

  def _value(self, passes: Sequence[_weighted_pass.WeightedPass]) -> Any:
    loss = sum((one.loss for one in passes[1:]), passes[0].loss)
    return loss, self._join_aux(tuple(one.aux for one in passes))

  def _is_clean(self, params: optax.Params) -> bool:
    leaves, structure = jax.tree.flatten(params)
    clean_leaves, clean_structure = jax.tree.flatten(self._params)
    return structure == clean_structure and all(
      x is y for x, y in zip(leaves, clean_leaves, strict=True)
    )


def _sum_of_trees(trees: Sequence[optax.Updates]) -> optax.Updates:
  return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *trees)


def _total(row_group: RowGroup) -> jax.Array:
  return row_group.weights.sum(axis=0, keepdims=True)


def check_weights(
  weights: jax.typing.ArrayLike, batch: Any, *, shape: str
) -> jax.Array:
  """Refuses weights that cannot belong to the rows of `batch`."""
  weights = jnp.asarray(weights)
  rank = shape.count(',') + 1
  if not jnp.issubdtype(weights.dtype, jnp.floating):
    raise TypeError(
      f'`group_weights` must be floating point, got {weights.dtype}. '
      'Pass float32, as `head_tail_weights` returns it.'
    )
  if weights.ndim != rank:
    raise ValueError(
      f'`group_weights` must have shape {shape}, got {weights.shape}. '
      'For one group pass weights[None]; for groups with rows of their own use '
      '`split_gradient_oracle`.'
    )
  rows = {x.shape[0] for x in jax.tree.leaves(batch) if jnp.ndim(x)}
  if rows and weights.shape[-1] not in rows:
    raise ValueError(
      f'`group_weights` must have shape {shape} with one column for each row '
      f'of the batch, got {weights.shape} for a batch of {max(rows)} rows.'
    )
  return weights
