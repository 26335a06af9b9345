# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""cRT: a new linear classifier on frozen features."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import optax

from imbsam_jax import _checks
from imbsam_jax import _cosine
from imbsam_jax import sampling
from imbsam_jax.calibration import _inputs
from imbsam_jax.calibration import _sgd


def fit_crt(
  key: jax.Array,
  features: ArrayLike,
  labels: ArrayLike,
  *,
  num_classes: int,
  num_steps: int = 2000,
  batch_size: int = 512,
  learning_rate: float = 0.2,
  weight_decay: float = 5e-4,
  samples_per_class: int = 4,
) -> tuple[jax.Array, jax.Array]:
  """Trains a linear classifier anew, on features of the frozen network.

  Classifier re-training, Kang et al., `Decoupling Representation and Classifier
  for Long-Tailed Recognition <https://arxiv.org/abs/1910.09217>`_, ICLR 2020:
  cross entropy under class-aware sampling (`sampling.class_aware_indices`), a
  new kernel, normal of variance 1 / D, and a bias of zeros. Defaults are the
  authors', with a number of steps in place of 10 epochs. SGD, momentum 0.9, the
  learning rate falls to 0 along a cosine. Logits are ``features @ kernel +
  bias``, the parameters of `models.LinearHead`.

  To augment images during it, freeze the network with `train_only` instead.

  Args:
    key: Key of `jax.random`, for the kernel and the batches.
    features: Float array of any dtype, shape ``[N, D]``, of the training set;
      batch statistics as in evaluation.
    labels: Int array, shape ``[N]``, values in ``[0, num_classes)``, concrete.
      Classes without rows are not drawn.
    num_classes: Number of classes.
    num_steps: Number of steps.
    batch_size: Number of rows of a batch.
    learning_rate: Learning rate of the first step.
    weight_decay: Weight decay of kernel and bias.
    samples_per_class: Number of rows of one class that follow one another.

  Returns:
    The pair (kernel, bias), float32 arrays, shapes ``[D, num_classes]`` and
    ``[num_classes]``.

  Raises:
    ValueError: If lengths differ, there are no rows, or a label or
      hyper-parameter is out of range.
    TypeError: If a dtype is wrong, or `labels` are traced.
  """
  features = _cosine.float_matrix('features', features)
  _checks.integer('num_classes', num_classes)
  num_rows, dim = features.shape
  labels = _checks.device_labels(labels, num_classes, num_rows=num_rows)
  _inputs.check_fit('features', num_rows, num_steps, batch_size)
  _checks.integer('samples_per_class', samples_per_class)
  _checks.number('learning_rate', learning_rate, low=0)
  _checks.number('weight_decay', weight_decay, low=0)
  kernel_key, batch_key = jax.random.split(key)
  rows = sampling.class_aware_indices(
    batch_key,
    sampling.class_table(labels, num_classes=num_classes),
    num_samples=num_steps * batch_size,
    samples_per_class=samples_per_class,
  )
  draws = jax.random.normal(kernel_key, (dim * num_classes,), jnp.float32)
  kernel = draws.reshape(dim, num_classes) / max(dim, 1) ** 0.5
  return _fit(
    kernel,
    features,
    labels,
    jnp.asarray(rows).reshape(num_steps, batch_size),
    jnp.asarray(learning_rate, jnp.float32),
    jnp.asarray(weight_decay, jnp.float32),
  )


@jax.jit
def _fit(
  kernel: jax.Array,
  features: jax.Array,
  labels: jax.Array,
  rows: jax.Array,
  learning_rate: jax.Array,
  weight_decay: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  def loss_fn(params, step_rows):
    kernel, bias = params
    logits = jnp.matmul(
      features[step_rows], kernel, precision=_cosine.PRECISION
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits + bias[None], labels[step_rows]
    )
    return jnp.mean(losses)

  return _sgd.minimise(
    loss_fn,
    (kernel, jnp.zeros(kernel.shape[1], jnp.float32)),
    rows,
    num_steps=rows.shape[0],
    learning_rate=learning_rate,
    weight_decay=weight_decay,
  )
