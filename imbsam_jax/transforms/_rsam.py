# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""RSAM: the gradient in a random neighborhood, at the price of SGD."""

from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax import _masks
from imbsam_jax.transforms import _oracle_checks
from imbsam_jax.transforms import _perturbation


class RsamState(NamedTuple):
  """State of `rsam`.

  Attributes:
    count: Number of completed updates, int32.
    key_data: The key's raw words, uint32; typed keys do not survive arithmetic
      and many checkpoint formats.
  """

  count: jax.Array
  key_data: jax.Array


def rsam(
  rho: _perturbation.Radius,
  *,
  key: jax.Array,
  mask: _masks.Mask = None,
) -> optax.GradientTransformationExtraArgs:
  r"""Gradient at a random point near w (RSAM-PT, published as GNM-PT).

  .. math::
    g = \nabla L(w + e), \qquad
    e_j = \rho \, \mathrm{clip}(z_j, -1, 1), \quad z_j \sim N(0, 1/9),

  with fresh noise for every entry and update, independent of data and labels.
  On a quadratic loss it equals SGD in expectation; it acts through third
  derivatives.

  Args:
    rho: Half-width of the neighborhood per entry (not a norm), a float >= 0 or
      an `optax.Schedule`. The release's 0.05 * 0.1 is ``rho=0.005``. It halves
      the noise when deferred re-weighting starts:
      ``stage_switch(0.005, 0.0025, boundary)``.
    key: Key of `jax.random`. It travels in the state; update n uses
      ``fold_in(key, n)``.
    mask: Leaves that are perturbed, see `group_sam`; others get no noise.

  Returns:
    An `optax.GradientTransformationExtraArgs`, the first link of a chain. It
    reads ``grad_fn`` only, never the gradient passed in: under `jax.jit` the
    clean pass is then dead code, so the cost is 1 forward and 1 backward pass.
    Loss and aux of that pass are ``grad_fn.value`` for the library's oracles.
    A `grad_fn` of one's own, and a function wrapped around an oracle's, is
    called as ``grad_fn(w + e, 0)``: give it one group, the whole batch.

  Raises:
    ValueError: If `rho` is negative. The update raises it without `grad_fn`,
      for parameters with parts cut out, and for a gradient that is not the
      oracle's, see `group_sam`.
    TypeError: If `rho` is neither a number nor a schedule, or `key` is not a
      key.

  .. note::
    The released code doubles the noise in its first epoch and lets it grow
    without bound when re-weighting is off; both are errors of its schedule
    that are not reproduced.

  References:
    Li et al., `Improving Visual Prompt Tuning by Gaussian Neighborhood
    Minimization for Long-Tailed Visual Recognition
    <https://arxiv.org/abs/2410.21042>`_, NeurIPS 2024; code:
    github.com/Keke921/GNM-PT.
  """
  _checks.radius('rho', rho)
  if not isinstance(key, jax.Array) or not (
    jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.dtype == jnp.uint32
  ):
    raise TypeError(
      f'`key` must be a key of `jax.random`, got {key!r}. '
      'Pass key=jax.random.key(0).'
    )
  typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
  impl = jax.random.key_impl(key) if typed else None

  def init_fn(params: optax.Params) -> RsamState:
    del params
    # A copy: a donated state must not take the caller's key with it.
    words = jax.random.key_data(key) if typed else key
    return RsamState(jnp.zeros([], jnp.int32), jnp.array(words, copy=True))

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    *,
    grad_fn: Any = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, RsamState]:
    del extra_args
    # The gradient of the sum over groups is well defined for any number.
    groups = getattr(grad_fn, 'num_groups', 1)
    _oracle_checks.check_grad_fn('rsam', grad_fn, num_groups=groups)
    _perturbation.check_params('rsam', params)
    _oracle_checks.check_updates('rsam', updates, grad_fn)
    perturbed_leaves = _masks.resolve_mask(
      'mask', True if mask is None else mask, params
    )
    noise_key = jax.random.fold_in(
      jax.random.wrap_key_data(state.key_data, impl=impl), state.count
    )
    radius = _perturbation.radius_at(rho, state.count)
    perturbed = _add_noise(noise_key, params, radius, perturbed_leaves)
    total = getattr(grad_fn, 'total', lambda p: grad_fn(p, 0))
    gradient = jax.tree.map(
      lambda g, u: g.astype(u.dtype), total(perturbed), updates
    )
    count = jnp.asarray(optax.safe_increment(state.count))
    return gradient, RsamState(count, state.key_data)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _add_noise(
  key: jax.Array, params: optax.Params, rho: jax.Array, mask: Any
) -> optax.Params:
  keys = jax.tree.unflatten(
    jax.tree.structure(params),
    list(jax.random.split(key, len(jax.tree.leaves(params)))),
  )

  def leaf(w, k, perturbed):
    if not perturbed:
      return w
    dtype = _perturbation.compute_dtype(w)
    # Drawn flat, the same numbers compile several times faster on CPU.
    noise = jax.random.normal(k, (w.size,), dtype).reshape(w.shape)
    noise = jnp.clip(noise / 3, -1, 1)
    return _perturbation.once(w.astype(dtype) + rho.astype(dtype) * noise)

  return jax.tree.map(leaf, params, keys, mask)
