# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Perturbations of parameter trees: which leaves, how far, which way."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

Radius = jax.typing.ArrayLike | optax.Schedule


def radius_at(rho: Radius, count: jax.typing.ArrayLike) -> jax.Array:
  """Value of a radius or of a schedule of radii after `count` updates."""
  # `float` is float64 where x64 is on: float64 parameters get all of rho.
  return jnp.asarray(rho(count) if callable(rho) else rho, float)


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


def compute_dtype(leaf: jax.Array) -> jnp.dtype:
  """Dtype in which a leaf is perturbed: float32, float64 for float64."""
  # Not `jnp.promote_types`, which refuses mixed dtypes in strict mode.
  return jnp.dtype(jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32)


def global_norm(tree: Any) -> jax.Array:
  """L2 norm over all leaves; sums of bf16 squares would lose small ones."""
  leaves = jax.tree.leaves(tree)
  if not leaves:
    return jnp.zeros([], jnp.float32)
  dtype = max((compute_dtype(x) for x in leaves), key=lambda d: d.itemsize)
  return jnp.sqrt(sum(jnp.sum(jnp.square(x.astype(dtype))) for x in leaves))


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
