# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""AutoAugment: the learned policies of CIFAR-10 and ImageNet."""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from imbsam_jax.augment import _operations

Policy = Literal['cifar10', 'imagenet']

_NUM_BINS = 10

# Sub-policies: of each operation its name, probability and magnitude, as the
# paper's appendix prints them, also where an operation has no magnitude.
_POLICIES = {
  'cifar10': (
    (('invert', 0.1, 7), ('contrast', 0.2, 6)),
    (('rotate', 0.7, 2), ('translate_x', 0.3, 9)),
    (('sharpness', 0.8, 1), ('sharpness', 0.9, 3)),
    (('shear_y', 0.5, 8), ('translate_y', 0.7, 9)),
    (('autocontrast', 0.5, 8), ('equalize', 0.9, 2)),
    (('shear_y', 0.2, 7), ('posterize', 0.3, 7)),
    (('color', 0.4, 3), ('brightness', 0.6, 7)),
    (('sharpness', 0.3, 9), ('brightness', 0.7, 9)),
    (('equalize', 0.6, 5), ('equalize', 0.5, 1)),
    (('contrast', 0.6, 7), ('sharpness', 0.6, 5)),
    (('color', 0.7, 7), ('translate_x', 0.5, 8)),
    (('equalize', 0.3, 7), ('autocontrast', 0.4, 8)),
    (('translate_y', 0.4, 3), ('sharpness', 0.2, 6)),
    (('brightness', 0.9, 6), ('color', 0.2, 8)),
    (('solarize', 0.5, 2), ('invert', 0.0, 3)),
    (('equalize', 0.2, 0), ('autocontrast', 0.6, 0)),
    (('equalize', 0.2, 8), ('equalize', 0.6, 4)),
    (('color', 0.9, 9), ('equalize', 0.6, 6)),
    (('autocontrast', 0.8, 4), ('solarize', 0.2, 8)),
    (('brightness', 0.1, 3), ('color', 0.7, 0)),
    (('solarize', 0.4, 5), ('autocontrast', 0.9, 3)),
    (('translate_y', 0.9, 9), ('translate_y', 0.7, 9)),
    (('autocontrast', 0.9, 2), ('solarize', 0.8, 3)),
    (('equalize', 0.8, 8), ('invert', 0.1, 3)),
    (('translate_y', 0.7, 9), ('autocontrast', 0.9, 1)),
  ),
  'imagenet': (
    (('posterize', 0.4, 8), ('rotate', 0.6, 9)),
    (('solarize', 0.6, 5), ('autocontrast', 0.6, 5)),
    (('equalize', 0.8, 8), ('equalize', 0.6, 3)),
    (('posterize', 0.6, 7), ('posterize', 0.6, 6)),
    (('equalize', 0.4, 7), ('solarize', 0.2, 4)),
    (('equalize', 0.4, 4), ('rotate', 0.8, 8)),
    (('solarize', 0.6, 3), ('equalize', 0.6, 7)),
    (('posterize', 0.8, 5), ('equalize', 1.0, 2)),
    (('rotate', 0.2, 3), ('solarize', 0.6, 8)),
    (('equalize', 0.6, 8), ('posterize', 0.4, 6)),
    (('rotate', 0.8, 8), ('color', 0.4, 0)),
    (('rotate', 0.4, 9), ('equalize', 0.6, 2)),
    (('equalize', 0.0, 7), ('equalize', 0.8, 8)),
    (('invert', 0.6, 4), ('equalize', 1.0, 8)),
    (('color', 0.6, 4), ('contrast', 1.0, 8)),
    (('rotate', 0.8, 8), ('color', 1.0, 2)),
    (('color', 0.8, 8), ('solarize', 0.8, 7)),
    (('sharpness', 0.4, 7), ('invert', 0.6, 8)),
    (('shear_x', 0.6, 5), ('equalize', 1.0, 9)),
    (('color', 0.4, 0), ('equalize', 0.6, 3)),
    (('equalize', 0.4, 7), ('solarize', 0.2, 4)),
    (('solarize', 0.6, 5), ('autocontrast', 0.6, 5)),
    (('invert', 0.6, 4), ('equalize', 1.0, 8)),
    (('color', 0.6, 4), ('contrast', 1.0, 8)),
    (('equalize', 0.8, 8), ('equalize', 0.6, 3)),
  ),
}


def auto_augment(
  key: jax.Array,
  image: ArrayLike,
  *,
  policy: Policy = 'cifar10',
  fill: ArrayLike = 0,
) -> jax.Array:
  r"""Applies a random one of 25 learned pairs of operations.

  Cubuk et al., `AutoAugment: Learning Augmentation Strategies from Data
  <https://arxiv.org/abs/1805.09501>`_, CVPR 2019, appendix. A policy has 25
  sub-policies, of which each image draws one, uniformly. A sub-policy is two
  operations, one after the other, each with a probability of being applied and
  a magnitude m from 0 to 9. Ranges are those of torchvision's `AutoAugment`:

  - autocontrast, equalize, invert: no strength;
  - rotate: :math:`\pm 30 m / 9` degrees about the center;
  - shear-x, shear-y: :math:`\pm 0.3 m / 9`, the upper left corner stays;
  - translate-x, translate-y: :math:`\pm (150 / 331) (m / 9)` of the width or
    height, in whole pixels;
  - brightness, contrast, color, sharpness: a factor :math:`1 \pm 0.1 m`, 1
    being the image itself;
  - posterize: :math:`8 - round(4 m / 9)` bits;
  - solarize: inverts values from :math:`255 - 255 m / 9`.

  Signs are fair. What an operation does is what Pillow does, as in
  `rand_augment`, whose magnitude :math:`30 m / 9` has the same ranges.

  The paper crops and flips first. For CIFAR it covers a square last:
  `pad_crop`, `random_flip`, `auto_augment`, `cutout` with ``size=16``. Under
  vmap the cost is that of `rand_augment` with two operations.

  >>> import jax, jax.numpy as jnp
  >>> images = jnp.zeros((8, 32, 32, 3), jnp.uint8)
  >>> keys = jax.random.split(jax.random.key(0), 8)
  >>> jax.jit(jax.vmap(auto_augment))(keys, images).shape
  (8, 32, 32, 3)

  Args:
    key: Key of `jax.random`.
    image: Uint8 array, shape ``[H, W, 3]``, or ``[H, W, 1]``, before
      normalization.
    policy: `'cifar10'`, which the paper takes for CIFAR-100 too, or
      `'imagenet'`.
    fill: Color of what comes in from outside, a scalar or ``[C]`` in 0..255:
      0 as torchvision; the authors' code takes gray.

  Returns:
    Uint8 array of the shape of `image`.

  Raises:
    ValueError: If `image` is not one image of 1 or 3 channels, `policy` is
      unknown, or `fill` has another shape.
    TypeError: If `image` is not uint8.

  .. note::
    The policies are those that the paper prints. A magnitude of 0 is not
    always the identity, and with one channel color does nothing. Blends and
    autocontrast differ from Pillow by 1 at most, see `rand_augment`.
  """
  if policy not in _POLICIES:
    words = ' or '.join(repr(word) for word in _POLICIES)
    raise ValueError(
      f"`policy` must be {words}, got {policy!r}. Use policy='cifar10' for "
      'CIFAR-100 too.'
    )
  image = _operations.check_image(image, 'auto_augment')
  return _operations.apply(
    image,
    _rows(policy, *image.shape[:2]),
    _choices(key, policy),
    fill=fill,
  )


def _rows(policy: Policy, height: int, width: int) -> _operations.Rows:
  """Four rows for each sub-policy: both signs of both operations.

  Args:
    policy: Name of the policy.
    height: Height of the images.
    width: Width of the images.

  Returns:
    Rows in the order of the sub-policies, and last one that does nothing.
  """
  operations: list[tuple[str, float, int]] = [
    (name, _operations.MAX_MAGNITUDE * magnitude / (_NUM_BINS - 1), sign)
    for sub_policy in _POLICIES[policy]
    for name, _, magnitude in sub_policy
    for sign in (1, -1)
  ]
  operations.append(('identity', 0, 1))
  return _operations.make_rows(operations, height, width)


def _choices(key: jax.Array, policy: Policy) -> jax.Array:
  """Int32 array, shape ``[2]``: which of `_rows` to apply."""
  sub_policies = _POLICIES[policy]
  probabilities = np.array(
    [[probability for _, probability, _ in pair] for pair in sub_policies],
    np.float32,
  )
  which, applied, negative = jax.random.split(key, 3)
  i = jax.random.randint(which, (), 0, len(sub_policies), jnp.int32)
  choices = 4 * i + jnp.array([0, 2], jnp.int32)
  choices += jax.random.randint(negative, (2,), 0, 2, jnp.int32)
  is_applied = jax.random.bernoulli(applied, jnp.asarray(probabilities)[i])
  return jnp.where(is_applied, choices, 4 * len(sub_policies))
