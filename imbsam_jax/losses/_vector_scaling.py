# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses that scale and shift logits by class frequency."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _margin_softmax
from imbsam_jax.losses import _mixed


def balanced_softmax(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  label_smoothing: float = 0.0,
) -> jax.Array:
  r"""Balanced softmax, cross entropy of :math:`z + \log n`.

  Ren et al., `Balanced Meta-Softmax for Long-Tailed Visual Recognition
  <https://arxiv.org/abs/2007.10740>`_, NeurIPS 2020. Raw logits at test. It is
  `logit_adjusted_cross_entropy` with tau = 1, and corrects the prior fully: do
  not combine it with class weights or re-balanced sampling, or pass the prior
  of the sampled stream.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head;
      computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    label_smoothing: Share of the target that is spread over all classes.

  Returns:
    Float32 array, shape ``[B]``, not reduced.
  """
  return vs_loss(
    logits,
    labels,
    class_counts,
    gamma=0.0,
    tau=1.0,
    label_smoothing=label_smoothing,
  )


def logit_adjusted_cross_entropy(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  tau: float = 1.0,
  label_smoothing: float = 0.0,
) -> jax.Array:
  r"""Logit-adjusted cross entropy, that of :math:`z + \tau \log \pi`.

  Menon et al., `Long-Tail Learning via Logit Adjustment
  <https://arxiv.org/abs/2007.07314>`_, ICLR 2021, with the class shares
  :math:`\pi = n / N`. Raw logits at test. The same warning as for
  `balanced_softmax` holds.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head;
      computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    tau: Strength >= 0; 0 is cross entropy, 1 is Fisher consistent for the
      balanced error.
    label_smoothing: Share of the target that is spread over all classes.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `tau` is negative.

  .. note::
    The authors' code adds 1e-12 to the prior before the logarithm; here classes
    without images leave the denominator.
  """
  return vs_loss(
    logits,
    labels,
    class_counts,
    gamma=0.0,
    tau=tau,
    label_smoothing=label_smoothing,
  )


def cdt_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  gamma: float = 0.2,
  label_smoothing: float = 0.0,
) -> jax.Array:
  r"""CDT: cross entropy of :math:`z (n / n_{max})^\gamma`.

  Class-dependent temperatures, Ye et al., `Identifying and Compensating for
  Feature Deviation in Imbalanced Deep Learning
  <https://arxiv.org/abs/2001.01385>`_, arXiv 2020. Logits of rare classes are
  shrunk in training, so that the network makes them larger; raw logits at test.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head;
      computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    gamma: Exponent >= 0; 0 is cross entropy. The authors search [0, 0.4] on
      CIFAR-10, [0, 0.2] on CIFAR-100 and Tiny-ImageNet, [0, 0.1] on
      iNaturalist.
    label_smoothing: Share of the target that is spread over all classes.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `gamma` is negative.
  """
  return vs_loss(
    logits,
    labels,
    class_counts,
    gamma=gamma,
    tau=0.0,
    label_smoothing=label_smoothing,
  )


def vs_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  gamma: float = 0.3,
  tau: float = 1.0,
  label_smoothing: float = 0.0,
) -> jax.Array:
  r"""Vector scaling: cross entropy of :math:`\Delta z + \tau \log \pi`.

  .. math::
    \Delta_c = (n_c / n_{max})^\gamma, \qquad \pi_c = n_c / N

  Kini et al., `Label-Imbalanced and Group-Sensitive Classification under
  Overparameterization <https://arxiv.org/abs/2103.01550>`_, NeurIPS 2021. gamma
  = 0 is `logit_adjusted_cross_entropy`, tau = 0 is `cdt_loss`. Raw logits of a
  linear head with bias at test.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head;
      computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator.
    gamma: Exponent of the multipliers, >= 0.
    tau: Strength of the offsets, >= 0. The defaults are those of the authors'
      code, whose example for CIFAR-10 is gamma 0.2, tau 1.2; independent
      re-runs use gamma 0.05.
    label_smoothing: Share of the target that is spread over all classes.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `gamma` or `tau` is negative.
  """
  _checks.number('gamma', gamma, low=0)
  _checks.number('tau', tau, low=0)
  logits = _checks.float_logits(logits)
  counts = _checks.loss_counts(class_counts, logits.shape[1])
  positive = jnp.where(counts > 0, counts, 1.0)
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    multiplier=(positive / counts.max()) ** gamma,
    offset=jnp.where(
      counts > 0, tau * jnp.log(positive / counts.sum()), -jnp.inf
    ),
    label_smoothing=label_smoothing,
  )


def arb_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike | None = None,
  *,
  clip: float | None = 30.0,
  axis_name: str | None = None,
) -> jax.Array:
  r"""Attraction-repulsion balanced loss.

  .. math::
    \ell = -\log \frac{e^{z_y}}{\sum_j (n_j / n_y) \, e^{z_j}}

  Xie et al., `Neural Collapse Inspired Attraction-Repulsion-Balanced Loss for
  Imbalanced Learning <https://arxiv.org/abs/2204.08735>`_, Neurocomputing 2023,
  on logits clipped to +-30: balanced softmax, by the counts of the batch where
  none are given (the authors' default on CIFAR; the global counts on the large
  sets). A batch of one class has loss 0.

  Args:
    logits: Float array of any dtype, shape ``[B, C]``, of a linear head;
      computed in float32.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`.
    class_counts: Numbers, shape ``[C]``, or None for the histogram of the
      batch, of ``labels.first`` if they are mixed.
    clip: Largest absolute logit, > 0, without gradient beyond; None clips
      nothing.
    axis_name: Mapped axis over which the histogram is summed.

  Returns:
    Float32 array, shape ``[B]``, not reduced. Infinite for a second label of
    which the batch has no first: the two have to come from the same rows, as in
    mixup.

  Raises:
    ValueError: If `clip` is not positive.
  """
  logits = _checks.float_logits(logits)
  labels = _mixed.check_labels(labels, logits)
  if clip is not None:
    _checks.number('clip', clip, above=0)
    logits = jnp.clip(logits, -clip, clip)
  if class_counts is None:
    first = labels.first if isinstance(labels, _mixed.MixedLabels) else labels
    is_target = _mixed.one_hot(first, logits.shape[1])
    class_counts = jnp.sum(is_target.astype(jnp.float32), axis=0)
    if axis_name is not None:
      class_counts = jax.lax.psum(class_counts, axis_name)
  return balanced_softmax(logits, labels, class_counts)
