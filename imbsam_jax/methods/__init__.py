# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods by word: a file each, registered by the line that imports it here.

Losses, class weights, samplers, mixings and augmentations are chosen by text,
``'ldam'`` or ``'ldam(max_margin=0.3)'``; words such as ``ldam_drw`` set several
choices at once. A method of one's own, in any file, is registered in the same
way, by the decorator `word`, and is there once that file is imported:
``docs/examples/my_methods.py`` has a loss, a mixing and a scheme.
"""

from imbsam_jax import _extras

# Before anything is imported that may be missing.
_extras.check('methods')

from imbsam_jax.methods import _absgd
from imbsam_jax.methods import _arb
from imbsam_jax.methods import _autobalance
from imbsam_jax.methods import _balanced_softmax
from imbsam_jax.methods import _bbn
from imbsam_jax.methods import _bilateral_mix
from imbsam_jax.methods import _cc_sam
from imbsam_jax.methods import _cdt
from imbsam_jax.methods import _class_aware_sampling
from imbsam_jax.methods import _class_balanced
from imbsam_jax.methods import _cmo
from imbsam_jax.methods import _combinations
from imbsam_jax.methods import _cosface
from imbsam_jax.methods import _cri
from imbsam_jax.methods import _cross_entropy
from imbsam_jax.methods import _dbn_mix
from imbsam_jax.methods import _distribution_balanced
from imbsam_jax.methods import _drs
from imbsam_jax.methods import _drw
from imbsam_jax.methods import _effective_number_sampling
from imbsam_jax.methods import _focal
from imbsam_jax.methods import _focal_sam
from imbsam_jax.methods import _frequency_sampling
from imbsam_jax.methods import _friendly_sam
from imbsam_jax.methods import _gae
from imbsam_jax.methods import _gcl
from imbsam_jax.methods import _gsam
from imbsam_jax.methods import _head_only
from imbsam_jax.methods import _heads
from imbsam_jax.methods import _imbsam
from imbsam_jax.methods import _largest_margins
from imbsam_jax.methods import _ldam
from imbsam_jax.methods import _logit_adjustment
from imbsam_jax.methods import _look_sam
from imbsam_jax.methods import _mixup
from imbsam_jax.methods import _mm
from imbsam_jax.methods import _momentum_imbsam
from imbsam_jax.methods import _none
from imbsam_jax.methods import _open_sampling
from imbsam_jax.methods import _ot
from imbsam_jax.methods import _penalties
from imbsam_jax.methods import _power_weights
from imbsam_jax.methods import _ppl
from imbsam_jax.methods import _progressive_sampling
from imbsam_jax.methods import _pure_noise
from imbsam_jax.methods import _remix
from imbsam_jax.methods import _rescom
from imbsam_jax.methods import _rsam
from imbsam_jax.methods import _sam
from imbsam_jax.methods import _sgd
from imbsam_jax.methods import _sse_sam
from imbsam_jax.methods import _tunings
from imbsam_jax.methods import _vs
from imbsam_jax.methods._augmentations import Augmentation
from imbsam_jax.methods._augmentations import AUGMENTATIONS
from imbsam_jax.methods._augmentations import make_augmentation
from imbsam_jax.methods._combine import combine
from imbsam_jax.methods._combine import Combined
from imbsam_jax.methods._combine import OWN
from imbsam_jax.methods._compatibility import check
from imbsam_jax.methods._compatibility import fixes_counts
from imbsam_jax.methods._compatibility import head_for
from imbsam_jax.methods._compatibility import needs_batch
from imbsam_jax.methods._compatibility import needs_images
from imbsam_jax.methods._compatibility import takes_auxiliary
from imbsam_jax.methods._part import Part
from imbsam_jax.methods._part import Search
from imbsam_jax.methods._part import Setup
from imbsam_jax.methods._part import Traits
from imbsam_jax.methods._partners import batch_partners
from imbsam_jax.methods._partners import sampled_partners
from imbsam_jax.methods._registry import alias
from imbsam_jax.methods._registry import AXES
from imbsam_jax.methods._registry import bind
from imbsam_jax.methods._registry import choice
from imbsam_jax.methods._registry import combination
from imbsam_jax.methods._registry import fine_tunes
from imbsam_jax.methods._registry import is_of_library
from imbsam_jax.methods._registry import make_part
from imbsam_jax.methods._registry import typed
from imbsam_jax.methods._registry import Word
from imbsam_jax.methods._registry import word
from imbsam_jax.methods._registry import words
from imbsam_jax.methods._rule import Radius
from imbsam_jax.methods._rule import RuleSetup
from imbsam_jax.methods._rule import scaled
from imbsam_jax.methods._words import combinations
from imbsam_jax.methods._words import describe
from imbsam_jax.methods._words import field_values
from imbsam_jax.methods._words import help_text
from imbsam_jax.methods._words import split
from imbsam_jax.methods._words import words_table

__all__ = [
  'AUGMENTATIONS',
  'AXES',
  'Augmentation',
  'Combined',
  'OWN',
  'Part',
  'Radius',
  'RuleSetup',
  'Search',
  'Setup',
  'Traits',
  'Word',
  'alias',
  'batch_partners',
  'bind',
  'check',
  'choice',
  'combination',
  'combinations',
  'combine',
  'describe',
  'field_values',
  'fine_tunes',
  'fixes_counts',
  'head_for',
  'help_text',
  'is_of_library',
  'make_augmentation',
  'make_part',
  'needs_batch',
  'needs_images',
  'sampled_partners',
  'scaled',
  'split',
  'takes_auxiliary',
  'typed',
  'word',
  'words',
  'words_table',
]
