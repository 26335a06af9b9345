# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A float64 NumPy witness for Deep SAD, its training and its metrics.

Written from the equations alone, without sight of the library, and without
JAX. Backpropagation is written by hand. Loops and brute force are preferred to
clever forms.

Notation: w are all kernels together, x_i a row, phi(x_i) its embedding, c the
center, d_i = ||phi(x_i) - c||^2, y_i its label: 1 labeled anomaly, 0 without
label, -1 labeled normal. ||.|| is the Euclidean norm over all parameters
together; where a norm is zero the perturbation is zero.
"""

import itertools
import math

import numpy as np

SLOPE = 0.01  # Of the leaky ReLU.
BATCH_NORM_EPS = 1e-4

# Loss, center, weights.


def squared_distances(embeddings, center):
  """sum_j (phi_ij - c_j)^2, an exactly rounded sum for each row."""
  return np.array(
    [
      math.fsum(
        (float(a) - float(b)) ** 2 for a, b in zip(row, center, strict=True)
      )
      for row in embeddings
    ]
  )


def deep_sad_losses(distances, labels, *, eta=1.0, eps=1e-6):
  """d, eta (d + eps) for -1, eta / (d + eps) for 1."""
  result = []
  for d, y in zip(distances, labels, strict=True):
    if y == 0:
      result.append(d)
    elif y == -1:
      result.append(eta * (d + eps))
    elif y == 1:
      result.append(eta / (d + eps))
    else:
      raise ValueError(y)
  return np.array(result)


def loss_slopes(distances, labels, *, eta=1.0, eps=1e-6):
  """Derivatives of `deep_sad_losses` with respect to d."""
  slopes = {
    0: lambda d: 1.0,
    -1: lambda d: eta,
    1: lambda d: -eta / (d + eps) ** 2,
  }
  return np.array(
    [slopes[int(y)](d) for d, y in zip(distances, labels, strict=True)]
  )


def center_of(embeddings, min_abs=0.1):
  """The mean; entries nearer to zero than min_abs go to +-min_abs, 0 to +."""
  center = []
  for column in np.asarray(embeddings, np.float64).T:
    mean = math.fsum(column) / len(column)
    if abs(mean) < min_abs:
      mean = -min_abs if mean < 0 else min_abs
    center.append(mean)
  return np.array(center)


def anomaly_weights(labels, normalization):
  """1/N_k for the rows of group k, or 1/B; group 1 are labeled anomalies."""
  weights = np.zeros((2, len(labels)))
  sizes = [sum(y != 1 for y in labels), sum(y == 1 for y in labels)]
  for i, y in enumerate(labels):
    group = int(y == 1)
    if normalization == 'group':
      weights[group, i] = 1.0 / sizes[group]
    elif normalization == 'batch':
      weights[group, i] = 1.0 / len(labels)
    else:
      raise ValueError(normalization)
  return weights


# The encoder: kernels K_1 .. K_L without biases; after all but the last come
# BatchNorm (if any, without scale and shift) and leaky ReLU.


def init_kernels(seed, sizes):
  """Kernels that float32 holds exactly; `sizes` are D, hidden layers, E."""
  rng = np.random.default_rng(seed)
  return [
    (rng.standard_normal((m, n)) / math.sqrt(m))
    .astype(np.float32)
    .astype(np.float64)
    for m, n in itertools.pairwise(sizes)
  ]


def forward(kernels, rows, *, batch_norm, statistics=None):
  """Embeddings, and what `backward` needs.

  With BatchNorm the statistics are those of the rows (mean, variance with the
  divisor B), or `statistics`: pairs of means and variances.
  """
  h, cache = np.asarray(rows, np.float64), []
  for layer, kernel in enumerate(kernels[:-1]):
    a = h @ kernel
    scale, mean, variance = np.ones(a.shape[1]), None, None
    if batch_norm:
      if statistics is None:
        mean = a.mean(axis=0)
        variance = ((a - mean) ** 2).mean(axis=0)
      else:
        mean, variance = statistics[layer]
      scale = 1.0 / np.sqrt(variance + BATCH_NORM_EPS)
      a = (a - mean) * scale
    cache.append((h, a, scale, mean, variance))
    h = np.where(a >= 0, a, SLOPE * a)
  return h @ kernels[-1], (cache, h)


def batch_statistics(kernels, rows):
  """Mean and variance (divisor B) of every normalized layer."""
  _, (cache, _) = forward(kernels, rows, batch_norm=True)
  return [(mean, variance) for *_, mean, variance in cache]


def running_statistics(statistics, kernels, rows, momentum=0.9):
  """momentum * old + (1 - momentum) * that of the rows, divisor B."""
  return [
    tuple(
      momentum * np.asarray(old, np.float64) + (1 - momentum) * new
      for old, new in zip(olds, news, strict=True)
    )
    for olds, news in zip(
      statistics, batch_statistics(kernels, rows), strict=True
    )
  ]


def backward(kernels, cache, cotangent, *, batch_norm):
  """Of sum(cotangent * embeddings), by kernels and by rows, by the chain rule.

  With t = (a - mean) s, the gradient g_t of t, and means over rows:
    g_a = s (g_t - mean(g_t) - t mean(g_t t))
  """
  layers, last = cache
  gradient = [last.T @ cotangent]
  g = cotangent @ kernels[-1].T
  for kernel, (h, a, scale, *_) in zip(
    kernels[-2::-1], layers[::-1], strict=True
  ):
    g = g * np.where(a >= 0, 1.0, SLOPE)
    if batch_norm:
      g = scale * (g - g.mean(axis=0) - a * (g * a).mean(axis=0))
    gradient.append(h.T @ g)
    g = g @ kernel.T
  return gradient[::-1], g


def loss(kernels, batch, weights, center, *, batch_norm, eta=1.0, eps=1e-6):
  """sum_i weights_i l_i."""
  embeddings, _ = forward(kernels, batch['features'], batch_norm=batch_norm)
  losses = deep_sad_losses(
    squared_distances(embeddings, center), batch['labels'], eta=eta, eps=eps
  )
  return math.fsum(np.asarray(weights, np.float64) * losses)


def gradient(kernels, batch, weights, center, *, batch_norm, eta=1.0, eps=1e-6):
  """Of `loss`, with respect to the kernels."""
  embeddings, cache = forward(kernels, batch['features'], batch_norm=batch_norm)
  slopes = loss_slopes(
    squared_distances(embeddings, center), batch['labels'], eta=eta, eps=eps
  )
  pull = (np.asarray(weights, np.float64) * slopes)[:, None]
  cotangent = pull * 2.0 * (embeddings - np.asarray(center, np.float64))
  return backward(kernels, cache, cotangent, batch_norm=batch_norm)[0]


# Update rules.


def global_norm(tree):
  """||tree||."""
  return math.sqrt(math.fsum(float((x**2).sum()) for x in tree))


def add(one, two, scale=1.0):
  """One + scale * two."""
  return [a + scale * b for a, b in zip(one, two, strict=True)]


def ascend(kernels, direction, rho):
  """w + rho direction / ||direction||."""
  norm = global_norm(direction)
  return kernels if norm == 0.0 else add(kernels, direction, rho / norm)


def rule(
  method, kernels, batch, center, *, normalization, rho, head_rho=0.0, **model
):
  """The gradient that a method makes of one batch.

  With normal rows n (all others than labeled anomalies) and anomalies a:
    sgd      g_n(w) + g_a(w)
    sam      g(w + rho g(w)/||g(w)||),  g = g_n + g_a
    imbsam   g_n(w) + g_a(w + rho g_a(w)/||g_a(w)||)
    sse_sam  g_n(w + head_rho g_n(w)/||g_n(w)||) + the same second term
  """
  normal, anomalous = anomaly_weights(batch['labels'], normalization)

  def g(w, weights):
    return gradient(w, batch, weights, center, **model)

  if method == 'sgd':
    return add(g(kernels, normal), g(kernels, anomalous))
  if method == 'sam':
    whole = normal + anomalous
    return g(ascend(kernels, g(kernels, whole), rho), whole)
  tail = g(ascend(kernels, g(kernels, anomalous), rho), anomalous)
  if method == 'imbsam':
    return add(g(kernels, normal), tail)
  if method == 'sse_sam':
    point = ascend(kernels, g(kernels, normal), head_rho)
    return add(g(point, normal), tail)
  raise ValueError(method)


def momentum_rule(
  kernels, batch, center, remembered, *, normalization, rho, decay, **model
):
  """The gradient of momentum_imbsam, and what it remembers afterwards.

  G = g_n(w) + g_a(w + e),  e = rho m / ||m||
  m <- decay m + (1 - decay) g_a(w + e), if there are anomalies; first m = 0
  """
  normal, anomalous = anomaly_weights(batch['labels'], normalization)
  if remembered is None:
    remembered = [np.zeros_like(k) for k in kernels]
  point = ascend(kernels, remembered, rho)
  tail = gradient(point, batch, anomalous, center, **model)
  total = add(gradient(kernels, batch, normal, center, **model), tail)
  if anomalous.any():
    remembered = [
      decay * m + (1.0 - decay) * t
      for m, t in zip(remembered, tail, strict=True)
    ]
  return total, remembered


def clip(tree, largest):
  """Scaled to the norm `largest` where it is longer."""
  norm = global_norm(tree)
  return tree if norm <= largest else [x * (largest / norm) for x in tree]


def cosine(start, step, num_steps):
  """Start at step 0, 0 at step num_steps."""
  return start * 0.5 * (1.0 + math.cos(math.pi * step / num_steps))


def train(
  method,
  kernels,
  batches,
  center,
  *,
  learning_rate,
  momentum=0.9,
  weight_decay=0.0,
  clip_norm=1.0,
  switch=1.0,
  head_rho=0.0,
  average_decay=None,
  schedule=True,
  **arguments,
):
  """All steps: rule, clipping, then m = momentum m + g + decay w, w -= lr m.

  `schedule` is a cosine to 0. From step switch * steps on, sse_sam's head_rho
  is zero; average_decay is that of momentum_imbsam.

  Returns:
    The kernels after each step.
  """
  memory, points, remembered = None, [], None
  for step, batch in enumerate(batches):
    if method == 'momentum_imbsam':
      g, remembered = momentum_rule(
        kernels, batch, center, remembered, decay=average_decay, **arguments
      )
    else:
      g = rule(
        method,
        kernels,
        batch,
        center,
        head_rho=head_rho if step < switch * len(batches) else 0.0,
        **arguments,
      )
    if clip_norm is not None:
      g = clip(g, clip_norm)
    g = add(g, kernels, weight_decay)
    memory = g if memory is None else add(g, memory, momentum)
    lr = learning_rate
    if schedule:
      lr = cosine(learning_rate, step, len(batches))
    kernels = add(kernels, memory, -lr)
    points.append(kernels)
  return points


# Pre-training: r = sigmoid(decoder(phi(x))), the decoder an encoder mirrored.


def reconstruct(encoder, decoder, rows, *, batch_norm):
  """Of the rows, and what `reconstruction_gradient` needs."""
  embeddings, first = forward(encoder, rows, batch_norm=batch_norm)
  logits, second = forward(decoder, embeddings, batch_norm=batch_norm)
  return 1.0 / (1.0 + np.exp(-logits)), first, second


def reconstruction_loss(encoder, decoder, rows, *, batch_norm):
  """Mean over rows and features of (r - x)^2."""
  rebuilt, _, _ = reconstruct(encoder, decoder, rows, batch_norm=batch_norm)
  return ((rebuilt - rows) ** 2).mean()


def reconstruction_gradient(encoder, decoder, rows, *, batch_norm):
  """By the kernels of the encoder, then by those of the decoder."""
  r, first, second = reconstruct(encoder, decoder, rows, batch_norm=batch_norm)
  cotangent = 2.0 * (r - rows) * r * (1.0 - r) / rows.size
  late, g = backward(decoder, second, cotangent, batch_norm=batch_norm)
  early, _ = backward(encoder, first, g, batch_norm=batch_norm)
  return early + late


def adam(parameters, gradient_of, num_steps, *, learning_rate, weight_decay):
  """Kingma and Ba, 0.9, 0.999, 1e-8; the cosine; g + decay w goes in.

  `gradient_of(parameters, step)` may look at each point as it passes.
  """
  m = [np.zeros_like(p) for p in parameters]
  v = [np.zeros_like(p) for p in parameters]
  for step in range(num_steps):
    g = add(gradient_of(parameters, step), parameters, weight_decay)
    m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
    v = [0.999 * a + 0.001 * b**2 for a, b in zip(v, g, strict=True)]
    move = [
      (a / (1 - 0.9 ** (step + 1)))
      / (np.sqrt(b / (1 - 0.999 ** (step + 1))) + 1e-8)
      for a, b in zip(m, v, strict=True)
    ]
    lr = cosine(learning_rate, step, num_steps)
    parameters = add(parameters, move, -lr)
  return parameters


# Metrics, by counting.


def auroc(scores, labels):
  """Share of pairs (anomaly, normal row) in the right order; ties half."""
  points, pairs = 0.0, 0
  for one, is_anomaly in zip(scores, labels, strict=True):
    for two, is_other in zip(scores, labels, strict=True):
      if is_anomaly == 1 and is_other == 0:
        pairs += 1
        points += 1.0 if one > two else 0.5 if one == two else 0.0
  return points / pairs


def average_precision(scores, labels):
  """Sum over thresholds t of precision(t) (recall(t) - recall(next higher))."""
  scores, labels = np.asarray(scores), np.asarray(labels)
  result, before = 0.0, 0.0
  for threshold in sorted(set(scores.tolist()), reverse=True):
    called = scores >= threshold
    recall = (labels[called] == 1).sum() / (labels == 1).sum()
    result += (labels[called] == 1).mean() * (recall - before)
    before = recall
  return result


def precision_at_n(scores, labels):
  """Mean, over all orders of tied rows, of the anomalies among the first n."""
  n = sum(labels)
  found = []
  for order in itertools.permutations(range(len(scores))):
    ranked = [scores[i] for i in order]
    if ranked == sorted(ranked, reverse=True):
      found.append(sum(labels[i] for i in order[:n]) / n)
  return math.fsum(found) / len(found)
