# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""MARC: a learned scale and margin per class."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from imbsam_jax import _checks
from imbsam_jax import weights
from imbsam_jax.calibration import _inputs
from imbsam_jax.calibration import _sgd


def marc_logits(
  logits: ArrayLike,
  class_norms: ArrayLike,
  scale: ArrayLike,
  offset: ArrayLike,
) -> jax.Array:
  r"""Calibrated logits, :math:`a_c z_c + b_c \|w_c\|_2`.

  Margin calibration, Wang et al., `Margin Calibration for Long-Tailed Visual
  Recognition <https://arxiv.org/abs/2112.07225>`_, ACML 2022. Scale 1 and
  offset 0 leave the logits, which include the bias of the classifier.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of the frozen
      classifier.
    class_norms: Numbers, shape ``[C]``, lengths of its class vectors; of a Flax
      `Dense` kernel ``jnp.linalg.norm(kernel, axis=0)``.
    scale: Numbers, shape ``[C]``, see `fit_marc`.
    offset: Numbers, shape ``[C]``, see `fit_marc`.

  Returns:
    Float32 array, shape ``[B, C]``.

  Raises:
    ValueError: If `logits` does not have two axes, or another argument does not
      have one entry per class.
    TypeError: If `logits` are not floating point.
  """
  logits = _checks.float_logits(logits)
  num_classes = logits.shape[1]
  class_norms = _checks.per_class('class_norms', class_norms, num_classes)
  scale = _checks.per_class('scale', scale, num_classes)
  offset = _checks.per_class('offset', offset, num_classes)
  return logits * scale[None] + (offset * class_norms)[None]


def fit_marc(
  key: jax.Array,
  logits: ArrayLike,
  labels: ArrayLike,
  class_norms: ArrayLike,
  class_counts: ArrayLike,
  *,
  num_steps: int = 2000,
  batch_size: int = 512,
  learning_rate: float = 0.05,
  weight_decay: float = 5e-4,
  power: float = 1.2,
) -> tuple[jax.Array, jax.Array]:
  r"""Learns scale and offset of `marc_logits` on frozen logits.

  .. math::
    \frac{\sum_i \omega_{y_i} \ell_i}{\sum_i \omega_{y_i}}, \qquad
    \omega_c \propto n_c^{-p}

  Cross entropy with generalized re-weighting (GRW) under natural sampling, rows
  uniformly. Wang et al., ACML 2022, with the values of their CIFAR script; on
  the large sets 10 epochs of 256 rows (Places 128), 30 on iNaturalist with
  weight decay 1e-4. SGD, momentum 0.9, the learning rate falls to 0 along a
  cosine.

  Args:
    key: Key of `jax.random`, for the batches.
    logits: Float array of any dtype, shape ``[N, C]``, of the frozen classifier
      on the training set.
    labels: Int array, shape ``[N]``, values in ``[0, C)``.
    class_norms: Numbers, shape ``[C]``, lengths of the classifier's vectors.
    class_counts: Positive numbers, shape ``[C]``, of the training set,
      concrete.
    num_steps: Number of steps.
    batch_size: Number of rows of a batch, drawn with replacement.
    learning_rate: Learning rate of the first step.
    weight_decay: Factor of the decay that pulls scales towards 1 and offsets
      towards 0.
    power: Exponent p of the weights; 0 is plain cross entropy.

  Returns:
    The pair (scale, offset), float32 arrays, shape ``[C]`` each.

  Raises:
    ValueError: If lengths differ, there are no rows, or a label, count or
      hyper-parameter is out of range.
    TypeError: If a dtype is wrong, or `class_counts` are traced.

  .. note::
    The authors' weight decay pulls scales towards 0; here it acts on the scale
    less 1. Their script warms the learning rate up over 800 of the 2000 steps;
    here it starts at its largest.
  """
  logits = _checks.float_logits(logits)
  num_rows, num_classes = logits.shape
  labels = _checks.device_labels(labels, num_classes, num_rows=num_rows)
  _inputs.check_fit('logits', num_rows, num_steps, batch_size)
  _checks.number('learning_rate', learning_rate, low=0)
  _checks.number('weight_decay', weight_decay, low=0)
  class_norms = _checks.per_class('class_norms', class_norms, num_classes)
  _checks.host_counts(class_counts, num_classes=num_classes)
  class_weights = weights.power_weights(class_counts, power=power)
  return _fit(
    key,
    logits,
    labels,
    class_norms,
    jnp.asarray(class_weights),
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
  class_norms: jax.Array,
  class_weights: jax.Array,
  learning_rate: jax.Array,
  weight_decay: jax.Array,
  *,
  num_steps: int,
  batch_size: int,
) -> tuple[jax.Array, jax.Array]:
  num_rows, num_classes = logits.shape

  def loss_fn(params, step_key):
    delta, offset = params
    rows = jax.random.randint(step_key, (batch_size,), 0, num_rows, jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(
      marc_logits(logits[rows], class_norms, 1.0 + delta, offset), labels[rows]
    )
    row_weights = class_weights[labels[rows]]
    return jnp.sum(row_weights * losses) / jnp.sum(row_weights)

  # scale = 1 + delta, so that the decay of delta pulls the scale towards 1.
  zeros = jnp.zeros(num_classes, jnp.float32)
  delta, offset = _sgd.minimise(
    loss_fn,
    (zeros, zeros),
    jax.random.split(key, num_steps),
    num_steps=num_steps,
    learning_rate=learning_rate,
    weight_decay=weight_decay,
  )
  return 1.0 + delta, offset
