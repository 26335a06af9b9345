# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Heads of a network: which class vectors, and on what."""

from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry

_ON_COSINES = {'objective.loss': 'cosface(margin=0.0, scale=30.0)'}


def _nothing(setup: _part.Setup) -> _part.Part:
  """The network is made with it, see `models.create_model`."""
  del setup
  return _part.Part()


_registry.choice('auto', axis='head')(_nothing)
_registry.choice('linear', axis='head', head='linear')(_nothing)
_registry.choice('cosine', axis='head', head='class_vectors')(_nothing)


@_registry.choice('scaled_cosine', axis='head', head='scaled')
def scaled_cosine(setup: _part.Setup, *, scale: float = 25.0) -> _part.Part:
  """Cosines, times a factor for losses that do not have one of their own.

  The head of the fine-tuning of foundation models on long tails (LIFT, ICML
  2024; its scale is 25).
  """
  del setup
  return _part.Part(model=lambda network: network.clone(head_scale=scale))


_registry.word(
  'etf',
  axis='head',
  about='class vectors fixed, a simplex ETF',
  suggests=_ON_COSINES,
  head='cosine',
)(_nothing)
_registry.word(
  'pal',
  axis='head',
  choice_name='prototypes',
  about='class vectors fixed, optimal prototypes; experimental (ICML 2022)',
  suggests=_ON_COSINES,
  head='cosine',
)(_nothing)
