# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sampling by a power of the class frequency: Kang et al., ICLR 2020."""

from imbsam_jax import data
from imbsam_jax.methods import _part
from imbsam_jax.methods import _probabilities
from imbsam_jax.methods import _registry


@_registry.choice('shuffle', axis='sampler')
def shuffle(setup: _part.Setup) -> _part.Part:
  """Every row once an epoch."""

  def order(labels, is_tail, seed):
    batch_size = setup.time.batch_size
    if is_tail is None:
      return data.shuffled_order(len(labels), batch_size=batch_size, seed=seed)
    return data.stratified_order(
      is_tail[labels], batch_size=batch_size, seed=seed
    )

  return _part.Part(order=order)


@_registry.choice(
  'power',
  axis='sampler',
  corrects_prior=lambda parameters: parameters.get('power', 1.0) != 1,
)
def power_sampling(setup: _part.Setup, *, power: float = 1.0) -> _part.Part:
  """Class probabilities n^power."""
  return _part.Part(probabilities=_probabilities.by_power(setup, power))


@_registry.word(
  'instance_sampling',
  axis='sampler',
  choice_name='instance',
  about='by frequency, with replacement',
)
def instance_sampling(setup: _part.Setup) -> _part.Part:
  """Every row alike, with replacement."""
  return power_sampling(setup, power=1.0)


@_registry.word(
  'square_root_sampling',
  axis='sampler',
  choice_name='square_root',
  about='root of the frequency',
  corrects_prior=True,
)
def square_root_sampling(setup: _part.Setup) -> _part.Part:
  """Class probabilities by the root of the counts."""
  return power_sampling(setup, power=0.5)


@_registry.word(
  'class_balanced_sampling',
  axis='sampler',
  choice_name='class_balanced',
  about='all classes alike',
  corrects_prior=True,
)
def class_balanced_sampling(setup: _part.Setup) -> _part.Part:
  """Equal class probabilities."""
  return power_sampling(setup, power=0.0)


@_registry.word(
  'reversed_sampling',
  axis='sampler',
  choice_name='reversed',
  about='rare classes most (CVPR 2020)',
  corrects_prior=True,
)
def reversed_sampling(setup: _part.Setup) -> _part.Part:
  """Class probabilities 1 / n, the reversed sampler of BBN."""
  return power_sampling(setup, power=-1.0)
