# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`make_train_step`: the training step of an objective and an optimizer."""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import NamedTuple
import zlib

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _device_axis
from imbsam_jax import data
from imbsam_jax import losses as losses_lib
from imbsam_jax.training import _inputs
from imbsam_jax.training import _layouts
from imbsam_jax.training import _model_check
from imbsam_jax.training import _objective
from imbsam_jax.training import _param_plan
from imbsam_jax.training import _state
from imbsam_jax.training import _supervised

# Beyond every place of a row, by which augmentation is drawn otherwise.
_STREAMS = 2**31


class _Aux(NamedTuple):
  """What a pass gives beside its loss."""

  model_state: Any
  weighed: tuple[jax.Array, Any] | None
  record: Any
  num_correct: jax.Array
  num_rows: jax.Array


def make_train_step(
  model: nn.Module,
  tx: optax.GradientTransformationExtraArgs,
  objective: _objective.Objective | _supervised.ExampleLoss,
  inputs: _inputs.Inputs | Callable[[jax.Array], jax.Array],
  *,
  outer: bool = False,
  ema_decay: float | None = None,
  num_microbatches: int = 1,
  axis_name: str | None = None,
) -> Callable[
  [_state.TrainState, data.TrainBatch],
  tuple[_state.TrainState, dict[str, Any]],
]:
  """Builds ``step(state, batch) -> (state, metrics)``, not yet jitted.

  Args:
    model: A Linen module called as ``model(images, train=...)``, or
      `models.from_nnx` of an NNX one.
    tx: `skip_nonfinite` around the whole chain, see `make_optimizer`.
    objective: What is minimized; or the loss ``(logits [B, C], labels [B]) ->
      losses [B]`` of a `Supervised` one. Class weights are in the weights of
      the batch, see `data.Reweighting`.
    inputs: From stored images to the model's input; or the function
      `Inputs.preprocess` of one without augmentation.
    outer: Whether the step begins with the outer step of the objective; its
      batches have the stream of that.
    ema_decay: Decay of the moving average, where the state keeps one.
    num_microbatches: Parts in which the rows go through, see
      `gradient_oracle`; for models without BatchNorm.
    axis_name: Axis that sums go over, in a step for `per_device`.

  Returns:
    The step. Loss, accuracy and BatchNorm statistics are those of the clean
    pass (for RSAM of its only pass, as for tail rows of their own in the
    momentum form of ImbSAM). A skipped update leaves everything but the step
    and the counters as it was, bit for bit. The gradient is that of the
    trained parameters; those in ``state.frozen`` cost no backward pass.

  Raises:
    TypeError: If the model cannot be called so.
    ValueError: If rows are split or cut that have to stay together, or a batch
      lacks the stream of the outer step; raised while the step is traced.
  """
  _model_check.check_model(model)
  objective = _supervised.as_objective(objective)
  inputs = _inputs.as_inputs(inputs)

  def train_step(state, batch):
    _check_rows(objective, batch, num_microbatches)
    layout = _layouts.layout_of(batch)
    key = jax.random.fold_in(
      jax.random.wrap_key_data(state.key_data), state.step
    )
    at = _at(model, state, key)
    looked_up, streams = _look_up(inputs, batch, key, objective.num_views)
    ctx = _objective.Context(
      step=state.step,
      key=key,
      state=state.loss_state,
      streams=streams,
      clean=lambda *inputs, **options: at(state.params)(*inputs, **options),
      axis_name=axis_name,
    )
    rows = tuple(objective.prepare(ctx, group) for group in looked_up)
    if batch.layout == 'joint':
      (rows,) = rows
    if outer:
      ctx = _outer_step(objective, ctx, at, state.params, rows)
    total_weight = ctx.summed(layout.total_weight(batch))
    # Row weights of the clean pass, which perturbed passes reuse.
    weighed = None

    def loss_fn(params, rows, weights):
      return _pass(
        objective, ctx, at(params), rows, weights, total_weight, weighed
      )

    _, grads, grad_fn = layout.gradients(
      loss_fn,
      state.params,
      dataclasses.replace(batch, rows=rows),
      num_microbatches=num_microbatches,
    )
    weighed = layout.passes(grad_fn.value[1])[0].weighed
    update: Any = tx.update
    updates, opt_state = update(
      grads, state.opt_state, state.params, grad_fn=grad_fn
    )
    loss, aux = grad_fn.value
    passes = layout.passes(aux)
    # Where a model or an objective has a state that depends on the rows, these
    # are not split, so that the first pass has all of it; else it is empty.
    changed, record = passes[0].model_state, passes[0].record
    if axis_name is not None:
      changed = jax.lax.pmean(changed, axis_name)
    record = ctx.gathered(record)
    if weighed is not None:
      ctx = ctx._replace(state=weighed[1])
    new = _state.advanced(
      state,
      updates,
      opt_state,
      model_state=state.model_state | changed,
      loss_state=objective.after(ctx, record),
      ema_decay=ema_decay,
    )
    return new, _metrics(loss, passes, opt_state, axis_name)

  return train_step


def _pass(
  objective: _objective.Objective,
  ctx: _objective.Context,
  apply: _objective.Apply,
  rows: Any,
  weights: jax.Array,
  total_weight: jax.Array,
  weighed: tuple[jax.Array, Any] | None,
) -> tuple[jax.Array, _Aux]:
  """The weighted sum of the losses of a pass, and what it gives beside.

  Args:
    objective: The objective that is minimized.
    ctx: What is fixed within the step.
    apply: The model at the point of the pass.
    rows: Prepared rows.
    weights: Weights of the rows in the group or groups of the pass.
    total_weight: Sum of the weights of the rows of all groups and devices.
    weighed: What `Objective.weigh` gave in the clean pass; None in that pass.
  """
  outcome = objective(ctx, apply, rows)
  _check_outcome(outcome, len(weights))
  terms = _terms(outcome, weights)
  weighed = weighed or objective.weigh(ctx, terms.losses)
  _check_uncoupled(objective, weighed, outcome.record)
  weighted = terms.weighted
  if weighed is not None:
    weighted = weighed[0] * weighted
  loss = jnp.sum(weighted)
  if outcome.shared is not None:
    # The shared term counts once per batch: a group has its share of it by its
    # weights, and devices, whose losses are added up, divide it evenly.
    share = ctx.summed(jnp.sum(weights)) / total_weight
    loss = loss + share * outcome.shared / ctx.num_devices
  hits = jnp.argmax(outcome.logits, axis=-1) == terms.labels
  counted = terms.weights != 0
  return loss, _Aux(
    apply.changed,
    weighed,
    outcome.record,
    jnp.sum(counted & hits),
    jnp.sum(counted),
  )


def _check_outcome(outcome: _objective.Outcome, num_weights: int) -> None:
  """Refuses losses that are not those of the rows of a pass."""
  mixed = isinstance(outcome.labels, losses_lib.MixedLabels)
  num_rows = num_weights // 2 if mixed else num_weights
  losses = outcome.losses if mixed else (outcome.losses,)
  shapes = [jnp.shape(x) for x in losses]
  if any(shape != (num_rows,) for shape in shapes):
    raise ValueError(
      'the `losses` of an Outcome must be a loss for each row, float '
      f'[{num_rows}] here{" and of each of its two labels" if mixed else ""}, '
      f'got {", ".join(map(str, shapes))}. Leave out means and sums: rows are '
      'weighted and added here.'
    )
  if outcome.shared is not None and jnp.shape(outcome.shared) != ():
    raise ValueError(
      'the `shared` term of an Outcome must be a scalar, got shape '
      f'{jnp.shape(outcome.shared)}.'
    )


class _Streams(dict[str, Any]):
  """Rows of streams by name."""

  def __missing__(self, name: str) -> Any:
    raise ValueError(
      f'there is no stream {name!r} in this step; there are '
      f'{", ".join(self) or "none"}. A word brings them as Part(streams=...).'
    )


def _metrics(
  loss: jax.Array,
  passes: tuple[_Aux, ...],
  opt_state: Any,
  axis_name: str | None,
) -> dict[str, Any]:
  # With micro-batches these are arrays, of one number for each.
  totals = (
    loss,
    sum(jnp.sum(p.num_correct) for p in passes),
    sum(jnp.sum(p.num_rows) for p in passes),
  )
  loss, num_correct, num_rows = _device_axis.summed(totals, axis_name)
  return {
    'loss': loss,
    'train_accuracy': num_correct / num_rows,
    'skipped': opt_state.consecutive != 0,
    'exhausted': opt_state.exhausted,
  }


def _check_rows(
  objective: _objective.Objective, batch: data.TrainBatch, num_microbatches: int
) -> None:
  if objective.coupled and (batch.layout != 'joint' or num_microbatches > 1):
    raise ValueError(
      'this objective needs all rows of a batch together: pass it batches of '
      f'`joint_batches` or `paired_batches`, got the layout {batch.layout!r} '
      f'and num_microbatches={num_microbatches}.'
    )
  if objective.outer is not None and not objective.coupled:
    raise ValueError(
      'an objective with an outer step looks at all rows of a batch: set its '
      'attribute `coupled` to True.'
    )


def _check_uncoupled(
  objective: _objective.Objective, weighed: Any, record: Any
) -> None:
  if not objective.coupled and (weighed is not None or jax.tree.leaves(record)):
    raise ValueError(
      'an objective that weighs or records rows needs all of a batch: set its '
      'attribute `coupled` to True.'
    )


def _at(
  model: nn.Module, state: _state.TrainState, key: jax.Array
) -> Callable[[Any], _objective.Apply]:
  """``at(params)`` is the model at these trained parameters."""
  return lambda params: _objective.Apply(
    model, _param_plan.merged(params, state.frozen), state.model_state, key
  )


def _look_up(
  inputs: _inputs.Inputs, batch: data.TrainBatch, key: jax.Array, num_views: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
  """The rows of each group and of each stream, with images as inputs."""
  augment_key = jax.random.fold_in(key, 2)
  groups = batch.rows if batch.layout != 'joint' else (batch.rows,)
  looked_up = tuple(
    inputs.look_up(
      rows, batch.resident_images, augment_key, num_views=num_views
    )
    for rows in groups
  )
  stream_key = jax.random.fold_in(augment_key, _STREAMS)
  streams = {
    # The key depends on the name alone: the draws of a stream do not change
    # with the other streams that a step has.
    name: inputs.look_up(
      rows,
      batch.resident_images,
      jax.random.fold_in(stream_key, zlib.crc32(name.encode())),
    )
    for name, rows in batch.streams.items()
  }
  return looked_up, _Streams(streams)


def _outer_step(
  objective: _objective.Objective,
  ctx: _objective.Context,
  at: Callable[[Any], _objective.Apply],
  params: Any,
  rows: Any,
) -> _objective.Context:
  outer = objective.outer
  if outer is None or outer.stream not in ctx.streams:
    raise ValueError(
      'a step with outer=True needs an objective with an outer step, and '
      f'batches with its stream; they have {sorted(ctx.streams)}.'
    )
  return ctx._replace(state=outer.update(ctx, at, params, rows))


class _Terms(NamedTuple):
  losses: jax.Array
  weighted: jax.Array
  weights: jax.Array
  labels: jax.Array


def _terms(outcome: _objective.Outcome, weights: jax.Array) -> _Terms:
  """Losses of the rows, the terms of their weighted sum, and their weights.

  Of mixed rows each label brings the weight of the row that it came from.
  """
  labels = outcome.labels
  if not isinstance(labels, losses_lib.MixedLabels):
    return _Terms(outcome.losses, weights * outcome.losses, weights, labels)
  parts = outcome.losses
  (lam, _), (rest, _) = labels.halves()
  own, partner = data.pair_halves(weights)
  return _Terms(
    parts[0] + parts[1],
    own * parts[0] + partner * parts[1],
    own * lam + partner * rest,
    labels.first,
  )
