# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""New images by name: a folder, a file, a list, a pattern, or an array."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import glob
import os
import pathlib
import re
from typing import Any

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _npz
from imbsam_jax import _paths
from imbsam_jax import data as data_lib
from imbsam_jax.experiment import _classifier

# Names of images among several arrays of a file.
_NAMES = ('images', 'x_test', 'X', 'x')


class ImageSource:
  """Images that have names, in an order that does not depend on the disk.

  Args:
    names: What each image is called, its path if it is a file.
    images: Array ``[N, ...]`` of all images, or None if they are files.
    folders: Names of the folders right in the source.
    left_out: Why other files of a folder are no images, by their path in it.
  """

  def __init__(
    self,
    names: Sequence[str],
    images: Any = None,
    folders: Iterable[str] = (),
    left_out: Mapping[str, str] | None = None,
  ):
    self.names = names
    self.images = images
    self.folders = frozenset(folders)
    self.left_out = dict(left_out or {})

  def __len__(self) -> int:
    return len(self.names)

  def __getitem__(self, i: int) -> Any:
    """Image i, as `Classifier` takes it."""
    return self.names[i] if self.images is None else self.images[i]


def open_source(
  source: str | os.PathLike[str],
  *,
  row_shape: Sequence[int],
  recursive: bool = False,
) -> ImageSource:
  """Finds the images of a source.

  Args:
    source: A folder, whose image files are taken; an image file; a ``.txt``
      list, a path in each line; a pattern such as ``'new/*.jpg'``; or a
      ``.npy`` or ``.npz`` file of an array ``[N, ...]``. Files of a folder and
      of a pattern come in the natural order of their paths, 2 before 10; those
      of a list stay in its order.
    row_shape: Shape of an example of the run.
    recursive: Whether files of inner folders are taken too, and ``**`` in a
      pattern stands for any of them.

  Raises:
    ConfigError: If an array has another shape than the run's examples.
    DataError: If there is no such source, it cannot be read, or has no image.
  """
  text = os.path.expanduser(os.fspath(source))
  suffix = pathlib.PurePath(text).suffix.lower()
  if os.path.isdir(text):
    return _of_folder(text, recursive)
  if os.path.isfile(text):
    if suffix in ('.npy', '.npz'):
      return _of_array(text, suffix, row_shape)
    if suffix == '.txt':
      return ImageSource(_listed(text))
    return ImageSource([text])
  if glob.has_magic(text):
    paths = sorted(glob.glob(text, recursive=recursive), key=natural)
    paths = [path for path in paths if os.path.isfile(path)]
    if paths:
      return ImageSource(paths)
    raise data_lib.DataError(f'no file fits `source={text}`.')
  raise data_lib.DataError(
    f'`source={text}`: there is no such file or folder. Pass a folder of '
    "images, an image, a list of paths (.txt), a pattern such as 'new/*.jpg', "
    'or an array (.npy, .npz).'
  )


def natural(path: str) -> list[tuple[int, int, str]]:
  """A key by which numbers in names are in order, '2.png' before '10.png'."""
  parts = re.split(r'([0-9]+)', path)
  return [
    # The text too: '2' and '02' are two names.
    (0, int(part), part) if k % 2 else (1, 0, part)
    for k, part in enumerate(parts)
  ]


def _of_folder(folder: str, recursive: bool) -> ImageSource:
  try:
    inner = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
  except OSError as error:
    raise _unreadable(folder, error) from error
  # Links to folders are not followed: they may lead back.
  listing = data_lib.list_images(
    folder, recursive=recursive, follow_links=False
  )
  # What is to be an image by its name is one that cannot be read.
  paths = [*listing.paths, *listing.broken]
  others = {
    p: why for p, why in listing.left_out.items() if p not in listing.broken
  }
  if not paths:
    advice = ''
    if inner and not recursive:
      advice = f' It has {len(inner)} folders: pass `recursive=True`.'
    raise data_lib.DataError(
      f'{_paths.printable(folder)} has no image: no file that begins like a '
      f'JPEG, PNG, WebP, BMP, GIF, PPM or TIFF.{advice}'
      + (f' There are {data_lib.summarized(others)}.' if others else '')
    )
  return ImageSource(
    sorted((os.path.join(folder, path) for path in paths), key=natural),
    folders=inner,
    left_out=others,
  )


def _listed(path: str) -> list[str]:
  """The lines of a list, without those that are blank."""
  try:
    content = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise _unreadable(path, error) from error
  text = content.removeprefix(b'\xef\xbb\xbf').decode(
    'utf-8', 'surrogateescape'
  )
  lines = [line for line in text.split('\n') if line.strip()]
  lines = [line.removesuffix('\r') for line in lines]
  strange = [line for line in lines if _paths.printable(line) != line]
  # Names of files need not be UTF-8.
  if not all(map(os.path.exists, strange)):
    raise data_lib.DataError(
      f'{path} is not UTF-8, and there is no file '
      f'{_paths.printable(strange[0])}. Save it as UTF-8.'
    )
  if not lines:
    raise data_lib.DataError(
      f'{path} is empty; a path is expected in each line.'
    )
  return lines


def _of_array(path: str, suffix: str, row_shape: Sequence[int]) -> ImageSource:
  try:
    if suffix == '.npy':
      # Not in memory, and nothing is unpickled.
      images = np.load(path, mmap_mode='r', allow_pickle=False)
    else:
      names = _npz.names_of(path)
      name = _chosen(path, names)
      images = _npz.read(path, [name])[name]
  except (OSError, ValueError, EOFError) as error:
    if isinstance(error, data_lib.DataError):
      raise
    raise data_lib.DataError(f'{path} cannot be read: {error}') from error
  images = _classifier.with_channel_axis(images, row_shape)
  if images.ndim != len(row_shape) + 1:
    expected = ', '.join(map(str, row_shape))
    raise _errors.ConfigError(
      f'{path} must hold an array [N, {expected}], as the run was trained on, '
      f'got {list(images.shape)}.'
    )
  if not len(images):
    raise data_lib.DataError(f'{path} has no image: {list(images.shape)}.')
  return ImageSource([f'{path}[{i}]' for i in range(len(images))], images)


def _chosen(path: str, names: Sequence[str]) -> str:
  for name in names if len(names) == 1 else _NAMES:
    if name in names:
      return name
  raise data_lib.DataError(
    f'{path} has the arrays {", ".join(names)}, and none is called '
    f'{", ".join(_NAMES)}. Save the images under one of these names.'
  )


def _unreadable(path: Any, error: OSError) -> data_lib.DataError:
  return data_lib.DataError(f'{path} cannot be read: {error.strerror}.')
