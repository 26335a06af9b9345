# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All links of a chain, and a polynomial problem small enough for all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import imbsam_jax
from tests import problems

KEY = jax.random.key(0)
# Name: link, number of groups.
LINKS = {
  'group_sam': (imbsam_jax.group_sam((0.1, None, 0.2)), 3),
  'sam': (imbsam_jax.sam(0.1), 1),
  'asam': (imbsam_jax.sam(0.1, adaptive=True), 1),
  'imbsam': (imbsam_jax.imbsam(0.1), 2),
  'sse_sam': (
    imbsam_jax.sse_sam(imbsam_jax.stage_switch(0.1, 0.0, 2), 0.2),
    2,
  ),
  'focal_sam': (imbsam_jax.focal_sam(0.1), 2),
  'rsam': (imbsam_jax.rsam(0.1, key=KEY), 1),
  'momentum_imbsam': (imbsam_jax.momentum_imbsam(0.1, decay=0.5), 2),
  'momentum_sam': (imbsam_jax.sam(0.1, average_decay=0.5), 1),
  'momentum_sse_sam': (
    imbsam_jax.sse_sam(0.1, 0.2, average_decay=0.5),
    2,
  ),
  'look_sam': (imbsam_jax.look_sam(0.1, every=2), 1),
  'friendly_sam': (imbsam_jax.friendly_sam(0.1, sigma=0.5, lam=0.5), 1),
  'gsam': (imbsam_jax.gsam(0.1, alpha=0.5), 1),
  'skip_nonfinite': (
    imbsam_jax.skip_nonfinite(
      optax.chain(imbsam_jax.imbsam(0.1), optax.trace(0.9))
    ),
    2,
  ),
}
ROWS = 6


def make_params(dtype=jnp.float32):
  return {
    'a': jnp.array([0.5, -1.0, 2.0], dtype),
    'b': jnp.array([[1.0], [0.25]], dtype),
  }


def make_batch(seed=0):
  rng = np.random.default_rng(seed)
  return problems.to_jax(
    {'a': rng.standard_normal((ROWS, 3)), 'b': rng.standard_normal((ROWS, 2))}
  )


def loss_fn(params, batch, weights):
  dtype = batch['a'].dtype
  a, b = params['a'].astype(dtype), params['b'].astype(dtype)
  losses = ((a[None] - batch['a']) ** 2).sum(axis=1)
  losses += ((b[:, 0][None] - batch['b']) ** 4).sum(axis=1)
  return (weights.astype(dtype) * losses).sum(), None


def update(link, num_groups, params, state, batch, **extra_args):
  """One update of `link` with rows dealt to groups in turn."""
  groups = np.arange(ROWS) % num_groups
  weights = (np.arange(num_groups)[:, None] == groups) / np.float32(ROWS)
  (loss, _), grads, grad_fn = imbsam_jax.gradient_oracle(
    loss_fn, params, batch, group_weights=weights
  )
  if 'value' in extra_args:
    extra_args['value'] = loss
  return link.update(grads, state, params, grad_fn=grad_fn, **extra_args)


def relaxed(transformation):
  """The same in JAX's default promotion: much of optax needs that."""

  def update(updates, state, params=None, **extra_args):
    with jax.numpy_dtype_promotion('standard'):
      return transformation.update(updates, state, params, **extra_args)

  return optax.GradientTransformationExtraArgs(transformation.init, update)
