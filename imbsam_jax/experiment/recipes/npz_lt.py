# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Arrays of one's own in an .npz file.

  python -m imbsam_jax train --workdir=runs/mine \
    --config=npz_lt:imbsam \
    --config.data.data_dir=FILE.npz

The file has ``x_train``, ``y_train``, ``x_test`` and ``y_test``, as written by
``numpy.savez``: images ``[N, height, width, channels]`` or gray ones ``[N,
height, width]``, uint8 (0 to 255) or floats, and labels from 0, one-hot rows or
names of classes. All are used, in their own distribution; a balanced
set becomes long-tailed by --config.data.profile=exp (or step) and
--config.data.imbalance_factor=100. --config.data.validation_per_class=10 sets
images aside to choose by.

Defaults are those of `digits_lt`: a small convolutional network with GroupNorm,
batches of 64, learning rate 0.1, 40 epochs. For tables ``[N, features]`` pass
--config.model.name=mlp --config.model.norm=none, for images of about 32x32
--config.model.name=resnet20 and --config.data.augment=pad_crop+flip where
mirrored images keep their class.

Classes with fewer than 20 training images are the tail, and reported as 'few';
--config.optimizer.threshold and --config.few_below change that. Not tuned on
any data set.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published

_PRESETS = _published.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = _config.Config(
    data=_config.Data(name='npz', profile='natural', batch_size=64),
    model=_config.Model(name='small_conv_net', norm='group'),
    optimizer=_config.Optimizer(
      threshold=20, learning_rate=0.1, weight_decay=5e-4
    ),
    epochs=40.0,
  )
  return _configure.with_words(config, words, _PRESETS)
