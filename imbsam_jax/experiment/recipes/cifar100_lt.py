# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""CIFAR-100-LT, imbalance factor 100; the recipe is that of `cifar10_lt`.

  python -m imbsam_jax train --workdir=runs/cifar100 \
    --config=cifar100_lt:sam,vs \
    --config.data.data_dir=DIR

The classes have 500 to 5 images, 10,847 in all; 35 are 'many' (> 100), 35
'medium', 30 'few' (< 20). The tail is the few, 2.8 % of the images, as in the
code of ImbSAM; --config.optimizer.threshold=100, as in SSE-SAM, makes it 65
classes and 18.7 %. Other protocols of the literature:

  --config.data.imbalance_factor=10     or 20, 50, 200; largest over smallest
  --config.data.profile=step            half of the classes large, half small
  --config.data.subset=first            first images of each class, as ImbSAM

With imbalance factors of 10 and 20 no class has fewer than 20 images; raise
--config.optimizer.threshold for ImbSAM. The recipe of ImbSAM's own code is
`cifar100_lt_imbsam`. Not yet measured.
"""

from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import cifar10_lt

_PRESETS = (
  _published.SHARPNESS_AWARE
  | _published.saddle_longtail('cifar100')
  | {
    'cri': {'objective.loss': 'cri(scale=10.0, max_margin=0.2, gamma=1.5)'},
  }
)


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = fields.replace(
    cifar10_lt.recipe('cifar100'), {'optimizer.threshold': 20}
  )
  return _configure.with_words(config, words, _PRESETS)
