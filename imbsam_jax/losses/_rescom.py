# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rebalanced Siamese contrastive mining: a loss on features, and its queue."""

import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _cosine
from imbsam_jax.losses import _mixed

# Similarity of a pair that is left out. Not -inf, whose differences are NaN.
_LEFT_OUT = -1e30


class ClassQueue(NamedTuple):
  """Features of the last examples of each class; a pytree.

  Attributes:
    keys: Float32 array, shape ``[C, size, dim]``, rows of length 1.
    pointer: Int32 array, shape ``[C]``, the slot that the next key of a class
      goes to, which holds its oldest one.
  """

  keys: Any
  pointer: Any


def init_class_queue(
  key: jax.Array, *, num_classes: int, size: int, dim: int
) -> ClassQueue:
  """A queue of random directions, for `enqueue` and `rescom_loss`.

  >>> queue = init_class_queue(
  ...   jax.random.key(0), num_classes=10, size=8, dim=128
  ... )
  >>> print(queue.keys.shape, queue.pointer.shape)
  (10, 8, 128) (10,)

  Args:
    key: Key of `jax.random`.
    num_classes: Number of classes C.
    size: Number of keys of each class; 8 in the authors' code.
    dim: Number of features; 128 in the authors' code.

  Returns:
    The queue: its keys are random until a class has had `size` examples.

  Raises:
    TypeError: If a size is not an integer.
    ValueError: If a size is below 1.
  """
  shape = tuple(
    _checks.integer(name, value)
    for name, value in (
      ('num_classes', num_classes),
      ('size', size),
      ('dim', dim),
    )
  )
  return ClassQueue(
    _directions(key, shape=shape), jnp.zeros(shape[:1], jnp.int32)
  )


def enqueue(
  queue: ClassQueue, features: ArrayLike, labels: ArrayLike
) -> ClassQueue:
  """Puts features into the queue of their class; the oldest keys leave.

  As if one row came after the other: of more rows of a class than its queue
  holds, the last ones stay. ResCom puts in the features of the first view, and
  only after `rescom_loss` has read the queue.

  Args:
    queue: Result of `init_class_queue` or of this function.
    features: Float array, shape ``[B, dim]``, rows of length 1. Stored as they
      come, in float32, without gradient.
    labels: Int array, shape ``[B]``, values in ``[0, C)``. Rows whose traced
      label is out of range are dropped.

  Returns:
    The new queue. Every class has as many keys as before. Takes ``B * B``
    comparisons.

  Raises:
    TypeError: If `queue` is not a `ClassQueue`, `features` are not floating
      point, or `labels` are not integers.
    ValueError: If shapes do not fit, or a concrete label is out of range.
  """
  queue = _check_queue(queue)
  num_classes, size, _ = queue.keys.shape
  features = _check_features(features, queue)
  labels = _checks.device_labels(
    labels, num_classes, num_rows=features.shape[0]
  )
  # A class beyond the last one is dropped; a negative one would wrap around.
  labels = jnp.where(labels < 0, num_classes, labels)
  same = labels[:, None] == labels[None]
  num_earlier = jnp.sum(jnp.tril(same, -1), axis=1, dtype=jnp.int32)
  num_later = jnp.sum(jnp.triu(same, 1), axis=1, dtype=jnp.int32)
  slots = (queue.pointer[labels] + num_earlier) % size
  # Of rows that go to one slot only the last is written: the order in which
  # the others would be is not defined.
  rows = jnp.where(num_later < size, labels, num_classes)
  keys = queue.keys.at[rows, slots].set(
    jax.lax.stop_gradient(features), mode='drop'
  )
  pointer = queue.pointer.at[labels].add(1, mode='drop')
  return ClassQueue(keys, pointer % size)


def rescom_loss(
  features: ArrayLike,
  labels: ArrayLike,
  queue: ClassQueue,
  class_weights: ArrayLike | None,
  *,
  num_positives: int,
  num_negatives: int,
  temperature: float = 1.0,
) -> jax.Array:
  r"""Supervised contrastive loss with hard pairs from a queue, by class.

  .. math::
    \ell_i = -\frac{w_{y_i}}{|P_i|} \sum_{p \in P_i}
      \log \frac{e^{f_i \cdot f_p / T}}{\sum_{a \in A_i} e^{f_i \cdot f_a / T}}

  Zhong et al., `Rebalanced Siamese Contrastive Mining for Long-Tailed
  Recognition <https://arxiv.org/abs/2203.11506>`_, arXiv 2022. The candidates
  :math:`A_i` are the other rows of the batch, the keys of class :math:`y_i` in
  the queue that are least similar to :math:`f_i`, and those keys of other
  classes that are most similar; the positives :math:`P_i` are the candidates of
  class :math:`y_i`. ResCom adds its mean, with a factor 1, to that of
  `balanced_softmax` on both views.

  >>> queue = init_class_queue(
  ...   jax.random.key(0), num_classes=2, size=4, dim=2
  ... )
  >>> @jax.jit
  ... def step(queue, first, second, labels):  # Features of two views.
  ...   each = rescom_loss(
  ...     jnp.concatenate([first, second]),
  ...     jnp.concatenate([labels, labels]),
  ...     queue,
  ...     None,
  ...     num_positives=2,
  ...     num_negatives=3,
  ...   )
  ...   return each.mean(), enqueue(queue, first, labels)
  >>> loss, queue = step(queue, jnp.eye(2), jnp.eye(2), jnp.array([0, 1]))
  >>> print(queue.pointer)
  [1 1]

  Args:
    features: Float array, shape ``[V, dim]``, rows of length 1: the features of
      both views, one after the other. Computed in float32.
    labels: Int array, shape ``[V]``, values in ``[0, C)``.
    queue: Result of `init_class_queue` or `enqueue`. Its keys get no gradient.
    class_weights: Numbers w, shape ``[C]``, such as `weights.rescom_weights`;
      None is 1 for all.
    num_positives: Number of keys of the own class, from 0 to the size of the
      queue.
    num_negatives: Number of keys of the other classes together, from 0 to all
      that the queue holds of them.
    temperature: Temperature T > 0.

  Returns:
    Float32 array, shape ``[V]``, not reduced. A row without positives, of which
    there are none if `num_positives` > 0, has loss 0. NaN where a traced label
    is out of range. Takes memory for ``V * C * size`` similarities.

  Raises:
    TypeError: If `queue` is not a `ClassQueue`, `features` are not floating
      point, `labels` or the numbers of keys are not integers.
    ValueError: If shapes do not fit, a concrete label is out of range, more
      keys are asked for than the queue holds, or `temperature` is not positive.
  """
  queue = _check_queue(queue)
  num_classes, size, _ = queue.keys.shape
  features = _check_features(features, queue)
  num_rows = features.shape[0]
  labels = _checks.device_labels(labels, num_classes, num_rows=num_rows)
  num_positives = _num_keys('num_positives', num_positives, size, 'own class')
  num_negatives = _num_keys(
    'num_negatives', num_negatives, size * (num_classes - 1), 'other classes'
  )
  _checks.number('temperature', temperature, above=0)
  if class_weights is not None:
    class_weights = _checks.per_class(
      'class_weights', class_weights, num_classes
    )
  itself = jnp.eye(num_rows, dtype=bool)
  is_own = _mixed.one_hot(labels, num_classes)
  similarities = jnp.concatenate(
    [
      jnp.where(itself, _LEFT_OUT, _products(features, features)),
      *_hardest(features, is_own, queue.keys, num_positives, num_negatives),
    ],
    axis=1,
  )
  scaled = similarities / jnp.asarray(temperature).astype(jnp.float32)
  is_positive = jnp.concatenate(
    [
      (labels[:, None] == labels[None]) & ~itself,
      jnp.ones((num_rows, num_positives), bool),
      jnp.zeros((num_rows, num_negatives), bool),
    ],
    axis=1,
  )
  total = jax.nn.logsumexp(scaled, axis=1, keepdims=True)
  sums = jnp.sum(jnp.where(is_positive, total - scaled, 0.0), axis=1)
  counts = jnp.sum(is_positive, axis=1).astype(jnp.float32)
  loss = sums / jnp.maximum(counts, 1.0)
  loss = jnp.where(is_own.any(axis=1), loss, jnp.nan)
  return loss if class_weights is None else loss * class_weights[labels]


def _hardest(
  features: jax.Array,
  is_own: jax.Array,
  keys: jax.Array,
  num_positives: int,
  num_negatives: int,
) -> tuple[jax.Array, jax.Array]:
  """Lowest similarities to keys of the own class, highest to the others."""
  num_classes, size, dim = keys.shape
  keys = jax.lax.stop_gradient(keys).reshape(num_classes * size, dim)
  in_queue = _products(features, keys).reshape(-1, num_classes, size)
  is_own = is_own[:, :, None]
  own = jnp.sum(jnp.where(is_own, in_queue, 0.0), axis=1)
  others = jnp.where(is_own, -jnp.inf, in_queue)
  return (
    -jax.lax.top_k(-own, num_positives)[0],
    jax.lax.top_k(others.reshape(-1, num_classes * size), num_negatives)[0],
  )


@functools.partial(jax.jit, static_argnames='shape')
def _directions(key: jax.Array, *, shape: tuple[int, ...]) -> jax.Array:
  return _cosine.unit_rows(jax.random.normal(key, shape, jnp.float32))


def _products(rows: jax.Array, others: jax.Array) -> jax.Array:
  return jnp.matmul(rows, others.T, precision=_cosine.PRECISION)


def _check_queue(queue: Any) -> ClassQueue:
  if not isinstance(queue, ClassQueue):
    raise TypeError(
      f'`queue` must be a ClassQueue, got {type(queue).__name__}. Begin with '
      '`init_class_queue(...)`, and pass what `enqueue` returned.'
    )
  keys, pointer = jnp.asarray(queue.keys), jnp.asarray(queue.pointer)
  if keys.ndim != 3 or pointer.shape != keys.shape[:1]:
    raise ValueError(
      '`queue` must have keys [C, size, dim] and pointers [C], got '
      f'{keys.shape} and {pointer.shape}.'
    )
  return ClassQueue(keys.astype(jnp.float32), pointer.astype(jnp.int32))


def _check_features(features: ArrayLike, queue: ClassQueue) -> jax.Array:
  features = _cosine.float_matrix('features', features)
  if features.shape[1] != queue.keys.shape[2]:
    raise ValueError(
      '`features` must be as wide as the keys of `queue`, '
      f'{queue.keys.shape[2]}, got {features.shape}. Pass the width as `dim` '
      'to `init_class_queue`.'
    )
  return features


def _num_keys(name: str, value: int, limit: int, of_whom: str) -> int:
  value = _checks.integer(name, value, low=0)
  if value > limit:
    raise ValueError(
      f'`{name}` must be at most {limit}, the keys of the {of_whom} in the '
      f'queue, got {value}. Pass fewer, or a larger `size` to '
      '`init_class_queue`.'
    )
  return value
