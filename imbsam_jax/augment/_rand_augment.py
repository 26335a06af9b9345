# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""RandAugment: a few random operations of one strength."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax import _checks
from imbsam_jax.augment import _operations

_OPS = tuple(name for name in _operations.NAMES if name != 'invert')


def rand_augment(
  key: jax.Array,
  image: ArrayLike,
  *,
  num_ops: int = 2,
  magnitude: ArrayLike = 10,
  fill: ArrayLike = 0,
) -> jax.Array:
  r"""Applies random operations one after the other, all of one magnitude.

  Cubuk et al., `RandAugment: Practical Automated Data Augmentation with a
  Reduced Search Space <https://arxiv.org/abs/1909.13719>`_, NeurIPS 2020. Each
  operation is uniform over the 14 of the paper, with replacement. Ranges are
  those of torchvision's `RandAugment` (``num_magnitude_bins=31``), m being the
  magnitude:

  - identity, autocontrast, equalize: no strength;
  - rotate: :math:`\pm m` degrees about the center;
  - shear-x, shear-y: :math:`\pm m / 100`, the upper left corner stays;
  - translate-x, translate-y: :math:`\pm (150 / 331) (m / 30)` of the width or
    height, in whole pixels;
  - brightness, contrast, color, sharpness: a factor :math:`1 \pm 0.03 m`, 1
    being the image itself;
  - posterize: :math:`8 - round(m / 7.5)` bits;
  - solarize: inverts values from :math:`255 - 8.5 m`.

  Signs are fair. What an operation does is what Pillow does, which torchvision
  calls: geometry takes the nearest pixel, values round down. With one channel
  color does nothing.

  >>> import jax, jax.numpy as jnp
  >>> images = jnp.zeros((8, 32, 32, 3), jnp.uint8)
  >>> keys = jax.random.split(jax.random.key(0), 8)
  >>> jax.jit(jax.vmap(rand_augment))(keys, images).shape
  (8, 32, 32, 3)

  Args:
    key: Key of `jax.random`.
    image: Uint8 array, shape ``[H, W, 3]``, or ``[H, W, 1]``, before
      normalization.
    num_ops: Number of operations, >= 0. The paper's N, which it tunes: 1 to 3,
      2 for ImageNet.
    magnitude: Magnitude in [0, 30], may be traced. The paper's M, which it
      tunes; the default of torchvision is 9.
    fill: Color of what comes in from outside, a scalar or ``[C]`` in 0..255:
      0 as torchvision; the authors' code takes gray.

  Returns:
    Uint8 array of the shape of `image`.

  Raises:
    ValueError: If `image` is not one image of 1 or 3 channels, a
      hyper-parameter is out of range, or `fill` has another shape.
    TypeError: If `image` is not uint8, or a hyper-parameter is not a number.

  .. note::
    As in torchvision, magnitude 0 is not quite the identity: autocontrast and
    equalize have no strength, and solarize inverts 255. Pillow computes in
    floating point; here are integers, so that results do not depend on the
    machine or the batch. Blends and autocontrast then differ from Pillow by 1
    at most, where Pillow's product falls short of a whole number.
  """
  _checks.integer('num_ops', num_ops, low=0)
  _checks.number('magnitude', magnitude, low=0, high=_operations.MAX_MAGNITUDE)
  if np.ndim(magnitude):
    raise ValueError(
      f'`magnitude` must be a scalar, got shape {np.shape(magnitude)}.'
    )
  image = _operations.check_image(image, 'rand_augment')
  rows = _operations.make_rows(
    [(name, magnitude, sign) for name in _OPS for sign in (1, -1)],
    *image.shape[:2],
  )
  choices = jax.random.randint(key, (num_ops,), 0, 2 * len(_OPS), jnp.int32)
  return _operations.apply(image, rows, choices, fill=fill)
