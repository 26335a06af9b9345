# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""CIFAR-10-LT, imbalance factor 100, by the recipe of LDAM-DRW.

  python -m imbsam_jax train --workdir=runs/cifar10 \
    --config=cifar10_lt:sam,ldam_drw \
    --config.data.data_dir=DIR

ResNet-32 with BatchNorm, SGD with momentum 0.9 and weight decay 2e-4, batches
of 128, 200 epochs, learning rate 0.1 after 5 epochs of warm-up, divided by 100
at 80 % and at 90 %, images cropped after padding by 4 and flipped. Not yet
measured at this length; `cifar10_lt_short` is a study for CPUs.
`calibrate` needs a run with --config.data.validation_per_class=20,
which come off the training images.

The classes have 5000 to 50 images, 12,406 in all; 8 are 'many' (> 100), 2
'medium', none is 'few' (< 20). For three groups of ten classes SSE-SAM has
--config.many_above=1000 --config.few_below=200. The tail is the two with fewer
than 100. Other protocols of the literature:

  --config.data.imbalance_factor=10     or 20, 50, 200; largest over smallest
  --config.data.profile=step            half of the classes large, half small
  --config.data.subset=first            first images of each class, as ImbSAM

With larger smallest classes, raise --config.optimizer.threshold: imbalance
factor 10 leaves 500. Images are chosen by the rule of LDAM-DRW from the order
of TFDS, so they are not the very images of its code.

Radii of SAM are those of Saddle-LongTail; its schedule over the run is
--config.optimizer.rho=0.5 --config.optimizer.rho_schedule='step()'.
"""

from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _configure
from imbsam_jax.experiment.recipes import _published

_PRESETS = _published.SHARPNESS_AWARE | _published.saddle_longtail('cifar10')


def get_config(words: str = 'sgd') -> _config.Config:
  """The configuration for method words."""
  return _configure.with_words(recipe('cifar10'), words, _PRESETS)


def recipe(name: str) -> _config.Config:
  """The recipe of LDAM-DRW on a CIFAR data set."""
  return _config.Config(
    data=_config.Data(
      name=name,
      imbalance_factor=100.0,
      batch_size=128,
      augment='pad_crop+flip',
    ),
    model=_config.Model(name='resnet32', norm='batch'),
    optimizer=_config.Optimizer(
      threshold=100,
      learning_rate=0.1,
      schedule='ldam',
      warmup_epochs=5.0,
      weight_decay=2e-4,
      decay='all',
    ),
    epochs=200.0,
  )
