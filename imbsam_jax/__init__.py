# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning from class-imbalanced data in JAX.

`import imbsam_jax` brings the update rules and their oracles, and loads jax,
optax and numpy only. Sub-packages are attributes, ``imbsam_jax.losses``, and
are imported on first use: `augment`, `calibration`, `losses`, `metrics`,
`oracles`, `sampling`, `schedules`, `transforms` and `weights` need nothing
more; `models`, `pretrained`, `data`, `training`, `methods`, `experiment` and
`anomaly` need an extra, and so do `imbsam_jax.load_run` and `load_export`, a
trained run and an exported one as functions of images, which are those of
`experiment`.
"""

import importlib
import typing
from typing import Any

from imbsam_jax import _extras
from imbsam_jax._memory import keep_memory

if typing.TYPE_CHECKING:
  from imbsam_jax.oracles import focal_weights
  from imbsam_jax.oracles import gradient_oracle
  from imbsam_jax.oracles import head_tail_weights
  from imbsam_jax.oracles import split_gradient_oracle
  from imbsam_jax.oracles import tail_only_gradient_oracle
  from imbsam_jax.oracles import value_and_grad
  from imbsam_jax.transforms import focal_sam
  from imbsam_jax.transforms import friendly_sam
  from imbsam_jax.transforms import group_sam
  from imbsam_jax.transforms import gsam
  from imbsam_jax.transforms import imbsam
  from imbsam_jax.transforms import look_sam
  from imbsam_jax.transforms import momentum_imbsam
  from imbsam_jax.transforms import rsam
  from imbsam_jax.transforms import sam
  from imbsam_jax.transforms import skip_nonfinite
  from imbsam_jax.transforms import sse_sam
  from imbsam_jax.transforms import stage_switch

__version__ = '0.1.0'

__all__ = [
  'focal_sam',
  'focal_weights',
  'friendly_sam',
  'gradient_oracle',
  'group_sam',
  'gsam',
  'head_tail_weights',
  'imbsam',
  'keep_memory',
  'look_sam',
  'momentum_imbsam',
  'rsam',
  'sam',
  'skip_nonfinite',
  'split_gradient_oracle',
  'sse_sam',
  'stage_switch',
  'tail_only_gradient_oracle',
  'value_and_grad',
]

# Public sub-packages.
_PACKAGES = (
  'anomaly',
  'augment',
  'calibration',
  'data',
  'experiment',
  'losses',
  'methods',
  'metrics',
  'models',
  'oracles',
  'pretrained',
  'sampling',
  'schedules',
  'training',
  'transforms',
  'weights',
)

# Of `experiment`, and like it not there without the extra `train`.
_OF_EXPERIMENT = ('load_export', 'load_run')


def __getattr__(name: str) -> Any:
  # On first use: the command line is read and --help printed without JAX.
  if name in _PACKAGES:
    return importlib.import_module(f'imbsam_jax.{name}')
  if name in __all__:
    for package in ('transforms', 'oracles'):
      module = importlib.import_module(f'imbsam_jax.{package}')
      if hasattr(module, name):
        return getattr(module, name)
  if name in _OF_EXPERIMENT:
    return getattr(importlib.import_module('imbsam_jax.experiment'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
  # `help` asks for the value of every name: not for what cannot be imported.
  packages = [name for name in _PACKAGES if _extras.is_there(name)]
  names = _OF_EXPERIMENT if 'experiment' in packages else ()
  return sorted({*globals(), *__all__, *packages, *names})
