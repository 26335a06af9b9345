# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources of image files: a folder for each class, or a list of files."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import copy
import functools
import os
from typing import Any
from typing import Self
import unicodedata

import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _paths
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _errors
from imbsam_jax.data import _file_listing
from imbsam_jax.data import _image_checks
from imbsam_jax.data import _image_lists
from imbsam_jax.data import _sources


class _FileSource:
  """Image files below a folder, with labels that are known.

  Attributes:
    labels: int32 ``[N]``.
    class_names: One name per class.
    paths: Paths of the images, relative to the folder.
    left_out: Why other files of the folder are no examples, by their path in
      it.
    broken: Those of `left_out` that by their name were to be images.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    paths: Sequence[str],
    labels: Sequence[int],
    class_names: Sequence[str],
    image_size: int | None,
    *,
    exif_orientation: bool,
    left_out: Mapping[str, str] | None = None,
    broken: Mapping[str, str] | None = None,
  ):
    self.class_names: Sequence[str] = list(class_names)
    self.labels = _checks.host_labels(
      np.asarray(labels), len(self.class_names), error=_errors.DataError
    )
    self.folder = os.fspath(folder)
    self.paths = list(paths)
    self.left_out = dict(left_out or {})
    self.broken = dict(broken or {})
    self._image_size = image_size
    self._exif_orientation = exif_orientation

  def examples(self, indices: np.ndarray) -> _sources.Examples:
    """The examples at `indices`, in that order."""
    indices = np.asarray(indices)
    if self._image_size is None:
      images = _encoded_images.decode_all(
        (
          _encoded_images.named_content(self._read, self._describe, int(i))
          for i in indices
        ),
        exif_orientation=self._exif_orientation,
      )
    else:
      images = _encoded_images.EncodedImages(
        self._read,
        self._describe,
        size=self._image_size,
        indices=indices,
        exif_orientation=self._exif_orientation,
        identify=self._identify,
      )
    return _sources.Examples(images, self.labels[indices])

  def where(self, rows: np.ndarray) -> Self:
    """A source of some of the images, in the same order.

    Args:
      rows: Bool ``[N]``, which images stay.
    """
    other = copy.copy(self)
    other.labels = self.labels[rows]
    other.paths = [self.paths[i] for i in np.flatnonzero(rows)]
    other.__dict__.pop('_sizes', None)
    return other

  def unusable(self) -> dict[str, str]:
    """Images that cannot be used, and why, by their paths in the folder.

    They are not decoded for it: a little of each file is read.
    """
    return self.broken | _image_checks.broken_images(self.folder, self.paths)

  @functools.cached_property
  def _sizes(self) -> list[int]:
    paths = [os.path.join(self.folder, path) for path in self.paths]
    return _file_listing.map_files(_size, paths)

  def _identify(self, i: int) -> bytes:
    return _named(self.paths[i], self._sizes[i])

  def _path(self, i: int) -> str:
    return os.path.join(self.folder, self.paths[i])

  def _describe(self, i: int) -> str:
    return _paths.printable(self._path(i))

  def _read(self, i: int) -> bytes:
    with open(self._path(i), 'rb') as file:
      return file.read()


def portable(path: str) -> bytes:
  """A relative path as it is on all systems."""
  return os.fsencode(path.replace(os.sep, '/'))


def identity(folder: str, path: str) -> bytes:
  """What an image is known again by wherever its folder lies: name and size."""
  return _named(path, _size(os.path.join(folder, path)))


def _named(path: str, size: int) -> bytes:
  return portable(path) + f'\0{size}'.encode()


def _size(path: str) -> int:
  try:
    return os.stat(path).st_size
  except OSError:  # Said when it is to be read.
    return -1


class FolderSource(_FileSource):
  r"""Image files in ``folder/<class name>/``.

  Classes are in sorted order of their names, and so are the files of each.
  Folders inside those of the classes belong to them. What is an image is told
  by how a file begins, see `list_images`, as JPEG, PNG, WebP, BMP, GIF, PPM or
  TIFF. Hidden files and folders are left out, and what systems leave behind:
  ``__MACOSX`` is no class, and ``@eaDir`` and ``Thumbs.db`` are no images.

  Names in Unicode count as equal if they look alike (normal form C). Bytes of
  the names of folders that are no UTF-8 become ``\xff`` in those of classes.

  Args:
    folder: Folder that holds a folder for each class.
    class_names: The folders of the classes, in the order of the labels. None
      takes all, sorted. Pass the training set's to a test set that lacks
      classes.
    image_size: Height and width of the images, which then are `EncodedImages`
      and decoded when a batch needs them. None decodes into memory what
      `examples` is asked for; all images must have the same shape.
    exif_orientation: Whether images are turned as EXIF says.

  Attributes:
    labels: int32 ``[N]``.
    class_names: One name per class.
    paths: Paths of the images, relative to the folder.
    left_out: Why other files are no examples, by their relative paths.
    broken: Those of `left_out` that by their name were to be images.

  Raises:
    DataError: If a folder is missing, cannot be read, or holds no image, a
      class folder has no name in `class_names`, or without these no image.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    exif_orientation: bool = True,
  ):
    _check_image_size(image_size)
    folder = os.path.expanduser(folder)
    here = _file_listing.entries(folder)
    folders = _by_class_name(folder, here.folders, class_names)
    names = list(folders) if class_names is None else list(class_names)
    paths: list[str] = []
    labels: list[int] = []
    left_out = here.left_out | dict.fromkeys(here.files, 'of no class')
    broken: dict[str, str] = {}
    empty: dict[str, _file_listing.Listing] = {}
    for label, name in enumerate(names):
      if name not in folders:
        continue
      of_class = _file_listing.list_images(folder, folders[name])
      paths += of_class.paths
      labels += [label] * len(of_class.paths)
      left_out |= of_class.left_out
      broken |= of_class.broken
      if not of_class.paths:
        empty[name] = of_class
    if not paths:
      raise _errors.DataError(
        f'{_paths.printable(folder)} has {len(folders)} folders, and no image '
        'in them. Images are expected at FOLDER/CLASS_NAME/IMAGE.jpg (or '
        f'{", ".join(_file_listing.SUFFIXES[1:])}).{_there_are(left_out)}'
      )
    if empty and class_names is None:
      name, listing = next(iter(empty.items()))
      raise _errors.DataError(
        f'the class folder {_paths.printable(os.path.join(folder, name))} has '
        f'no image ({len(empty)} such folders).{_there_are(listing.left_out)} '
        'Put images of the class into it, or remove it.'
      )
    super().__init__(
      *(folder, paths, labels, names, image_size),
      exif_orientation=exif_orientation,
      left_out=left_out,
      broken=broken,
    )


class ListSource(_FileSource):
  """Image files of a list, such as those of ImageNet-LT and Places-LT.

  A line is a path below `folder`, a blank, and a label::

    train/n01440764/n01440764_190.JPEG 0

  Paths may have blanks inside; the label is what follows the last. Labels are
  numbers in all lines, or names of classes in all. Lists whose names end with
  .csv or .tsv are tables: two columns, or some of which a first line names the
  path and the label; names of classes may have blanks there.

  Empty lines are skipped, and those that begin with # and name no file. Paths
  are relative to the folder, or begin with it, and have no ``..``; backslashes
  of Windows are taken as slashes where no file has them. Symbolic links are
  followed. That all files exist is checked at once.

  Args:
    list_file: UTF-8 text of 1 GiB at most, or UTF-16 with its mark; names of
      files may have other bytes.
    folder: Folder that the paths are relative to.
    num_classes: Number of classes; None is the largest label plus 1, for which
      a label must be less than the number of lines.
    class_names: One name per class; default '0', '1', ..., or the names that
      the list has, sorted.
    image_size: Height and width of the images, which then are `EncodedImages`
      and decoded when a batch needs them. None decodes into memory what
      `examples` is asked for; all images must have the same shape.
    exif_orientation: Whether images are turned as EXIF says.

  Attributes:
    labels: int32 ``[N]``.
    class_names: One name per class.
    paths: Paths of the images, relative to the folder.
    has_names: Whether the labels of the list are names of classes.

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
    exif_orientation: bool = True,
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
    folder = os.path.expanduser(folder)
    rows = _image_lists.read(os.path.expanduser(list_file), folder)
    labels, names = _image_lists.labels_of(rows, class_names)
    self.has_names = names is not None
    class_names = names or class_names
    limit = num_classes or (len(names) if names else len(labels))
    for row, label in zip(rows, labels, strict=True):
      if label >= limit:
        hint = ', or pass `num_classes`' if num_classes is None else ''
        raise _errors.DataError(
          f'{row.where}: the label must be in [0, {limit}), got {label}. '
          f'Number the classes from 0{hint}.'
        )
    if class_names is None:
      class_names = [str(c) for c in range(num_classes or max(labels) + 1)]
    super().__init__(
      *(folder, [row.path for row in rows], labels, class_names, image_size),
      exif_orientation=exif_orientation,
    )


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
    list_file = os.path.expanduser(list_file)
    for where, line, entry, label in _read_list(list_file):
      position = _image_lists.natural_number(entry)
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


def _by_class_name(
  folder: str, entries: Sequence[str], class_names: Sequence[str] | None
) -> dict[str, str]:
  """Folders by the names of their classes, in sorted order.

  Raises:
    DataError: If two folders have one name, or one has none of the names.
  """
  known = {_normal(name): name for name in class_names or ()}
  folders: dict[str, str] = {}
  unknown: list[str] = []
  for entry in entries:
    name = _paths.printable(entry)
    if class_names is not None:
      if name not in class_names and _normal(name) not in known:
        unknown.append(name)
        continue
      name = name if name in class_names else known[_normal(name)]
    same = [n for n in folders if _normal(n) == _normal(name)]
    if same:
      raise _errors.DataError(
        f'{_paths.printable(folder)} has two folders {name!r}, whose names '
        'look alike and are written in other bytes (Unicode normal forms). '
        'Move the images into one of them.'
      )
    folders[name] = entry
  if unknown:
    lower = {name.casefold(): name for name in known.values()}
    near = lower.get(unknown[0].casefold())
    hint = (
      'Remove it, or name all classes.'
      if near is None
      else f'There is {near!r}, in other letters: rename one of the two.'
    )
    raise _errors.DataError(
      f'{_paths.printable(folder)} has a folder {unknown[0]!r} '
      f'({len(unknown)} such folders) that is not in `class_names`. {hint}'
    )
  return folders


def _normal(name: str) -> str:
  return unicodedata.normalize('NFC', name)


def _there_are(left_out: Mapping[str, str]) -> str:
  if not left_out:
    return ''
  return f' There are {_file_listing.summarized(left_out)}.'


def _read_list(
  list_file: str | os.PathLike[str],
) -> Iterator[tuple[str, int, str, int]]:
  """Lines of a list: where, line number, what comes before the label, label."""
  is_empty = True
  try:
    _image_lists.check_size(list_file, _image_lists.MAX_BYTES)
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
        label = (
          _image_lists.natural_number(parts[1]) if len(parts) == 2 else None
        )
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
