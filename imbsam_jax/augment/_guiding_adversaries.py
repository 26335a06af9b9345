# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""GAE: adversaries of tail images that cross the decision boundary."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import losses


def guiding_adversaries(
  key: jax.Array,
  logits_fn: Callable[[jax.Array], jax.Array],
  images: ArrayLike,
  labels: ArrayLike,
  tail_mask: ArrayLike,
  *,
  epsilon: ArrayLike = 1 / 255,
  step_size: ArrayLike | None = None,
  num_steps: int = 8,
  random_start: bool = True,
) -> tuple[jax.Array, jax.Array]:
  r"""Untargeted adversaries of tail rows, and which of them guide.

  .. math::
    x^{k+1} = \Pi \left( x^k + \eta \, sign \, \nabla_x CE(z(x^k), y) \right),
    \qquad
    \kappa = \sum_{k=0}^{K-1} [\arg\max z(x^k) = y], \qquad
    keep = [\kappa < K]

  where :math:`\Pi` projects on ``[-epsilon, epsilon]`` around the clean image
  and on [0, 1], and :math:`x^0` is the clean image plus uniform noise in
  ``[-epsilon, epsilon]``. Zhang et al., `Adversarial Examples for Good:
  Adversarial Examples Guided Imbalanced Learning
  <https://arxiv.org/abs/2201.12356>`_, ICIP 2022 (GAE): fine-tuning minimizes
  the cross entropy of the clean rows plus that of the kept adversaries with
  their true labels. The tail is the rarer half of the classes there.

  An iterate is the point at which a step begins, :math:`x^0` to
  :math:`x^{K-1}`: an adversary that crosses with the last step alone is not
  kept. Rows that are misclassified from the start are kept: with ``epsilon=0``
  those are the ones.

  Args:
    key: Key of `jax.random`, for the random start.
    logits_fn: Maps float32 images ``[B, ...]`` to logits ``[B, C]``. Rows must
      not depend on each other: pass the model in evaluation mode.
    images: Float array, shape ``[B, ...]``, values in [0, 1]: a model that
      takes standardized images standardizes within `logits_fn`.
    labels: Int array, shape ``[B]``.
    tail_mask: Bool array, shape ``[B]``: rows that get an adversary.
    epsilon: Largest change of a value, >= 0, may be traced.
    step_size: Change of a value in one step, >= 0. None is ``epsilon / 8``,
      whatever `num_steps` is.
    num_steps: Number K of steps, 1 or more.
    random_start: Whether the first iterate is random, or the clean image.

  Returns:
    ``(images, keep)``: adversaries in the rows of the tail, other rows
    unchanged; bool array of shape ``[B]``, False outside of the tail. Images
    keep their dtype, and no gradient flows through them.

    Cost: `num_steps` forward and backward passes of all rows, by a scan.

  Raises:
    TypeError: If `images` are not floating point, `labels` not integers, or
      `tail_mask` is not bool.
    ValueError: If a hyper-parameter is out of range, or shapes differ.

  .. note::
    The released code compares the predictions of all rows with the labels of
    all rows, so that an iterate counts as correct if its prediction is the
    label of any tail row of the batch; it also leaves the model in evaluation
    mode after the first batch, and takes no step where a batch has no tail row.
    Here each row has its own label, and a batch without tail rows is only not
    changed.
  """
  _checks.number('epsilon', epsilon, low=0)
  if step_size is not None:
    _checks.number('step_size', step_size, low=0)
  num_steps = _checks.integer('num_steps', num_steps)
  images = jnp.asarray(images)
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise TypeError(
      f'`images` must be floating point, got dtype {images.dtype}. Scale them '
      'to [0, 1]: images.astype(jnp.float32) / 255.'
    )
  num_rows = images.shape[0] if images.ndim else 0
  labels = _checks.label_array(labels, num_rows=num_rows)
  labels = jnp.asarray(labels).astype(jnp.int32)
  tail = _checks.row_mask('tail_mask', tail_mask, num_rows)
  of_row = jnp.expand_dims(tail, range(1, images.ndim))
  radius = jnp.asarray(epsilon).astype(jnp.float32)
  size = radius / 8 if step_size is None else step_size
  size = jnp.asarray(size).astype(jnp.float32)
  clean = jax.lax.stop_gradient(images.astype(jnp.float32))
  low = jnp.maximum(clean - radius, 0.0)
  high = jnp.minimum(clean + radius, 1.0)

  def moved(x, change):
    return jnp.where(of_row, jnp.clip(x + change, low, high), x)

  def loss_and_correct(x):
    logits = logits_fn(x)
    each = losses.cross_entropy(logits, labels)
    correct = jnp.argmax(logits, axis=-1) == labels
    return jnp.sum(jnp.where(tail, each, 0.0)), correct

  def step(carry, _):
    x, num_correct = carry
    gradient, correct = jax.grad(loss_and_correct, has_aux=True)(x)
    num_correct += correct.astype(jnp.int32)
    return (moved(x, size * jnp.sign(gradient)), num_correct), None

  start = clean
  if random_start:
    noise = jax.random.uniform(
      key, clean.shape, jnp.float32, minval=-1.0, maxval=1.0
    )
    start = moved(clean, radius * noise)
  carry = start, jnp.zeros(labels.shape, jnp.int32)
  (x, num_correct), _ = jax.lax.scan(step, carry, length=num_steps)
  adversaries = jnp.where(of_row, x.astype(images.dtype), images)
  return adversaries, tail & (num_correct < num_steps)
