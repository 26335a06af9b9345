# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""CIFAR-100-LT, imbalance factor 100: features of a pre-trained trunk.

  python -m imbsam_jax compare --workdir=runs/features \
    --config=cifar100_lt_features --methods=ce,balanced_softmax,ldam_drw,vs \
    --config.data.data_dir=DIR --config.model.trunk=FILE

Each image passes the trunk once; its features are kept in
--config.model.feature_cache, a folder, for all methods, seeds and later
commands. A run trains the head alone and takes seconds, so that losses,
weights, samplers and update rules are chosen on a CPU, and the trunk is tuned
with those that are worth it: recipe `cifar100_lt_vit`. What changes or mixes
images has no place here.

A cosine head with scale 25 that begins with the class means, SGD with momentum
0.9 and learning rate 0.01, 50 epochs in batches of 128. Not tuned.
"""

import dataclasses

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _foundation
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import cifar100_lt_vit


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = on_features(cifar100_lt_vit.recipe())
  return _configure.with_words(config, words, _published.SHARPNESS_AWARE)


def on_features(config: _config.Config) -> _config.Config:
  """A recipe with the features of its trunk in place of images.

  Args:
    config: The recipe on images.
  """
  return dataclasses.replace(
    config,
    data=dataclasses.replace(config.data, augment='none'),
    model=dataclasses.replace(
      config.model, tuning='probe', feature_cache=_foundation.FEATURES
    ),
    optimizer=_foundation.lift(schedule='cosine'),
    epochs=50.0,
    save_every=50.0,
  )
