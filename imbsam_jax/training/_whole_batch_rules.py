# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Update rules of one class group, the whole batch."""

import jax

from imbsam_jax import _masks
from imbsam_jax.training import _class_groups
from imbsam_jax.training import _stages


def sgd(class_counts: _class_groups.ClassCounts) -> _class_groups.Method:
  r"""The base optimizer alone, :math:`g = \nabla L(w)`.

  Args:
    class_counts: Training images of each class, ``[C]``.

  Returns:
    One group, one stage. A step costs 1: one forward and one backward pass.

  Raises:
    TypeError: If the counts are not numbers.
    ValueError: If there are no counts, or they are negative or nothing but
      zeros.
  """
  return _class_groups.Method(
    _class_groups.group_weights_by_class('sgd', class_counts),
    _stages.stages('sgd'),
  )


def sam(
  class_counts: _class_groups.ClassCounts,
  rho: _stages.Radius,
  *,
  average_decay: float | None = None,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> _class_groups.Method:
  r"""SAM: all rows are perturbed.

  .. math::
    g = \nabla L(w + e), \qquad
    e = \rho \, \frac{\nabla L(w)}{\|\nabla L(w)\|_2}

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius, a number >= 0 or a schedule of them; 0.05 is usual.
    average_decay: Decay rate, from 0 to 1, without 1, of a running average of
      the perturbed gradients that takes the place of the gradient at w in e, or
      None.
    adaptive: Whether the perturbation is scaled by the size of each weight
      (ASAM), where radii are about ten times larger.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    One group, one stage. A step costs 2: two passes over all rows. With
    `average_decay` it costs 1, and the loss of a step is that at w + e.

  Raises:
    TypeError: If the counts or the radius are not numbers.
    ValueError: If there are no counts, they are negative or nothing but zeros,
      the radius is negative, or `average_decay` is outside of its range.

  References:
    Foret et al., `Sharpness-Aware Minimization for Efficiently Improving
    Generalization <https://arxiv.org/abs/2010.01412>`_, ICLR 2021; the link is
    `imbsam_jax.sam`.
  """
  return _class_groups.Method(
    _class_groups.group_weights_by_class('sam', class_counts),
    _stages.stages(
      'sam', rho=rho, average_decay=average_decay, adaptive=adaptive, mask=mask
    ),
  )


def rsam(
  class_counts: _class_groups.ClassCounts,
  rho: _stages.Radius,
  *,
  key: jax.Array,
  mask: _masks.Mask = None,
) -> _class_groups.Method:
  r"""RSAM: the gradient at a random point near w, for all rows.

  .. math::
    g = \nabla L(w + e), \qquad
    e_j = \rho \, \mathrm{clip}(z_j, -1, 1), \quad z_j \sim N(0, 1/9)

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Half-width of the neighborhood per entry (not a norm), a number >= 0
      or a schedule of them; the release has 0.005.
    key: Key of `jax.random` for the noise.
    mask: Leaves that are perturbed, see `stages`; others get no noise.

  Returns:
    One group, one stage. A step costs 1: the pass at w is left out.

  Raises:
    TypeError: If the counts or the radius are not numbers, or `key` is no key.
    ValueError: If there are no counts, they are negative or nothing but zeros,
      or the radius is negative.

  References:
    `Improving Visual Prompt Tuning by Gaussian Neighborhood Minimization for
    Long-Tailed Visual Recognition <https://arxiv.org/abs/2410.21042>`_, NeurIPS
    2024; the link is `imbsam_jax.rsam`.
  """
  return _class_groups.Method(
    _class_groups.group_weights_by_class('rsam', class_counts),
    _stages.stages('rsam', rho=rho, key=key, mask=mask),
  )


def look_sam(
  class_counts: _class_groups.ClassCounts,
  rho: _stages.Radius,
  *,
  every: int,
  alpha: float,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> _class_groups.Method:
  r"""LookSAM: SAM every few steps, and its sharp part in between.

  .. math::
    g_s = \nabla L(w + e), \qquad
    g_v = g_s - \langle g_s, \hat g \rangle \, \hat g, \qquad
    g + \alpha \frac{\|g\|}{\|g_v\|} g_v \text{ in between},

  with the perturbation e of SAM, and :math:`\hat g` the unit vector along the
  gradient g.

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius, a number >= 0 or a schedule of them.
    every: Number k of steps from one SAM gradient to the next; the authors use
      5 and 10.
    alpha: Factor >= 0 of the remembered part; 0.7 is usual.
    adaptive: Whether the perturbation is scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    One group, and two stages that take turns, each with a program of its own:
    every k-th step costs 2, the others 1.

  Raises:
    TypeError: If an argument is not a number, or `every` is no integer.
    ValueError: If there are no counts, they are negative or nothing but zeros,
      the radius or `alpha` is negative, or `every` is below 1.

  References:
    Liu et al., `Towards Efficient and Scalable Sharpness-Aware Minimization
    <https://arxiv.org/abs/2203.02714>`_, CVPR 2022; the link is
    `imbsam_jax.look_sam`.
  """
  return _class_groups.Method(
    _class_groups.group_weights_by_class('look_sam', class_counts),
    _stages.stages(
      'look_sam',
      rho=rho,
      every=every,
      alpha=alpha,
      adaptive=adaptive,
      mask=mask,
    ),
  )


def friendly_sam(
  class_counts: _class_groups.ClassCounts,
  rho: _stages.Radius,
  *,
  sigma: float,
  lam: float,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> _class_groups.Method:
  r"""Friendly SAM: the ascent leaves out what all batches have in common.

  .. math::
    g = \nabla L\Big(w + \rho \frac{d}{\|d\|_2}\Big), \qquad
    d = \nabla L(w) - \sigma m,

  with the running average m of the gradients at w.

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius, a number >= 0 or a schedule of them; the authors use 0.2.
    sigma: Factor >= 0 of what is taken away; the authors use 1.
    lam: Decay rate of the running average, from 0 to 1, without 1; the authors
      use 0.6 to 0.95.
    adaptive: Whether the perturbation is scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    One group, one stage. A step costs 2: two passes over all rows.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If there are no counts, they are negative or nothing but zeros,
      the radius or `sigma` is negative, or `lam` is outside of its range.

  References:
    Li et al., `Friendly Sharpness-Aware Minimization
    <https://arxiv.org/abs/2403.12350>`_, CVPR 2024; the link is
    `imbsam_jax.friendly_sam`.
  """
  return _class_groups.Method(
    _class_groups.group_weights_by_class('friendly_sam', class_counts),
    _stages.stages(
      'friendly_sam',
      rho=rho,
      sigma=sigma,
      lam=lam,
      adaptive=adaptive,
      mask=mask,
    ),
  )


def gsam(
  class_counts: _class_groups.ClassCounts,
  rho: _stages.Radius,
  *,
  alpha: float,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> _class_groups.Method:
  r"""GSAM: the surrogate gap is lowered along with the perturbed loss.

  .. math::
    g_p - \alpha \Big(g - \frac{\langle g, g_p \rangle}{\|g_p\|^2} g_p\Big),
    \qquad g_p = \nabla L(w + e),

  with the gradient g at w and the perturbation e of SAM.

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius, a number >= 0 or a schedule of them.
    alpha: Factor >= 0 of the part of g that is orthogonal to :math:`g_p`; it is
      tuned for each model.
    adaptive: Whether the perturbation is scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    One group, one stage. A step costs 2: two passes over all rows.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If there are no counts, they are negative or nothing but zeros,
      or the radius or `alpha` is negative.

  References:
    Zhuang et al., `Surrogate Gap Minimization Improves Sharpness-Aware Training
    <https://arxiv.org/abs/2203.08065>`_, ICLR 2022; the link is
    `imbsam_jax.gsam`.
  """
  return _class_groups.Method(
    _class_groups.group_weights_by_class('gsam', class_counts),
    _stages.stages('gsam', rho=rho, alpha=alpha, adaptive=adaptive, mask=mask),
  )
