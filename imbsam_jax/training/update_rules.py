# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Update rules as the trainer sees them: class groups, and links by stages.

A notebook takes one of the functions here, and hands its parts on: the class
weights of the groups to the batches, the link to the optimizer, and with it to
`training.make_train_step`. A method with several stages has a link, and so a
step, for each.

>>> import jax, numpy as np
>>> from imbsam_jax import data, losses, models, training
>>> labels = np.repeat([0, 1, 2], [30, 12, 4])
>>> images = np.eye(3, 8, dtype=np.float32)[labels]
>>> counts = np.bincount(labels)
>>> method = training.update_rules.sse_sam(
...   counts, 0.05, 0.1, threshold=10, switch_step=6)
>>> mesh = training.data_mesh()
>>> batches = data.split_batches(
...   data.shuffled_order(len(labels), batch_size=16, seed=0),
...   data.Examples(images, labels), method.group_weights_by_class,
...   row_multiple=mesh.size)
>>> model = models.MLP(num_classes=3, widths=(8,))
>>> steps = {}
>>> for stage in method.stages:
...   tx = training.make_optimizer(stage.link, learning_rate=0.1)
...   steps[stage.start] = jax.jit(training.make_train_step(
...     model, tx, losses.cross_entropy, lambda images: images))
>>> state = training.replicate(mesh, training.create_train_state(
...   model, tx, jax.random.key(0), images[:1]))
>>> state, seconds = training.fit(
...   state, lambda step: steps[method.stage(step).start], batches,
...   num_steps=8, put_batch=lambda batch: training.shard_batch(mesh, batch))
>>> int(state.step)
8

What a step costs is counted in SGD steps, by `training.step_cost` for a batch
as it is. Below, N is the number of all rows, and N_head and N_tail are those of
the two groups; "joint" is the layout of models whose rows depend on one another
(BatchNorm), "split" that of `data.split_batches`.

A program that reads the name of a rule from a configuration asks `stages` for
the links of that name, and `group_weights_by_class` for the groups where these
are made of classes. A trainer with groups of its own takes `stages` alone.
"""

from imbsam_jax import _masks
from imbsam_jax.training import _stages
from imbsam_jax.training._class_groups import ClassCounts
from imbsam_jax.training._class_groups import group_weights_by_class
from imbsam_jax.training._class_groups import Method
from imbsam_jax.training._layouts import step_cost
from imbsam_jax.training._stages import joint_cost
from imbsam_jax.training._stages import Name
from imbsam_jax.training._stages import NAMES
from imbsam_jax.training._stages import Stage
from imbsam_jax.training._stages import stages
from imbsam_jax.training._whole_batch_rules import friendly_sam
from imbsam_jax.training._whole_batch_rules import gsam
from imbsam_jax.training._whole_batch_rules import look_sam
from imbsam_jax.training._whole_batch_rules import rsam
from imbsam_jax.training._whole_batch_rules import sam
from imbsam_jax.training._whole_batch_rules import sgd

__all__ = [
  'Method',
  'NAMES',
  'Name',
  'Stage',
  'focal_sam',
  'friendly_sam',
  'group_weights_by_class',
  'gsam',
  'imbsam',
  'joint_cost',
  'look_sam',
  'momentum_imbsam',
  'rsam',
  'sam',
  'sgd',
  'sse_sam',
  'stages',
  'step_cost',
]

Radius = _stages.Radius


def imbsam(
  class_counts: ClassCounts,
  rho: Radius,
  *,
  threshold: int,
  tail_weight: float = 1.0,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> Method:
  r"""ImbSAM: only the rows of tail classes are perturbed.

  .. math::
    g = \nabla L_{head}(w) + \nabla L_{tail}(w + e), \qquad
    e = \rho \, \frac{\nabla L_{tail}(w)}{\|\nabla L_{tail}(w)\|_2}

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius of the tail, a number >= 0 or a schedule of them; the authors
      use 0.05.
    threshold: Classes with strictly fewer training images are tail.
    tail_weight: Factor of the loss of the tail. 1 is the method as stated, 2
      reproduces the authors' released code.
    adaptive: Whether the perturbation is scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    The groups head and tail, one stage. A step costs (N_head + 2 N_tail) / N
    with split rows, 2.67 with joint ones.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If there are no counts, a count is not positive, or the radius
      or `tail_weight` is negative.

  References:
    Zhou et al., `ImbSAM: A Closer Look at Sharpness-Aware Minimization in
    Class-Imbalanced Recognition <https://arxiv.org/abs/2308.07815>`_, ICCV
    2023; the link is `imbsam_jax.imbsam`.
  """
  return Method(
    group_weights_by_class(
      'imbsam', class_counts, threshold=threshold, tail_weight=tail_weight
    ),
    stages('imbsam', rho=rho, adaptive=adaptive, mask=mask),
  )


def momentum_imbsam(
  class_counts: ClassCounts,
  rho: Radius,
  *,
  threshold: int,
  tail_weight: float = 1.0,
  decay: float = 0.99,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> Method:
  r"""ImbSAM whose ascent direction is remembered: tail rows pay once.

  .. math::
    g = \nabla L_{head}(w) + \nabla L_{tail}(w + e), \qquad
    e = \rho \, \frac{m}{\|m\|_2},

  with the running average m of :math:`\nabla L_{tail}(w + e)` over the steps
  before that had tail rows.

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius of the tail, a number >= 0 or a schedule of them.
    threshold: Classes with strictly fewer training images are tail.
    tail_weight: Factor of the loss of the tail.
    decay: Decay rate of the running average, from 0 to 1, without 1.
    adaptive: Whether the perturbation is scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    The groups head and tail, one stage. A step costs 1 with split rows, 2 with
    joint ones, 1 + N_tail / N with the layout 'tail_only'.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If there are no counts, a count is not positive, the radius or
      `tail_weight` is negative, or `decay` is outside of its range.

  References:
    The library's own; the link is `imbsam_jax.momentum_imbsam`.
  """
  return Method(
    group_weights_by_class(
      'momentum_imbsam',
      class_counts,
      threshold=threshold,
      tail_weight=tail_weight,
    ),
    stages(
      'momentum_imbsam', rho=rho, decay=decay, adaptive=adaptive, mask=mask
    ),
  )


def sse_sam(
  class_counts: ClassCounts,
  head_rho: Radius,
  tail_rho: Radius,
  *,
  threshold: int,
  tail_weight: float = 1.0,
  switch_step: int,
  average_decay: float | None = None,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> Method:
  r"""SSE-SAM: head and tail are perturbed apart, the head only at first.

  .. math::
    g = \sum_{k \in \{head, tail\}} \nabla L_k(w + e_k), \qquad
    e_k = \rho_k \, \frac{\nabla L_k(w)}{\|\nabla L_k(w)\|_2}

  Args:
    class_counts: Training images of each class, ``[C]``.
    head_rho: Radius of the head before `switch_step`, a number >= 0 or a
      schedule of them; the authors use 0.05.
    tail_rho: Radius of the tail, likewise; the authors use 0.1.
    threshold: Classes with strictly fewer training images are tail.
    tail_weight: Factor of the loss of the tail.
    switch_step: First step at which the head is no longer perturbed; 0 is the
      second stage from the start.
    average_decay: Decay rate, from 0 to 1, without 1, of running averages of
      the perturbed gradients of each group that take the place of the
      gradients at w in the perturbations, or None.
    adaptive: Whether the perturbations are scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    The groups head and tail, and two stages; one if `switch_step` is 0. The
    second stage is compiled as what it is, ImbSAM, so that head rows stop
    costing a second pass: a step costs 2 with split rows and 3.67 with joint
    ones, then (N_head + 2 N_tail) / N and 2.67. With `average_decay` it costs 1
    with split rows and 2.33 with joint ones, then 1 and 2.

  Raises:
    TypeError: If an argument is not a number, or `switch_step` is no integer.
    ValueError: If there are no counts, a count is not positive, or a radius,
      `tail_weight` or `switch_step` is negative, or `average_decay` is outside
      of its range.

  References:
    `SSE-SAM: Balancing Head and Tail Classes Gradually through Stage-Wise SAM
    <https://arxiv.org/abs/2412.13715>`_, AAAI 2025; the link is
    `imbsam_jax.sse_sam`.
  """
  return Method(
    group_weights_by_class(
      'sse_sam', class_counts, threshold=threshold, tail_weight=tail_weight
    ),
    stages(
      'sse_sam',
      rho=tail_rho,
      head_rho=head_rho,
      switch_step=switch_step,
      average_decay=average_decay,
      adaptive=adaptive,
      mask=mask,
    ),
  )


def focal_sam(
  class_counts: ClassCounts,
  rho: Radius,
  *,
  gamma: float,
  lam: float,
  adaptive: bool = False,
  mask: _masks.Mask = None,
) -> Method:
  r"""Focal-SAM: each row is perturbed by the rarity of its class.

  With :math:`\omega_c = (1 - n_c / N)^\gamma`,

  .. math::
    g = \nabla \tfrac{1}{B}\sum_i (1 - \lambda\omega_{y_i})\, l_i(w)
      + \nabla \tfrac{1}{B}\sum_i \lambda\omega_{y_i}\, l_i(w + e), \qquad
    e = \rho \, \frac{\nabla \sum_i \omega_{y_i} l_i(w)}
      {\|\nabla \sum_i \omega_{y_i} l_i(w)\|_2}

  Args:
    class_counts: Training images of each class, ``[C]``.
    rho: Radius, a number >= 0 or a schedule of them; the authors use 0.2 on
      CIFAR-10-LT and 0.3 on CIFAR-100-LT, with the logit-adjusted loss.
    gamma: Exponent >= 0 of the rarity; large values leave nothing to perturb.
    lam: Share >= 0 of the perturbed group; 0 is SGD.
    adaptive: Whether the perturbation is scaled by the size of each weight.
    mask: Leaves that are perturbed and counted in the norm, see `stages`.

  Returns:
    Two groups that every row belongs to, one stage. A step costs 2.67: rows
    cannot be split.

  Raises:
    TypeError: If an argument is not a number.
    ValueError: If there are no counts, a count is not positive, or the radius,
      `gamma` or `lam` is negative.

  References:
    `Focal-SAM: Focal Sharpness-Aware Minimization for Long-Tailed
    Classification <https://arxiv.org/abs/2505.01660>`_, ICML 2025; the link is
    `imbsam_jax.focal_sam`.
  """
  return Method(
    group_weights_by_class('focal_sam', class_counts, gamma=gamma, lam=lam),
    stages('focal_sam', rho=rho, adaptive=adaptive, mask=mask),
  )
