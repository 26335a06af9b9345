# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Perturbations of parameter trees: which leaves, how far, which way."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _masks

Radius = jax.typing.ArrayLike | optax.Schedule


def radius_at(rho: Radius, count: jax.typing.ArrayLike) -> jax.Array:
  """Value of a radius or of a schedule of radii after `count` updates."""
  # `float` is float64 where x64 is on: float64 parameters get all of rho.
  return jnp.asarray(rho(count) if callable(rho) else rho, float)


def is_zero(rho: Any) -> bool:
  """Whether a radius is a constant 0, which costs no pass."""
  return isinstance(rho, numbers.Real) and rho == 0


def check_params(name: str, params: Any) -> None:
  """Refuses missing parameters and the partial trees of `optax.masked`."""
  if params is None:
    raise ValueError(
      f'`{name}` needs the parameters, got `params=None`. '
      'Call tx.update(grads, state, params, grad_fn=grad_fn).'
    )
  leaves = jax.tree.leaves(
    params, is_leaf=lambda x: isinstance(x, optax.MaskedNode)
  )
  if any(isinstance(leaf, optax.MaskedNode) for leaf in leaves):
    raise ValueError(
      f'`{name}` got a parameter tree with parts cut out, so it runs inside '
      '`optax.masked` or `optax.partition`. There the gradient oracle cannot '
      f'be evaluated. Put `{name}` first in the chain, outside of them, and '
      'choose the perturbed leaves with its own argument `mask`.'
    )


def resolve_masks(
  params: optax.Params, *, mask: _masks.Mask, adaptive: _masks.Mask
) -> dict[str, Any]:
  """The arguments `mask` and `adaptive` of a link, as `ascend` takes them."""
  return {
    'mask': _masks.resolve_mask('mask', True if mask is None else mask, params),
    'adaptive': _masks.resolve_mask('adaptive', adaptive, params),
  }


def compute_dtype(leaf: jax.Array) -> jnp.dtype:
  """Dtype in which a leaf is perturbed: float32, float64 for float64."""
  # Not `jnp.promote_types`, which refuses mixed dtypes in strict mode.
  return jnp.dtype(jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32)


def wide(tree: Any) -> Any:
  """A tree of gradients in the dtype in which they are computed with."""
  return jax.tree.map(lambda x: x.astype(compute_dtype(x)), tree)


def cast_like(tree: Any, like: Any) -> Any:
  """A tree in the dtypes of another one."""
  return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, like)


def zeros_like(params: optax.Params) -> Any:
  """Zeros in the dtype in which gradients are computed with."""
  return jax.tree.map(lambda w: jnp.zeros(w.shape, compute_dtype(w)), params)


def inner_product(one: Any, other: Any) -> jax.Array:
  """Over all leaves; sums of bf16 products would lose small ones."""
  leaves = jax.tree.leaves(one)
  if not leaves:
    return jnp.zeros([], jnp.float32)
  dtype = max((compute_dtype(x) for x in leaves), key=lambda d: d.itemsize)
  pairs = zip(leaves, jax.tree.leaves(other), strict=True)
  return sum(
    (jnp.sum(x.astype(dtype) * y.astype(dtype)) for x, y in pairs),
    start=jnp.zeros([], dtype),
  )


def global_norm(tree: Any) -> jax.Array:
  """L2 norm over all leaves."""
  return jnp.sqrt(inner_product(tree, tree))


def add_scaled(tree: Any, scale: jax.Array, other: Any) -> Any:
  """``tree + scale * other``, leaf by leaf in the dtype of `tree`."""
  return jax.tree.map(
    lambda x, y: x + scale.astype(x.dtype) * y.astype(x.dtype), tree, other
  )


def orthogonal_part(tree: Any, along: Any) -> Any:
  """What is left of a tree without its component along another one.

  All leaves are one vector. Along zero there is no component, and what is left
  is all. What rounding leaves of two parallel trees is zero.
  """
  squared = inner_product(along, along)
  share = inner_product(tree, along) / jnp.where(squared == 0, 1, squared)
  left = add_scaled(wide(tree), -share, along)
  rounding = 8 * jnp.finfo(squared.dtype).eps * global_norm(tree)
  keep = jnp.logical_not(global_norm(left) <= rounding)  # NaN shows.
  return jax.tree.map(lambda x: jnp.where(keep, x, 0), left)


def running_average(
  average: Any, gradients: optax.Updates, decay: jax.typing.ArrayLike
) -> Any:
  """``decay * average + (1 - decay) * gradients``, dtypes of `average`."""

  def leaf(a, g):
    share = jnp.asarray(decay, a.dtype)
    return share * a + (1 - share) * g.astype(a.dtype)

  return jax.tree.map(leaf, average, gradients)


def once(leaf: jax.Array) -> jax.Array:
  """A perturbed leaf that is computed once, and not wherever it is used.

  XLA would put what makes it (noise, scale and sum) into the loops over
  activations that use a scale or a bias, and compute it for every pixel of
  every image: with RSAM, a third more time for a step on CPUs.
  """
  return jax.lax.optimization_barrier(leaf)


def ascend(
  params: optax.Params,
  gradients: optax.Updates,
  rho: jax.Array,
  *,
  mask: Any,
  adaptive: Any,
  eps: float,
) -> tuple[optax.Params, jax.Array]:
  r"""Moves `params` up the gradient by `rho`.

  .. math::
    e = \rho \, \frac{T^2 g}{\|T g\|_2 + \epsilon}, \qquad
    T = |w| \text{ where adaptive, } 1 \text{ elsewhere},

  with the norm taken over all leaves of the mask together.

  Args:
    params: Parameters w.
    gradients: Gradient g at w, a tree like `params`.
    rho: Radius, a scalar.
    mask: Tree of Python bools: True is perturbed and counted in the norm.
    adaptive: Tree of Python bools: True is scaled by its own magnitude.
    eps: Number that is added to the norm.

  Returns:
    The pair (w + e, norm): perturbed leaves in float32 (float64 for float64),
    leaves outside of the mask untouched; the norm before `eps`.
  """

  def scale_direction(w, g, perturbed, adapt):
    g = g.astype(compute_dtype(w))
    if not perturbed:
      return jnp.zeros_like(g)
    return jnp.abs(w.astype(g.dtype)) * g if adapt else g

  def move(w, direction, perturbed, adapt):
    if not perturbed:
      return w
    wide = w.astype(direction.dtype)
    step = scale.astype(direction.dtype) * direction
    return once(wide + (jnp.abs(wide) * step if adapt else step))

  directions = jax.tree.map(scale_direction, params, gradients, mask, adaptive)
  norm = global_norm(directions)
  # A zero gradient is a zero step also with eps = 0, not 0 * inf.
  shifted = norm + jnp.asarray(eps, norm.dtype)
  scale = jnp.where(norm == 0, 0, rho.astype(norm.dtype) / shifted)
  return jax.tree.map(move, params, directions, mask, adaptive), norm


def sharp_gradient(
  grad_fn: Any,
  params: optax.Params,
  gradient: optax.Updates,
  rho: jax.Array,
  *,
  along: Any = None,
  **options: Any,
) -> optax.Updates:
  """Gradient of the only group at w + e, in the dtype of `gradient`.

  Args:
    grad_fn: Gradient oracle.
    params: Parameters w.
    gradient: Gradient at w, which comes back where e is zero.
    rho: Radius, a scalar.
    along: Direction of e, `gradient` by default.
    **options: Further arguments of `ascend`.
  """
  direction = gradient if along is None else along
  perturbed, norm = ascend(params, direction, rho, **options)
  return jax.tree.map(
    lambda g, p: jnp.where(norm == 0, g, p.astype(g.dtype)),
    gradient,
    grad_fn(perturbed, 0),
  )
