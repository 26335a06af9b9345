# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""CIFAR-100-LT, imbalance factor 100; the recipe is that of `cifar10_lt`.

  python -m experiments.train --workdir=runs/cifar100 \
    --config=experiments/configs/cifar100_lt.py:sam,vs \
    --config.data.data_dir=DIR

Not yet measured.
"""

from experiments import config as config_lib
from experiments import methods
from experiments import presets
from experiments.configs import cifar10_lt

_PRESETS = (
  presets.SHARPNESS_AWARE
  | presets.saddle_longtail('cifar100')
  | {
    'cri': {'objective.loss': 'cri(scale=10.0, max_margin=0.2, gamma=1.5)'},
  }
)


def get_config(words: str = 'sgd') -> config_lib.Config:
  """The configuration for method words."""
  config = config_lib.replace(
    cifar10_lt.recipe('cifar100'), {'optimizer.threshold': 20}
  )
  return methods.apply(config, words, _PRESETS)
