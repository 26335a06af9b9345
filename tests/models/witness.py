# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parts of residual networks in NumPy, and what such networks are tried on."""

import jax
import numpy as np

from imbsam_jax import models


def images(batch=4, size=16, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(batch, size, size, channels)).astype(np.float32)


def variables(module, x):
  """Variables as `module.init` shapes them, none of them zero or one."""
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(
    lambda: module.init(jax.random.key(0), x, train=False)
  )

  def draw(path, leaf):
    name = path[-1].key
    if name in ('scale', 'var'):
      values = rng.uniform(0.5, 1.5, leaf.shape)
    elif name in ('bias', 'mean'):
      values = 0.3 * rng.standard_normal(leaf.shape)
    else:
      scale = (2 * leaf.shape[-1] / leaf.size) ** 0.5
      values = scale * rng.standard_normal(leaf.shape)
    return values.astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def windows(x, size, stride, padding):
  """All windows, ``[batch, height, width, channels, size, size]``."""
  pad = size // 2
  x = np.pad(
    x, [(0, 0), (pad, pad), (pad, pad), (0, 0)], constant_values=padding
  )
  views = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
  return views[:, ::stride, ::stride]


def conv(x, kernel, stride, groups=1):
  patches = windows(x, len(kernel), stride, 0.0)
  inputs, outputs = x.shape[-1] // groups, kernel.shape[-1] // groups
  results = []
  for g in range(groups):
    seen = patches[:, :, :, g * inputs : (g + 1) * inputs]
    used = kernel[..., g * outputs : (g + 1) * outputs]
    results.append(np.einsum('bhwcij,ijcd->bhwd', seen, used))
  return np.concatenate(results, axis=-1)


def norm(x, params):
  ((kind, params),) = params.items()
  if kind == 'BatchNorm_0':
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    y = (x - mean) / np.sqrt(variance + 1e-5)
  else:
    groups = models.num_groups(x.shape[-1])
    parts = x.reshape(*x.shape[:3], groups, -1)
    mean = parts.mean((1, 2, 4), keepdims=True)
    variance = parts.var((1, 2, 4), keepdims=True)
    y = ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
  return y * params['scale'] + params['bias']


def float64(tree):
  return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)
