# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The objective of most methods: a loss of logits and labels."""

from collections.abc import Callable
import inspect
from typing import Any

import jax
import jax.numpy as jnp

from imbsam_jax import data
from imbsam_jax import losses as losses_lib
from imbsam_jax.training import _objective

ExampleLoss = Callable[..., jax.Array]


class Supervised(_objective.Objective):
  r"""A loss of logits and labels, with what may stand around it.

  .. math::
    \sum_i w_i\, f_i\, \ell(z_i, y_i) + p(\theta)

  with the weights w of the batch, the factors f of `weigh`, the penalty p.

  Args:
    loss: ``(logits [B, C], labels [B]) -> losses [B]``; one that draws takes
      ``key=`` too, and draws alike in all passes of a step.
    mix: ``mix(key, step, batch, partner) -> (images, MixedLabels)``, as in
      `augment`, for the pairs of `data.paired_batches`. Each label counts with
      the weight of its own row, in its own class group.
    weigh: ``(losses [B], step, state) -> (factors [B], state)``, see
      `Objective.weigh` (ABSGD).
    weigh_state: Initial state of `weigh`.
    penalty: A term of the loss that depends on the parameters only.
    logit_scale: See `Objective`.
    coupled: Whether the loss of a row depends on the other rows, as with `mix`
      and `weigh`.
  """

  def __init__(
    self,
    loss: ExampleLoss,
    *,
    mix: Callable[..., tuple[jax.Array, losses_lib.MixedLabels]] | None = None,
    weigh: Callable[..., tuple[jax.Array, Any]] | None = None,
    weigh_state: Any = (),
    penalty: Callable[[Any], jax.Array] | None = None,
    logit_scale: float = 1.0,
    coupled: bool = False,
  ):
    self.loss = loss
    self.coupled = coupled or mix is not None or weigh is not None
    self.logit_scale = logit_scale
    self._draws = takes_key(loss)
    self._mix = mix
    self._weigh = weigh
    self._weigh_state = weigh_state
    self._penalty = penalty

  def init(self, key, variables):
    del key, variables
    return self._weigh_state

  def prepare(self, ctx, rows):
    if self._mix is None:
      return rows
    mix_key, _ = _keys(ctx)
    images = data.pair_halves(rows['image'])
    labels = data.pair_halves(rows['label'])
    mixed = self._mix(mix_key, ctx.step, *zip(images, labels, strict=True))
    return {**rows, 'image': mixed[0], 'mixed': mixed[1]}

  def __call__(self, ctx, apply, rows):
    if self._mix is not None and 'mixed' not in rows:
      raise ValueError(
        'rows that are to be mixed came unmixed: an objective that overrides '
        '`prepare` begins with rows = self.base.prepare(ctx, rows).'
      )
    return self.outcome(ctx, apply.params, rows, apply(rows['image']))

  def outcome(
    self,
    ctx: _objective.Context,
    params: Any,
    rows: _objective.Rows,
    logits: jax.Array,
  ) -> _objective.Outcome:
    """The outcome of rows whose logits came about in a way of their own.

    Args:
      ctx: What is fixed within the step.
      params: The parameters at the point of the pass, for the penalty.
      rows: Prepared rows, whose labels are read; ``rows['mixed']`` before
        ``rows['label']``.
      logits: ``[B, C]``.
    """
    options = {}
    if self._draws:
      _, loss_key = _keys(ctx)
      # Head rows, tail rows and micro-batches would see the same noise.
      place = _fingerprint(rows['label'])
      options = {'key': jax.random.fold_in(loss_key, place)}
    labels = rows.get('mixed', rows['label'])
    return _objective.Outcome(
      mixed_losses(lambda y: self.loss(logits, y, **options), labels),
      logits,
      labels,
      None if self._penalty is None else self._penalty(params),
    )

  def weigh(self, ctx, losses):
    if self._weigh is None:
      return None
    factors, state = self._weigh(losses, ctx.step, ctx.state)
    return jax.lax.stop_gradient(factors), state


def as_objective(
  objective: _objective.Objective | ExampleLoss,
) -> _objective.Objective:
  """An objective; a function of logits and labels becomes `Supervised`."""
  if isinstance(objective, _objective.Objective):
    return objective
  return Supervised(objective)


def mixed_losses(
  loss: Callable[[jax.Array], jax.Array], labels: Any
) -> jax.Array | tuple[jax.Array, jax.Array]:
  """Losses of rows by their labels.

  Args:
    loss: ``labels [B] -> losses [B]``.
    labels: Int ``[B]``; or `losses.MixedLabels`.

  Returns:
    float32 ``[B]``; of mixed labels the pair of ``[B]``, each with the share of
    its label, since each counts with the weight of the row that it came from.
  """
  if not isinstance(labels, losses_lib.MixedLabels):
    return loss(labels)
  (lam, first), (rest, second) = labels.halves()
  return lam * loss(first), rest * loss(second)


def takes_key(loss: ExampleLoss) -> bool:
  """Whether a loss draws, and so takes ``key=``."""
  try:
    parameters = inspect.signature(loss).parameters
  except (TypeError, ValueError):  # Some compiled functions have none.
    return False
  return 'key' in parameters


def _keys(ctx: _objective.Context) -> tuple[jax.Array, jax.Array]:
  """Keys for mixing and for losses."""
  mix_key, loss_key = jax.random.split(jax.random.fold_in(ctx.key, 1))
  return mix_key, loss_key


def _fingerprint(labels: jax.Array) -> jax.Array:
  """A number that tells the rows of a pass from those of others."""
  places = jnp.arange(1, 1 + len(labels), dtype=jnp.int32)
  return jnp.sum((1 + labels.astype(jnp.int32)) * places * places)
