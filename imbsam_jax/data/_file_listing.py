# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are images, by their content."""

import collections
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent import futures
import itertools
import os
import re
import time
from typing import NamedTuple
from typing import TypeVar

from imbsam_jax import _paths
from imbsam_jax.data import _errors

# Endings that promise an image of a format that is read.
SUFFIXES = (
  *('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.gif'),
  *('.ppm', '.pgm', '.tif', '.tiff'),
)
_PROMISES = (*SUFFIXES, '.jfif', '.jpe', '.pjpeg', '.pbm', '.pnm', '.apng')

HIDDEN = 'hidden'
OF_SYSTEM = 'thumbnails of a system'
EMPTY = 'empty'
NO_FILE = 'no regular file'
OTHER_FOLDER = 'a link to a folder'

# What file browsers, archives, synchronizers and network disks leave behind.
_DROPPINGS = frozenset({
  *('@eadir', '__macosx', '#recycle', '@recycle', '@recently-snapshot'),
  *('$recycle.bin', 'system volume information', 'recycler'),
  *('lost+found', 'thumbs.db', 'ehthumbs.db', 'ehthumbs_vista.db'),
  *('desktop.ini', 'icon\r', '__pycache__', 'network trash folder'),
  *('temporary items', 'picasa.ini'),
})  # fmt: skip
_HEAD_BYTES = 32
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
# Their content begins like TIFF, and what would be read is a thumbnail.
_RAW_SUFFIXES = (
  *('.3fr', '.arw', '.cr2', '.dcr', '.dng', '.erf', '.iiq', '.kdc', '.mef'),
  *('.mos', '.nef', '.nrw', '.orf', '.pef', '.rw2', '.sr2', '.srf', '.srw'),
)
_SIGNATURES = (
  (b'\xff\xd8\xff', 'JPEG'),
  (b'\x89PNG\r\n\x1a\n', 'PNG'),
  (b'GIF87a', 'GIF'),
  (b'GIF89a', 'GIF'),
  (b'II*\0', 'TIFF'),
  (b'MM\0*', 'TIFF'),
  (b'II+\0', 'TIFF'),
  (b'MM\0+', 'TIFF'),
)
_OTHER_SIGNATURES = (
  (b'%!PS', 'EPS'),
  (b'\xc5\xd0\xd3\xc6', 'EPS'),
  (b'%PDF', 'PDF'),
  (b'<svg', 'SVG'),
  (b'8BPS', 'PSD'),
  (b'\0\0\0\x0cjP  ', 'JPEG 2000'),
  (b'\xff\x4f\xff\x51', 'JPEG 2000'),
  (b'\0\0\0\x0cJXL ', 'JPEG XL'),
  (b'\xff\x0a', 'JPEG XL'),
  (b'\0\0\1\0', 'ICO'),
  (b'\x76\x2f\x31\x01', 'OpenEXR'),
  (b'#?RADIANCE', 'Radiance HDR'),
  (b'qoif', 'QOI'),
  (b'FUJIFILMCCD-RAW', 'camera RAW'),
)
_OTHER_SUFFIXES = {
  '.svg': 'SVG',
  '.dcm': 'DICOM',
  '.tga': 'TGA',
  **dict.fromkeys(_RAW_SUFFIXES, 'camera RAW'),
}
# On a network disk, a file that is opened is one that is waited for.
_THREADS = 16
_CHUNK = 256
# Seconds a file; a disk of one's own takes about a hundredth of a millisecond.
_SLOW = 2e-4

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


class Listing(NamedTuple):
  """What a folder holds.

  Attributes:
    paths: Its images, relative to the folder, sorted.
    left_out: Why each of the other files, and of the folders that were not
      looked into, is none; their paths are relative too, and those of folders
      end with '/'.
  """

  paths: list[str]
  left_out: dict[str, str]

  @property
  def broken(self) -> dict[str, str]:
    """What was left out and by its name was to be an image."""
    return {
      path: why
      for path, why in self.left_out.items()
      if why not in (HIDDEN, OF_SYSTEM)
      and not path.endswith('/')
      and promises_image(path)
    }


def list_images(
  folder: str | os.PathLike[str],
  class_name: str = '',
  *,
  recursive: bool = True,
  follow_links: bool = True,
) -> Listing:
  """The images of a class: all files below its folder that hold one.

  The first bytes of each file decide, not its name: JPEG, PNG, WebP, BMP, GIF,
  PPM and TIFF are images. So files without an ending or with another one
  (``.jfif``) are found, and what only is called so is not.
  Hidden files and folders, and what systems leave behind, such as ``@eaDir``
  and ``Thumbs.db``, are left out. A file costs one read of 32 bytes.

  Args:
    folder: Folder of the folders of classes.
    class_name: One of these; '' is the whole folder.
    recursive: Whether folders inside are looked into.
    follow_links: Whether folders inside that are links are too.

  Raises:
    DataError: If a folder cannot be read, or is a link to one that was read
      already.
  """
  folder = os.fspath(folder)
  names: list[str] = []
  left_out: dict[str, str] = {}
  seen: set[str] = set()
  waiting = [class_name]
  while waiting:
    inside = waiting.pop()
    here = os.path.join(folder, inside)
    real = os.path.realpath(here)
    if real in seen:
      raise _errors.DataError(
        f'{_paths.printable(here)} is a link to {_paths.printable(real)}, '
        'whose images belong to the class already. Remove it.'
      )
    seen.add(real)
    files, folders, others = entries(here)
    names += [os.path.join(inside, name) for name in files]
    for name in folders if recursive else ():
      path = os.path.join(inside, name)
      if not follow_links and os.path.islink(os.path.join(folder, path)):
        left_out[f'{path}/'] = OTHER_FOLDER
      else:
        waiting.append(path)
    left_out |= {
      os.path.join(inside, name): why for name, why in others.items()
    }
  of_files = _sift(folder, names)
  left_out |= of_files.left_out
  return Listing(of_files.paths, dict(sorted(left_out.items())))


class Entries(NamedTuple):
  """What lies right in a folder, sorted.

  Attributes:
    files: Names of regular files.
    folders: Names of folders.
    left_out: Why others are neither.
  """

  files: list[str]
  folders: list[str]
  left_out: dict[str, str]


def list_folders(folder: str | os.PathLike[str]) -> list[str]:
  """The folders right in a folder that are no droppings of systems, sorted.

  Raises:
    DataError: If the folder cannot be read.
  """
  return entries(os.fspath(folder)).folders


def entries(folder: str) -> Entries:
  """What lies right in a folder, without what systems hide or leave there.

  Raises:
    DataError: If the folder cannot be read.
  """
  files, folders, left_out = [], [], {}
  try:
    with os.scandir(folder) as scan:
      for entry in scan:
        is_folder = _is_folder(entry)
        name = entry.name + '/' * is_folder
        if entry.name.lower() in _DROPPINGS:
          left_out[name] = OF_SYSTEM
        elif entry.name.startswith('.'):
          left_out[name] = HIDDEN
        elif is_folder:
          folders.append(entry.name)
        elif _is_file(entry):
          files.append(entry.name)
        else:
          left_out[name] = _no_file(entry)
  except OSError as error:
    raise _errors.DataError(
      f'{_paths.printable(folder)} cannot be read: {error.strerror}.'
    ) from error
  return Entries(sorted(files), sorted(folders), left_out)


def _sift(folder: str, names: list[str]) -> Listing:
  """Those of some regular files that are images."""
  whys = map_files(lambda name: not_an_image(os.path.join(folder, name)), names)
  left_out = {
    name: why for name, why in zip(names, whys, strict=True) if why is not None
  }
  return Listing(sorted(n for n in names if n not in left_out), left_out)


def not_an_image(path: str) -> str | None:
  """Why a regular file holds no image that can be read; None if it does."""
  try:
    # Three system calls, and no object of Python.
    file = os.open(path, os.O_RDONLY | getattr(os, 'O_BINARY', 0))
    try:
      head = os.read(file, _HEAD_BYTES)
    finally:
      os.close(file)
  except OSError as error:
    return f'cannot be read: {error.strerror}'
  if not head:
    return EMPTY
  suffix = os.path.splitext(path)[1].lower()
  known = image_format(head)
  if known == 'TIFF' and suffix in _RAW_SUFFIXES:
    known = None
  if known is not None:
    return None
  other = _other_format(head, suffix)
  if other is not None:
    return f'a format that is not read ({other})'
  return f'no image: begins with {head[:12]!r}'


def image_format(head: bytes) -> str | None:
  """The format of an image, such as 'JPEG'; None if it is none that is read.

  Args:
    head: The first 32 bytes of a file, or all if it has fewer.
  """
  for signature, name in _SIGNATURES:
    if head.startswith(signature):
      return name
  if head[:4] == b'RIFF' and head[8:12] == b'WEBP':
    return 'WEBP'
  # Two letters would make an image of any text that begins with them.
  if head[:2] == b'BM':
    size = int.from_bytes(head[14:18], 'little')
    return 'BMP' if size in _BMP_HEADERS else None
  if re.match(rb'P[1-6]\s+[0-9#]', head):
    return 'PPM'
  return None


def promises_image(path: str) -> bool:
  """Whether the name of a file says that it is an image that can be read."""
  return path.lower().endswith(_PROMISES)


def summarized(left_out: Mapping[str, str]) -> str:
  """How many were left out for which reason, and one of them, on one line.

  >>> summarized({'a/.x': 'hidden', 'b/.y': 'hidden', 'b/1.jpg': 'empty'})
  '3 files (2 hidden, 1 empty), such as b/1.jpg'
  """
  listed = ', '.join(f'{n} {why}' for why, n in reasons(left_out).items())
  # What one might have wanted comes first.
  known = (HIDDEN, OF_SYSTEM)
  one = min(left_out, key=lambda path: (left_out[path] in known, path))
  number = len(left_out)
  return (
    f'{number} file{"s" * (number != 1)} ({listed}), such as '
    f'{_paths.printable(one)}'
  )


def reasons(left_out: Mapping[str, str]) -> dict[str, int]:
  """How many files were left out for each reason, the most frequent first."""
  counter = collections.Counter(
    why.partition(':')[0] for why in left_out.values()
  )
  return dict(counter.most_common())


def map_files(
  function: Callable[[_Item], _Result], items: Sequence[_Item]
) -> list[_Result]:
  """The results of a function that reads a little of each file, in order.

  Where the first files show that one waits for the disk, threads wait; a disk
  of the machine's own answers faster than threads take turns.
  """
  items, later = items[:_CHUNK], items[_CHUNK:]
  start = time.perf_counter()
  results = list(map(function, items))
  is_slow = time.perf_counter() - start > _SLOW * len(items)
  if not later or not is_slow:
    return results + list(map(function, later))
  chunks = [later[i : i + _CHUNK] for i in range(0, len(later), _CHUNK)]
  with futures.ThreadPoolExecutor(_THREADS) as pool:
    parts = pool.map(lambda chunk: list(map(function, chunk)), chunks)
    return results + list(itertools.chain.from_iterable(parts))


def _other_format(head: bytes, suffix: str) -> str | None:
  """The name of a format of pictures that is not read, if it is one."""
  for signature, name in _OTHER_SIGNATURES:
    if head.startswith(signature):
      return name
  if head[4:8] == b'ftyp':
    if head[8:12] in (b'avif', b'avis'):
      return 'AVIF'
    if head[8:12] in (b'heic', b'heix', b'hevc', b'heim', b'mif1', b'msf1'):
      return 'HEIC'
    return 'CR3' if head[8:11] == b'crx' else 'video'
  return _OTHER_SUFFIXES.get(suffix)


def _is_folder(entry: os.DirEntry[str]) -> bool:
  try:
    return entry.is_dir()
  except OSError:  # A link that leads to itself.
    return False


def _is_file(entry: os.DirEntry[str]) -> bool:
  try:
    return entry.is_file()
  except OSError:
    return False


def _no_file(entry: os.DirEntry[str]) -> str:
  return 'a link to nothing' if entry.is_symlink() else NO_FILE
