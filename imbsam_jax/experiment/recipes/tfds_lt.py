# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""A long-tailed subset of any prepared TFDS set of small images.

  python -m imbsam_jax train --config=tfds_lt:imbsam \
    --config.data.name=cifar10 --config.data.data_dir=DIR --workdir=runs/cifar10

The optimizer's settings are those of LDAM-DRW on CIFAR, the radii those of the
methods' papers. Not yet measured.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published

_PRESETS = _published.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = _config.Config(
    data=_config.Data(name='cifar10', imbalance_factor=100.0, batch_size=128),
    model=_config.Model(name='resnet32', norm='batch'),
    optimizer=_config.Optimizer(
      threshold=100,
      learning_rate=0.1,
      warmup_epochs=5.0,
      weight_decay=2e-4,
      decay='all',
    ),
    epochs=200.0,
  )
  return _configure.with_words(config, words, _PRESETS)
