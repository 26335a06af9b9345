# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Class directions that are placed before training and never learned."""

from collections.abc import Callable
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _cosine

# Each centering shrinks the centroid by the largest eigenvalue of the rows'
# second moment, about 1 / dim.
_CENTRING_STEPS = 60

# In radians, in the first step; it falls to 0 along a cosine.
_LARGEST_TURN = 0.3

# Few vectors in few dimensions have local minima, which are cheap to escape by
# starting over; many vectors have none that matter.
_MAX_STARTS = 8
_MAX_STARTED_ROWS = 800


def simplex_etf(key: jax.Array, num_classes: int, dim: int) -> jax.Array:
  r"""Directions with the largest equal angles: a simplex.

  .. math::
    W W^T = \frac{C}{C - 1} \left(I - \frac{1}{C} 1 1^T\right),

  so rows have length 1, any two of them the cosine :math:`-1 / (C - 1)`, and
  their sum is 0: an equiangular tight frame (ETF), the class means at neural
  collapse (Papyan et al., `Prevalence of Neural Collapse during the Terminal
  Phase of Deep Learning Training <https://arxiv.org/abs/2008.08186>`_, PNAS
  2020). The simplex is turned at random.

  >>> import jax
  >>> vectors = simplex_etf(jax.random.key(0), 3, 2)
  >>> print((vectors @ vectors.T).round(3))
  [[ 1.  -0.5 -0.5]
   [-0.5  1.  -0.5]
   [-0.5 -0.5  1. ]]

  Args:
    key: Key of `jax.random`.
    num_classes: Number C of classes, at least 2.
    dim: Length of a vector, at least ``num_classes - 1``.

  Returns:
    Float32 array, shape ``[num_classes, dim]``, a row per class.

  Raises:
    TypeError: If a size is not an integer.
    ValueError: If there are fewer than 2 classes, or too few dimensions.
  """
  _check_sizes(num_classes, dim)
  if dim < num_classes - 1:
    raise ValueError(
      f'`dim` must be at least num_classes - 1 = {num_classes - 1}, got {dim}: '
      'so many equal angles need the room. Use `optimal_prototypes` '
      "(`PrototypeHead`, head='prototypes'), or wider features."
    )
  # Drawn flat: compiles faster, see `_initializers.scaled_normal`.
  draws = jax.random.normal(key, (dim * (num_classes - 1),), jnp.float32)
  axes, upper = jnp.linalg.qr(draws.reshape(dim, num_classes - 1))
  # Without the signs no direction would be as likely as its opposite.
  axes = axes * jnp.where(jnp.diag(upper) < 0, -1.0, 1.0)[None]
  return jnp.matmul(
    jnp.asarray(_simplex(num_classes)), axes.T, precision=_cosine.PRECISION
  )


def optimal_prototypes(
  key: jax.Array,
  num_classes: int,
  dim: int,
  *,
  num_steps: int = 1000,
  scale: float = 10.0,
) -> jax.Array:
  r"""Directions that are spread as far as the dimension allows.

  .. math::
    \min_W \sum_i \log \sum_{j \ne i} e^{s \langle w_i, w_j \rangle},
    \quad \|w_i\| = 1, \quad \sum_i w_i = 0.

  The anchored prototypes of PAL (Zhou et al., ICML 2022). Where `simplex_etf`
  exists it is the minimum, and is returned.

  .. warning::
    Experimental, and reconstructed without the authors' code: their generator
    and scale are not known. The minimum here is the one that gradient descent
    on the sphere finds from random directions.

  .. note::
    Which class gets which direction is arbitrary, as is the rotation.

  Args:
    key: Key of `jax.random`.
    num_classes: Number C of classes, at least 2.
    dim: Length of a vector, at least 2 for more than 2 classes.
    num_steps: Steps of the optimizer where there is no simplex, >= 0.
    scale: Scale s > 0 of the cosines; the larger, the more the closest pair
      alone counts.

  Returns:
    Float32 array, shape ``[num_classes, dim]``, a row of length 1 per class.

  Raises:
    TypeError: If a size is not an integer.
    ValueError: If there are fewer than 2 classes, one dimension for more than 2
      classes, `num_steps` is negative, or `scale` is not positive.
  """
  _check_sizes(num_classes, dim)
  _checks.integer('num_steps', num_steps, low=0)
  _checks.number('scale', scale, above=0)
  if dim >= num_classes - 1:
    return simplex_etf(key, num_classes, dim)
  if dim < 2:
    raise ValueError(
      f'`dim` must be at least 2 for {num_classes} classes, got {dim}: one '
      'dimension has two directions. Use wider features.'
    )
  return _spread(
    key,
    jnp.asarray(scale, jnp.float32),
    num_classes=num_classes,
    dim=dim,
    num_steps=num_steps,
  )


class EtfHead(nn.Module):
  """Cosines with the fixed directions of `simplex_etf`.

  The vectors, float32 ``[num_classes, dim]``, are ``class_vectors`` in the
  collection `prototypes`: not among the parameters, so no optimizer and no
  weight decay sees them, and without gradient. They are drawn from the rng
  `params` when the model is initialized; store them with the parameters.

  It returns raw cosines in ``[-1, 1]``: use a loss that holds a scale. Which
  class gets which direction is arbitrary.

  .. note::
    Pooled ReLU features are not negative, and cannot point along directions
    that have negative entries. Put a linear layer before this head; the word
    ``head='etf'`` of `create_model` does.

  Attributes:
    num_classes: Number of classes, at most ``dim + 1``.
  """

  num_classes: int

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Cosines of a batch of features.

    Args:
      features: Float array of any dtype, shape ``[B, dim]``.

    Returns:
      Float32 array, shape ``[B, num_classes]``, values in ``[-1, 1]``.

    Raises:
      TypeError: If `features` is not a float array.
      ValueError: If `features` does not have two axes, or is narrower than
        ``num_classes - 1``.
    """
    return _fixed_cosines(self, features, simplex_etf)


class PrototypeHead(nn.Module):
  """Cosines with the fixed directions of `optimal_prototypes`.

  As `EtfHead`, collection and rng too, for any number of classes.

  .. warning::
    Experimental and reconstructed, see `optimal_prototypes`.

  Attributes:
    num_classes: Number of classes.
  """

  num_classes: int

  @nn.compact
  def __call__(self, features: ArrayLike) -> jax.Array:
    """Cosines of a batch of features.

    Args:
      features: Float array of any dtype, shape ``[B, dim]``.

    Returns:
      Float32 array, shape ``[B, num_classes]``, values in ``[-1, 1]``.

    Raises:
      TypeError: If `features` is not a float array.
      ValueError: If `features` does not have two axes, or has one column for
        more than 2 classes.
    """
    return _fixed_cosines(self, features, optimal_prototypes)


def _fixed_cosines(
  head: EtfHead | PrototypeHead,
  features: ArrayLike,
  place: Callable[[jax.Array, int, int], jax.Array],
) -> jax.Array:
  features = _cosine.float_matrix('features', features)
  dim = features.shape[1]
  vectors = head.variable(
    'prototypes',
    'class_vectors',
    lambda: place(head.make_rng('params'), head.num_classes, dim),
  )
  return _cosine.cosine_logits(features, jax.lax.stop_gradient(vectors.value))


def _simplex(num_classes: int) -> np.ndarray:
  """A simplex of unit rows in ``num_classes - 1`` dimensions, float32.

  Row c of column k: the vertices before k + 1 against vertex k + 1, Helmert's
  orthonormal contrasts.
  """
  contrasts = np.zeros((num_classes, num_classes - 1))
  for k in range(1, num_classes):
    contrasts[:k, k - 1] = 1.0
    contrasts[k, k - 1] = -k
  contrasts /= np.linalg.norm(contrasts, axis=0)
  contrasts *= np.sqrt(num_classes / (num_classes - 1))
  return contrasts.astype(np.float32)


def _centre(rows: jax.Array) -> jax.Array:
  return _cosine.unit_rows(rows - jnp.mean(rows, axis=0, keepdims=True))


@functools.partial(jax.jit, static_argnames=('num_classes', 'dim', 'num_steps'))
def _spread(
  key: jax.Array,
  scale: jax.Array,
  *,
  num_classes: int,
  dim: int,
  num_steps: int,
) -> jax.Array:
  is_self = jnp.eye(num_classes, dtype=bool)

  def energy(rows):
    rows = _centre(rows)
    cosines = jnp.matmul(rows, rows.T, precision=_cosine.PRECISION)
    others = jnp.where(is_self, -jnp.inf, scale * cosines)
    return jnp.sum(jax.nn.logsumexp(others, axis=1))

  def step(rows, t):
    gradient = jax.grad(energy)(rows)
    # The row that is pushed hardest turns by the learning rate: the size of the
    # energy and of its scale do not matter.
    push = jnp.sqrt(jnp.max(jnp.sum(jnp.square(gradient), axis=1)))
    rate = 0.5 * _LARGEST_TURN * (1 + jnp.cos(jnp.pi * t / num_steps))
    return _centre(rows - rate * gradient / jnp.maximum(push, 1e-12)), None

  def descend(rows):
    times = jnp.arange(num_steps, dtype=jnp.float32)
    rows, _ = jax.lax.scan(step, _centre(rows), times)
    # Repeated: scaling each row to length 1 moves the centroid off 0 again.
    rows = jax.lax.fori_loop(0, _CENTRING_STEPS, lambda _, x: _centre(x), rows)
    return rows, energy(rows)

  starts = max(1, min(_MAX_STARTS, _MAX_STARTED_ROWS // num_classes))
  draws = jax.random.normal(key, (starts * num_classes * dim,), jnp.float32)
  rows, energies = jax.vmap(descend)(draws.reshape(starts, num_classes, dim))
  return rows[jnp.argmin(energies)]


def _check_sizes(num_classes: int, dim: int) -> None:
  _checks.integer('num_classes', num_classes, low=2)
  _checks.integer('dim', dim)
