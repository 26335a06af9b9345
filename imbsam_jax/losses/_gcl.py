# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gaussian clouded logits."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from imbsam_jax import _checks
from imbsam_jax.losses import _margin_softmax


def gcl_loss(
  logits: ArrayLike,
  labels: Any,
  class_counts: ArrayLike,
  *,
  key: jax.Array,
  noise_scale: float = 0.5,
  margin: float = 0.0,
  scale: float = 30.0,
) -> jax.Array:
  r"""Gaussian clouded logits: cross entropy of :math:`s (x' - m e_y)`.

  Li et al., `Long-Tailed Visual Recognition via Gaussian Clouded Logit
  Adjustment <https://arxiv.org/abs/2305.11733>`_, CVPR 2022. The cosines of
  rare classes are lowered at random, in every row and also where they are not
  the target,

  .. math::
    x'_{bc} = x_{bc} - \kappa \, |\epsilon_{bc}| \, \delta_c, \qquad
    \delta_c = \frac{\log n_{max} - \log n_c}{\log n_{max} - \log n_{min}},

  with :math:`\epsilon` from N(0, 1/9) clipped to [-1, 1], independent by row
  and class.

  Args:
    logits: Float array of cosines, shape ``[B, C]``, see `models.CosineHead`.
    labels: Int array, shape ``[B]``, values in ``[0, C)``, or `MixedLabels`,
      whose two terms share the noise.
    class_counts: Numbers, shape ``[C]``; only their ratios count. A class with
      0 leaves the denominator. Equal counts mean no noise.
    key: Key of `jax.random`, a new one for each step.
    noise_scale: Factor :math:`\kappa` >= 0 of the noise; 0 for evaluation.
    margin: Margin m >= 0 of the target.
    scale: Scale s > 0. The defaults are the authors' first stage; their second
      (classifier only, class-balanced sampling) has margin 0.1 and scale 20,
      GNM-PT noise scale 1, margin 0.1, scale 25.

  Returns:
    Float32 array, shape ``[B]``, not reduced.

  Raises:
    ValueError: If `noise_scale` or `margin` is negative.
  """
  _checks.number('noise_scale', noise_scale, low=0)
  _checks.number('margin', margin, low=0)
  logits = _checks.float_logits(logits)
  counts = _checks.loss_counts(class_counts, logits.shape[1])
  present = counts > 0
  logs = jnp.log(jnp.where(present, counts, counts.max()))
  spread = logs.max() - logs.min()
  delta = (logs.max() - logs) / jnp.where(spread > 0, spread, 1.0)
  noise = jnp.abs(
    jnp.clip(jax.random.normal(key, logits.shape, jnp.float32) / 3, -1.0, 1.0)
  )
  clouds = noise_scale * noise * delta[None]
  return _margin_softmax.margin_softmax(
    logits,
    labels,
    offset=jnp.where(present[None], -clouds, -jnp.inf),
    scale=scale,
    margin=margin,
  )
