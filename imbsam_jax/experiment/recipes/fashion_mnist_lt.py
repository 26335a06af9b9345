# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Fashion-MNIST-LT, imbalance factor 100, by the recipe of `cifar10_lt`.

  python -m imbsam_jax train --workdir=runs/fashion \
    --config=fashion_mnist_lt:imbsam \
    --config.data.data_dir=DIR

Ten classes of 28x28 gray images (TFDS 'fashion_mnist'), 6000 to 60 training
images each, 14,886 in all; the test set has 1000 of each. The profile is that
of long-tailed CIFAR with n_max = 6000. There is no one published protocol:
compare with numbers of others only after a look at their counts, which
--config.data.class_counts takes. --config.data.profile=step,
--config.data.imbalance_factor and --config.data.subset=first are as for CIFAR.

The recipe is that of LDAM-DRW on CIFAR with a ResNet-20. Images are cropped
after padding by 4 and flipped, as in Random Erasing (Zhong et al., AAAI 2020;
the network too is that of its code): a mirrored garment stays what it is. With
ten classes 'few' are those with fewer than 200 images (three: 167, 100, 60),
which are the tail of ImbSAM too, 'many' those with more than 1000 (four). Radii
are those of the methods' papers. Not yet measured.
"""

from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import cifar10_lt

_PRESETS = _published.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = fields.replace(
    cifar10_lt.recipe('fashion_mnist'),
    {
      'model.name': 'resnet20',
      'optimizer.threshold': 200,
      'many_above': 1000,
      'few_below': 200,
    },
  )
  return _configure.with_words(config, words, _PRESETS)
