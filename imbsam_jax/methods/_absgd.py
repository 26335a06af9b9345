# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ABSGD, weights of examples by their losses: Qi et al., TMLR 2023."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from imbsam_jax import data
from imbsam_jax import weights
from imbsam_jax.methods import _drw
from imbsam_jax.methods import _part
from imbsam_jax.methods import _registry


def _by_class(parameters: Mapping[str, Any]) -> bool:
  # With beta = 0 all classes have the weight 1.
  return parameters.get('beta') != 0


@_registry.word(
  'absgd',
  axis='weights',
  about='by loss of the example, late (TMLR 2023)',
  corrects_prior=_by_class,
  needs_batch=True,
)
def absgd(
  setup: _part.Setup,
  *,
  lam: float = 1.0,
  gamma: float = 0.1,
  alpha: float = 1.0,
  beta: float = 0.9999,
  start: float = 0.8,
) -> _part.Part:
  """Weights of examples, and class-balanced ones, from the same moment on.

  alpha is 1, not the 0.5 of the authors' script, which doubles the learning
  rate.
  """
  time = setup.time
  begin = time.at(start)

  def weigh(losses, step, state):
    row_weights, new_state = weights.absgd_weights(
      losses, state, lam=lam, gamma=gamma, alpha=alpha
    )
    begun = time.traced_epoch(step) >= begin
    return (
      jnp.where(begun, row_weights * len(losses), 1.0),
      jax.tree.map(lambda n, o: jnp.where(begun, n, o), new_state, state),
    )

  return _part.Part(
    weigh=weigh,
    weigh_state=weights.absgd_init(),
    reweighting=data.Reweighting(
      _drw.late_weights(time, beta=beta, start=start), 'mean'
    ),
  )
