# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pairs of arrays in a .npz file, and a source of them."""

from collections.abc import Callable
from collections.abc import Sequence
import os

import numpy as np

from imbsam_jax import _npz
from imbsam_jax.data import _errors
from imbsam_jax.data import _sources

# What the arrays of a split end in.
_SPLITS: dict[str | None, tuple[str, ...]] = {
  'train': ('train',),
  'validation': ('validation', 'valid', 'val'),
  'test': ('test',),
  None: (),
}


class NpzSource(_sources.ArraySource):
  """Images (or feature vectors) and labels of a ``.npz`` file.

  Nothing is unpickled, and no array is made before the file is known to hold
  as many bytes.

  Args:
    path: A file of `numpy.savez` or `numpy.savez_compressed`.
    split: 'train' takes ``x_train`` and ``y_train``, 'test' ``x_test`` and
      ``y_test``, as in the files of Keras, and 'validation' ``x_validation``,
      ``x_valid`` or ``x_val`` with the like. None is for files of one split:
      ``images`` and ``labels``, or ``X`` and ``y``.
    class_names: One name per class, see `ArraySource`.

  Raises:
    DataError: If the file is missing, is broken, or has other arrays; and as
      for `ArraySource`.
    ValueError: If the split is unknown.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    split: str | None = None,
    *,
    class_names: Sequence[str] | None = None,
  ):
    if split not in _SPLITS:
      raise ValueError(
        f"`split` must be 'train', 'validation', 'test' or None, got {split!r}."
      )
    pairs = (
      (('images', 'labels'), ('X', 'y'))
      if split is None
      else tuple((f'x_{name}', f'y_{name}') for name in _SPLITS[split])
    )
    images, labels = read_pair(
      path,
      pairs,
      lambda names: (
        f' for split={split!r}.{_other_split(names, split)}'
        f'{_near(path, names, pairs)}'
      ),
    )
    super().__init__(images, labels, class_names=class_names)


def read_pair(
  path: str | os.PathLike[str],
  pairs: Sequence[tuple[str, str]],
  advice: Callable[[Sequence[str]], str],
) -> tuple[np.ndarray, np.ndarray]:
  """Two arrays of a .npz file.

  Nothing is unpickled, and no array is made before the file is known to hold
  as many bytes.

  Args:
    path: The file.
    pairs: Names that the two may have; the first pair that is there is read.
    advice: Takes the names that are there, and returns how the message ends if
      no pair is among them.

  Raises:
    DataError: If the file is missing, is broken, or has other arrays.
  """
  try:
    names = _npz.names_of(path)
    pair = next((pair for pair in pairs if set(pair) <= set(names)), None)
    arrays = {} if pair is None else _npz.read(path, pair)
  except ValueError as error:
    raise _errors.DataError(str(error)) from error
  if pair is None:
    expected = ' or '.join(f'{x!r} and {y!r}' for x, y in pairs)
    raise _errors.DataError(
      f'{path} has the arrays {names[:10]}; {expected} are expected'
      f'{advice(names)}'
    )
  return arrays[pair[0]], arrays[pair[1]]


def _other_split(names: Sequence[str], split: str | None) -> str:
  if split is None and 'x_train' in names:
    return " Pass 'train' or 'test'."
  if split is not None and {'images', 'X'} & set(names):
    return ' Leave `split` out.'
  return ''


def _near(
  path: object, names: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> str:
  """How to save arrays anew whose names are much like those expected."""
  by_key = {_key(name): name for name in names}
  for pair in pairs:
    near = [by_key.get(_key(name)) for name in pair]
    if None not in near:
      saved = ', '.join(
        f'{name}=arrays[{there!r}]'
        for name, there in zip(pair, near, strict=True)
      )
      return (
        f' {near[0]!r} and {near[1]!r} look like these: save them anew, '
        f'arrays = numpy.load({str(path)!r}); numpy.savez(path, {saved}) and '
        'the other splits likewise.'
      )
  return ''


def _key(name: str) -> str:
  """A name without what people write differently."""
  words = name.lower().replace('_', '').replace('-', '')
  for word, letter in (
    ('images', 'x'), ('image', 'x'), ('data', 'x'), ('features', 'x'),
    ('labels', 'y'), ('label', 'y'), ('targets', 'y'), ('target', 'y'),
  ):  # fmt: skip
    words = words.replace(word, letter)
  # 'trainX' is 'Xtrain'.
  return ''.join(sorted(words))
