# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sharpness-aware updates per class group: the core of the family."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbsam_jax import _checks
from imbsam_jax import _masks
from imbsam_jax.transforms import _oracle_checks
from imbsam_jax.transforms import _perturbation
from imbsam_jax.transforms import _remembered_ascent


class GroupSamState(NamedTuple):
  """State of `group_sam`: the number of completed updates, int32.

  With `average_decay` it is `GroupAverageState`.
  """

  count: jax.Array


def group_sam(
  rhos: Sequence[_perturbation.Radius | None],
  *,
  average_decay: jax.typing.ArrayLike | None = None,
  mask: _masks.Mask = None,
  adaptive: bool | _masks.Mask = False,
  eps: float = 1e-12,
) -> optax.GradientTransformationExtraArgs:
  r"""Sharpness-aware gradient with one radius per class group.

  The batch loss is a sum over groups of classes, :math:`L = \sum_k L_k`. This
  link replaces its gradient at the parameters w by

  .. math::
    g = \sum_k \nabla L_k(w + e_k), \qquad
    e_k = \rho_k \, \frac{\nabla L_k(w)}{\|\nabla L_k(w)\|_2 + \epsilon},

  where a group of radius None stays at w and costs no further pass. With
  `average_decay` :math:`\beta` each group ascends along what is remembered of
  its own perturbed gradients instead, so that no pass is made for a direction:

  .. math::
    g_t = \sum_k \nabla L_k(w_t + e_{k,t}), \qquad
    e_{k,t} = \rho_k \, \frac{m_{k,t}}{\|m_{k,t}\|_2 + \epsilon}, \qquad
    m_{k,t+1} = \beta m_{k,t} + (1 - \beta) \nabla L_k(w_t + e_{k,t}),

  with :math:`m_{k,0} = 0`, so that the first perturbations are zero. A batch
  without rows of a group leaves its average as it is. Instances are:

  ============= ====================================================
  SGD           ``(None,)``
  `sam`         ``(rho,)``
  `imbsam`      ``(None, rho)``: head, tail
  `sse_sam`     ``(head_rho, tail_rho)``
  `focal_sam`   ``(None, rho)`` with the weights of `focal_weights`
  ============= ====================================================

  and `momentum_imbsam`, ``(None, rho)`` with an `average_decay`, which `sam`
  and `sse_sam` take too.

  It must be the first link of a chain, because the gradient that it receives
  has to be the full gradient at w; clipping, weight decay, momentum and the
  learning rate act on its result:

  >>> import jax, optax
  >>> from imbsam_jax import gradient_oracle, group_sam, head_tail_weights
  >>> tx = optax.chain(group_sam((None, 0.05)), optax.sgd(0.1))
  >>> def loss_fn(params, batch, weights):
  ...   logits = batch['x'] @ params
  ...   losses = optax.softmax_cross_entropy_with_integer_labels(
  ...     logits, batch['y'])
  ...   return (weights * losses).sum(), logits
  >>> params = jax.numpy.zeros((2, 3))
  >>> batch = {'x': jax.numpy.eye(4, 2), 'y': jax.numpy.array([0, 1, 2, 0])}
  >>> weights = head_tail_weights(batch['y'], [90, 30, 5], threshold=20)
  >>> (loss, logits), grads, grad_fn = gradient_oracle(
  ...   loss_fn, params, batch, group_weights=weights)
  >>> updates, state = tx.update(
  ...   grads, tx.init(params), params, grad_fn=grad_fn)
  >>> print(f'{loss:.4f}')
  1.0986

  Args:
    rhos: One radius per group: a float >= 0, an `optax.Schedule` of the number
      of completed updates, or None. A constant 0.0 is the same as None.
    average_decay: Decay rate beta of the running averages, from 0 to 1, without
      1, or None. With 0 a direction is the gradient of the group's last step.
    mask: Leaves that are perturbed and counted in the norm: a tree of bools
      like the parameters (or a prefix of it), or a function from parameters to
      one. None means all. This is the place to freeze leaves: `optax.masked`
      *around* this link is wrong.
    adaptive: True perturbs every leaf in proportion to its own magnitude
      (ASAM, Kwon et al., ICML 2021): :math:`e = \rho\, w^2 g / \||w| g\|`. A
      mask restricts that to its leaves.
    eps: Number that is added to the norm.

  Returns:
    An `optax.GradientTransformationExtraArgs` whose update takes the keyword
    ``grad_fn(params, group: int) -> gradient of that group's loss``, made by
    `gradient_oracle` or `split_gradient_oracle`, inside the same traced
    function. Group 0 at w is the remainder ``updates - sum_{k>=1}
    grad_fn(params, k)``, so it costs nothing.

    Cost beyond the gradient passed in: one forward and one backward pass over
    its rows for each group with a radius, and the clean gradient of each such
    group from 1 on, which the library's oracles have already.

    With `average_decay` the gradient passed in is not read, and a step costs 1
    where each group has rows of its own (`split_gradient_oracle`, or one
    group): the pass at w of a group that is perturbed is dead code under
    `jax.jit`, and loss and aux in ``grad_fn.value`` are those at the perturbed
    points. Groups that share their rows (`gradient_oracle`) have a pass of all
    rows each, and ``grad_fn.value`` is that at w. One tree of parameters more
    in memory for each group with a radius.

  Raises:
    ValueError: If a radius is negative or there are no groups. The update
      raises it without `grad_fn`, for an oracle with another number of groups,
      for parameters with parts cut out, and for a gradient that is not the
      oracle's, because another transformation came before this link.
    TypeError: If a radius is neither a number, a schedule nor None.

  .. note::
    A group with a zero gradient (no rows in this batch) contributes that zero
    gradient: groups from 1 on leave the update unchanged bit for bit.

  .. note::
    A remembered direction is that of Becker et al., `Momentum-SAM
    <https://arxiv.org/abs/2401.12033>`_, 2024, where it is the momentum of the
    optimizer, for the whole loss, and taken with a minus: downhill. Here it is
    an average of perturbed gradients, for each group, and goes up. Where every
    device ascends on its own rows, call the update with ``axis_name='data'``:
    the averages are then those of the sum over devices, the same on each.

  .. note::
    Norm, e and w + e are computed in float32, so the loss sees float32 leaves
    where parameters are bf16. Updates keep the dtype they came in.

  .. note::
    For gradient accumulation use ``chain(group_sam(...), MultiSteps(...))``,
    the mean of the updates of the micro-batches, or the argument
    `num_microbatches` of the oracle, the update of the large batch.
    `optax.MultiSteps` *around* this link is refused: it keeps only the last
    micro-batch's gradient.

  .. note::
    The library's oracles know the gradient that they gave out, and a link with
    a radius refuses another one, such as that of a chain in which Adam comes
    first. A gradient that is changed on purpose, summed over devices for
    example, goes with a function that does the same:
    ``grad_fn=lambda p, k: jax.lax.psum(grad_fn(p, k), 'data')``. Where it
    reaches the link through `jax.lax.cond` or another traced function, a
    warning says that it could not be checked.
  """
  if isinstance(rhos, (int, float)) or callable(rhos):
    raise TypeError(
      f'`rhos` must hold one radius per group, got {rhos!r}. '
      f'Pass ({rhos!r},) for one group.'
    )
  if not tuple(rhos):
    raise ValueError(
      '`rhos` must hold one radius per group, got none. Pass (0.05,) for SAM.'
    )
  named = {f'rhos[{group}]': rho for group, rho in enumerate(rhos)}
  return group_transform(
    'group_sam',
    named,
    average_decay=average_decay,
    mask=mask,
    adaptive=adaptive,
    eps=eps,
  )


def group_transform(
  name: str,
  rhos: Mapping[str, _perturbation.Radius | None],
  *,
  mask: _masks.Mask,
  adaptive: bool | _masks.Mask,
  eps: float,
  average_decay: jax.typing.ArrayLike | None = None,
  required: Sequence[str] = (),
) -> optax.GradientTransformationExtraArgs:
  """`group_sam` speaking of itself and its radii by the names of a method.

  Args:
    name: Name of the method.
    rhos: Radii of the groups, by the names of the method's arguments.
    mask: Leaves that are perturbed and counted in the norm, see `group_sam`.
    adaptive: Whether the perturbation scales with the magnitude of the weights.
    eps: Number that is added to the norm.
    average_decay: Decay rate of running averages to ascend along, or None.
    required: Names of radii that may not be None.

  Returns:
    The first link of a chain, see `group_sam`.
  """
  for argument, rho in rhos.items():
    if rho is not None or argument in required:
      _checks.radius(argument, rho)
  if average_decay is not None:
    _checks.number('average_decay', average_decay, low=0, below=1)
    return _remembered_ascent.remembering_transform(
      name, rhos, average_decay, mask=mask, adaptive=adaptive, eps=eps
    )
  radii = tuple(
    None if _perturbation.is_zero(rho) else rho for rho in rhos.values()
  )

  def init_fn(params: optax.Params) -> GroupSamState:
    del params
    return GroupSamState(count=jnp.zeros([], jnp.int32))

  def update_fn(
    updates: optax.Updates,
    state: Any,
    params: Any = None,
    *,
    grad_fn: _oracle_checks.GradFn | None = None,
    **extra_args: Any,
  ) -> tuple[optax.Updates, GroupSamState]:
    del extra_args
    grad_fn = _oracle_checks.check_grad_fn(name, grad_fn, num_groups=len(radii))
    _perturbation.check_params(name, params)
    if any(rho is not None for rho in radii):
      _oracle_checks.check_updates(name, updates, grad_fn)
    perturbation_masks = _perturbation.resolve_masks(
      params, mask=mask, adaptive=adaptive
    )

    def perturbed_gradient(group, clean):
      rho = _perturbation.radius_at(radii[group], state.count)
      perturbed, norm = _perturbation.ascend(
        params, clean, rho, eps=eps, **perturbation_masks
      )
      return grad_fn(perturbed, group), norm

    gradient = _perturbation.wide(updates)
    remainder = gradient  # Group 0, once the other groups are taken out.
    for group, rho in enumerate(radii[1:], start=1):
      if rho is None and radii[0] is None:
        continue
      clean = grad_fn(params, group)
      remainder = jax.tree.map(_subtract, remainder, clean)
      if rho is not None:
        perturbed, norm = perturbed_gradient(group, clean)
        gradient = _exchange(gradient, clean, perturbed, norm)
    if radii[0] is not None:
      perturbed, norm = perturbed_gradient(0, remainder)
      gradient = _exchange(gradient, remainder, perturbed, norm)
    gradient = _perturbation.cast_like(gradient, updates)
    count = jnp.asarray(optax.safe_increment(state.count))
    return gradient, GroupSamState(count)

  return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _subtract(total: jax.Array, part: jax.Array) -> jax.Array:
  return total - part.astype(total.dtype)


def _exchange(
  total: optax.Updates,
  clean: optax.Updates,
  perturbed: optax.Updates,
  norm: jax.Array,
) -> optax.Updates:
  """`total` with one group's clean gradient exchanged for its perturbed one.

  A group of norm zero has nothing to exchange, and `total` comes back bit for
  bit; a NaN norm is not zero, and shows. Subtracting first makes a group that
  is the whole batch come out as exactly its perturbed gradient.
  """
  return jax.tree.map(
    lambda t, c, p: jnp.where(
      norm == 0, t, _subtract(t, c) + p.astype(t.dtype)
    ),
    total,
    clean,
    perturbed,
  )
