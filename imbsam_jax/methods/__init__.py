# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods by word, and what a trainer makes of the choices behind them.

Losses, class weights, samplers, mixings and augmentations are chosen by text,
``'ldam'`` or ``'ldam(max_margin=0.3)'``; words such as ``ldam_drw`` set several
choices at once.
"""

from imbsam_jax.methods._augmentations import Augmentation
from imbsam_jax.methods._augmentations import AUGMENTATIONS
from imbsam_jax.methods._augmentations import make_augmentation
from imbsam_jax.methods._class_weights import make_reweighting
from imbsam_jax.methods._class_weights import WEIGHTS
from imbsam_jax.methods._mixing import make_mixing
from imbsam_jax.methods._mixing import make_partner_order
from imbsam_jax.methods._mixing import MIXING
from imbsam_jax.methods._mixing import Mixing
from imbsam_jax.methods._objective import CORRECT_PRIOR
from imbsam_jax.methods._objective import head_for
from imbsam_jax.methods._objective import LOSSES
from imbsam_jax.methods._objective import make_objective
from imbsam_jax.methods._objective import needs_cosines
from imbsam_jax.methods._objective import OWN
from imbsam_jax.methods._objective import PENALTIES
from imbsam_jax.methods._samplers import make_order
from imbsam_jax.methods._samplers import NATURAL_SAMPLERS
from imbsam_jax.methods._samplers import SAMPLERS
from imbsam_jax.methods._words import AXES
from imbsam_jax.methods._words import combinations
from imbsam_jax.methods._words import describe
from imbsam_jax.methods._words import field_values
from imbsam_jax.methods._words import help_text
from imbsam_jax.methods._words import split
from imbsam_jax.methods._words import Word
from imbsam_jax.methods._words import WORDS

__all__ = [
  'AUGMENTATIONS',
  'AXES',
  'Augmentation',
  'CORRECT_PRIOR',
  'LOSSES',
  'MIXING',
  'Mixing',
  'NATURAL_SAMPLERS',
  'OWN',
  'PENALTIES',
  'SAMPLERS',
  'WEIGHTS',
  'WORDS',
  'Word',
  'combinations',
  'describe',
  'field_values',
  'head_for',
  'help_text',
  'make_augmentation',
  'make_mixing',
  'make_objective',
  'make_order',
  'make_partner_order',
  'make_reweighting',
  'needs_cosines',
  'split',
]
