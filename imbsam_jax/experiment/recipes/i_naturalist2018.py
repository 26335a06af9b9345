# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""INaturalist 2018, by the recipe of Saddle-LongTail.

  python -m imbsam_jax train --workdir=runs/inat18 \
    --config=i_naturalist2018:sam,ldam_drw \
    --config.data.data_dir=DIR --config.model.dtype=bfloat16

The set, TFDS 'i_naturalist2018': 8142 species, 437,513 training images, 1000 to
2 per class (imbalance factor 500), long-tailed by nature. 842 classes are
'many' (> 100), 3701 'medium' and 3599 'few' (< 20), as the code of
Saddle-LongTail has them. The labels of the test set were never published (TFDS
has -1): as in the literature, the test set here is the validation set, 24,426
images, 3 per class. For choosing anything --config.data.validation_per_class=1
takes one image of each class off the training set; the rarest have two.

The recipe is that of `imagenet_lt` with learning rate 0.1 and weight decay 1e-4
(run script of val-iisc/Saddle-LongTail, NeurIPS 2022, with LDAM-DRW; with CE
and DRW it leaves its default, 2e-4). SAM's radius goes in steps: with LDAM-DRW
0.05, 0.1, 0.5; with DRW 0.05, 0.1, 0.1, 0.2, the last from epoch 75 on.
Differences: as in `imagenet_lt`; and channels are standardized as those of
ImageNet, in that code by means 0.466, 0.471, 0.380 and standard deviations
0.195, 0.194, 0.192.

The tail of ImbSAM are the classes with fewer than 20 images, as in its code,
which has CIFAR-100-LT alone. Before training all images are read once, for
their labels. Not yet measured.
"""

from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import imagenet_lt

_PRESETS = _published.SHARPNESS_AWARE | _published.saddle_longtail(
  'i_naturalist2018'
)


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = fields.replace(
    imagenet_lt.recipe('i_naturalist2018'),
    {
      'data.splits': ('train', None, 'validation'),
      'optimizer.learning_rate': 0.1,
      'optimizer.weight_decay': 1e-4,
    },
  )
  return _configure.with_words(config, words, _PRESETS)
