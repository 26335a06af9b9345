# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`FolderContent`: the images of a folder as they are, refused or not."""

from collections.abc import Sequence
import copy
import os
from typing import Self
import unicodedata

import numpy as np

from imbsam_jax import _paths
from imbsam_jax.data import _errors
from imbsam_jax.data import _file_listing


class FolderContent:
  r"""Image files in ``folder/<class name>/``, whatever is wrong with them.

  What `FolderSource` takes, but nothing is refused: class folders may be empty,
  or unknown to another split. For `check`, which tells of all that is wrong.

  Args:
    folder: Folder that holds a folder for each class.
    class_names: Names that come first; other folders come behind them, sorted.

  Attributes:
    folder: The folder.
    labels: int32 ``[N]``.
    class_names: One name per class, in normal form C.
    spellings: The names of the folders of each class.
    paths: Paths of the images, relative to the folder.
    left_out: Why other files are no examples, by their relative paths.
    problems: Why folders cannot be read.

  Raises:
    DataError: If the folder itself cannot be read.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str] = (),
  ):
    self.folder = os.path.expanduser(folder)
    here = _file_listing.entries(self.folder)
    self.spellings: dict[str, list[str]] = {}
    for name in here.folders:
      self.spellings.setdefault(_class_name(name), []).append(name)
    others = sorted(set(self.spellings) - set(class_names))
    self.class_names: Sequence[str] = [*class_names, *others]
    self.left_out = here.left_out | dict.fromkeys(here.files, 'of no class')
    self.paths: list[str] = []
    self.problems: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(self.class_names):
      for spelling in self.spellings.get(name, []):
        try:
          listing = _file_listing.list_images(self.folder, spelling)
        except _errors.DataError as error:
          self.problems.append(str(error))
          continue
        self.paths += listing.paths
        labels += [label] * len(listing.paths)
        self.left_out |= listing.left_out
    self.labels = np.array(labels, np.int32)

  @property
  def broken(self) -> dict[str, str]:
    """What was left out and by its name was to be an image."""
    return _file_listing.Listing(self.paths, self.left_out).broken

  def where(self, rows: np.ndarray) -> Self:
    """Some of the images, in the same order.

    Args:
      rows: Bool ``[N]``, which images stay.
    """
    other = copy.copy(self)
    other.labels = self.labels[rows]
    other.paths = [self.paths[i] for i in np.flatnonzero(rows)]
    return other


def _class_name(folder: str) -> str:
  return unicodedata.normalize('NFC', _paths.printable(folder))
