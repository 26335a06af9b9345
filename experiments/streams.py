# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the steps see: samplers, class weights and mixing by name."""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import specs
from experiments import timeline
from imbsam_jax import _numbers
from imbsam_jax import augment
from imbsam_jax import data as data_lib
from imbsam_jax import sampling
from imbsam_jax import schedules
from imbsam_jax import weights

Probabilities = Callable[[int], np.ndarray]

# ---------------------------------------------------------------- samplers


def _power(time: timeline.Timeline, *, power: float = 1.0) -> Probabilities:
  found = np.asarray(
    sampling.class_probabilities(time.class_counts, power=power)
  )
  return lambda step: found


def _effective_number(
  time: timeline.Timeline, *, beta: float = 0.9999
) -> Probabilities:
  found = np.asarray(
    sampling.effective_number_probabilities(time.class_counts, beta=beta)
  )
  return lambda step: found


def _progressive(time: timeline.Timeline) -> Probabilities:
  return time.by_epoch(
    lambda epoch: schedules.progressive_probabilities(
      epoch,
      time.class_counts,
      start=0,
      end=max(time.num_epochs - 1, 0),
      power=1.0,
    )
  )


def _drs(time: timeline.Timeline, *, start: float = 0.8) -> Probabilities:
  return time.by_epoch(
    lambda epoch: schedules.deferred_resampling(
      epoch, time.class_counts, start=time.at(start)
    )
  )


def _pps(
  time: timeline.Timeline,
  *,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 5.0,
) -> Probabilities:
  return time.by_epoch(
    lambda epoch: schedules.progressive_probabilities(
      epoch,
      time.class_counts,
      start=time.at(start),
      end=time.at(end),
      power=power,
    )
  )


def _fixed(power: float) -> Callable[[timeline.Timeline], Probabilities]:
  return lambda time: _power(time, power=power)


def _class_aware(time: timeline.Timeline, *, samples_per_class: int = 4) -> int:
  del time
  return samples_per_class


SAMPLERS: dict[str, Callable[..., Any]] = {
  'shuffle': lambda time: None,
  'instance': _fixed(1.0),
  'square_root': _fixed(0.5),
  'class_balanced': _fixed(0.0),
  'reversed': _fixed(-1.0),
  'power': _power,
  'effective_number': _effective_number,
  'progressive': _progressive,
  'drs': _drs,
  'pps': _pps,
  'class_aware': _class_aware,
}
NATURAL_SAMPLERS = ('shuffle', 'instance')


def make_order(
  text: str,
  time: timeline.Timeline,
  labels: np.ndarray,
  *,
  is_tail: np.ndarray | None,
  seed: int,
) -> Any:
  """The order of a sampler.

  Args:
    text: The choice.
    time: Where epochs begin.
    labels: Int ``[N]`` of the training images.
    is_tail: Bool ``[C]`` to have head and tail rows in fixed numbers.
    seed: Of the order.

  Returns:
    A Grain dataset of `data.RowChoice`.
  """
  found = specs.bind('data.sampler', text, SAMPLERS)(time)
  batch_size = time.batch_size
  if found is None and is_tail is not None:
    return data_lib.stratified_order(
      is_tail[labels], batch_size=batch_size, seed=seed
    )
  if found is None:
    return data_lib.shuffled_order(
      len(labels), batch_size=batch_size, seed=seed
    )
  if specs.name(text) == 'class_aware':
    return data_lib.class_aware_order(
      labels, batch_size=batch_size, seed=seed, samples_per_class=found
    )
  return data_lib.sampled_order(
    labels, found, batch_size=batch_size, seed=seed, is_tail=is_tail
  )


# ----------------------------------------------------------- class weights


def _class_balanced(
  time: timeline.Timeline, *, beta: float = 0.9999
) -> data_lib.Reweighting:
  found = np.asarray(
    weights.class_balanced_weights(time.class_counts, beta=beta)
  )
  return data_lib.Reweighting(lambda step: found, 'mean')


def _power_weights(
  time: timeline.Timeline, *, power: float = 1.0
) -> data_lib.Reweighting:
  found = np.asarray(weights.power_weights(time.class_counts, power=power))
  return data_lib.Reweighting(lambda step: found, 'weighted_mean')


def _drw(
  time: timeline.Timeline, *, beta: float = 0.9999, start: float = 0.8
) -> data_lib.Reweighting:
  by_step = time.by_epoch(
    lambda epoch: schedules.deferred_reweighting(
      epoch, time.class_counts, beta=beta, start=time.at(start)
    )
  )
  return data_lib.Reweighting(by_step, 'weighted_mean')


def _ppw(
  time: timeline.Timeline,
  *,
  start: float = 0.5,
  end: float = 0.8,
  power: float = 5.0,
) -> data_lib.Reweighting:
  by_step = time.by_epoch(
    lambda epoch: schedules.progressive_weights(
      epoch,
      time.class_counts,
      start=time.at(start),
      end=time.at(end),
      power=power,
    )
  )
  return data_lib.Reweighting(by_step, 'weighted_mean')


WEIGHTS: dict[str, Callable[..., data_lib.Reweighting | None]] = {
  'none': lambda time: None,
  'class_balanced': _class_balanced,
  'power': _power_weights,
  'drw': _drw,
  'ppw': _ppw,
}


def make_reweighting(
  text: str, time: timeline.Timeline
) -> data_lib.Reweighting | None:
  """The class weights of a choice; None where all classes count alike."""
  if specs.name(text) == 'absgd':  # By example, see `objective`.
    return None
  known = WEIGHTS | {'absgd': lambda time: None}
  return specs.bind('objective.weights', text, known)(time)


# ------------------------------------------------------------------ mixing


class Mixing(NamedTuple):
  """How rows are mixed, and with whom.

  Attributes:
    mix: ``mix(key, step, batch, partner)``, see `training.make_train_step`.
    power: The partners are drawn with probabilities n^power; None takes the
      rows of the batch itself in another order.
  """

  mix: Callable[..., Any]
  power: float | None


def _mixup(time: timeline.Timeline, *, alpha: float = 1.0) -> Mixing:
  del time
  return Mixing(
    lambda key, step, batch, partner: augment.mixup(
      key, batch, partner, alpha=alpha
    ),
    None,
  )


def _remix(
  time: timeline.Timeline,
  *,
  alpha: float = 1.0,
  kappa: float = 3.0,
  tau: float = 0.5,
) -> Mixing:
  return _remixing(time, lambda step: 1.0, alpha=alpha, kappa=kappa, tau=tau)


def _ppmix(
  time: timeline.Timeline,
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
  time: timeline.Timeline,
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
  time: timeline.Timeline,
  *,
  beta: float = 1.0,
  probability: float = 0.5,
  power: float = 0.0,
  idle_epochs: float = 3.0,
) -> Mixing:
  # Traced below, where it could not be refused.
  _numbers.check_number('probability', probability, low=0, high=1)

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
  time: timeline.Timeline, *, alpha: float = 1.0, power: float = -1.0
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
  time: timeline.Timeline,
  *,
  image_shape: tuple[int, ...],
) -> Mixing | None:
  """The mixing of a choice, tried on the shape of the images.

  Raises:
    ValueError: An unknown name or parameter, a value out of range, or images
      of a shape that it cannot mix.
  """
  mixing = specs.bind('objective.mixing', text, MIXING)(time)
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
  time: timeline.Timeline,
  labels: np.ndarray,
  *,
  seed: int,
) -> Any:
  """The order of the partners of the rows of `order`."""
  if mixing.power is None:
    return data_lib.permuted_order(order, seed=(seed, 1))
  return data_lib.sampled_order(
    labels,
    _power(time, power=mixing.power),
    batch_size=time.batch_size,
    seed=(seed, 1),
  )
