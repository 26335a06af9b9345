# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One training step, and the prediction of one batch."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from imbsam_jax import losses as losses_lib
from imbsam_jax import oracles
from imbsam_jax.data import TrainBatch
from imbsam_jax.training import _state

ExampleLoss = Callable[..., jax.Array]


# Collections that no pass changes: class vectors of a fixed head.
_FIXED = ('prototypes',)


class _Factors(NamedTuple):
  values: jax.Array
  loss_state: Any


class _Aux(NamedTuple):
  model_state: Any
  factors: _Factors
  num_correct: jax.Array
  num_rows: jax.Array


def make_train_step(
  model: nn.Module,
  tx: optax.GradientTransformationExtraArgs,
  example_loss: ExampleLoss,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
  loss_takes_key: bool = False,
  mix: Callable[..., tuple[jax.Array, losses_lib.MixedLabels]] | None = None,
  example_weights: Callable[..., tuple[jax.Array, Any]] | None = None,
  penalty: Callable[[Any], jax.Array] | None = None,
  ema_decay: float | None = None,
  num_microbatches: int = 1,
  axis_name: str | None = None,
) -> Callable[
  [_state.TrainState, TrainBatch],
  tuple[_state.TrainState, dict[str, Any]],
]:
  """Builds ``step(state, batch) -> (state, metrics)``, not yet jitted.

  Args:
    model: A Linen module called as ``model(images, train=...)``.
    tx: `skip_nonfinite` around the whole chain, see `make_optimizer`.
    example_loss: ``(logits [B, C], labels [B]) -> losses [B]``. Class weights
      are in the weights of the batch, see `data.Reweighting`.
    preprocess: Images of the batch to the model's input.
    augment: ``augment(key, image [...]) -> image`` of one image as it is
      stored, before `preprocess`, such as `augment.pad_crop`. Drawn by (seed,
      step, place of the row in the batch): all passes of a step see the same
      images, however the rows are cut and spread over devices.
    loss_takes_key: Whether `example_loss` draws, and takes ``key=`` too; the
      clean and the perturbed pass of a step see the same noise.
    mix: ``mix(key, step, batch, partner) -> (images, MixedLabels)``, as in
      `augment`, for the batches of `data.paired_batches`. Each label counts
      with the weight of its own row, in its own class group.
    example_weights: ``(losses [B], step, state) -> (weights [B], state)``,
      further factors that depend on the losses of the whole batch (ABSGD), from
      ``state.loss_state``; for joint rows. They come from the losses at w and
      are constants of the step: exponentials of perturbed losses would explode.
      RSAM, which has no pass at w, pays a forward pass for them.
    penalty: A term of the loss that depends on the parameters only, added once
      whatever the weights; class groups share it by their weights.
    ema_decay: Decay of the moving average, where the state keeps one.
    num_microbatches: Parts in which the rows go through, see
      `gradient_oracle`; for models without BatchNorm.
    axis_name: Axis that sums go over, in a step for `per_device`.

  Returns:
    The step. Loss, accuracy and BatchNorm statistics are those of the clean
    pass (for RSAM of its only pass). A skipped update leaves everything but the
    step and the counters as it was, bit for bit.
  """

  def train_step(state, batch):
    key = jax.random.fold_in(
      jax.random.wrap_key_data(state.key_data), state.step
    )
    mix_key, loss_key = jax.random.split(jax.random.fold_in(key, 1))
    augment_key = jax.random.fold_in(key, 2)

    def look_up(rows):
      images = rows['image']
      if batch.table is not None:
        images = batch.table[images]
      if augment is not None:
        keys = jax.vmap(lambda place: jax.random.fold_in(augment_key, place))(
          rows['place']
        )
        images = jax.vmap(augment)(keys, images)
      return rows | {'image': preprocess(images)}

    def forward(params, rows, weights):
      images, labels = rows['image'], rows['label']
      if mix is not None:
        # Pairs, as `paired_batches` lays them out.
        pairs = [(images[k::2], labels[k::2]) for k in (0, 1)]
        images, labels = mix(mix_key, state.step, *pairs)
      logits, model_state = model.apply(
        {'params': params, **state.model_state},
        images,
        train=True,
        mutable=[name for name in state.model_state if name not in _FIXED],
        rngs={'dropout': key},
      )
      row_key = jax.random.fold_in(loss_key, _fingerprint(rows['label']))

      def losses_of(labels):
        options = {'key': row_key} if loss_takes_key else {}
        return example_loss(logits, labels, **options)

      terms = _terms(losses_of, labels, weights)
      hits = jnp.argmax(logits, axis=-1) == terms.labels
      return terms, hits, model_state

    total_weight = _total_weight(batch)
    # Set by the clean pass, the first one, for those that follow.
    clean: list[_Factors] = []

    def loss_fn(params, rows, weights):
      terms, hits, model_state = forward(params, rows, weights)
      factors = clean[0] if clean else factors_of(terms.losses)
      loss = jnp.sum(factors.values * terms.weighted)
      if penalty is not None:
        # Each group pays its share.
        loss = loss + jnp.sum(weights) / total_weight * penalty(params)
      counted = terms.weights != 0
      return loss, _Aux(
        model_state, factors, jnp.sum(counted & hits), jnp.sum(counted)
      )

    def factors_of(losses):
      if example_weights is None:
        return _Factors(jnp.ones([], jnp.float32), state.loss_state)
      values, loss_state = example_weights(losses, state.step, state.loss_state)
      return _Factors(jax.lax.stop_gradient(values), loss_state)

    _, grads, grad_fn = _gradients(
      loss_fn, state.params, batch, look_up, num_microbatches
    )
    if example_weights is not None:
      clean.append(grad_fn.value[1].factors)
    update: Any = tx.update
    updates, opt_state = update(
      grads, state.opt_state, state.params, grad_fn=grad_fn
    )
    loss, aux = grad_fn.value
    passes = aux if batch.layout == 'split' else (aux,)
    finite = opt_state.consecutive == 0

    def keep_if_skipped(new, old):
      return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params is not None:
      ema_params = keep_if_skipped(
        optax.incremental_update(params, ema_params, 1 - (ema_decay or 0)),
        ema_params,
      )
    # Models whose statistics depend on the rows do not split them: there is one
    # state to keep. Without statistics it is empty.
    changed = passes[0].model_state
    if axis_name is not None:
      changed = jax.lax.pmean(changed, axis_name)
    model_state = state.model_state | keep_if_skipped(
      changed, {name: state.model_state[name] for name in changed}
    )
    loss_state = keep_if_skipped(passes[0].factors.loss_state, state.loss_state)
    # Micro-batches bring one number each.
    totals = (
      loss,
      sum(jnp.sum(p.num_correct) for p in passes),
      sum(jnp.sum(p.num_rows) for p in passes),
    )
    if axis_name is not None:
      totals = jax.lax.psum(totals, axis_name)
    loss, num_correct, num_rows = totals
    metrics: dict[str, Any] = {
      'loss': loss,
      'train_accuracy': num_correct / num_rows,
      'skipped': ~finite,
      'exhausted': opt_state.exhausted,
    }
    return state.replace(
      step=state.step + 1,
      params=params,
      model_state=model_state,
      opt_state=opt_state,
      ema_params=ema_params,
      loss_state=loss_state,
    ), metrics

  return train_step


def _gradients(
  loss_fn: Callable[..., tuple[jax.Array, _Aux]],
  params: Any,
  batch: TrainBatch,
  look_up: Callable[[dict[str, jax.Array]], dict[str, jax.Array]],
  num_microbatches: int,
) -> Any:
  """What the oracle of the batch's layout gives."""
  if batch.layout == 'tail_only':
    return oracles.tail_only_gradient_oracle(
      loss_fn,
      params,
      *map(look_up, batch.rows),
      group_weights=batch.weights[0],
      tail_weights=batch.weights[1],
      num_microbatches=num_microbatches,
    )
  split = batch.layout == 'split'
  oracle: Any = (
    oracles.split_gradient_oracle if split else oracles.gradient_oracle
  )
  return oracle(
    loss_fn,
    params,
    tuple(map(look_up, batch.rows)) if split else look_up(batch.rows),
    group_weights=batch.weights,
    num_microbatches=num_microbatches,
  )


def _total_weight(batch: TrainBatch) -> jax.Array:
  """Of all rows, each counted once."""
  if batch.layout == 'tail_only':
    return jnp.sum(batch.weights[0])
  return sum(map(jnp.sum, jax.tree.leaves(batch.weights)), jnp.zeros([]))


def _fingerprint(labels: jax.Array) -> jax.Array:
  """A number that tells head rows, tail rows and micro-batches apart.

  Each would see the same noise otherwise.
  """
  places = jnp.arange(1, 1 + len(labels), dtype=jnp.int32)
  return jnp.sum((1 + labels.astype(jnp.int32)) * places * places)


class _Terms(NamedTuple):
  losses: jax.Array
  weighted: jax.Array
  weights: jax.Array
  labels: jax.Array


def _terms(
  losses_of: Callable[[jax.Array], jax.Array], labels: Any, weights: jax.Array
) -> _Terms:
  """Losses of the rows, the terms of their weighted sum, and their weights.

  Of mixed rows each label brings the weight of the row that it came from.
  """
  if not isinstance(labels, losses_lib.MixedLabels):
    losses = losses_of(labels)
    return _Terms(losses, weights * losses, weights, labels)
  (lam, first), (rest, second) = labels.halves()
  parts = (lam * losses_of(first), rest * losses_of(second))
  own, partner = weights[0::2], weights[1::2]
  return _Terms(
    parts[0] + parts[1],
    own * parts[0] + partner * parts[1],
    own * lam + partner * rest,
    labels.first,
  )


def make_predict_step(
  model: nn.Module,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  logit_scale: float = 1.0,
  flip: bool = False,
) -> Callable[[dict[str, Any], jax.Array], tuple[jax.Array, jax.Array]]:
  """Builds ``predict(variables, images) -> (classes [B], confidences [B])``.

  Args:
    model: A Linen module called as ``model(images, train=...)``.
    preprocess: Images of the batch to the model's input.
    logit_scale: Factor of the logits before the softmax, that of the loss where
      the model gives cosines.
    flip: Adds the logits of the mirrored images ``[B, H, W, channels]`` and
      halves the sum, as the evaluation of some published numbers does.

  Returns:
    The prediction, not yet jitted: classes and largest probabilities.
  """

  def predict_step(variables, images):
    inputs = preprocess(images)
    logits: Any = model.apply(variables, inputs, train=False)
    if flip:
      mirrored = jnp.flip(inputs, axis=-2)
      logits = (logits + model.apply(variables, mirrored, train=False)) / 2
    probabilities = jax.nn.softmax(logit_scale * logits.astype(jnp.float32))
    return jnp.argmax(logits, axis=-1), jnp.max(probabilities, axis=-1)

  return predict_step


def make_feature_step(
  model: nn.Module, preprocess: Callable[[jax.Array], jax.Array]
) -> Callable[[dict[str, Any], jax.Array], tuple[jax.Array, jax.Array]]:
  """Builds ``embed(variables, images) -> (features [B, D], logits [B, C])``.

  Args:
    model: A `models.Classifier`.
    preprocess: Images of the batch to the model's input.

  Returns:
    The step, not yet jitted, with statistics as in evaluation.
  """

  def both(module, images):
    features = module.features(images, train=False)
    return features, module.classifier(features)

  def feature_step(variables, images):
    found: Any = model.apply(variables, preprocess(images), method=both)
    return found

  return feature_step
