# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Places-LT, from the images of Places365 and the lists of its authors.

  python -m imbsam_jax train --workdir=runs/places_lt \
    --config=places_lt:imbsam \
    --config.data.data_dir=DIR

The set (Liu et al., CVPR 2019): 365 classes, 62,500 training images, 4980 to 5
per class (imbalance factor 996); 131 classes are 'many' (> 100), 163 'medium',
71 'few' (< 20), with 84.4, 14.3 and 1.3 % of the images. Validation: 20 images
per class, taken from the training images of Places365; test: all 36,500
validation images of Places365, 100 per class.

Two things are to be downloaded. The images: 'Places365-Standard, small images,
easy directory structure' from http://places2.csail.mit.edu; DIR is the folder
with ``train/airfield/...`` and ``val/airfield/...``. The lists: those of
https://github.com/zhmiao/OpenLongTailRecognition-OLTR (Google Drive), or the
copies in data/Places_LT of facebookresearch/classifier-balancing, of SHA-256

  train  726c4871dcbf07ce2f857703bfe32e9a83ffbf52d704239f6d95c4f4f4c247f7
  val    719e3cf3766c09134ea28f56f1036c78def511ac1ed2c2532a6beef78f2439ba
  test   44eee8441c8098c59195465abede425721bc35525d75209f9433b161a6eb37bc

Their lines are ``train/airfield/00004851.jpg 0``, paths relative to DIR. The
lists are looked for where the command is run, as Places_LT_train.txt,
Places_LT_val.txt and Places_LT_test.txt; elsewhere they are passed as
--config.data.splits="('LISTS/Places_LT_train.txt', None, ...)".

TFDS has the same images as 'places365_small'; its features give a file name
from version 2.1.0 on, such as data_256/a/airfield/00004851.jpg. From these a
list of positions can be made (``position label``, see `data.SubsetSource`) and
passed behind a split, here as the files LT_train and LT_val; the test images
are a whole split. Not tried on the real data:

  --config.data.name=places365_small \
  --config.data.splits="('train@LT_train', 'train@LT_val', 'validation')"

The recipe is that of `imagenet_lt`: a ResNet-50 from scratch, 90 epochs. The
literature fine-tunes the last block of a ResNet-152 that was trained on all of
ImageNet, so that numbers of this file do not compare with published ones. The
tail of ImbSAM are the classes with fewer than 20 images, as in its code for
CIFAR-100-LT. Radii are those of the methods' papers. Not yet measured.
"""

from imbsam_jax._runs import fields
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published
from imbsam_jax.experiment.recipes import imagenet_lt

_PRESETS = _published.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = fields.replace(
    imagenet_lt.recipe('image_list'),
    {
      'data.splits': (
        'Places_LT_train.txt',
        'Places_LT_val.txt',
        'Places_LT_test.txt',
      ),
    },
  )
  return _configure.with_words(config, words, _PRESETS)
