# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A float64 NumPy witness for the update rules.

Written from the equations alone, without sight of the library, and without
JAX. A small network with hand-written backpropagation gives the gradients. Each
rule below is a transcription of its own equation: the repetition is on purpose,
so that a slip in one of them shows against the others.

Notation: w are all the parameters as one vector, l_i the loss of row i, B the
number of rows of the batch, y_i a label, n_c the training count of class c, N
the sum of the counts, T = {c : n_c < threshold} the tail, ||.|| the Euclidean
norm over all parameters together. Where a norm is zero the perturbation is
zero. No epsilon is added to any norm.
"""

import numpy as np

# The model: logits = tanh(x K1 + b1) K2 + b2, softmax cross entropy.


def init_params(seed, num_features, num_hidden, num_classes):
  """Parameters that float32 can hold exactly; no entry is zero."""
  rng = np.random.default_rng(seed)

  def draw(scale, shape):
    values = scale * rng.standard_normal(shape)
    return values.astype(np.float32).astype(np.float64)

  return {
    'hidden': {
      'kernel': draw(num_features**-0.5, (num_features, num_hidden)),
      'bias': draw(0.1, (num_hidden,)),
    },
    'output': {
      'kernel': draw(num_hidden**-0.5, (num_hidden, num_classes)),
      'bias': draw(0.1, (num_classes,)),
    },
  }


def make_batch(seed, batch_size, num_features, num_classes, *, labels=None):
  """Random features (exact in float32); random labels unless given."""
  rng = np.random.default_rng(seed)
  features = rng.standard_normal((batch_size, num_features))
  if labels is None:
    labels = rng.integers(num_classes, size=batch_size)
  labels = np.asarray(labels, dtype=np.int64)
  if labels.shape != (batch_size,):
    raise ValueError(f'labels: expected ({batch_size},), got {labels.shape}')
  return {
    'features': features.astype(np.float32).astype(np.float64),
    'labels': labels,
  }


def flatten(tree):
  """Hidden kernel, hidden bias, output kernel, output bias as one vector."""
  return np.concatenate(
    [
      np.asarray(tree['hidden']['kernel'], dtype=np.float64).ravel(),
      np.asarray(tree['hidden']['bias'], dtype=np.float64).ravel(),
      np.asarray(tree['output']['kernel'], dtype=np.float64).ravel(),
      np.asarray(tree['output']['bias'], dtype=np.float64).ravel(),
    ]
  )


def unflatten(vector, like):
  """The inverse of `flatten`, with the shapes of `like`."""
  num_features, num_hidden = np.shape(like['hidden']['kernel'])
  num_classes = np.shape(like['output']['bias'])[0]
  first = num_features * num_hidden
  second = first + num_hidden
  third = second + num_hidden * num_classes
  vector = np.asarray(vector, dtype=np.float64)
  if vector.shape != (third + num_classes,):
    raise ValueError(f'expected {third + num_classes} entries: {vector.shape}')
  return {
    'hidden': {
      'kernel': vector[:first].reshape(num_features, num_hidden).copy(),
      'bias': vector[first:second].copy(),
    },
    'output': {
      'kernel': vector[second:third].reshape(num_hidden, num_classes).copy(),
      'bias': vector[third:].copy(),
    },
  }


def example_losses(params, batch):
  """l_i = log sum_c exp(z_ic) - z_i,y_i with z = tanh(x K1 + b1) K2 + b2."""
  features = np.asarray(batch['features'], dtype=np.float64)
  labels = np.asarray(batch['labels'])
  kernel1 = np.asarray(params['hidden']['kernel'], dtype=np.float64)
  bias1 = np.asarray(params['hidden']['bias'], dtype=np.float64)
  kernel2 = np.asarray(params['output']['kernel'], dtype=np.float64)
  bias2 = np.asarray(params['output']['bias'], dtype=np.float64)
  logits = np.tanh(features @ kernel1 + bias1) @ kernel2 + bias2
  largest = logits.max(axis=1)
  log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
  return log_sum - logits[np.arange(labels.shape[0]), labels]


def weighted_gradient(params, batch, weights):
  """Gradient of sum_i weights_i l_i, by the chain rule.

  With h = tanh(x K1 + b1), p = softmax(h K2 + b2), Y the one-hot labels:
    dz  = weights (p - Y)
    dK2 = h^T dz,   db2 = sum_i dz_i
    da  = (dz K2^T) (1 - h^2)
    dK1 = x^T da,   db1 = sum_i da_i
  """
  features = np.asarray(batch['features'], dtype=np.float64)
  labels = np.asarray(batch['labels'])
  weights = np.asarray(weights, dtype=np.float64)
  if weights.shape != labels.shape:
    raise ValueError(f'weights: {weights.shape}, labels: {labels.shape}')
  kernel1 = np.asarray(params['hidden']['kernel'], dtype=np.float64)
  bias1 = np.asarray(params['hidden']['bias'], dtype=np.float64)
  kernel2 = np.asarray(params['output']['kernel'], dtype=np.float64)
  bias2 = np.asarray(params['output']['bias'], dtype=np.float64)

  hidden = np.tanh(features @ kernel1 + bias1)
  logits = hidden @ kernel2 + bias2
  exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
  probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)

  d_logits = probabilities.copy()
  d_logits[np.arange(labels.shape[0]), labels] -= 1.0
  d_logits *= weights[:, None]
  d_activation = (d_logits @ kernel2.T) * (1.0 - hidden**2)
  return {
    'hidden': {
      'kernel': features.T @ d_activation,
      'bias': d_activation.sum(axis=0),
    },
    'output': {
      'kernel': hidden.T @ d_logits,
      'bias': d_logits.sum(axis=0),
    },
  }


# The group weights, [2, B].


def head_tail_weights(labels, class_counts, *, threshold, tail_weight=1.0):
  """v_0i = 1[y_i not in T] / B,  v_1i = tail_weight 1[y_i in T] / B."""
  labels = np.asarray(labels)
  batch_size = labels.shape[0]
  weights = np.zeros((2, batch_size))
  for i in range(batch_size):
    if class_counts[labels[i]] < threshold:
      weights[1, i] = tail_weight / batch_size
    else:
      weights[0, i] = 1.0 / batch_size
  return weights


def focal_weights(labels, class_counts, *, gamma, lam):
  """v_0i = (1 - lam om_i) / B,  v_1i = lam om_i / B.

  om_i = (1 - n_{y_i} / N)^gamma.
  """
  labels = np.asarray(labels)
  batch_size = labels.shape[0]
  total = float(sum(int(count) for count in class_counts))
  weights = np.zeros((2, batch_size))
  for i in range(batch_size):
    omega = (1.0 - class_counts[labels[i]] / total) ** gamma
    weights[0, i] = (1.0 - lam * omega) / batch_size
    weights[1, i] = lam * omega / batch_size
  return weights


# The rules. None of them calls another one, or the group weights above.


def sgd_gradient(params, batch):
  """G = grad[ (1/B) sum_i l_i ](w)."""
  batch_size = len(batch['labels'])
  return weighted_gradient(params, batch, np.full(batch_size, 1.0 / batch_size))


def sam_gradient(params, batch, rho):
  """G = grad L(w + e),  e = rho grad L(w) / ||grad L(w)||,  L = mean_i l_i."""
  batch_size = len(batch['labels'])
  mean = np.ones(batch_size) / batch_size
  w = flatten(params)
  g = flatten(weighted_gradient(params, batch, mean))
  norm = np.sqrt(np.sum(g**2))
  e = rho * g / norm if norm > 0 else np.zeros_like(w)
  return weighted_gradient(unflatten(w + e, params), batch, mean)


def asam_gradient(params, batch, rho):
  """G = grad L(w + e),  e = rho T^2 g / ||T g||,  g = grad L(w),  T = |w|.

  L = mean_i l_i; T acts entry by entry, biases included.
  """
  batch_size = len(batch['labels'])
  mean = np.ones(batch_size) / batch_size
  w = flatten(params)
  g = flatten(weighted_gradient(params, batch, mean))
  t = np.abs(w)
  norm_tg = np.linalg.norm(t * g)
  e = rho * t * t * g / norm_tg if norm_tg > 0 else np.zeros_like(w)
  return weighted_gradient(unflatten(w + e, params), batch, mean)


def imbsam_gradient(
  params, batch, class_counts, threshold, rho, tail_weight=1.0
):
  """G = g_h + grad[ (s/B) sum_{y_i in T} l_i ](w + e),  s = tail_weight.

  g_h = grad[ (1/B) sum_{y_i not in T} l_i ](w)
  g_t = grad[ (s/B) sum_{y_i in T} l_i ](w)
  e   = rho g_t / ||g_t||
  """
  labels = np.asarray(batch['labels'])
  batch_size = labels.shape[0]
  in_tail = np.asarray(class_counts)[labels] < threshold
  head = np.where(in_tail, 0.0, 1.0) / batch_size
  tail = np.where(in_tail, 1.0, 0.0) * tail_weight / batch_size
  w = flatten(params)
  g_h = flatten(weighted_gradient(params, batch, head))
  g_t = flatten(weighted_gradient(params, batch, tail))
  norm_t = np.sqrt(g_t @ g_t)
  e = rho * g_t / norm_t if norm_t > 0 else np.zeros_like(w)
  g_e = flatten(weighted_gradient(unflatten(w + e, params), batch, tail))
  return unflatten(g_h + g_e, params)


def sse_sam_gradient(
  params, batch, class_counts, threshold, head_rho, tail_rho
):
  """G = grad L_h(w + e_h) + grad L_t(w + e_t), the first stage of SSE-SAM.

  L_h = (1/B) sum_{y_i not in T} l_i,  e_h = head_rho grad L_h / ||grad L_h||
  L_t = (1/B) sum_{y_i in T} l_i,      e_t = tail_rho grad L_t / ||grad L_t||

  The second stage is this with head_rho = 0. Each group is cut out as a batch
  of its own rows here, and still divided by the size B of the whole batch.
  """
  labels = np.asarray(batch['labels'])
  features = np.asarray(batch['features'])
  batch_size = labels.shape[0]
  tail_classes = [c for c, n in enumerate(class_counts) if n < threshold]
  tail_rows = [i for i in range(batch_size) if labels[i] in tail_classes]
  head_rows = [i for i in range(batch_size) if labels[i] not in tail_classes]
  w = flatten(params)
  total = np.zeros_like(w)

  if head_rows:
    head = {'features': features[head_rows], 'labels': labels[head_rows]}
    head_weights = np.full(len(head_rows), 1.0 / batch_size)
    g_h = flatten(weighted_gradient(params, head, head_weights))
    norm_h = np.linalg.norm(g_h)
    e_h = head_rho * g_h / norm_h if norm_h > 0 else np.zeros_like(w)
    at_h = unflatten(w + e_h, params)
    total = total + flatten(weighted_gradient(at_h, head, head_weights))

  if tail_rows:
    tail = {'features': features[tail_rows], 'labels': labels[tail_rows]}
    tail_weights = np.full(len(tail_rows), 1.0 / batch_size)
    g_t = flatten(weighted_gradient(params, tail, tail_weights))
    norm_t = np.linalg.norm(g_t)
    e_t = tail_rho * g_t / norm_t if norm_t > 0 else np.zeros_like(w)
    at_t = unflatten(w + e_t, params)
    total = total + flatten(weighted_gradient(at_t, tail, tail_weights))

  return unflatten(total, params)


def focal_sam_gradient(params, batch, class_counts, rho, gamma, lam):
  """G = g_c + grad[ (1/B) sum_i lam om_{y_i} l_i ](w + e).

  om_c = (1 - n_c / N)^gamma
  g_c  = grad[ (1/B) sum_i (1 - lam om_{y_i}) l_i ](w)
  g_a  = grad[ (1/B) sum_i lam om_{y_i} l_i ](w)
  e    = rho g_a / ||g_a||
  """
  labels = np.asarray(batch['labels'])
  batch_size = labels.shape[0]
  counts = np.asarray(class_counts, dtype=np.float64)
  om = np.power(1.0 - counts / counts.sum(), gamma)
  clean = (1.0 - lam * om[labels]) / batch_size
  sharp = lam * om[labels] / batch_size
  w = flatten(params)
  g_c = flatten(weighted_gradient(params, batch, clean))
  g_a = flatten(weighted_gradient(params, batch, sharp))
  norm_a = np.sqrt((g_a * g_a).sum())
  e = rho * g_a / norm_a if norm_a > 0 else np.zeros_like(w)
  g_e = flatten(weighted_gradient(unflatten(w + e, params), batch, sharp))
  return unflatten(g_c + g_e, params)


def rsam_gradient(params, batch, perturbation):
  """G = grad[ (1/B) sum_i l_i ](w + e), the caller draws e."""
  batch_size = len(batch['labels'])
  moved = {}
  for layer in ('hidden', 'output'):
    moved[layer] = {}
    for name in ('kernel', 'bias'):
      moved[layer][name] = np.asarray(
        params[layer][name], dtype=np.float64
      ) + np.asarray(perturbation[layer][name], dtype=np.float64)
  return weighted_gradient(moved, batch, np.ones(batch_size) / batch_size)


# The base optimizer.


def zero_velocity(params):
  """The velocity before the first step."""
  return unflatten(np.zeros_like(flatten(params)), params)


def momentum_step(
  params, velocity, gradient, learning_rate, momentum, weight_decay
):
  """v <- momentum v + (G + weight_decay w),  w <- w - learning_rate v."""
  w = flatten(params)
  decayed = flatten(gradient) + weight_decay * w
  v = momentum * flatten(velocity) + decayed
  return unflatten(w - learning_rate * v, params), unflatten(v, params)


# Closed forms for quadratics: L_k(w) = 0.5 w^T A_k w, A_k symmetric, w [n].


def quadratic_sgd_gradient(matrix, w):
  """G = A w."""
  return matrix @ w


def quadratic_sam_gradient(matrix, w, rho):
  """G = A w + rho A A w / ||A w||."""
  g = matrix @ w
  norm = np.linalg.norm(g)
  return g + rho * (matrix @ g) / norm if norm > 0 else g


def quadratic_asam_gradient(matrix, w, rho):
  """G = A w + rho A D^2 A w / ||D A w||,  D = diag(|w|)."""
  g = matrix @ w
  norm = np.sqrt(np.sum((np.abs(w) * g) ** 2))
  return g + rho * (matrix @ (w**2 * g)) / norm if norm > 0 else g


def quadratic_imbsam_gradient(head_matrix, tail_matrix, w, rho):
  """G = (H + T) w + rho T T w / ||T w||; T holds the tail weight."""
  g = (head_matrix + tail_matrix) @ w
  g_t = tail_matrix @ w
  norm = np.sqrt(g_t @ g_t)
  return g + rho * (tail_matrix @ g_t) / norm if norm > 0 else g


def quadratic_sse_sam_gradient(head_matrix, tail_matrix, w, head_rho, tail_rho):
  """G = H w + head_rho H H w / ||H w|| + T w + tail_rho T T w / ||T w||."""
  g = np.zeros_like(w, dtype=np.float64)
  for matrix, rho in ((head_matrix, head_rho), (tail_matrix, tail_rho)):
    step = matrix @ w
    length = np.sqrt(np.sum(step**2))
    g = g + step
    if length > 0:
      g = g + (rho / length) * (matrix @ step)
  return g


def quadratic_focal_sam_gradient(matrix, focal_matrix, w, rho, lam):
  """G = A w + lam rho F F w / ||F w||,  lam >= 0.

  A is the matrix of the mean loss, F that of the om-weighted mean: the clean
  part has A - lam F and the perturbed part lam F.
  """
  g = matrix @ w
  g_f = focal_matrix @ w
  norm = np.linalg.norm(g_f)
  return g + lam * rho * (focal_matrix @ g_f) / norm if norm > 0 else g


def quadratic_rsam_gradient(matrix, w, perturbation):
  """G = A (w + e) = A w + A e."""
  return matrix @ w + matrix @ perturbation
