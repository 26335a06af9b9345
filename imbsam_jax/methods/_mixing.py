# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixing of examples by name, and who is mixed with whom."""

from collections.abc import Callable
import math
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _specs
from imbsam_jax import augment
from imbsam_jax import data as data_lib
from imbsam_jax import schedules
from imbsam_jax.methods import _samplers


class Mixing(NamedTuple):
  """How rows are mixed, and with whom.

  Attributes:
    mix: ``mix(key, step, batch, partner)``, see `training.make_train_step`.
    power: The partners are drawn with probabilities n^power; None takes the
      rows of the batch itself in another order.
  """

  mix: Callable[..., Any]
  power: float | None


def _mixup(time: schedules.Timeline, *, alpha: float = 1.0) -> Mixing:
  del time
  return Mixing(
    lambda key, step, batch, partner: augment.mixup(
      key, batch, partner, alpha=alpha
    ),
    None,
  )


def _remix(
  time: schedules.Timeline,
  *,
  alpha: float = 1.0,
  kappa: float = 3.0,
  tau: float = 0.5,
) -> Mixing:
  return _remixing(time, lambda step: 1.0, alpha=alpha, kappa=kappa, tau=tau)


def _ppmix(
  time: schedules.Timeline,
  *,
  alpha: float = 1.0,
  kappa: float = 3.0,
  tau: float = 0.5,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 3.0,
) -> Mixing:
  def progress(step):
    return schedules.phase(
      time.traced_epoch(step),
      start=time.at(start),
      end=time.at(end),
      power=power,
    )

  return _remixing(time, progress, alpha=alpha, kappa=kappa, tau=tau)


def _remixing(
  time: schedules.Timeline,
  progress: Callable[[jax.Array], Any],
  **parameters: float,
) -> Mixing:
  def mix(key, step, batch, partner):
    return augment.remix(
      key,
      batch,
      partner,
      time.class_counts,
      progress=progress(step),
      **parameters,
    )

  return Mixing(mix, None)


def _cmo(
  time: schedules.Timeline,
  *,
  beta: float = 1.0,
  probability: float = 0.5,
  power: float = 0.0,
  idle_epochs: float = 3.0,
) -> Mixing:
  # Traced below, where it could not be refused.
  _checks.number('probability', probability, low=0, high=1)
  _checks.number('idle_epochs', idle_epochs, low=0)
  if not math.floor(idle_epochs) + 1 < time.num_epochs - idle_epochs:
    raise ValueError(
      f'cmo does not mix in the first and last {idle_epochs:g} epochs, which '
      f'are all of {time.num_epochs:g}. Pass '
      "`objective.mixing='cmo(idle_epochs=0)'`, or train longer."
    )

  def mix(key, step, batch, partner):
    epoch = time.traced_epoch(step)
    active = (epoch > idle_epochs) & (epoch < time.num_epochs - idle_epochs)
    return augment.cmo(
      key,
      batch,
      partner,
      beta=beta,
      probability=jnp.where(active, probability, 0.0),
    )

  return Mixing(mix, power)


def _dbn_mix(
  time: schedules.Timeline, *, alpha: float = 1.0, power: float = -1.0
) -> Mixing:
  del time
  return Mixing(
    lambda key, step, batch, partner: augment.dbn_mix(
      key, batch, partner, alpha=alpha
    ),
    power,
  )


MIXING: dict[str, Callable[..., Mixing | None]] = {
  'none': lambda time: None,
  'mixup': _mixup,
  'remix': _remix,
  'ppmix': _ppmix,
  'cmo': _cmo,
  'dbn_mix': _dbn_mix,
}


def make_mixing(
  text: str,
  time: schedules.Timeline,
  *,
  image_shape: tuple[int, ...],
) -> Mixing | None:
  """The mixing of a choice, tried on the shape of the images.

  Raises:
    ValueError: An unknown name or parameter, a value out of range, or images
      of a shape that it cannot mix.
  """
  mixing = _specs.bind('objective.mixing', text, MIXING)(time)
  if mixing is not None:
    rows = (
      jax.ShapeDtypeStruct((2, *image_shape), jnp.float32),
      jax.ShapeDtypeStruct((2,), jnp.int32),
    )
    jax.eval_shape(
      lambda batch, partner: mixing.mix(
        jax.random.key(0), jnp.zeros([], jnp.int32), batch, partner
      ),
      rows,
      rows,
    )
  return mixing


def make_partner_order(
  mixing: Mixing,
  order: Any,
  time: schedules.Timeline,
  labels: np.ndarray,
  *,
  seed: int,
) -> Any:
  """The order of the partners of the rows of `order`."""
  if mixing.power is None:
    return data_lib.permuted_order(order, seed=(seed, 1))
  return data_lib.sampled_order(
    labels,
    _samplers.by_power(time, power=mixing.power),
    batch_size=time.batch_size,
    seed=(seed, 1),
  )
