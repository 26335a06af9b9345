# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CC-SAM: what a perturbation of the head for each class does to logits."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax import _cosine
from imbsam_jax import _device_axis


def cc_sam_shift(
  features: ArrayLike,
  slopes: ArrayLike,
  labels: Any,
  kernel: ArrayLike,
  bias: ArrayLike,
  class_counts: Any,
  *,
  noise_ratio: float,
  axis_name: str | None = None,
) -> jax.Array:
  r"""How far logits move where the linear head moves up the loss of a class.

  Zhou et al., `Class-Conditional Sharpness-Aware Minimization for Deep
  Long-Tailed Recognition
  <https://openaccess.thecvf.com/content/CVPR2023/html/Zhou_Class-Conditional_Sharpness-Aware_Minimization_for_Deep_Long-Tailed_Recognition_CVPR_2023_paper.html>`_,
  CVPR 2023, `released code <https://github.com/zzpustc/CC-SAM>`_. With g_k the
  gradient by the kernel W of the mean loss of the rows of class k, it is moved
  for these rows by

  .. math::
    e_k = r_k \sqrt{P} \, \frac{g_k}{\|g_k\|}, \qquad
    r_k = \nu \sqrt{\frac{\|\theta\|}{2 \|g_k\|}} \,
      \big( P \max(n_k - 1, 1) \big)^{-1/4},

  and so is the bias by its own gradient. P is the number of parameters of the
  head, theta are all of them, n_k is the number of training examples of the
  class. A row with features z is moved by z e_k^W + e_k^b. Where a gradient is
  zero, so is e_k; the smaller it is else, the larger is e_k: the length goes
  with :math:`\|g_k\|^{-1/2} n_k^{-1/4}`.

  No array has the size of a kernel for each class: g_k is the sum of z_j d_j /
  B_k over its B_k rows, so that z_i g_k needs the products z_i z_j of rows of
  one class alone. With the gradient this takes B^2 (2 D + 3 C) multiplications,
  the head itself 3 B D C.

  >>> import jax.numpy as jnp
  >>> features, slopes = jnp.array([[3.0, 4.0]]), jnp.array([[-0.6, 0.8]])
  >>> kernel, bias = jnp.ones((2, 2)), jnp.zeros(2)
  >>> shift = cc_sam_shift(
  ...   features, slopes, jnp.array([0]), kernel, bias, [17, 3], noise_ratio=1.0
  ... )
  >>> print(shift.round(4))
  [[-1.5194  2.0259]]

  Args:
    features: Float array, shape ``[B, D]``, what the head reads.
    slopes: Float array, shape ``[B, C]``, derivatives d of the loss of each row
      by its logits.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, the class of each
      row.
    kernel: Float array, shape ``[D, C]``, of the head.
    bias: Float array, shape ``[C]``, of the head.
    class_counts: Numbers of training examples, shape ``[C]``.
    noise_ratio: Factor :math:`\nu` >= 0 of the radii.
    axis_name: Mapped axis over whose devices the rows of a class lie.

  Returns:
    Float32 array, shape ``[B, C]``. Its only gradient is the one by `features`,
    e_k^W: the perturbation is a constant.

  Raises:
    TypeError: If features, slopes, kernel or bias are not floating point, or
      labels not integers.
    ValueError: If shapes do not fit, a concrete label is out of range, or
      `noise_ratio` is negative.

  .. note::
    The released code divides by zero where a class has one example or no
    gradient. Its noise ratio of 1e-6 moves a head of 10 classes by about 1e-5,
    so that nothing is perturbed.
  """
  _checks.number('noise_ratio', noise_ratio, low=0)
  slopes = _cosine.float_matrix('slopes', slopes)
  num_rows, num_classes = slopes.shape
  features = _float_rows('features', features, num_rows, 'slopes')
  kernel = _float_rows('kernel', kernel, features.shape[1], 'features are wide')
  bias = _checks.per_class('bias', bias, num_classes)
  if kernel.shape[1] != num_classes:
    raise ValueError(
      f'`kernel` must have a column for each of the {num_classes} classes, got '
      f'{kernel.shape}. Pass a kernel [D, C].'
    )
  labels = _checks.device_labels(labels, num_classes, num_rows=num_rows)
  counts = _checks.loss_counts(class_counts, num_classes)
  size = kernel.size + bias.size
  length = jnp.sqrt(jnp.sum(kernel**2) + jnp.sum(bias**2))
  # Of e_k over g_k ||g_k||^{-3/2}, for the class of each row.
  factors = noise_ratio * jnp.sqrt(length / 2)
  factors = factors * (size / jnp.maximum(counts - 1.0, 1.0)) ** 0.25
  factors, slopes = jax.lax.stop_gradient((factors[labels][:, None], slopes))
  all_features, all_slopes, all_labels = _device_axis.gathered(
    jax.lax.stop_gradient((features, slopes, labels)), axis_name
  )
  alike = (labels[:, None] == all_labels[None]).astype(jnp.float32)
  mean = alike / jnp.sum(alike, axis=1, keepdims=True)
  by_kernel = _product(mean * _product(features, all_features.T), all_slopes)
  by_bias = _product(mean, all_slopes)
  # ||g||^2 = tr(g^T g) is the mean of (z_i g) d_i over the rows of the class.
  squares = jax.lax.stop_gradient(jnp.sum(by_kernel * slopes, axis=1))
  squares = _device_axis.gathered(squares, axis_name)
  kernel_square = _product(mean, squares[:, None])
  bias_square = jnp.sum(by_bias**2, axis=1, keepdims=True)
  return factors * (
    by_kernel * _direction(kernel_square) + by_bias * _direction(bias_square)
  )


def _direction(square: jax.Array) -> jax.Array:
  """||g||^{-3/2} of a square ||g||^2, 0 where there is none."""
  given = square > 0  # Not what rounding leaves of zero.
  return jnp.where(given, jnp.where(given, square, 1.0) ** -0.75, 0.0)


def _product(one: jax.Array, other: jax.Array) -> jax.Array:
  return jnp.matmul(one, other, precision=_cosine.PRECISION)


def _float_rows(
  name: str, values: ArrayLike, num_rows: int, like: str
) -> jax.Array:
  array = _cosine.float_matrix(name, values)
  if len(array) != num_rows:
    raise ValueError(
      f'`{name}` must have as many rows as {like}, {num_rows}, got '
      f'{array.shape}. Pass those of one batch and its head.'
    )
  return array
