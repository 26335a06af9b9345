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
from imbsam_jax import transforms

Radius = jax.typing.ArrayLike | optax.Schedule
Name = Literal['sgd', 'sam', 'rsam', 'imbsam', 'sse_sam', 'focal_sam']

NAMES: tuple[Name, ...] = typing.get_args(Name)


class Stage(NamedTuple):
  """A part of the training with one update rule.

  Attributes:
    start: First step of the stage.
    link: First link of the chain. All stages of a method have states alike.
    perturbed: Which groups have a second pass.
  """

  start: int
  link: optax.GradientTransformationExtraArgs
  perturbed: tuple[bool, ...]


def stages(
  name: Name,
  *,
  rho: Any = None,
  head_rho: Any = None,
  switch_step: int = 0,
  adaptive: bool = False,
  key: Any = None,
) -> tuple[Stage, ...]:
  """The stages of an update rule, whatever its groups are made of.

  >>> chosen = stages('sse_sam', rho=0.1, head_rho=0.05, switch_step=6)
  >>> [(stage.start, stage.perturbed) for stage in chosen]
  [(0, (True, True)), (6, (False, True))]

  Args:
    name: One of `NAMES`. What follows is not read where the rule has none of
      it.
    rho: Radius, a number >= 0 or a schedule of them; of 'imbsam' and 'sse_sam'
      that of the tail.
    head_rho: Radius of the head before `switch_step`, likewise ('sse_sam').
    switch_step: First step at which the head is no longer perturbed
      ('sse_sam'). Where that step is traced, take the first stage alone, with a
      `head_rho` that falls to 0.
    adaptive: Whether the perturbation is scaled by the size of each weight; of
      all but 'rsam'.
    key: Key of `jax.random` for the noise ('rsam').

  Returns:
    One stage, two of 'sse_sam' unless `switch_step` is 0. Their links expect
    as many groups as `Stage.perturbed` has entries.

  Raises:
    TypeError: If a radius is neither number nor schedule or is left out,
      `switch_step` is no integer, or the key is left out.
    ValueError: If the name is unknown, or a radius or `switch_step` is
      negative.
  """
  if name not in NAMES:
    raise ValueError(unknown(name))
  if name != 'sgd':
    # The links take None for a group that is left where it is.
    _checks.radius('tail_rho' if name == 'sse_sam' else 'rho', rho)
  moves = _moves(rho)
  match name:
    case 'sgd':
      return (Stage(0, transforms.group_sam((None,)), (False,)),)
    case 'sam':
      return (Stage(0, transforms.sam(rho, adaptive=adaptive), (moves,)),)
    case 'rsam':
      return (Stage(0, transforms.rsam(rho, key=key), (False,)),)
    case 'imbsam':
      link = transforms.imbsam(rho, adaptive=adaptive)
      return (Stage(0, link, (False, moves)),)
    case 'focal_sam':
      link = transforms.focal_sam(rho, adaptive=adaptive)
      return (Stage(0, link, (False, moves)),)
    case 'sse_sam':
      _checks.radius('head_rho', head_rho)
      switch_step = _checks.integer(
        'switch_step',
        switch_step,
        low=0,
        hint='It is a number of steps: multiply epochs by the steps per epoch.',
      )
      link = transforms.sse_sam(head_rho, rho, adaptive=adaptive)
      first = Stage(0, link, (_moves(head_rho), moves))
      (second,) = stages('imbsam', rho=rho, adaptive=adaptive)
      if not switch_step:
        return (second,)
      return (first, second._replace(start=switch_step))


def joint_cost(perturbed: Sequence[bool]) -> float:
  """Cost of a step in SGD steps, where all rows go through the model together.

  A forward pass counts 1 and a backward pass 2: one of both at w, a backward
  pass for the clean gradient of each group that is taken apart, and one of both
  for each perturbed group.

  Args:
    perturbed: Which groups have a second pass, as in `Stage`.

  Returns:
    1 if none is perturbed, 2 for SAM, 8/3 for ImbSAM and Focal-SAM, 11/3 for
    the first stage of SSE-SAM.
  """
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
