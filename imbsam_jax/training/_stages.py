# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Links of the update rules by name, and what their steps cost."""

from collections.abc import Sequence
import numbers
import typing
from typing import Any
from typing import Literal
from typing import NamedTuple

import jax
import optax

from imbsam_jax import _checks
from imbsam_jax import _masks
from imbsam_jax import transforms

Radius = jax.typing.ArrayLike | optax.Schedule
Name = Literal[
  'sgd',
  'sam',
  'rsam',
  'imbsam',
  'sse_sam',
  'focal_sam',
  'momentum_imbsam',
  'look_sam',
  'friendly_sam',
  'gsam',
]

NAMES: tuple[Name, ...] = typing.get_args(Name)


class Stage(NamedTuple):
  """A part of the training with one update rule.

  Attributes:
    start: First step of the stage.
    link: First link of the chain. All stages of a method have states alike.
    perturbed: Which groups have a pass away from w.
    every: Number of steps from one step of the stage to the next, from its
      start on; those between are of the stage before.
    instead: Whether perturbed groups have that pass alone, and none at w.
  """

  start: int
  link: optax.GradientTransformationExtraArgs
  perturbed: tuple[bool, ...]
  every: int = 1
  instead: bool = False

  def at(self, step: int) -> bool:
    """Whether a step is of the stage, or of one that comes after it."""
    return step >= self.start and (step - self.start) % self.every == 0


def stages(
  name: Name,
  *,
  rho: Any = None,
  head_rho: Any = None,
  switch_step: int = 0,
  adaptive: bool = False,
  mask: _masks.Mask = None,
  key: Any = None,
  decay: Any = 0.99,
  average_decay: Any = None,
  every: Any = None,
  alpha: Any = None,
  sigma: Any = None,
  lam: Any = None,
) -> tuple[Stage, ...]:
  """The stages of an update rule, whatever its groups are made of.

  >>> chosen = stages('sse_sam', rho=0.1, head_rho=0.05, switch_step=6)
  >>> [(stage.start, stage.perturbed) for stage in chosen]
  [(0, (True, True)), (6, (False, True))]

  Args:
    name: One of `NAMES`. What follows is not read where the rule has none of
      it.
    rho: Radius, a number >= 0 or a schedule of them; of 'imbsam',
      'momentum_imbsam' and 'sse_sam' that of the tail.
    head_rho: Radius of the head before `switch_step`, likewise ('sse_sam').
    switch_step: First step at which the head is no longer perturbed
      ('sse_sam'). Where that step is traced, take the first stage alone, with a
      `head_rho` that falls to 0.
    adaptive: Whether the perturbation is scaled by the size of each weight; of
      all but 'rsam'.
    mask: Leaves that are perturbed and counted in the norm: a tree of bools
      like the parameters (or a prefix of it), or a function from parameters to
      one. None is all; of all but 'sgd'.
    key: Key of `jax.random` for the noise ('rsam').
    decay: Decay rate of the running average ('momentum_imbsam').
    average_decay: Decay rate of running averages that are ascended along
      ('sam', 'sse_sam'), or None.
    every: Number of steps from one SAM gradient to the next ('look_sam').
    alpha: Factor of the orthogonal part ('look_sam', 'gsam').
    sigma: Factor of what is taken away ('friendly_sam').
    lam: Decay rate of the running average ('friendly_sam').

  Returns:
    One stage, two of 'sse_sam' unless `switch_step` is 0, and two of 'look_sam'
    that take turns unless `every` is 1. Their links expect as many groups as
    `Stage.perturbed` has entries.

  Raises:
    TypeError: If a radius is neither number nor schedule or is left out,
      `switch_step` or `every` is no integer, or the key or a number that the
      rule has is left out.
    ValueError: If the name is unknown, or a number is outside of its range.
  """
  if name not in NAMES:
    raise ValueError(unknown(name))
  if name != 'sgd':
    # The links take None for a group that is left where it is.
    _checks.radius('tail_rho' if name == 'sse_sam' else 'rho', rho)
  moves = _moves(rho)
  where: dict[str, Any] = {'adaptive': adaptive, 'mask': mask}
  match name:
    case 'sgd':
      return (Stage(0, transforms.group_sam((None,)), (False,)),)
    case 'sam':
      link = transforms.sam(rho, average_decay=average_decay, **where)
      return (Stage(0, link, (moves,), instead=average_decay is not None),)
    case 'rsam':
      return (Stage(0, transforms.rsam(rho, key=key, mask=mask), (False,)),)
    case 'imbsam':
      link = transforms.imbsam(rho, **where)
      return (Stage(0, link, (False, moves)),)
    case 'focal_sam':
      link = transforms.focal_sam(rho, **where)
      return (Stage(0, link, (False, moves)),)
    case 'momentum_imbsam':
      link = transforms.momentum_imbsam(rho, decay=decay, **where)
      return (Stage(0, link, (False, moves), instead=True),)
    case 'look_sam':
      return _look_sam(rho, every=every, alpha=alpha, **where)
    case 'friendly_sam':
      link = transforms.friendly_sam(rho, sigma=sigma, lam=lam, **where)
      return (Stage(0, link, (moves,)),)
    case 'gsam':
      link = transforms.gsam(rho, alpha=alpha, **where)
      return (Stage(0, link, (moves,)),)
    case 'sse_sam':
      _checks.radius('head_rho', head_rho)
      switch_step = _checks.integer(
        'switch_step',
        switch_step,
        low=0,
        hint='It is a number of steps: multiply epochs by the steps per epoch.',
      )
      remembers = average_decay is not None
      first, second = [
        Stage(
          0,
          transforms.sse_sam(radius, rho, average_decay=average_decay, **where),
          (_moves(radius), moves),
          instead=remembers,
        )
        for radius in (head_rho, 0.0)
      ]
      if not switch_step:
        return (second,)
      return (first, second._replace(start=switch_step))


def _look_sam(
  rho: Any, *, every: Any, alpha: Any, **where: Any
) -> tuple[Stage, ...]:
  """Steps that remember, and every so many one that looks.

  Each kind of step has a program of its own: XLA is slow at convolutions in
  branches on CPUs, and takes both branches of stacked runs.
  """
  every = _checks.integer(
    'every',
    every,
    hint='It is a number of steps: pass 1 for SAM, 10 is usual.',
  )
  looks, remembers = [
    transforms.look_sam(rho, every=number, alpha=alpha, **where)
    for number in (1, None)
  ]
  moves = _moves(rho)
  if every == 1 or not moves:
    return (Stage(0, looks, (moves,)),)
  return (
    Stage(0, remembers, (False,)),
    Stage(0, looks, (moves,), every=every),
  )


def joint_cost(perturbed: Sequence[bool], *, instead: bool = False) -> float:
  """Cost of a step in SGD steps, where all rows go through the model together.

  A forward pass counts 1 and a backward pass 2: one of both at w, a backward
  pass for the clean gradient of each group that is taken apart, and one of both
  for each perturbed group.

  Args:
    perturbed: Which groups have a pass away from w, as in `Stage`.
    instead: Whether no clean gradient of theirs is computed, as in `Stage`.
      Where all of several groups are perturbed, one forward pass at w is left,
      for the loss that is reported.

  Returns:
    1 if none is perturbed, 2 for SAM, 8/3 for ImbSAM and Focal-SAM, 11/3 for
    the first stage of SSE-SAM; of their momentum forms SAM has 1, ImbSAM 2, the
    first stage of SSE-SAM 7/3.
  """
  if instead:
    alone = len(perturbed) == 1
    at_w = (0.0 if alone else 1 / 3) if all(perturbed) else 1.0
    return at_w + sum(perturbed)
  apart = tuple(perturbed[1:])
  if perturbed[0]:  # Group 0 is what the others leave.
    apart = (True,) * len(apart)
  return (3 + 2 * sum(apart) + 3 * sum(perturbed)) / 3


def unknown(name: str) -> str:
  """What to say of a name that no update rule has."""
  return f'`name` must be one of {", ".join(NAMES)}, got {name!r}.'


def _moves(rho: Radius) -> bool:
  """Whether a radius costs a pass: the links leave a constant 0 out."""
  return not (isinstance(rho, numbers.Real) and rho == 0)
