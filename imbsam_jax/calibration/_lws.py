# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""LWS: a learned scale per class."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np
import optax

from imbsam_jax import _checks
from imbsam_jax import sampling
from imbsam_jax.calibration import _inputs
from imbsam_jax.calibration import _sgd


def lws_logits(logits: ArrayLike, scale: ArrayLike) -> jax.Array:
  r"""Logits times a scale per class, :math:`s_c z_c`.

  Kang et al., `Decoupling Representation and Classifier for Long-Tailed
  Recognition <https://arxiv.org/abs/1910.09217>`_, ICLR 2020. The logits
  include the bias, which is scaled too; ones leave them.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of the frozen
      classifier.
    scale: Numbers, shape ``[C]``, see `fit_lws`.

  Returns:
    Float32 array, shape ``[B, C]``.

  Raises:
    ValueError: If `logits` does not have two axes, or `scale` does not
      have one entry per class.
    TypeError: If `logits` are not floating point.
  """
  logits = _checks.float_logits(logits)
  return logits * _checks.per_class('scale', scale, logits.shape[1])[None]


def fit_lws(
  key: jax.Array,
  logits: ArrayLike,
  labels: ArrayLike,
  class_counts: ArrayLike,
  *,
  num_steps: int = 2000,
  batch_size: int = 512,
  learning_rate: float = 0.2,
  weight_decay: float = 5e-4,
) -> jax.Array:
  r"""Learns the scales of `lws_logits` (learnable weight scaling).

  Cross entropy of :math:`s_c z_c` under class-balanced sampling: a class
  uniformly, then one of its rows. Kang et al., ICLR 2020; defaults are those of
  their second stage (5 epochs on ImageNet-LT), with a number of steps. SGD,
  momentum 0.9, the learning rate falls to 0 along a cosine.

  Args:
    key: Key of `jax.random`, for the batches.
    logits: Float array of any dtype, shape ``[N, C]``, of the frozen classifier
      on the training set.
    labels: Int array, shape ``[N]``, values in ``[0, C)``.
    class_counts: Numbers, shape ``[C]``, of the training set, concrete. A class
      with 0, and one without rows in `labels`, is not drawn.
    num_steps: Number of steps.
    batch_size: Number of rows of a batch, drawn with replacement.
    learning_rate: Learning rate of the first step.
    weight_decay: Factor of the decay that pulls the scales towards 1.

  Returns:
    Float32 array, shape ``[C]``.

  Raises:
    ValueError: If lengths differ, there are no rows, or a label or
      hyper-parameter is out of range.
    TypeError: If a dtype is wrong, or `class_counts` are traced.

  .. note::
    The authors' weight decay pulls the scales towards 0, which lowers all
    logits; here it acts on the scale less 1.
  """
  logits = _checks.float_logits(logits)
  num_rows, num_classes = logits.shape
  labels = _checks.device_labels(labels, num_classes, num_rows=num_rows)
  _inputs.check_fit('logits', num_rows, num_steps, batch_size)
  _checks.number('learning_rate', learning_rate, low=0)
  _checks.number('weight_decay', weight_decay, low=0)
  counts = _checks.host_counts(
    class_counts, zeros=True, num_classes=num_classes
  )
  table = sampling.class_table(labels, num_classes=num_classes)
  drawn = np.where(np.asarray(table.counts) > 0, counts, 0.0)
  if not drawn.any():
    raise ValueError(
      '`class_counts` must be positive for a class that has rows in `labels`, '
      'got 0 for all of them.'
    )
  return _fit(
    key,
    logits,
    labels,
    table,
    sampling.class_probabilities(drawn, power=0.0),
    jnp.asarray(learning_rate, jnp.float32),
    jnp.asarray(weight_decay, jnp.float32),
    num_steps=num_steps,
    batch_size=batch_size,
  )


@functools.partial(jax.jit, static_argnames=('num_steps', 'batch_size'))
def _fit(
  key: jax.Array,
  logits: jax.Array,
  labels: jax.Array,
  table: sampling.ClassTable,
  probabilities: jax.Array,
  learning_rate: jax.Array,
  weight_decay: jax.Array,
  *,
  num_steps: int,
  batch_size: int,
) -> jax.Array:
  def loss_fn(delta, step_key):
    rows = sampling.sample_indices(
      step_key, table, probabilities, num_samples=batch_size
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits[rows] * (1.0 + delta)[None], labels[rows]
    )
    return jnp.mean(losses)

  # scale = 1 + delta, so that the decay of delta pulls the scale towards 1.
  delta = _sgd.minimise(
    loss_fn,
    jnp.zeros(logits.shape[1], jnp.float32),
    jax.random.split(key, num_steps),
    num_steps=num_steps,
    learning_rate=learning_rate,
    weight_decay=weight_decay,
  )
  return 1.0 + delta
