# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""ImageNet-LT, by the recipe of Saddle-LongTail.

  python -m imbsam_jax train --workdir=runs/imagenet_lt \
    --config=imagenet_lt:imbsam \
    --config.data.data_dir=DIR --config.model.dtype=bfloat16

The set (Liu et al., CVPR 2019), TFDS 'imagenet_lt': 1000 classes, 115,846
training images, 1280 to 5 per class (imbalance factor 256); 385 classes are
'many' (> 100), 479 'medium', 136 'few' (< 20). Validation: 20 images per class,
taken from ImageNet's training images; test: the 50,000 validation images of
ILSVRC-2012. Preparing it takes the tar files of ILSVRC-2012 from
https://image-net.org, into TFDS's folder for manual downloads; TFDS fetches the
lists of the authors.

The recipe (run script of val-iisc/Saddle-LongTail, NeurIPS 2022): ResNet-50
with BatchNorm from scratch, random-resized crops of 224 and flips, batches of
256, SGD with momentum 0.9 and weight decay 2e-4 on all parameters, learning
rate 0.2, cosine, 90 epochs. SAM with DRW has the radius 0.05, from epoch 5 on
0.1, and from 60 on, with the weights, 0.5. Differences: that code jitters
colors too, moves the schedule once per epoch, and reports the epoch that is
best on the test set.

The code of ImbSAM has CIFAR-100-LT alone. As there, its tail is the classes
with fewer than 20 images, which are those reported as 'few'; this is no choice
of its authors for this set. --config.optimizer.threshold=100 perturbs the
medium classes as well.

BatchNorm ties the rows of a batch together, so that ImbSAM costs 2.67 SGD
steps. With --config.model.norm=group head and tail rows go through the network
apart, which costs little more than SGD and is exact; another network, though.
--config.model.name=resnext50 is the other one of the literature. Not yet
measured.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published

_PRESETS = _published.SHARPNESS_AWARE | _published.saddle_longtail(
  'imagenet_lt'
)


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  return _configure.with_words(recipe('imagenet_lt'), words, _PRESETS)


def recipe(name: str) -> _config.Config:
  """The recipe of Saddle-LongTail on a large data set."""
  return _config.Config(
    data=_config.Data(
      name=name,
      splits=('train', 'validation', 'test'),
      image_size=224,
      # As the codes of the literature, which do not heed it.
      exif_orientation=False,
      profile='natural',
      batch_size=256,
    ),
    model=_config.Model(name='resnet50', norm='batch'),
    optimizer=_config.Optimizer(
      threshold=20, learning_rate=0.2, weight_decay=2e-4, decay='all'
    ),
    epochs=90.0,
    save_every=5.0,
    many_above=100,
    few_below=20,
  )
