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

from imbsam_jax import oracles
from imbsam_jax.data import TrainBatch
from imbsam_jax.training import _state

ExampleLoss = Callable[[jax.Array, jax.Array], jax.Array]


class _Aux(NamedTuple):
  model_state: Any
  num_correct: jax.Array
  num_rows: jax.Array


def make_train_step(
  model: nn.Module,
  tx: optax.GradientTransformationExtraArgs,
  example_loss: ExampleLoss,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  ema_decay: float | None = None,
  num_microbatches: int = 1,
) -> Callable[
  [_state.TrainState, TrainBatch],
  tuple[_state.TrainState, dict[str, Any]],
]:
  """Builds ``step(state, batch) -> (state, metrics)``, not yet jitted.

  Args:
    model: A Linen module called as ``model(images, train=...)``.
    tx: `skip_nonfinite` around the whole chain, see `make_optimizer`.
    example_loss: ``(logits [B, C], labels [B]) -> losses [B]``.
    preprocess: Images of the batch to the model's input.
    ema_decay: Decay of the moving average, where the state keeps one.
    num_microbatches: Parts in which the rows go through, see
      `gradient_oracle`; for models without BatchNorm.

  Returns:
    The step. Loss, accuracy and BatchNorm statistics are those of the clean
    pass (for RSAM of its only pass). A skipped update leaves everything but the
    step and the counters as it was, bit for bit.
  """

  def train_step(state, batch):
    key = jax.random.fold_in(
      jax.random.wrap_key_data(state.key_data), state.step
    )

    def loss_fn(params, rows, weights):
      logits, model_state = model.apply(
        {'params': params, **state.model_state},
        preprocess(rows['image']),
        train=True,
        mutable=list(state.model_state),
        rngs={'dropout': key},
      )
      losses = example_loss(logits, rows['label'])
      counted = weights != 0
      hits = counted & (jnp.argmax(logits, axis=-1) == rows['label'])
      return jnp.sum(weights * losses), _Aux(
        model_state, jnp.sum(hits), jnp.sum(counted)
      )

    oracle: Any = (
      oracles.split_gradient_oracle
      if isinstance(batch.weights, tuple)
      else oracles.gradient_oracle
    )
    _, grads, grad_fn = oracle(
      loss_fn,
      state.params,
      batch.rows,
      group_weights=batch.weights,
      num_microbatches=num_microbatches,
    )
    update: Any = tx.update
    updates, opt_state = update(
      grads, state.opt_state, state.params, grad_fn=grad_fn
    )
    loss, aux = grad_fn.value
    passes = aux if isinstance(batch.weights, tuple) else (aux,)
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
    # Models whose statistics depend on the rows do not split them, so that
    # there is one state to keep; without statistics it is empty.
    model_state = keep_if_skipped(passes[0].model_state, state.model_state)
    metrics: dict[str, Any] = {
      'loss': loss,
      # Micro-batches bring one number each.
      'train_accuracy': sum(jnp.sum(p.num_correct) for p in passes)
      / sum(jnp.sum(p.num_rows) for p in passes),
      'skipped': ~finite,
      'exhausted': opt_state.exhausted,
    }
    return state.replace(
      step=state.step + 1,
      params=params,
      model_state=model_state,
      opt_state=opt_state,
      ema_params=ema_params,
    ), metrics

  return train_step


def make_predict_step(
  model: nn.Module,
  preprocess: Callable[[jax.Array], jax.Array],
  *,
  logit_scale: float = 1.0,
) -> Callable[[dict[str, Any], jax.Array], tuple[jax.Array, jax.Array]]:
  """Builds ``predict(variables, images) -> (classes [B], confidences [B])``.

  Args:
    model: A Linen module called as ``model(images, train=...)``.
    preprocess: Images of the batch to the model's input.
    logit_scale: Factor of the logits before the softmax, that of the loss where
      the model gives cosines.

  Returns:
    The prediction, not yet jitted: classes and largest probabilities.
  """

  def predict_step(variables, images):
    logits: Any = model.apply(variables, preprocess(images), train=False)
    probabilities = jax.nn.softmax(logit_scale * logits.astype(jnp.float32))
    return jnp.argmax(logits, axis=-1), jnp.max(probabilities, axis=-1)

  return predict_step
