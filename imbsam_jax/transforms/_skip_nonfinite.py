# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A guard around a whole chain: non-finite steps do not happen."""

from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks


class SkipNonfiniteState(NamedTuple):
  """State of `skip_nonfinite`.

  Attributes:
    inner_state: State of the guarded chain after its last finite update.
    skipped: Number of skipped updates so far, int32.
    consecutive: Number of skipped updates since the last finite one, int32.
    exhausted: True once more than `max_consecutive` came in a row, bool.
  """

  inner_state: optax.OptState
  skipped: jax.Array
  consecutive: jax.Array
  exhausted: jax.Array


def skip_nonfinite(
  inner: optax.GradientTransformation, *, max_consecutive: int = 5
) -> optax.GradientTransformationExtraArgs:
  """Skips every update that is not finite, and counts it.

  Wrap the *whole* chain, so that NaN from any pass, the clean or the perturbed
  one, is seen before it reaches parameters or momentum:

  >>> import jax.numpy as jnp, optax
  >>> tx = skip_nonfinite(optax.sgd(0.1, momentum=0.9))
  >>> params = jnp.ones(2)
  >>> state = tx.init(params)
  >>> updates, state = tx.update(jnp.array([1.0, jnp.nan]), state, params)
  >>> updates.tolist(), int(state.skipped), bool(state.exhausted)
  ([-0.0, -0.0], 1, False)

  Args:
    inner: The chain to guard. Extra arguments are forwarded to it.
    max_consecutive: Number of skipped updates in a row that is still accepted.

  Returns:
    An `optax.GradientTransformationExtraArgs`. An update is skipped when an
    outgoing leaf is not finite, or when an entry of the inner state was finite
    and would cease to be (an accumulator can hold NaN back). Then the updates
    are zero and the inner state is what it was, bit for bit.

  Raises:
    TypeError: If `max_consecutive` is not an int.
    ValueError: If `max_consecutive` is negative.

  .. note::
    `optax.apply_if_finite` looks at the incoming gradient only, and lets the
    non-finite update through once its limit is passed. Here none ever passes;
    a training loop stops when ``state.exhausted`` is True.
  """
  max_consecutive = _checks.integer(
    'max_consecutive',
    max_consecutive,
    low=0,
    hint='Pass 0 to stop at the first one; 5 is the default.',
  )
  chain = optax.with_extra_args_support(inner)

  def init_fn(params: optax.Params) -> SkipNonfiniteState:
    return SkipNonfiniteState(
      inner_state=chain.init(params),
      skipped=jnp.zeros([], jnp.int32),
      consecutive=jnp.zeros([], jnp.int32),
      exhausted=jnp.zeros([], jnp.bool_),
    )

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, SkipNonfiniteState]:
    updates, inner_state = chain.update(
      updates, state.inner_state, params, **extra_args
    )
    finite = _all_finite(updates) & _stays_finite(
      state.inner_state, inner_state
    )
    # Not +0.0, which would turn a parameter of -0.0 into one of 0.0.
    updates = jax.tree.map(lambda u: jnp.where(finite, u, -0.0), updates)
    inner_state = jax.tree.map(
      lambda old, new: jnp.where(finite, new, old),
      state.inner_state,
      inner_state,
    )
    consecutive = jnp.where(finite, 0, state.consecutive + 1)
    return updates, SkipNonfiniteState(
      inner_state=inner_state,
      skipped=state.skipped + jnp.where(finite, 0, 1),
      consecutive=consecutive,
      exhausted=state.exhausted | (consecutive > max_consecutive),
    )

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _is_inexact(leaf: Any) -> bool:
  return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _all_finite(tree: Any) -> jax.Array:
  checks = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
  return jnp.all(jnp.array(checks)) if checks else jnp.array(True)


def _stays_finite(old: Any, new: Any) -> jax.Array:
  pairs = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True)
  checks = [
    jnp.all(jnp.isfinite(y) | ~jnp.isfinite(x))
    for x, y in pairs
    if _is_inexact(y)
  ]
  return jnp.all(jnp.array(checks)) if checks else jnp.array(True)
