# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A float64 witness for the losses, without JAX.

Written from the equations alone, without sight of the library. Every loss is a
transcription of its own equation, one row and one class at a time: the
repetition is on purpose, so that a slip in one of them shows against the
others. Only `log_sum_exp`, `softplus` and `sigmoid` are shared.

Notation: z are the logits of a row, y its label, n_c the count of class c, N
their sum, pi_c = n_c / N, s a scale, m a margin. Classes with n_c = 0 are in no
denominator, and neither among the classes that n_min is taken over.
"""

import math

import numpy as np


def log_sum_exp(values):
  top = max(values)
  if top == -math.inf:
    return top
  return top + math.log(sum(math.exp(value - top) for value in values))


def softplus(x):
  return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x):
  return math.exp(-softplus(-x))


def one_minus_exp(x):
  """1 - exp(-x), which is 1 - p where x is -log p."""
  return -math.expm1(-x)


def gradient(loss, logits, step=1e-5):
  """d sum(loss) / d logits of a loss of rows, by central differences."""
  logits = np.asarray(logits, np.float64)
  found = np.empty_like(logits)
  for j in range(logits.shape[1]):
    above, below = logits.copy(), logits.copy()
    above[:, j] += step
    below[:, j] -= step
    difference = np.asarray(loss(above)) - np.asarray(loss(below))
    # Losses of rows and classes, such as the multi-label one, sum over classes.
    found[:, j] = difference.reshape(len(logits), -1).sum(1) / (2 * step)
  return found


def mixed(loss, logits, first, second, lam):
  """lam loss(first) + (1 - lam) loss(second), lam of each row or of all."""
  lam = np.broadcast_to(np.asarray(lam, np.float64), (len(logits),))
  return lam * loss(logits, first) + (1.0 - lam) * loss(logits, second)


def _of_rows(row_loss, logits, labels):
  return np.array(
    [
      row_loss([float(value) for value in row], int(label))
      for row, label in zip(np.asarray(logits), labels, strict=True)
    ]
  )


def _present(counts):
  return [c for c, count in enumerate(counts) if count > 0]


# The shared core.


def margin_softmax(
  logits,
  labels,
  *,
  multiplier=1.0,
  offset=0.0,
  scale=1.0,
  margin=0.0,
  denominator_margin=None,
):
  """LSE({s u_j, j != y}, s (u_y - m_den)) - s (u_y - m)."""
  shape = np.shape(logits)
  multiplier, offset, margin = (
    np.broadcast_to(np.asarray(value, np.float64), shape)
    for value in (multiplier, offset, margin)
  )
  if denominator_margin is None:
    denominator_margin = margin
  else:
    denominator_margin = np.broadcast_to(
      np.asarray(denominator_margin, np.float64), shape
    )
  found = []
  for b, label in enumerate(labels):
    u = [
      multiplier[b, c] * logits[b, c] + offset[b, c] for c in range(shape[1])
    ]
    terms = [scale * u[c] for c in range(shape[1]) if c != label]
    terms.append(scale * (u[label] - denominator_margin[b, label]))
    found.append(log_sum_exp(terms) - scale * (u[label] - margin[b, label]))
  return np.array(found)


def margin_softmax_gradient(
  logits,
  labels,
  *,
  multiplier=1.0,
  offset=0.0,
  scale=1.0,
  margin=0.0,
  denominator_margin=None,
):
  """s multiplier_j (q_j - [j = y]), q the softmax with m_den at the label."""
  shape = np.shape(logits)
  multiplier, offset = (
    np.broadcast_to(np.asarray(value, np.float64), shape)
    for value in (multiplier, offset)
  )
  if denominator_margin is None:
    denominator_margin = margin
  denominator_margin = np.broadcast_to(
    np.asarray(denominator_margin, np.float64), shape
  )
  found = np.empty(shape)
  for b, label in enumerate(labels):
    v = [
      scale
      * (
        multiplier[b, c] * logits[b, c]
        + offset[b, c]
        - (denominator_margin[b, c] if c == label else 0.0)
      )
      for c in range(shape[1])
    ]
    total = log_sum_exp(v)
    for c in range(shape[1]):
      target = 1.0 if c == label else 0.0
      found[b, c] = scale * multiplier[b, c] * (math.exp(v[c] - total) - target)
  return found


# Cross entropy and focal losses.


def cross_entropy(logits, labels):
  """LSE(z) - z_y."""
  return _of_rows(lambda z, y: log_sum_exp(z) - z[y], logits, labels)


def focal_loss(logits, labels, *, gamma=2.0):
  """(1 - p_y)^gamma times cross entropy."""

  def row_loss(z, y):
    loss = log_sum_exp(z) - z[y]
    return one_minus_exp(loss) ** gamma * loss

  return _of_rows(row_loss, logits, labels)


def focal_modulator(logits, labels, *, gamma):
  return _of_rows(
    lambda z, y: one_minus_exp(log_sum_exp(z) - z[y]) ** gamma, logits, labels
  )


def sigmoid_focal_loss(logits, labels, *, gamma=1.0):
  """Sum over c of the modulated binary cross entropies."""

  def row_loss(z, y):
    total = 0.0
    for c, value in enumerate(z):
      if c == y:
        total += sigmoid(-value) ** gamma * softplus(-value)
      else:
        total += sigmoid(value) ** gamma * softplus(value)
    return total

  return _of_rows(row_loss, logits, labels)


# Class-affine logits.


def balanced_softmax(logits, labels, counts):
  """-log n_y exp(z_y) / sum_j n_j exp(z_j)."""

  def row_loss(z, y):
    terms = {j: math.log(counts[j]) + z[j] for j in _present(counts)}
    return log_sum_exp(terms.values()) - terms[y]

  return _of_rows(row_loss, logits, labels)


def logit_adjusted_cross_entropy(logits, labels, counts, *, tau=1.0):
  """Cross entropy of z + tau log pi."""
  total = float(np.sum(counts))

  def row_loss(z, y):
    terms = {
      j: z[j] + tau * math.log(counts[j] / total) for j in _present(counts)
    }
    return log_sum_exp(terms.values()) - terms[y]

  return _of_rows(row_loss, logits, labels)


def cdt_loss(logits, labels, counts, *, gamma=0.2):
  """Cross entropy of z / a, a_c = (n_max / n_c)^gamma."""
  n_max = float(max(counts))

  def row_loss(z, y):
    terms = {j: z[j] / (n_max / counts[j]) ** gamma for j in _present(counts)}
    return log_sum_exp(terms.values()) - terms[y]

  return _of_rows(row_loss, logits, labels)


def vs_loss(logits, labels, counts, *, gamma=0.3, tau=1.0):
  """Cross entropy of (n / n_max)^gamma z + tau log pi."""
  n_max, total = float(max(counts)), float(np.sum(counts))

  def row_loss(z, y):
    terms = {}
    for j in _present(counts):
      multiplier = (counts[j] / n_max) ** gamma
      terms[j] = multiplier * z[j] + tau * math.log(counts[j] / total)
    return log_sum_exp(terms.values()) - terms[y]

  return _of_rows(row_loss, logits, labels)


def autobalance_loss(
  logits, labels, multiplier_logits, offsets, *, group_size=1
):
  """Cross entropy of sigmoid(d) z + l, d and l of the group of each class."""

  def row_loss(z, y):
    terms = []
    for j, value in enumerate(z):
      group = j // group_size
      multiplier = sigmoid(float(multiplier_logits[group]))
      terms.append(multiplier * value + float(offsets[group]))
    return log_sum_exp(terms) - terms[y]

  return _of_rows(row_loss, logits, labels)


def arb_loss(logits, labels, counts=None, *, clip=30.0):
  """-log e^{z_y} / sum_j (n_j / n_y) e^{z_j}, z clipped."""
  if counts is None:
    counts = np.bincount(labels, minlength=np.shape(logits)[1])

  def row_loss(z, y):
    if clip is not None:
      z = [min(max(value, -clip), clip) for value in z]
    terms = [
      math.log(counts[j]) - math.log(counts[y]) + z[j] for j in _present(counts)
    ]
    return log_sum_exp(terms) - z[y]

  return _of_rows(row_loss, logits, labels)


# Margins on cosines.


def ldam_margins(counts, *, max_margin=0.5):
  """max_margin n_c^(-1/4) / max_k n_k^(-1/4), NaN where n_c = 0."""
  rarest = max(counts[k] ** -0.25 for k in _present(counts))
  return np.array(
    [
      max_margin * float(n) ** -0.25 / rarest if n > 0 else math.nan
      for n in counts
    ]
  )


def ldam_loss(logits, labels, counts, *, max_margin=0.5, scale=30.0):
  """Cross entropy of s (x - m_y e_y)."""
  margins = ldam_margins(counts, max_margin=max_margin)

  def row_loss(x, y):
    terms = {j: scale * x[j] for j in _present(counts)}
    terms[y] = scale * (x[y] - margins[y])
    return log_sum_exp(terms.values()) - terms[y]

  return _of_rows(row_loss, logits, labels)


def mm_margins(logits, labels, *, margin, gamma):
  """The margin of each row, from its own gap; `margin` of all or of rows."""
  maximum = np.broadcast_to(np.asarray(margin, np.float64), (len(logits),))
  found = []
  for row, label, m in zip(np.asarray(logits), labels, maximum, strict=True):
    gap = row[label] - max(row[j] for j in range(len(row)) if j != label)
    if gap > 0:
      found.append(math.exp(-gap - gamma * m))
    elif gap < 0:
      found.append(math.exp(-abs(gap) - m))
    else:
      found.append(0.0)
  return np.array(found)


def fixed_margin_loss(logits, labels, margins, *, scale):
  """Cross entropy of s (x - m_b e_y), m of each row."""
  found = []
  for x, y, m in zip(np.asarray(logits), labels, margins, strict=True):
    terms = [scale * (v - (m if j == y else 0.0)) for j, v in enumerate(x)]
    found.append(log_sum_exp(terms) - terms[y])
  return np.array(found)


def mm_loss(logits, labels, *, margin=1.29, gamma=1.528, scale=19.0):
  margins = mm_margins(logits, labels, margin=margin, gamma=gamma)
  return fixed_margin_loss(logits, labels, margins, scale=scale)


def mm_ldam_margins(logits, labels, counts, *, margin=1.29, gamma=1.528):
  class_margins = ldam_margins(counts, max_margin=0.5)
  return mm_margins(
    logits, labels, margin=margin - class_margins[labels], gamma=gamma
  )


def mm_ldam_loss(
  logits, labels, counts, *, margin=1.29, gamma=1.528, scale=26.0
):
  margins = mm_ldam_margins(logits, labels, counts, margin=margin, gamma=gamma)
  return fixed_margin_loss(logits, labels, margins, scale=scale)


def gcl_deltas(counts):
  """(log n_max - log n_c) / (log n_max - log n_min), 0 if balanced."""
  positive = [counts[c] for c in _present(counts)]
  spread = math.log(max(positive)) - math.log(min(positive))
  if spread == 0.0:
    return np.zeros(len(counts))
  return np.array(
    [
      (math.log(max(positive)) - math.log(n)) / spread if n > 0 else math.nan
      for n in counts
    ]
  )


def gcl_loss(
  logits,
  labels,
  counts,
  *,
  noise,
  noise_scale=0.5,
  margin=0.0,
  scale=30.0,
):
  """Cross entropy of s (x - kappa |eps| delta - m e_y), eps [B, C]."""
  deltas = gcl_deltas(counts)
  found = []
  for x, y, eps in zip(np.asarray(logits), labels, noise, strict=True):
    terms = {}
    for j in _present(counts):
      moved = x[j] - noise_scale * abs(eps[j]) * deltas[j]
      terms[j] = scale * (moved - (margin if j == y else 0.0))
    found.append(log_sum_exp(terms.values()) - terms[y])
  return np.array(found)


def cri_loss(
  logits,
  labels,
  counts,
  *,
  max_margin=0.1,
  scale=30.0,
  gamma=1.0,
  cutoff=None,
  mode='zero',
):
  """Focal LDAM, each example cut where its p is below the cutoff."""
  found = []
  for ldam in ldam_loss(
    logits, labels, counts, max_margin=max_margin, scale=scale
  ):
    loss = one_minus_exp(ldam) ** gamma * ldam
    if cutoff is not None:
      threshold = -((1.0 - cutoff) ** gamma) * math.log(cutoff)
      if loss > threshold:
        loss = {
          'zero': 0.0,
          'fix': threshold,
          'decrease': threshold * math.exp(-loss) / cutoff,
        }[mode]
    found.append(loss)
  return np.array(found)


def cosface_loss(logits, labels, *, margin=0.35, scale=64.0):
  def row_loss(x, y):
    target = scale * (x[y] - margin)
    others = [scale * v for j, v in enumerate(x) if j != y]
    return log_sum_exp([target, *others]) - target

  return _of_rows(row_loss, logits, labels)


def lm_softmax(logits, labels, *, scale=64.0):
  """(1 / s) (LSE_{j != y} s x_j - s x_y)."""

  def row_loss(x, y):
    others = [scale * v for j, v in enumerate(x) if j != y]
    return (log_sum_exp(others) - scale * x[y]) / scale

  return _of_rows(row_loss, logits, labels)


def gm_softmax(
  logits,
  labels,
  *,
  alpha1=1.0,
  beta1=0.0,
  alpha2=1.0,
  beta2=0.0,
  scale=64.0,
):
  """-log e^{s(a1 x_y + b1)} / (e^{s(a2 x_y + b2)} + sum_{j != y} e^{s x_j})."""

  def row_loss(x, y):
    others = [scale * v for j, v in enumerate(x) if j != y]
    denominator = log_sum_exp([scale * (alpha2 * x[y] + beta2), *others])
    return denominator - scale * (alpha1 * x[y] + beta1)

  return _of_rows(row_loss, logits, labels)


def sample_margin_loss(logits, labels):
  """max_{j != y} x_j - x_y."""
  return _of_rows(
    lambda x, y: max(v for j, v in enumerate(x) if j != y) - x[y],
    logits,
    labels,
  )


def zero_centroid_penalty(class_vectors, *, mean=False):
  total = np.zeros(np.shape(class_vectors)[1])
  for row in np.asarray(class_vectors, np.float64):
    total += row / math.sqrt(sum(value * value for value in row))
  if mean:
    total /= len(class_vectors)
  return float(sum(value * value for value in total))


# Several labels for each example.


def distribution_balanced_loss(
  logits,
  targets,
  counts,
  num_examples,
  *,
  alpha=0.1,
  beta=10.0,
  mu=0.3,
  bias_scale=0.05,
  negative_scale=5.0,
  gamma=2.0,
  balance=2.0,
):
  found = np.empty(np.shape(logits))
  for b, row in enumerate(np.asarray(targets)):
    total = sum(y / n for y, n in zip(row, counts, strict=True))
    for c, y in enumerate(row):
      r = (1.0 / counts[c]) / total
      weight = alpha + sigmoid(beta * (r - mu))
      prior = -math.log(num_examples / counts[c] - 1.0)
      x = float(logits[b, c]) + bias_scale * prior / negative_scale
      if y:
        entropy, share = softplus(-x), 1.0
      else:
        entropy, share = softplus(negative_scale * x), 1.0 / negative_scale
      modulator = one_minus_exp(entropy) ** gamma
      found[b, c] = balance * modulator * weight * share * entropy
  return found


# From a loss of each example to one number.


def reduce_loss(losses, weights=None, *, reduction='mean'):
  weights = [1.0] * len(losses) if weights is None else weights
  products = [float(w) * float(v) for w, v in zip(weights, losses, strict=True)]
  if reduction == 'none':
    return np.array(products)
  if reduction == 'sum':
    return sum(products)
  if reduction == 'mean':
    return sum(products) / len(products)
  # What torch documents of CrossEntropyLoss(weight=w, reduction='mean').
  return sum(products) / float(sum(weights))


def class_weighted_loss(loss, logits, labels, class_weights, *, reduction):
  weights = [class_weights[label] for label in labels]
  return reduce_loss(loss(logits, labels), weights, reduction=reduction)


def mixed_class_weighted_loss(
  loss, logits, first, second, lam, class_weights, *, reduction
):
  """One reduction for each half, with the weights of its own labels."""
  total = 0.0
  for labels, share in ((first, lam), (second, 1.0 - lam)):
    weights = np.array([class_weights[label] for label in labels])
    products = share * weights * loss(logits, labels)
    total = total + {
      'none': lambda v, w: v,
      'sum': lambda v, w: v.sum(),
      'mean': lambda v, w: v.sum() / len(v),
      'weighted_mean': lambda v, w: v.sum() / w.sum(),
    }[reduction](products, weights)
  return total


def cc_sam_heads(features, slopes, labels, kernel, bias, counts, noise_ratio):
  """By class the kernel and bias W + e_k of CC-SAM, a class at a time."""
  num_params = kernel.size + bias.size
  theta = math.sqrt((kernel**2).sum() + (bias**2).sum())
  heads = {}
  for k in sorted(set(labels.tolist())):
    rows = [i for i in range(len(labels)) if labels[i] == k]
    gradients = (
      sum(np.outer(features[i], slopes[i]) for i in rows) / len(rows),
      sum(slopes[i] for i in rows) / len(rows),
    )
    moved = []
    for tensor, g in zip((kernel, bias), gradients, strict=True):
      norm = math.sqrt((g**2).sum())
      if norm == 0:
        moved.append(tensor)
        continue
      radius = (
        noise_ratio
        * math.sqrt(theta)
        / math.sqrt(norm)
        / math.sqrt(2)
        / max(counts[k] - 1, 1) ** 0.25
        / num_params**0.25
      )
      moved.append(tensor + radius * math.sqrt(num_params) * g / norm)
    heads[k] = tuple(moved)
  return heads
