# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""A long-tailed subset of any prepared TFDS set of small images.

  python -m experiments.train --config=experiments/configs/tfds_lt.py:imbsam \
    --config.data.name=cifar10 --config.data.data_dir=DIR --workdir=runs/cifar10

The optimiser's settings are those of LDAM-DRW on CIFAR, the radii those of the
methods' papers. Not yet measured.
"""

from experiments import config as config_lib
from experiments import methods
from experiments import presets

_PRESETS = presets.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> config_lib.Config:
  """The configuration for method words."""
  config = config_lib.Config(
    data=config_lib.Data(
      name='cifar10', imbalance_factor=100.0, batch_size=128
    ),
    model=config_lib.Model(name='resnet32', norm='batch'),
    optimizer=config_lib.Optimizer(
      threshold=100,
      learning_rate=0.1,
      warmup_epochs=5.0,
      weight_decay=2e-4,
      decay='all',
    ),
    epochs=200.0,
  )
  return methods.apply(config, words, _PRESETS)
