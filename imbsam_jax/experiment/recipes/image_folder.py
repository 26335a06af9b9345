# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Images of one's own, in a folder for each class.

  python -m imbsam_jax train --workdir=runs/mine \
    --config=image_folder:imbsam \
    --config.data.data_dir=DIR

DIR has ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg`` (or .png, .webp, .bmp,
.gif, .ppm, .tiff: content decides, not names). Classes are the folders of
``train`` in sorted order; the test images may lack some, but not have others.
Where DIR has the folders of the classes itself, --config.data.test_share=0.2 of
each class become the test images. All images are used, in their
own distribution. For choosing anything there is
--config.data.validation_per_class=10, which takes images off the training set,
or a folder: --config.data.splits="('train', 'validation', 'test')".

Defaults are for a few thousand photographs on one accelerator: a ResNet-50 with
GroupNorm, with which ImbSAM is cheap and no result depends on the size of the
batch, 224x224, batches of 64, 100 epochs, cosine schedule after 5 epochs of
warm-up. To try it on a CPU:

  --config.data.image_size=64 --config.model.name=strided_conv_net \
  --config.optimizer.learning_rate=0.1 --config.epochs=20

Classes with fewer than 20 training images are the tail, and reported as 'few';
where all have more, raise --config.optimizer.threshold and --config.few_below,
which the header of a run shows at work. Not tuned on any data set.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published

_PRESETS = _published.SHARPNESS_AWARE


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  config = _config.Config(
    data=_config.Data(
      name='image_folder', image_size=224, profile='natural', batch_size=64
    ),
    model=_config.Model(name='resnet50', norm='group'),
    optimizer=_config.Optimizer(
      threshold=20,
      learning_rate=0.025,
      warmup_epochs=5.0,
      weight_decay=5e-4,
    ),
    epochs=100.0,
  )
  return _configure.with_words(config, words, _PRESETS)
