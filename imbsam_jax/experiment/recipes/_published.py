# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values that papers chose for a data set and a combination of words."""

from typing import Any

# Epochs 5, 60 and 75 of 90, as shares of the run.
_STARTS = tuple(round(epoch / 90, 6) for epoch in (5, 60, 75))


# Radii of the methods' papers.
SHARPNESS_AWARE: dict[str, dict[str, Any]] = {
  'sam': {'optimizer.rho': 0.05},
  'imbsam': {'optimizer.rho': 0.05},
  'sse_sam': {
    'optimizer.rho': 0.1,
    'optimizer.head_rho': 0.05,
    'optimizer.switch': 0.7,
  },
  'focal_sam': {'optimizer.rho': 0.2, 'optimizer.focal_gamma': 3.0},
  'rsam': {'optimizer.rho': 0.005},
  'friendly_sam': {
    'optimizer.method': 'friendly_sam(lam=0.6)',
    'optimizer.rho': 0.2,
  },
}


def saddle_longtail(name: str) -> dict[str, dict[str, Any]]:
  """Radii of Saddle-LongTail: SAM with re-weighting.

  Rangwani et al., NeurIPS 2022, from the run script of the authors' repository
  (val-iisc/Saddle-LongTail), imbalance factor 100 for CIFAR. No value was
  released for the VS loss; it gets that of CE-DRW here. For the large sets none
  was released for SAM alone, which keeps the radius of its paper; their steps
  are of 90 epochs.

  Args:
    name: 'cifar10', 'cifar100', 'imagenet_lt' or 'i_naturalist2018'.

  Returns:
    Presets for `methods.apply`.
  """
  match name:
    case 'cifar10':
      plain, late, margins = _constant(0.1), _constant(0.5), _constant(0.8)
    case 'cifar100':
      plain, late, margins = _constant(0.2), _constant(0.8), _constant(0.8)
    case 'imagenet_lt':
      plain, late = {}, _steps(0.05, 0.1, 0.5, 0.5)
      margins = late
    case 'i_naturalist2018':
      plain, late = {}, _steps(0.05, 0.1, 0.1, 0.2)
      margins = _steps(0.05, 0.1, 0.5, 0.5)
    case _:
      raise ValueError(f'there are no presets of Saddle-LongTail for {name!r}.')
  changes = {
    'sam': plain,
    'sam,drw': late,
    'sam,ldam_drw': margins,
    'sam,vs': late,
  }
  if not plain:
    # Deferred weights begin with the third radius, under SGD too.
    changes['drw'] = {'objective.weights': f'drw(start={_STARTS[1]})'}
    changes['ldam'] = {'objective.loss': 'ldam(max_margin=0.3)'}
  return changes


def _constant(rho: float) -> dict[str, Any]:
  return {'optimizer.rho': rho}


def _steps(*radii: float) -> dict[str, Any]:
  """The last radius, and the others as factors of it."""
  factors = tuple(round(radius / radii[-1], 6) for radius in radii)
  return {
    'optimizer.rho': radii[-1],
    'optimizer.rho_schedule': f'step(factors={factors}, starts={_STARTS})',
  }
