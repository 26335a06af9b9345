# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Test images out of one folder of images."""

import collections
import hashlib
import os

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _file_listing
from imbsam_jax.data import _image_files

_HEAD_BYTES = 4096


def test_rows(
  source: _image_files.FolderSource, share: float, *, seed: int = 0
) -> np.ndarray:
  """The images of a folder that are set aside for the test, by a fixed rule.

  Of each class it is the share, rounded, but at least one image, and one stays.
  Images are ordered by the SHA-256 of ``'seed/'`` and the image's path in the
  folder, and the first ones are taken: the choice does not change when images
  are renamed elsewhere or the disk lists them in another order, and new ones
  move few of the others.

  Files of the same bytes count as one image: they come into one part, or they
  would be training and test images at once. Where they are of several classes,
  they stay training images. Files of the same size are read for that.

  Args:
    source: Images in a folder for each class.
    share: Share of the test images, in (0, 1).
    seed: Seed of the choice.

  Returns:
    bool ``[N]``, which images are test images. A class of one image has none.

  Raises:
    ValueError: If the share is not in (0, 1).
  """
  _checks.number('share', share, above=0, below=1)
  labels = source.labels
  groups = _same_content(source)
  chosen = np.zeros(len(labels), bool)
  of_class: dict[int, list[list[int]]] = collections.defaultdict(list)
  for rows in groups:
    if len(set(labels[rows])) == 1:
      of_class[int(labels[rows[0]])].append(rows)
  for label, count in enumerate(np.bincount(labels)):
    wanted = max(round(share * int(count)), 1)
    taken = 0
    for rows in sorted(
      of_class[label], key=lambda rows: _rank(source, rows, seed)
    ):
      if taken < wanted and taken + len(rows) < count:
        chosen[rows] = True
        taken += len(rows)
  return chosen


def _rank(
  source: _image_files.FolderSource, rows: list[int], seed: int
) -> bytes:
  name = _image_files.portable(source.paths[rows[0]])
  return hashlib.sha256(f'{seed}/'.encode() + name).digest()


def _same_content(source: _image_files.FolderSource) -> list[list[int]]:
  """Rows of each image; those of the same bytes are together."""
  rows = list(range(len(source.paths)))
  groups = [rows]
  # The next one reads more of what the ones before cannot tell apart.
  for key in (_size, _head, _whole):
    alike = [group for group in groups if len(group) > 1]
    groups = [group for group in groups if len(group) == 1]
    for group in alike:
      paths = [os.path.join(source.folder, source.paths[i]) for i in group]
      parts = collections.defaultdict(list)
      for i, value in zip(
        group, _file_listing.map_files(key, paths), strict=True
      ):
        # Of what cannot be read, nothing is known.
        parts[(value, i) if value is None else value].append(i)
      groups += parts.values()
  return groups


def _size(path: str) -> int | None:
  try:
    return os.stat(path).st_size
  except OSError:
    return None


def _head(path: str) -> bytes | None:
  return _digest(path, _HEAD_BYTES)


def _whole(path: str) -> bytes | None:
  return _digest(path, -1)


def _digest(path: str, number: int) -> bytes | None:
  try:
    with open(path, 'rb') as file:
      return hashlib.sha256(file.read(number)).digest()
  except OSError:
    return None
