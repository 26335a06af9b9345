# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether examples of two splits can go through one network."""

from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax.data import _errors

# Images in [0, 255] against images in [0, 1], [-1, 1] or standardized ones.
_OTHER_SCALE = 50.0
# Share of values of features that lie outside of [0, 1] if that is not their
# scale.
_OUTSIDE = 0.05
# Values that are looked at: enough to tell a scale.
_LOOKED_AT = 1 << 24


class _Range(NamedTuple):
  """What is known of the values of an array."""

  low: float
  high: float
  outside: float  # Share outside of [0, 1].

  @property
  def largest(self) -> float:
    return max(abs(self.low), abs(self.high))

  def __str__(self) -> str:
    return f'{self.low:.4g} to {self.high:.4g}'


def check_like(ours: Any, theirs: Any, name: str) -> None:
  """Refuses images that are unlike those of training.

  Args:
    ours: Training images, an array ``[N, ...]`` or `EncodedImages`.
    theirs: Other images.
    name: What they are called: 'test'.

  Raises:
    DataError: If their rows have another shape, or hold bytes where those hold
      floats, or floats on another scale: one within 0 to 1, the other beyond.
  """
  one, two = ours.shape[1:], theirs.shape[1:]
  if (one, ours.dtype.kind) != (two, theirs.dtype.kind):
    raise _errors.DataError(
      f'training images are {ours.dtype} {list(one)} each, {name} '
      f'images {theirs.dtype} {list(two)}: a network takes one '
      'shape, and uint8 (0 to 255) or floats in one scale. '
      f'{_advice(ours, theirs, name)}'
    )
  if ours.dtype.kind != 'f' or not (
    isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray)
  ):
    return
  ranges = _range_of(ours), _range_of(theirs)
  if _differ(*ranges, are_images=len(one) > 1):
    raise _errors.DataError(
      f'training images have values from {ranges[0]}, {name} images from '
      f'{ranges[1]}: these are two scales, and a network takes one. Bring both '
      'to the same scale, such as floats from 0 to 1 by images / 255.'
    )


def _differ(one: _Range, two: _Range, *, are_images: bool) -> bool:
  """Whether these are two scales, rather than two samples of one."""
  if not are_images:
    # Features in [0, 1] on one side only: many are not on the other.
    outside = sorted([one.outside, two.outside])
    return outside[0] == 0 and outside[1] > _OUTSIDE
  small, large = sorted([one.largest, two.largest])
  if small and large > _OTHER_SCALE * small and large > _OTHER_SCALE / 5:
    return True
  # [0, 1] on one side, [-1, 1] on the other.
  lows = sorted([one.low, two.low])
  return lows[1] >= 0 and lows[0] < -large / 2


def _range_of(images: np.ndarray) -> _Range:
  step = max(images.size // _LOOKED_AT, 1)
  # Every value counts in the ends; the share is of some rows.
  some = images[::step]
  if not images.size:
    return _Range(0.0, 0.0, 0.0)
  low, high = float(images.min()), float(images.max())
  outside = 0.0 if low >= 0 and high <= 1 else np.mean((some < 0) | (some > 1))
  return _Range(low, high, float(outside))


def _advice(ours: Any, theirs: Any, name: str) -> str:
  """What brings these images to the form of those of training."""
  one, two = ours.shape[1:], theirs.shape[1:]
  if one != two:
    changes: dict[tuple, str] = {
      (one[:-1], 3, 1): 'numpy.repeat(images, 3, axis=-1)',
      (one[:-1], 1, 3): 'images.mean(axis=-1, keepdims=True).astype('
      f'"{ours.dtype}")',
    }
    change = changes.get((two[:-1], *one[-1:], *two[-1:]))
    if (*two, 1) == one:
      change = 'images[..., None]'
    if change is not None:
      return f'For the {name} images pass {change}.'
    return 'Bring them to the same shape and dtype.'
  floats, part = (
    (theirs, name) if ours.dtype.kind == 'u' else (ours, 'training')
  )
  if not isinstance(floats, np.ndarray) or floats.dtype.kind != 'f':
    return 'Bring them to the same shape and dtype.'
  values = _range_of(floats)
  if values.low >= 0 and values.high <= 255:
    images = '(images * 255)' if values.high <= 1 else 'images'
    return f'For the {part} images pass {images}.round().astype("uint8").'
  return (
    f'Bring them to the same shape and dtype: the {part} images have values '
    f'from {values}.'
  )
