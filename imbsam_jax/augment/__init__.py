# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentations: of one image, and of two batches that are mixed.

Functions of one image, `pad_crop`, `random_flip`, `cutout`, `auto_augment`,
`rand_augment`, take ``(key, image)`` and keep shape and dtype. Map them over a
batch: ``jax.vmap(pad_crop)(jax.random.split(key, batch_size), images)``. What
becomes of an image depends on itself and its key, not on its neighbors.
`random_resized_crop` is one more that may change the size, and `resize_images`
changes that of a batch.

Functions of two batches, `mixup`, `remix`, `cmo`, `dbn_mix`, take ``(key,
batch, partner)``, pairs (images, labels), and return the labels of both. They
never sample: the sampler decides who the partner is, the same rows in another
order or a stream of its own.

`pure_noise` and `guiding_adversaries` take one batch. They replace images and
say in which rows: labels stay.
"""

from imbsam_jax.augment._auto_augment import auto_augment
from imbsam_jax.augment._cmo import cmo
from imbsam_jax.augment._crop import pad_crop
from imbsam_jax.augment._cutout import cutout
from imbsam_jax.augment._dbn_mix import dbn_mix
from imbsam_jax.augment._flip import random_flip
from imbsam_jax.augment._guiding_adversaries import guiding_adversaries
from imbsam_jax.augment._mixup import mixup
from imbsam_jax.augment._pure_noise import pure_noise
from imbsam_jax.augment._rand_augment import rand_augment
from imbsam_jax.augment._random_resized_crop import random_resized_crop
from imbsam_jax.augment._remix import remix
from imbsam_jax.augment._remix import remix_label_weight
from imbsam_jax.augment._resize import resize_images

__all__ = [
  'auto_augment',
  'cmo',
  'cutout',
  'dbn_mix',
  'guiding_adversaries',
  'mixup',
  'pad_crop',
  'pure_noise',
  'rand_augment',
  'random_flip',
  'random_resized_crop',
  'remix',
  'remix_label_weight',
  'resize_images',
]
