# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A float64 NumPy witness for what surrounds the losses.

Class weights, schedules, samplers, augmentations, calibration and fixed heads,
written from the equations alone, without sight of the library, and without JAX.
Loops and brute force are preferred to clever forms. At the end are the few
statistics that tests of random draws need.

Notation: C classes, B rows of a batch, n_c the training count of class c, N the
sum of the counts, pi_c = n_c / N, t an epoch, counted from 0.
"""

import decimal
import itertools
import math

import numpy as np

# Class weights.


def effective_number(counts, beta):
  """(1 - beta^n) / (1 - beta), in decimal arithmetic of 60 digits."""
  result = []
  with decimal.localcontext() as context:
    context.prec = 60
    for count in counts:
      if beta == 1:
        result.append(float(count))
        continue
      base = decimal.Decimal(float(beta))
      power = base ** decimal.Decimal(float(count)) if beta else 0
      result.append(float((1 - power) / (1 - base)))
  return np.array(result)


def normalize_weights(weights, norm):
  """Sum C ('mean'), sum 1 ('sum'), length 1 ('l2') or largest 1 ('max')."""
  weights = [float(weight) for weight in weights]
  if norm == 'mean':
    divisor = math.fsum(weights) / len(weights)
  elif norm == 'sum':
    divisor = math.fsum(weights)
  elif norm == 'l2':
    divisor = math.sqrt(math.fsum(weight**2 for weight in weights))
  elif norm == 'max':
    divisor = max(weights)
  else:
    raise ValueError(norm)
  return np.array([weight / divisor for weight in weights])


def class_balanced_weights(counts, beta):
  """1 / E_c with sum C."""
  return normalize_weights(1 / effective_number(counts, beta), 'mean')


def power_weights(counts, power):
  """n_c^-power with sum C."""
  return normalize_weights([float(n) ** -power for n in counts], 'mean')


def absgd(batches, *, lam, gamma, alpha):
  """Weights and u of each batch of losses; overflows where exp does.

  u_k = (1 - gamma) u_{k-1} + gamma alpha mean_i exp(l_i / lam), the first batch
  sets u_1 = alpha mean_i exp(l_i / lam), and p_i = exp(l_i / lam) / (B u_k).
  """
  average = None
  result = []
  for losses in batches:
    tilted = [math.exp(float(loss) / lam) for loss in losses]
    fresh = alpha * sum(tilted) / len(tilted)
    average = (
      fresh if average is None else (1 - gamma) * average + gamma * fresh
    )
    weights = np.array([value / (len(tilted) * average) for value in tilted])
    result.append((weights, average))
  return result


def absgd_log(batches, *, lam, gamma, alpha):
  """The same, as (log p_i, log u_k), by logaddexp throughout."""
  log_average = None
  result = []
  for losses in batches:
    exponents = np.asarray(losses, dtype=np.float64) / lam
    size = len(exponents)
    fresh = math.log(alpha) - math.log(size) + np.logaddexp.reduce(exponents)
    if log_average is None or gamma == 1:
      log_average = fresh
    else:
      log_average = np.logaddexp(
        math.log1p(-gamma) + log_average, math.log(gamma) + fresh
      )
    result.append((exponents - math.log(size) - log_average, log_average))
  return result


# Schedules.


def phase(t, start, end, power):
  """0 before start, 1 from end on, ((t - start) / (end - start))^power."""
  if t < start:
    return 0.0
  if t >= end:
    return 1.0
  return ((t - start) / (end - start)) ** power


def deferred_reweighting(t, counts, beta, start):
  """Ones before `start`, then class-balanced weights."""
  if t < start:
    return np.ones(len(counts))
  return class_balanced_weights(counts, beta)


def deferred_resampling(t, counts, start):
  """pi before `start`, then 1 / C."""
  if t < start:
    return np.array([n / sum(counts) for n in counts])
  return np.full(len(counts), 1 / len(counts))


def progressive_weights(t, counts, start, end, power):
  """n_c^-e with sum C."""
  return power_weights(counts, phase(t, start, end, power))


def progressive_probabilities(t, counts, start, end, power):
  """(1 - e) pi_c + e / C."""
  e = phase(t, start, end, power)
  total = sum(counts)
  return np.array([(1 - e) * n / total + e / len(counts) for n in counts])


def ldam_learning_rate(t, base, warmup, boundaries, factors):
  """Linear warm-up, then the factor of the last boundary reached."""
  if t < warmup:
    return base * (t + 1) / warmup
  rate = base
  for boundary, factor in zip(boundaries, factors, strict=True):
    if t >= boundary:
      rate = base * factor
  return rate


# Sampling.


def class_probabilities(counts, power):
  """n_c^power / sum_k n_k^power over the classes that have examples."""
  raised = [float(n) ** power if n else 0.0 for n in counts]
  return np.array([value / math.fsum(raised) for value in raised])


def class_members(labels, num_classes):
  """For each class the rows with that label, in order."""
  members = [[] for _ in range(num_classes)]
  for row, label in enumerate(labels):
    members[int(label)].append(row)
  return members


# Augmentation.


def remix_label_weight(lam, n_a, n_b, kappa, tau, progress):
  """The share of label a of each pair."""
  result = []
  for share, a, b in zip(lam, n_a, n_b, strict=True):
    if a / b >= kappa and share < tau:
      result.append(share * (1 - progress))
    elif a / b <= 1 / kappa and 1 - share < tau:
      result.append(share * (1 - progress) + progress)
    else:
      result.append(share)
  return np.array(result)


def box_distribution(height, width, beta_cdf):
  """The probability of each box (y0, y1, x0, x1) of CutMix; None: empty.

  With lam' ~ Beta and r = sqrt(1 - lam') the patch has floor(height r) by
  floor(width r) pixels, of which half (rounded down) lie on either side of a
  center that is uniform over the pixels; what falls outside is cut off. Between
  two neighboring k / height or k / width nothing depends on r.
  """
  edges = sorted(
    {k / height for k in range(height + 1)}
    | {k / width for k in range(width + 1)}
  )
  result = {}
  for low, high in itertools.pairwise(edges):
    # lam' = 1 - r^2 falls as r rises.
    mass = beta_cdf(1 - low**2) - beta_cdf(1 - high**2)
    middle = (low + high) / 2
    half_height = math.floor(height * middle) // 2
    half_width = math.floor(width * middle) // 2
    for y, x in itertools.product(range(height), range(width)):
      box = (
        max(y - half_height, 0),
        min(y + half_height, height),
        max(x - half_width, 0),
        min(x + half_width, width),
      )
      if box[0] == box[1] or box[2] == box[3]:
        box = None
      result[box] = result.get(box, 0.0) + mass / (height * width)
  return result


# Cumulative distributions of Beta(a, a) that need no special functions.
BETA_CDF = {
  0.5: lambda x: 2 / math.pi * math.asin(math.sqrt(x)),
  1.0: lambda x: x,
  2.0: lambda x: 3 * x**2 - 2 * x**3,
}


# Calibration.


def log_sum_exp(rows):
  """Over the last axis."""
  largest = rows.max(axis=-1)
  return largest + np.log(np.exp(rows - largest[..., None]).sum(axis=-1))


def affine_fit(logits, labels, row_weights, norms=None, decay=0.0):
  """The best scale [C] (and offset [C], if norms) by Newton's method.

  Minimizes sum_i row_weights_i CE(scale z_i + offset norms, y_i)
  + decay / 2 (||scale - 1||^2 + ||offset||^2), convex in both.

  Returns:
    (scale, offset, the value there, the function itself).
  """
  logits = np.asarray(logits, dtype=np.float64)
  num_rows, num_classes = logits.shape
  eye = np.eye(num_classes)
  # outputs_ij = sum_p design_ijp theta_p
  design = logits[:, :, None] * eye
  start = np.ones(num_classes)
  if norms is not None:
    norms = np.asarray(norms, dtype=np.float64)
    offsets = np.broadcast_to(norms[:, None] * eye, design.shape)
    design = np.concatenate([design, offsets], axis=2)
    start = np.concatenate([start, np.zeros(num_classes)])
  one_hot = eye[np.asarray(labels)]

  def value(theta):
    outputs = design @ theta
    losses = log_sum_exp(outputs) - (outputs * one_hot).sum(axis=1)
    penalty = decay / 2 * ((theta - start) ** 2).sum()
    return float(row_weights @ losses + penalty)

  theta = start.copy()
  for _ in range(100):
    outputs = design @ theta
    probabilities = np.exp(outputs - log_sum_exp(outputs)[:, None])
    residual = row_weights[:, None] * (probabilities - one_hot)
    gradient = np.einsum('ij,ijp->p', residual, design)
    gradient += decay * (theta - start)
    mean = np.einsum('ij,ijp->ip', probabilities, design)
    weighted = row_weights[:, None] * probabilities
    hessian = np.einsum(
      'ij,ijp,ijq->pq', weighted, design, design, optimize=True
    )
    hessian -= np.einsum('i,ip,iq->pq', row_weights, mean, mean)
    hessian += decay * np.eye(len(theta))
    # Least squares: a common offset of all classes changes nothing.
    step = np.linalg.lstsq(hessian, -gradient, rcond=1e-10)[0]
    size = 1.0
    while value(theta + size * step) > value(theta) and size > 1e-6:
      size /= 2
    if np.abs(gradient).max() < 1e-10 or size <= 1e-6:
      break
    theta = theta + size * step
  assert np.abs(gradient).max() < 1e-7, 'no optimum found'
  scale, offset = theta[:num_classes], theta[num_classes:]

  def objective(scale, offset=()):
    return value(np.concatenate([scale, np.asarray(offset, np.float64)]))

  return scale, offset, value(theta), objective


def balanced_accuracy(logits, labels):
  """The mean over the classes of the share of rows that are right."""
  right = logits.argmax(axis=1) == labels
  return np.mean([right[labels == c].mean() for c in np.unique(labels)])


def class_means(features, labels, num_classes):
  """The mean row of each class, 0 for a class without rows."""
  features = np.asarray(features, dtype=np.float64)
  means = np.zeros((num_classes, features.shape[1]))
  for c, rows in enumerate(class_members(labels, num_classes)):
    for row in rows:
      means[c] += features[row] / len(rows)
  return means


def momentum_descent(params, gradients, trainable, *, rate, momentum, decay):
  """Dicts of arrays after v <- momentum v + g + decay w, w <- w - rate v."""
  params = {name: np.array(w, dtype=np.float64) for name, w in params.items()}
  velocity = {name: np.zeros_like(w) for name, w in params.items()}
  for gradient in gradients:
    for name in params:
      if not trainable[name]:
        continue
      direction = gradient[name] + decay * params[name]
      velocity[name] = momentum * velocity[name] + direction
      params[name] = params[name] - rate * velocity[name]
  return params


# Fixed heads.


def etf_gram(num_classes):
  """C / (C - 1) (I - 1 1^T / C)."""
  centred = np.eye(num_classes) - np.full((num_classes,) * 2, 1 / num_classes)
  return num_classes / (num_classes - 1) * centred


def cosines(features, vectors):
  """cos(h_b, w_c)."""
  features = np.asarray(features, dtype=np.float64)
  vectors = np.asarray(vectors, dtype=np.float64)
  lengths = np.outer(
    np.linalg.norm(features, axis=1), np.linalg.norm(vectors, axis=1)
  )
  return features @ vectors.T / lengths


def numeric_gradient(function, point, step=1e-5):
  """Central differences of a scalar function of an array."""
  point = np.asarray(point, dtype=np.float64)
  gradient = np.zeros_like(point)
  for index in np.ndindex(point.shape):
    moved = point.copy()
    moved[index] += step
    above = function(moved)
    moved[index] -= 2 * step
    gradient[index] = (above - function(moved)) / (2 * step)
  return gradient


def prototype_energy(vectors, scale):
  """sum_i log sum_{j != i} exp(scale w_i . w_j) of unit rows [..., C, D]."""
  products = scale * np.einsum('...id,...jd->...ij', vectors, vectors)
  num_classes = vectors.shape[-2]
  products[..., np.arange(num_classes), np.arange(num_classes)] = -np.inf
  return log_sum_exp(products).sum(axis=-1)


def _feasible(vectors, rounds):
  # Unit rows with centroid 0, by alternating projections.
  for _ in range(rounds):
    vectors = vectors - vectors.mean(axis=-2, keepdims=True)
    vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
  return vectors


def best_prototype_energy(
  seed, num_classes, dim, scale, *, restarts=20, num_steps=800
):
  """The least energy of projected gradient descent from random starts.

  With P_ij the softmax over j != i of scale w_i . w_j the gradient at w_i is
  scale sum_j (P_ij + P_ji) w_j.

  Returns:
    (least energy, its vectors).
  """
  rng = np.random.default_rng(seed)
  vectors = _feasible(rng.standard_normal((restarts, num_classes, dim)), 50)
  for step in range(num_steps):
    products = scale * vectors @ vectors.swapaxes(-1, -2)
    products[:, np.arange(num_classes), np.arange(num_classes)] = -np.inf
    shares = np.exp(products - log_sum_exp(products)[..., None])
    gradient = scale * (shares + shares.swapaxes(-1, -2)) @ vectors
    size = (2.0 if step < num_steps // 2 else 0.5) / scale**2
    vectors = _feasible(vectors - size * gradient, 4)
  vectors = _feasible(vectors, 500)
  # A start that could not be made feasible does not count.
  sums = np.linalg.norm(vectors.sum(axis=-2), axis=-1)
  energies = np.where(sums < 1e-6, prototype_energy(vectors, scale), np.inf)
  best = energies.argmin()
  return energies[best], vectors[best]


# Statistics.


def chi_square_sigmas(observed, expected):
  """How unusual counts are, in standard deviations; both signs matter.

  Cells that expect fewer than 10 are pooled. Wilson and Hilferty's cube root
  makes the statistic normal; too good a fit is as suspect as too bad a one.
  """
  observed = np.asarray(observed, dtype=np.float64)
  expected = np.asarray(expected, dtype=np.float64)
  assert not observed[expected == 0].any(), 'drew what has probability 0'
  assert abs(observed.sum() - expected.sum()) < 1e-6 * expected.sum()
  small = expected < 10
  groups = [(observed[~small], expected[~small])]
  if expected[small].sum() >= 10:
    groups.append(([observed[small].sum()], [expected[small].sum()]))
  seen = np.concatenate([np.atleast_1d(group[0]) for group in groups])
  due = np.concatenate([np.atleast_1d(group[1]) for group in groups])
  freedom = len(seen) - 1
  statistic = ((seen - due) ** 2 / due).sum()
  variance = 2 / (9 * freedom)
  return ((statistic / freedom) ** (1 / 3) - (1 - variance)) / variance**0.5


def kolmogorov_distance(samples, cdf):
  """sqrt(n) sup |F_n - F|; above 2.2 by chance once in 8000 times."""
  samples = np.sort(np.asarray(samples, dtype=np.float64))
  values = np.array([cdf(sample) for sample in samples])
  above = np.arange(1, len(samples) + 1) / len(samples) - values
  below = values - np.arange(len(samples)) / len(samples)
  return math.sqrt(len(samples)) * max(above.max(), below.max())
