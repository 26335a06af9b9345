# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Deep SAD: the loss, its center, and the score."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks

LossFn = Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]


def squared_distances(embeddings: ArrayLike, center: ArrayLike) -> jax.Array:
  r"""The score of Deep SAD and Deep SVDD, :math:`\|\phi(x) - c\|^2`.

  Args:
    embeddings: Float ``[B, E]``.
    center: Float ``[E]``.

  Returns:
    Float32 ``[B]``, >= 0, higher is more anomalous.
  """
  embeddings = jnp.asarray(embeddings, jnp.float32)
  center = jnp.asarray(center, jnp.float32)
  if embeddings.ndim != 2 or center.shape != embeddings.shape[1:]:
    raise ValueError(
      '`embeddings` and `center` must have the shapes [B, E] and [E], got '
      f'{embeddings.shape} and {center.shape}.'
    )
  return jnp.sum(jnp.square(embeddings - center[None, :]), axis=1)


def deep_sad_losses(
  embeddings: ArrayLike,
  labels: ArrayLike,
  center: ArrayLike,
  *,
  eta: float = 1.0,
  eps: float = 1e-6,
) -> jax.Array:
  r"""Losses of Deep SAD, a row each.

  With the squared distance :math:`d = \|\phi(x) - c\|^2`

  .. math::
    l = \begin{cases} d & \text{unlabeled} \\
      \eta\,(d + \epsilon) & \text{labeled normal} \\
      \eta\,(d + \epsilon)^{-1} & \text{labeled anomaly}\end{cases}

  Without labels it is Deep SVDD (one-class, without weight decay).

  Args:
    embeddings: Float ``[B, E]``.
    labels: Int ``[B]``: 0 unlabeled, 1 labeled anomaly, -1 labeled normal, so
      that an array of 0 and 1 that marks known anomalies can be passed as it
      is. The paper writes the opposite signs.
    center: Float ``[E]``, see `center_of`.
    eta: Weight of labeled rows, > 0.
    eps: Keeps the loss of an anomaly at the center finite, > 0.

  Returns:
    Float32 ``[B]``. At the center itself the gradient is zero for every label,
    because that of d is; next to it the gradient of an anomaly is large, up to
    about :math:`0.65\,\eta\,\epsilon^{-3/2}`: clip.

  Raises:
    ValueError: If shapes do not fit, or `eta` or `eps` is not positive.

  References:
    Ruff et al., `Deep Semi-Supervised Anomaly Detection
    <https://arxiv.org/abs/1906.02694>`_, ICLR 2020; code:
    github.com/lukasruff/Deep-SAD-PyTorch.
  """
  for name, value in (('eta', eta), ('eps', eps)):
    _checks.number(name, value, above=0)
  distances = squared_distances(embeddings, center)
  labels = jnp.asarray(labels)
  if labels.shape != distances.shape:
    raise ValueError(
      f'`labels` must have the shape {distances.shape}, one per row, got '
      f'{labels.shape}.'
    )
  shifted = distances + eps
  return jnp.where(
    labels == 0,
    distances,
    eta * jnp.where(labels > 0, 1 / shifted, shifted),
  )


def center_of(embeddings: ArrayLike, *, min_abs: float = 0.1) -> jax.Array:
  """The center c: the mean embedding, with its entries kept off zero.

  An entry near zero could be matched by zero weights for every row. Those
  closer than `min_abs` are moved to plus or minus `min_abs`, away from zero.

  Args:
    embeddings: Float ``[N, E]``, of the training rows before training.
    min_abs: Smallest absolute value of an entry, >= 0.

  Returns:
    Float32 ``[E]``.

  Raises:
    ValueError: If there are no rows, or `min_abs` is negative.

  .. note::
    The released code leaves an entry of exactly 0 where it is; here it becomes
    `min_abs`.
  """
  embeddings = jnp.asarray(embeddings, jnp.float32)
  if embeddings.ndim != 2 or not len(embeddings):
    raise ValueError(
      '`embeddings` must have the shape [N, E] with at least one row, got '
      f'{embeddings.shape}.'
    )
  _checks.number('min_abs', min_abs, low=0)
  mean = jnp.mean(embeddings, axis=0)
  return jnp.where(
    jnp.abs(mean) < min_abs, jnp.where(mean < 0, -min_abs, min_abs), mean
  )


def deep_sad_loss_fn(
  encoder: nn.Module,
  batch_stats: Any,
  center: ArrayLike,
  *,
  eta: float = 1.0,
  eps: float = 1e-6,
) -> LossFn:
  """The weighted sum of `deep_sad_losses`, as the gradient oracles want it.

  >>> import jax, jax.numpy as jnp, optax, imbsam_jax
  >>> from imbsam_jax import anomaly
  >>> encoder = anomaly.Encoder()
  >>> batch = {'features': jnp.eye(6, 4), 'labels': jnp.array([0] * 5 + [1])}
  >>> variables = encoder.init(
  ...   jax.random.key(0), batch['features'], train=False)
  >>> params, stats = variables['params'], variables['batch_stats']
  >>> center = anomaly.center_of(
  ...   encoder.apply(variables, batch['features'], train=False))
  >>> loss_fn = anomaly.deep_sad_loss_fn(encoder, stats, center)
  >>> tx = optax.chain(imbsam_jax.imbsam(0.05), optax.sgd(0.1))
  >>> (loss, stats), grads, grad_fn = imbsam_jax.gradient_oracle(
  ...   loss_fn, params, batch,
  ...   group_weights=anomaly.anomaly_weights(batch['labels']))
  >>> updates, state = tx.update(
  ...   grads, tx.init(params), params, grad_fn=grad_fn)

  Args:
    encoder: An `Encoder`, or any Linen module with the same call.
    batch_stats: Its BatchNorm statistics; ``{}`` without BatchNorm.
    center: Float ``[E]``, see `center_of`.
    eta: Weight of labeled rows, > 0.
    eps: Keeps the loss of an anomaly at the center finite, > 0.

  Returns:
    ``loss_fn(params, batch, weights [B]) -> (sum_i weights_i * loss_i, new
    batch_stats)`` of batches ``{'features': float32 [B, D], 'labels': int
    [B]}``.
  """

  def loss_fn(params, batch, weights):
    embeddings, changed = encoder.apply(
      {'params': params, 'batch_stats': batch_stats},
      batch['features'],
      train=True,
      mutable=['batch_stats'],
    )
    losses = deep_sad_losses(
      embeddings, batch['labels'], center, eta=eta, eps=eps
    )
    return jnp.sum(weights * losses), changed.get('batch_stats', batch_stats)

  return loss_fn
