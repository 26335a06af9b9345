# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources of image files: a folder for each class, or a list of files."""

from collections.abc import Iterator
from collections.abc import Sequence
import os
import pathlib
import stat
from typing import Any

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _errors
from imbsam_jax.data import _sources

_MAX_LIST_BYTES = 2**30


class _FileSource:
  """Image files below a folder, with labels that are known."""

  def __init__(
    self,
    folder: str | os.PathLike[str],
    paths: list[str],
    labels: Sequence[int],
    class_names: Sequence[str],
    image_size: int | None,
  ):
    self.class_names: Sequence[str] = list(class_names)
    self.labels = _checks.host_labels(
      np.asarray(labels), len(self.class_names), error=_errors.DataError
    )
    self._folder = os.fspath(folder)
    self._paths = paths
    self._image_size = image_size

  def examples(self, indices: np.ndarray) -> _sources.Examples:
    """The examples at `indices`, in that order."""
    indices = np.asarray(indices)
    if self._image_size is None:
      images = _encoded_images.decode_all(
        _encoded_images.named_content(self._read, self._describe, int(i))
        for i in indices
      )
    else:
      images = _encoded_images.EncodedImages(
        self._read, self._describe, size=self._image_size, indices=indices
      )
    return _sources.Examples(images, self.labels[indices])

  def _describe(self, i: int) -> str:
    return os.path.join(self._folder, self._paths[i])

  def _read(self, i: int) -> bytes:
    with open(self._describe(i), 'rb') as file:
      return file.read()


class FolderSource(_FileSource):
  """Image files in ``folder/<class name>/``.

  Classes are in sorted order of their names, and so are the files of each.
  Folders inside those of the classes belong to them. Hidden files and folders
  are left out, as is what does not end like a JPEG, PNG, WebP, BMP, GIF, PPM or
  TIFF file.

  Args:
    folder: Folder that holds a folder for each class.
    class_names: The folders of the classes, in the order of the labels. None
      takes all, sorted. Pass the training set's to a test set that lacks
      classes.
    image_size: Height and width of the images, which then are `EncodedImages`
      and decoded when a batch needs them. None decodes into memory what
      `examples` is asked for; all images must have the same shape.

  Raises:
    DataError: If a folder is missing, cannot be read, or holds no image, or a
      class folder has no name in `class_names`.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
  ):
    _check_image_size(image_size)
    folder = os.fspath(folder)
    try:
      entries = sorted(os.listdir(folder))
    except OSError as error:
      raise _unreadable(folder, error) from error
    folders = [
      name
      for name in entries
      if not name.startswith('.') and os.path.isdir(os.path.join(folder, name))
    ]
    names = folders if class_names is None else list(class_names)
    unknown = sorted(set(folders) - set(names))
    if unknown:
      raise _errors.DataError(
        f'{folder} has a folder {unknown[0]!r} ({len(unknown)} such folders) '
        'that is not in `class_names`. Remove it, or name all classes.'
      )
    paths, labels = [], []
    for label, name in enumerate(names):
      of_class = image_paths(folder, name) if name in folders else []
      paths += of_class
      labels += [label] * len(of_class)
    if not paths:
      raise _errors.DataError(
        f'{folder} has {len(folders)} folders, and no image in them. Images '
        'are expected at FOLDER/CLASS_NAME/IMAGE.jpg (or '
        f'{", ".join(_encoded_images.SUFFIXES[1:])}).'
      )
    super().__init__(folder, paths, labels, names, image_size)


class ListSource(_FileSource):
  """Image files of a list, such as those of ImageNet-LT and Places-LT.

  A line is a path below `folder`, a blank, and a label::

    train/n01440764/n01440764_190.JPEG 0

  Paths may have blanks inside; the label is what follows the last. Empty lines
  are skipped. Paths are not to be absolute, nor to hold ``..``; symbolic links
  are followed. That all files exist is checked at once.

  Args:
    list_file: UTF-8 text of 1 GiB at most.
    folder: Folder that the paths are relative to.
    num_classes: Number of classes; None is the largest label plus 1, for which
      a label must be less than the number of lines.
    class_names: One name per class; default '0', '1', ...
    image_size: Height and width of the images, which then are `EncodedImages`
      and decoded when a batch needs them. None decodes into memory what
      `examples` is asked for; all images must have the same shape.

  Raises:
    DataError: If a line is malformed, a path leaves the folder, occurs twice or
      has no file, a label is no class, or the list is empty, too long, or
      missing.
    ValueError: If `num_classes` is not the number of `class_names`.
  """

  def __init__(
    self,
    list_file: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
  ):
    _check_image_size(image_size)
    if num_classes is not None:
      _checks.integer('num_classes', num_classes)
    if class_names is not None:
      if num_classes not in (None, len(class_names)):
        raise ValueError(
          f'`num_classes` is {num_classes}, `class_names` has '
          f'{len(class_names)}. Pass one of them.'
        )
      num_classes = len(class_names)
    folder = os.fspath(folder)
    lines: dict[str, int] = {}
    labels = []
    for where, line, path, label in _read_list(list_file):
      pure = pathlib.PurePath(path)
      if pure.anchor or '..' in pure.parts:
        raise _errors.DataError(
          f'{where}: the path {path!r} must be relative to the folder {folder} '
          "and stay in it, so begin without '/' and have no '..'."
        )
      path = str(pure)
      if lines.setdefault(path, line) != line:
        raise _errors.DataError(
          f'{where}: {path!r} is on line {lines[path]} too. Remove one of them.'
        )
      labels.append(label)
    limit = num_classes or len(labels)
    for line, label in zip(lines.values(), labels, strict=True):
      if label >= limit:
        hint = ', or pass `num_classes`' if num_classes is None else ''
        raise _errors.DataError(
          f'{list_file}:{line}: the label must be in [0, {limit}), got {label}.'
          f' Number the classes from 0{hint}.'
        )
    missing = [
      path for path in lines if not os.path.isfile(os.path.join(folder, path))
    ]
    if missing:
      raise _errors.DataError(
        f'{list_file}:{lines[missing[0]]}: there is no file '
        f'{os.path.join(folder, missing[0])} ({len(missing)} of {len(lines)} '
        'are missing). Pass the folder that the paths are relative to.'
      )
    if class_names is None:
      class_names = [str(c) for c in range(num_classes or max(labels) + 1)]
    super().__init__(folder, list(lines), labels, class_names, image_size)


class SubsetSource:
  """The examples of another source that a list names by position.

  For sets in TFDS whose subsets are published elsewhere, such as Places-LT in
  ``TfdsSource('places365_small', 'train', image_size=224)``. A line is a
  position in the source, from 0, a blank, and the example's label, which tells
  a list for other files, or for another order, from one for these::

    4711 0

  Args:
    source: Where the examples are.
    list_file: UTF-8 text of 1 GiB at most.

  Raises:
    DataError: If a line is malformed, a position occurs twice or is not in the
      source, a label is not the source's, or the list is empty, too long, or
      missing.
  """

  def __init__(
    self, source: _sources.Source, list_file: str | os.PathLike[str]
  ):
    lines: dict[int, int] = {}
    for where, line, entry, label in _read_list(list_file):
      position = _natural_number(entry)
      if position is None or position >= len(source.labels):
        raise _errors.DataError(
          f'{where}: the position must be an integer from 0 to '
          f'{len(source.labels) - 1}, as the source has {len(source.labels)} '
          f'examples, got {entry!r}.'
        )
      if lines.setdefault(position, line) != line:
        raise _errors.DataError(
          f'{where}: position {position} is on line {lines[position]} too. '
          'Remove one of them.'
        )
      if label != source.labels[position]:
        raise _errors.DataError(
          f'{where}: the label is {label}, that of example {position} of the '
          f'source {source.labels[position]}. Make the list from this very '
          'source: other versions and splits have another order.'
        )
    self._source = source
    self._positions = np.fromiter(lines, np.int64)
    self.class_names: Sequence[str] = list(source.class_names)
    self.labels = source.labels[self._positions]

  def examples(self, indices: np.ndarray) -> _sources.Examples:
    """The examples at `indices`, in that order."""
    return self._source.examples(self._positions[indices])


def _check_image_size(image_size: int | None) -> None:
  if image_size is not None:
    _checks.integer('image_size', image_size)


def _unreadable(path: Any, error: OSError) -> _errors.DataError:
  return _errors.DataError(f'{path} cannot be read: {error.strerror}.')


def image_paths(folder: str, class_name: str) -> list[str]:
  """Paths of a class's images, relative to the folder, sorted.

  Args:
    folder: Folder of the folders of classes.
    class_name: One of these; '' is the whole folder.
  """
  paths, seen = [], set()

  def refuse(error):
    raise _unreadable(error.filename, error) from error

  for root, inner, files in os.walk(
    os.path.join(folder, class_name), onerror=refuse, followlinks=True
  ):
    real = os.path.realpath(root)
    if real in seen:
      raise _errors.DataError(
        f'{root} is a link to {real}, whose images belong to the class '
        'already. Remove it.'
      )
    seen.add(real)
    inner[:] = [name for name in inner if not name.startswith('.')]
    relative = os.path.relpath(root, folder)
    paths += [
      os.path.join(relative, name)
      for name in files
      if name.lower().endswith(_encoded_images.SUFFIXES)
      and not name.startswith('.')
    ]
  return sorted(paths)


def _read_list(
  list_file: str | os.PathLike[str],
) -> Iterator[tuple[str, int, str, int]]:
  """Lines of a list: where, line number, what comes before the label, label."""
  is_empty = True
  try:
    status = os.stat(list_file)
    # What is no regular file, such as a pipe, may never end.
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_LIST_BYTES:
      raise _errors.DataError(
        f'{list_file} must be a text file of {_MAX_LIST_BYTES} bytes at most, '
        f'got {stat.filemode(status.st_mode)} of {status.st_size} bytes.'
      )
    with open(list_file, 'rb') as file:
      for number, raw in enumerate(file, 1):
        where = f'{list_file}:{number}'
        try:
          # Windows editors put a mark at the start.
          line = raw.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError as error:
          raise _errors.DataError(f'{where}: {error}.') from error
        parts = line.rsplit(maxsplit=1)
        if not parts:
          continue
        label = _natural_number(parts[1]) if len(parts) == 2 else None
        if label is None:
          raise _errors.DataError(
            f'{where}: {line[:80].rstrip()!r} must end with a blank and a '
            'label, an integer >= 0, as does a/b.jpg 7.'
          )
        is_empty = False
        yield where, number, parts[0], label
  except OSError as error:
    raise _unreadable(list_file, error) from error
  if is_empty:
    raise _errors.DataError(
      f'{list_file} is empty; lines such as a/b.jpg 7 are expected.'
    )


def _natural_number(text: str) -> int | None:
  """None if it is not one, or has more digits than any index."""
  plain = text.isascii() and text.isdecimal() and len(text) < 19
  return int(text) if plain else None
