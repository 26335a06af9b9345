# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training of the classifier alone, on a finished run's features."""

from typing import Any

from flax import linen as nn
import jax

from imbsam_jax import models
from imbsam_jax import training
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_HEAD = 'classifier'


class HeadOnly(training.WrappedObjective):
  """Another objective, of which only the head is trained.

  The trunk is as in evaluation: statistics of BatchNorm stay as they are, and
  nothing is dropped out. Features are computed once a step, since no update of
  the head and no perturbation of it changes them. So a step costs a forward
  pass, a third of an SGD step, whatever the update rule.
  """

  def __init__(self, base: training.Objective):
    super().__init__(base)
    self.pass_cost = 0.0
    self.prepare_cost = base.prepare_cost + 1 / 3

  def prepare(self, ctx, rows):
    """The rows of the base, with features in place of images."""
    rows = self.base.prepare(ctx, rows)
    return {**rows, 'image': features(ctx, rows['image'])}

  def __call__(self, ctx, apply, rows):
    """A pass of the base through the head."""
    return self.base(ctx, head_of(apply), rows)


def head_of(apply: Any) -> Any:
  """The head at the point of a pass: an `Apply` of features."""
  return apply.with_options(method='logits_of')


def features(ctx: training.Context, images: jax.Array) -> jax.Array:
  """What the trunk makes of images, as in evaluation."""
  return jax.lax.stop_gradient(
    ctx.clean(images, train=False, method='features')
  )


def plan(*, anew: bool) -> training.ParamPlan:
  """Trains the head; `anew` is whether it begins with random parameters."""
  return training.ParamPlan(
    trains=_is_head, begins_anew=_is_head if anew else None
  )


def with_features(word: str) -> Any:
  """A `Part.model` that refuses a network that does not tell its features."""

  def check(network: nn.Module) -> nn.Module:
    if not isinstance(network, models.Classifier):
      raise ValueError(
        f'`{word}` reads the features of a network, which only a '
        'models.Classifier tells. Derive your network from it.'
      )
    return network

  return check


def _is_head(path: tuple[str, ...]) -> bool:
  return path[0] == _HEAD


@_registry.word(
  'head_only',
  axis='scheme',
  about='the head of a finished run alone',
  fine_tunes=True,
)
def head_only(setup: _part.Setup, *, anew: bool = False) -> _part.Part:
  """Trains the head; `anew` is whether it begins with random parameters."""
  del setup
  return _part.Part(
    objective=HeadOnly,
    model=with_features('head_only'),
    params=plan(anew=anew),
  )


# The program and function `calibrate` do the same after the fact, with SGD and
# on stored features of unchanged images.
_registry.alias(
  'crt',
  'head_only(anew=True)',
  axis='scheme',
  about='a new head on a finished run, classes alike (ICLR 2020)',
  suggests={'data.sampler': 'class_aware', 'data.stratify': False},
)
