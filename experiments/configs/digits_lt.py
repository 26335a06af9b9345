# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Digits-LT: scikit-learn's digits, long-tailed, on a laptop in seconds.

python -m experiments.train --config=experiments/configs/digits_lt.py:imbsam \
    --workdir=runs/imbsam
"""

from experiments import config as config_lib
from experiments import methods

_PRESETS = {
  'sam': {'optimizer.rho': 0.2},
  'imbsam': {'optimizer.rho': 0.2},
  'sse_sam': {
    'optimizer.rho': 0.2,
    'optimizer.head_rho': 0.1,
    'optimizer.switch': 0.7,
  },
  'focal_sam': {'optimizer.rho': 0.2},
  'rsam': {'optimizer.rho': 0.02},
}


def get_config(words: str = 'sgd') -> config_lib.Config:
  """The configuration for one method word."""
  config = config_lib.Config(
    data=config_lib.Data(
      name='digits',
      imbalance_factor=20.0,
      max_count=100,
      validation_per_class=24,
      sampler='stratified',
    ),
    model=config_lib.Model(name='small_conv_net', norm='group'),
    optimizer=config_lib.Optimizer(threshold=20, learning_rate=0.1),
    epochs=40.0,
    many_above=50,
    few_below=20,
  )
  return methods.apply(config, words, _PRESETS)
