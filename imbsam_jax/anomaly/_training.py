# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pre-training and training of several detectors as one program."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import functools
import itertools
from typing import Any
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imbsam_jax import oracles
from imbsam_jax import training
from imbsam_jax.anomaly import _deep_sad
from imbsam_jax.anomaly import _networks
from imbsam_jax.anomaly import _recipe
from imbsam_jax.anomaly import _weights

# Steps of a call. A number of its own, not those of an epoch: tables of one
# width share the compiled program whatever their length.
_STEPS_PER_CALL = 64


class Variables(NamedTuple):
  """Variables of an encoder, or with a leading axis of several.

  Attributes:
    params: Parameters, which are trained.
    batch_stats: Running means and variances; ``{}`` without BatchNorm.
  """

  params: Any
  batch_stats: Any


class _State(NamedTuple):
  variables: Variables
  opt_state: Any


class _Batch(NamedTuple):
  """Batches of some steps; `active` is False for steps after the last."""

  features: Any
  labels: Any
  active: Any


def row_order(num_rows: int, batch_size: int, *words: int) -> np.ndarray:
  """Rows of the batches of an epoch, a pure function of its seed words.

  A permutation, whose last batch is filled up with the rows that it begins
  with: every row comes up, and batches have one shape.

  Args:
    num_rows: Number of rows, N.
    batch_size: Rows of a batch, at most N are taken.
    *words: Non-negative integers, such as seed and epoch.

  Returns:
    Integers ``[steps, min(batch_size, N)]``.
  """
  batch_size = min(batch_size, num_rows)
  permutation = np.random.default_rng(words).permutation(num_rows)
  steps = -(-num_rows // batch_size)
  places = np.arange(steps * batch_size) % num_rows
  return permutation[places].reshape(steps, batch_size)


def pretrain(
  encoder: _networks.Encoder,
  features: np.ndarray,
  *,
  seeds: Sequence[int],
  learning_rate: float,
  weight_decay: float,
  batch_size: int,
  epochs: int,
) -> Variables:
  """Encoders of autoencoders that reconstruct their rows.

  The loss is the mean squared error over rows and features; Adam, cosine to 0.

  Args:
    encoder: The network.
    features: Float32 ``[S, N, D]``, in [0, 1], a table for each seed.
    seeds: S seeds, of the initial weights and the order of rows.
    learning_rate: Learning rate at the start.
    weight_decay: Factor with which the parameters are added to their gradient.
    batch_size: Rows of a batch.
    epochs: Passes over the rows; 0 leaves the initial weights.

  Returns:
    Stacked variables of the encoders, statistics included.
  """
  autoencoder = _networks.Autoencoder(encoder, features.shape[-1])
  recipe = (autoencoder, learning_rate, weight_decay)
  num_steps, batches = _batches(
    features,
    np.zeros(features.shape[:2], np.int32),
    seeds,
    0,
    batch_size,
    epochs,
  )
  state = _init_autoencoders(recipe, _words(seeds), num_steps)
  state, _ = _run(
    functools.partial(_pretrain_some, recipe), state, batches, num_steps
  )
  return Variables(*(tree.get('encoder', {}) for tree in state.variables))


@functools.partial(jax.jit, static_argnums=0)
def _init_autoencoders(recipe, seeds, num_steps):
  autoencoder, learning_rate, weight_decay = recipe
  row = jnp.zeros([1, autoencoder.num_features])

  def init(seed):
    initial = autoencoder.init(jax.random.key(seed), row, train=False)
    variables = Variables(initial['params'], initial.get('batch_stats', {}))
    tx = _adam(learning_rate, weight_decay, num_steps)
    return _State(variables, tx.init(variables.params))

  return jax.vmap(init)(seeds)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _pretrain_some(recipe, state, batches, num_steps):
  autoencoder, learning_rate, weight_decay = recipe
  tx = _adam(learning_rate, weight_decay, num_steps)

  def loss_fn(params, batch_stats, rows):
    rebuilt, changed = autoencoder.apply(
      {'params': params, 'batch_stats': batch_stats},
      rows,
      train=True,
      mutable=['batch_stats'],
    )
    return jnp.mean(jnp.square(rebuilt - rows)), changed.get('batch_stats', {})

  def step(state, batch):
    variables, opt_state = state
    (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      variables.params, variables.batch_stats, batch.features
    )
    updates, opt_state = tx.update(grads, opt_state, variables.params)
    params = optax.apply_updates(variables.params, updates)
    return _State(Variables(params, stats), opt_state), {'loss': loss}

  return _scan_stacked(step, state, batches)


def _adam(learning_rate, weight_decay, num_steps):
  return training.make_optimizer(
    optax.identity(),
    _recipe.cosine(learning_rate, num_steps),
    optimizer='adam',
    weight_decay=weight_decay,
    # Divergence is seen in the embeddings, which are checked afterwards.
    max_skipped=None,
  )


@functools.partial(jax.jit, static_argnums=0)
def embed(
  encoder: nn.Module, variables: Variables, features: np.ndarray
) -> jax.Array:
  """Embeddings ``[S, N, E]`` with the running statistics."""

  def embed_one(own, rows) -> Any:
    return encoder.apply(own._asdict(), rows, train=False)

  return jax.vmap(embed_one)(variables, features)


def train(
  recipe: _recipe.Recipe,
  variables: Variables,
  centers: jax.Array,
  features: np.ndarray,
  labels: np.ndarray,
  *,
  seeds: Sequence[int],
  batch_size: int,
  epochs: int,
) -> tuple[Variables, dict[str, np.ndarray]]:
  """Deep SAD from given encoders.

  Args:
    recipe: Update rule, loss, optimizer.
    variables: Variables of S encoders, stacked.
    centers: Float32 ``[S, E]``.
    features: Float32 ``[S, N, D]``.
    labels: int32 ``[S, N]``, as in `deep_sad_losses`.
    seeds: S seeds, of the order of rows and the noise.
    batch_size: Rows of a batch.
    epochs: Passes over the rows.

  Returns:
    The trained variables and, for each seed and step, ``loss``, ``skipped``
    and ``exhausted``, arrays ``[S, steps]``.
  """
  num_steps, batches = _batches(features, labels, seeds, 1, batch_size, epochs)
  state = _init_chains(recipe, variables, _words(seeds), num_steps)
  state, history = _run(
    functools.partial(_train_some, recipe, centers), state, batches, num_steps
  )
  return state.variables, history


@functools.partial(jax.jit, static_argnums=0)
def _init_chains(recipe, variables, seeds, num_steps):
  def init(variables, seed):
    key = jax.random.fold_in(jax.random.key(seed), 1)
    tx = recipe.chain(recipe.stage(num_steps, key), num_steps)
    return _State(variables, tx.init(variables.params))

  return jax.vmap(init)(variables, seeds)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _train_some(recipe, centers, state, batches, num_steps):
  # The key of the noise travels in the optimizer's state.
  stage = recipe.stage(num_steps, jax.random.key(0))
  tx = recipe.chain(stage, num_steps)

  def step(state, batch, center):
    variables, opt_state = state
    weights = _weights.anomaly_weights(
      batch.labels, normalization=recipe.normalization
    )
    if len(stage.perturbed) == 1:
      weights = jnp.sum(weights, axis=0, keepdims=True)
    _, grads, grad_fn = oracles.gradient_oracle(
      _deep_sad.deep_sad_loss_fn(
        recipe.encoder, variables.batch_stats, center, eta=recipe.eta
      ),
      variables.params,
      {'features': batch.features, 'labels': batch.labels},
      group_weights=weights,
    )
    updates, opt_state = tx.update(
      grads, opt_state, variables.params, grad_fn=grad_fn
    )
    loss, stats = grad_fn.value
    finite = opt_state.consecutive == 0
    stats = _choose(finite, stats, variables.batch_stats)
    params = optax.apply_updates(variables.params, updates)
    return _State(Variables(params, stats), opt_state), {
      'loss': loss,
      'skipped': ~finite,
      'exhausted': opt_state.exhausted,
    }

  return _scan_stacked(step, state, batches, centers)


def _choose(condition: jax.Array, new: Any, old: Any) -> Any:
  return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)


def _words(seeds: Sequence[int]) -> np.ndarray:
  return np.asarray(seeds, np.uint32)


def _scan_stacked(
  step: Callable[..., tuple[_State, dict[str, jax.Array]]],
  state: _State,
  batches: _Batch,
  *constants: jax.Array,
) -> tuple[_State, dict[str, jax.Array]]:
  """Steps of each seed with its own state, batches and constants."""

  def body(state, batch, *constants):
    new, record = step(state, batch, *constants)
    return _choose(batch.active, new, state), record

  def steps(state, batches, *constants):
    return jax.lax.scan(
      lambda state, batch: body(state, batch, *constants), state, batches
    )

  return jax.vmap(steps)(state, batches, *constants)


def _batches(
  features: np.ndarray,
  labels: np.ndarray,
  seeds: Sequence[int],
  stream: int,
  batch_size: int,
  epochs: int,
) -> tuple[int, Iterator[_Batch]]:
  """Number of steps, and their batches, some in a call."""
  _, num_rows, _ = features.shape
  per_epoch = -(-num_rows // min(batch_size, num_rows))

  def rows_of_steps():
    for epoch in range(epochs):
      orders = [
        row_order(num_rows, batch_size, seed, stream, epoch) for seed in seeds
      ]
      yield from np.stack(orders, axis=1)

  def calls():
    remaining = rows_of_steps()
    while steps := list(itertools.islice(remaining, _STEPS_PER_CALL)):
      rows = np.stack(steps, axis=1)
      missing = _STEPS_PER_CALL - len(steps)
      rows = np.pad(rows, [(0, 0), (0, missing), (0, 0)])
      active = np.arange(_STEPS_PER_CALL) < len(steps)
      each = np.arange(len(seeds))[:, None, None]
      yield _Batch(
        features[each, rows],
        labels[each, rows],
        np.broadcast_to(active, rows.shape[:2]),
      )

  return per_epoch * epochs, calls()


def _run(
  some_steps: Callable[..., tuple[_State, dict[str, jax.Array]]],
  state: _State,
  batches: Iterator[_Batch],
  num_steps: int,
) -> tuple[_State, dict[str, np.ndarray]]:
  """All calls, and the records of their active steps."""
  history = []
  for batch in batches:
    # The next batches are gathered while these steps run.
    state, records = some_steps(state, batch, num_steps)
    history.append(records)
    if len(history) > 1 and np.any(history[-2].get('exhausted', False)):
      break
  joined = {
    name: np.concatenate([part[name] for part in history], axis=1)[
      :, :num_steps
    ]
    for name in (history[0] if history else {})
  }
  return state, joined
