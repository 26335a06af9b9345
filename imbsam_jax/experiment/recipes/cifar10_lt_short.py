# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""CIFAR-10-LT for a CPU: 10 epochs of a small net, for comparing methods.

  python -m imbsam_jax compare --seeds=3 --workdir=runs/cifar10_short \
    --config=cifar10_lt_short \
    --methods=sgd,sam,imbsam,sse_sam,rsam --config.data.data_dir=DIR

Imbalance factor 100 (5000 to 50 images per class), three strided convolutions,
batches of 128, cosine schedule, images cropped after padding by 4 and flipped.
With ten classes 'few' are those with fewer than 200 images (three), 'many'
those with more than 1000 (four). Accuracies are far below those of
`cifar10_lt`, which trains a ResNet-32 twenty times as long.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure

_PRESETS = {
  'sam': {'optimizer.rho': 0.02},
  'imbsam': {'optimizer.rho': 0.2},
  'sse_sam': {
    'optimizer.rho': 0.05,
    'optimizer.head_rho': 0.02,
    'optimizer.switch': 0.7,
  },
  'focal_sam': {'optimizer.rho': 0.02},
  'rsam': {'optimizer.rho': 0.005},
  'ldam': {'optimizer.clip_norm': 1.0},
}


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = _config.Config(
    data=_config.Data(
      name='cifar10',
      imbalance_factor=100.0,
      batch_size=128,
      augment='pad_crop+flip',
    ),
    model=_config.Model(name='strided_conv_net', norm='group'),
    optimizer=_config.Optimizer(
      threshold=100, learning_rate=0.3, weight_decay=5e-4
    ),
    epochs=10.0,
    many_above=1000,
    few_below=200,
  )
  return _configure.with_words(config, words, _PRESETS)
