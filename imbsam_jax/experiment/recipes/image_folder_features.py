# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Photographs of one's own: features of a pre-trained trunk, computed once.

  python -m imbsam_jax compare --workdir=runs/choice \
    --config=image_folder_features \
    --methods=ce,balanced_softmax,logit_adjustment,ldam_drw,vs \
    --links=sgd,imbsam --config.final_split=validation \
    --config.data.validation_per_class=5 \
    --config.data.data_dir=DIR --config.model.trunk=FILE

DIR and FILE as in `image_folder_vit`. Each photograph passes the trunk once,
and its features are kept in --config.model.feature_cache, a folder; then a run
takes seconds, on a CPU too. So one chooses among losses, weights, samplers and
update rules, and tunes the trunk with the best of them afterwards.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import cifar100_lt_features
from imbsam_jax.experiment.recipes import image_folder_vit


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = cifar100_lt_features.on_features(image_folder_vit.recipe())
  return _configure.with_words(config, words, _published.SHARPNESS_AWARE)
