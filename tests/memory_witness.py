# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A float64 NumPy witness for the update rules that remember gradients.

Written from the equations alone, in the notation of `numpy_witness`, whose
network and gradients these rules have. Each function gives the gradient G and
what is remembered, one vector or None, for the next step. Where a norm is zero,
what is divided by it is zero. No epsilon is added to any norm.
"""

import numpy as np

from tests import numpy_witness


def _gradient(params, w, batch, weights):
  at = numpy_witness.unflatten(w, params)
  return numpy_witness.flatten(
    numpy_witness.weighted_gradient(at, batch, weights)
  )


def _step(rho, direction, scale=1.0):
  """e = rho T^2 d / ||T d||, T = scale."""
  norm = np.linalg.norm(scale * direction)
  if norm == 0:
    return np.zeros_like(direction)
  return rho * scale**2 * direction / norm


def momentum_imbsam(
  params,
  batch,
  remembered,
  class_counts,
  threshold,
  rho,
  decay,
  tail_weight=1.0,
  adaptive=False,
):
  """G = grad L_h(w) + grad L_t(w + e),  e = rho m / ||m||.

  L_h = (1/B) sum_{y_i not in T} l_i,  L_t = (s/B) sum_{y_i in T} l_i
  m <- decay m + (1 - decay) grad L_t(w + e), if there are tail rows
  """
  labels = np.asarray(batch['labels'])
  in_tail = np.asarray(class_counts)[labels] < threshold
  w = numpy_witness.flatten(params)
  m = np.zeros_like(w) if remembered is None else remembered
  e = _step(rho, m, np.abs(w) if adaptive else 1.0)
  head = np.where(in_tail, 0.0, 1.0 / len(labels))
  tail = np.where(in_tail, tail_weight / len(labels), 0.0)
  g_h = _gradient(params, w, batch, head)
  g_t = _gradient(params, w + e, batch, tail)
  if in_tail.any():
    m = decay * m + (1.0 - decay) * g_t
  return numpy_witness.unflatten(g_h + g_t, params), m


def momentum_groups(
  params, batch, remembered, group_weights, rhos, decay, adaptive=False
):
  """G = sum_k grad L_k(w + e_k),  e_k = rho_k m_k / ||m_k||.

  m_k <- decay m_k + (1 - decay) grad L_k(w + e_k), if group k has rows.
  What is remembered is m_0, m_1, ... in one vector.
  """
  w = numpy_witness.flatten(params)
  scale = np.abs(w) if adaptive else 1.0
  memory = np.zeros((len(rhos), len(w)))
  if remembered is not None:
    memory = np.array(remembered).reshape(memory.shape)
  total = np.zeros_like(w)
  for k, (rho, weights) in enumerate(zip(rhos, group_weights, strict=True)):
    g = _gradient(params, w + _step(rho, memory[k], scale), batch, weights)
    total += g
    if np.any(np.asarray(weights) != 0):
      memory[k] = decay * memory[k] + (1.0 - decay) * g
  return numpy_witness.unflatten(total, params), memory.ravel()


def look_sam(params, batch, remembered, count, rho, every, alpha):
  """G = g_s if count is a multiple of every, else g + alpha |g|/|g_v| g_v.

  g = grad L(w),  g_s = grad L(w + rho g / |g|),  L = mean_i l_i
  g_v = g_s - <g_s, u> u,  u = g / |g|, of the last g_s
  """
  mean = np.full(len(batch['labels']), 1.0 / len(batch['labels']))
  w = numpy_witness.flatten(params)
  g = _gradient(params, w, batch, mean)
  if count % every == 0:
    g_s = _gradient(params, w + _step(rho, g), batch, mean)
    unit = g / np.linalg.norm(g)
    cosine = unit @ g_s / np.linalg.norm(g_s)
    g_v = g_s - np.linalg.norm(g_s) * cosine * unit
    return numpy_witness.unflatten(g_s, params), g_v
  ratio = np.linalg.norm(g) / np.linalg.norm(remembered)
  total = g + alpha * ratio * remembered
  return numpy_witness.unflatten(total, params), remembered


def friendly_sam(params, batch, remembered, rho, sigma, lam, average='current'):
  """G = grad L(w + rho d / |d|),  g = grad L(w),  L = mean_i l_i.

  current:   m <- lam m + (1 - lam) g from m = 0, then d = g - sigma m
  previous:  d = g - sigma m, then m <- lam m + (1 - lam) g;
             in the first step d = g, then m = g
  """
  mean = np.full(len(batch['labels']), 1.0 / len(batch['labels']))
  w = numpy_witness.flatten(params)
  g = _gradient(params, w, batch, mean)
  if average == 'current':
    m = (1.0 - lam) * g
    if remembered is not None:
      m = m + lam * remembered
    d = g - sigma * m
  elif remembered is None:
    d = m = g
  else:
    d = g - sigma * remembered
    m = lam * remembered + (1.0 - lam) * g
  total = _gradient(params, w + _step(rho, d), batch, mean)
  return numpy_witness.unflatten(total, params), m


def gsam(params, batch, rho, alpha):
  """G = g_p - alpha g_perp, nothing remembered.

  g = grad L(w),  g_p = grad L(w + rho g / |g|)
  g_perp = g - |g| cos(g, g_p) g_p / |g_p|
  """
  mean = np.full(len(batch['labels']), 1.0 / len(batch['labels']))
  w = numpy_witness.flatten(params)
  g = _gradient(params, w, batch, mean)
  g_p = _gradient(params, w + _step(rho, g), batch, mean)
  cosine = g @ g_p / np.linalg.norm(g) / np.linalg.norm(g_p)
  g_perp = g - np.linalg.norm(g) * cosine * g_p / np.linalg.norm(g_p)
  return numpy_witness.unflatten(g_p - alpha * g_perp, params), None
