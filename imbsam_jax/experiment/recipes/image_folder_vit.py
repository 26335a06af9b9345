# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Photographs of one's own, on a pre-trained Vision Transformer.

  python -m imbsam_jax train --workdir=runs/mine \
    --config=image_folder_vit:imbsam,logit_adjustment \
    --config.data.data_dir=DIR --config.model.trunk=FILE

DIR has ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, see `image_folder`; FILE
is a ViT-B/16, see `cifar100_lt_vit`. Where to start with photographs: a few
thousand of them, of which some classes have a handful, are too few for a
network from nothing, and enough to tune one.

A bottleneck beside the MLP of each block is trained (`adaptformer`; others are
vpt_deep, lora, partial, probe, full, ...), and a cosine head that begins with
the class means. SGD with momentum 0.9, learning rate 0.01, 10 epochs, batches
of 64, random resized crops of 224 and flips: the setting of LIFT (Shi et al.,
ICML 2024), whose loss is `logit_adjustment`. The words full and partial want a
smaller learning rate, --config.optimizer.learning_rate=0.0005.

Choose the loss first, in minutes, with the recipe `image_folder_features`.
Classes with fewer than 20 training images are the tail, and reported as 'few';
where all have more, raise --config.optimizer.threshold and --config.few_below.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _foundation
from imbsam_jax.experiment.recipes import _published


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  return _configure.with_words(recipe(), words, _published.SHARPNESS_AWARE)


def recipe() -> _config.Config:
  """LIFT's setting on photographs in folders."""
  return _config.Config(
    data=_config.Data(
      name='image_folder', image_size=224, profile='natural', batch_size=64
    ),
    model=_config.Model(
      name='trunk', norm='none', tuning='adaptformer', **_foundation.HEAD
    ),
    optimizer=_foundation.lift(),
    epochs=10.0,
    save_every=5.0,
  )
