# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which image files are broken, told without decoding those that are not."""

from collections.abc import Sequence
import os
from typing import Any

from PIL import Image
from PIL import UnidentifiedImageError

from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _file_listing

_HEAD_BYTES = 1024
_TAIL_BYTES = 64
_BLOCK_BYTES = 2**20
_MAX_SEGMENTS = 1000
_PNG_BEGIN = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
_JPEG_END = b'\xff\xd9'
_PNG_END = b'IEND\xaeB`\x82'
# Frame headers that Pillow reads: Huffman codes, baseline to progressive.
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)
_JPEG_CHANNELS = (1, 3)
# Types of color by the depths of which no pixel has more than 8 bits.
_PNG_DEPTHS = {0: (1, 2, 4, 8), 2: (8,), 3: (1, 2, 4, 8), 4: (8,), 6: (8,)}
# Tags of the places and lengths of strips, and of tiles.
_TIFF_PLACES = ((273, 279), (324, 325))


def broken_images(
  folder: str | os.PathLike[str], paths: Sequence[str]
) -> dict[str, str]:
  """The images that cannot be used, and why.

  Of a JPEG or PNG, the header and the mark of its end are looked at; what is
  suspicious is decoded, so that no image is called broken that is not. Other
  formats are opened by Pillow, and WebP files compared with the size that they
  say they have. Broken content between a good header and a good end goes
  unseen: only to decode all images would show it.

  Args:
    folder: Folder that the paths are relative to.
    paths: Image files.

  Returns:
    Why each of the broken ones is, by its path.
  """
  reasons = _file_listing.map_files(
    lambda path: why_broken(os.path.join(folder, path)), paths
  )
  return {
    path: why
    for path, why in zip(paths, reasons, strict=True)
    if why is not None
  }


def why_broken(path: str) -> str | None:
  """Why an image file cannot be used; None if it can, as far as it shows."""
  try:
    with _File(path) as file:
      if file.head.startswith(b'\xff\xd8\xff'):
        is_whole = _is_plain_jpeg(file)
      elif file.head.startswith(_PNG_BEGIN):
        is_whole = _is_plain_png(file)
      else:
        is_whole = False
      if is_whole:
        return None
      return _seen_by_pillow(path, file.head, file.size)
  except OSError as error:
    return f'cannot be read: {error.strerror}'


class _File:
  """A file of which a little is read."""

  def __init__(self, path: str):
    self._path = path

  def __enter__(self) -> '_File':
    self._file = os.open(self._path, os.O_RDONLY | getattr(os, 'O_BINARY', 0))
    self.head = os.read(self._file, _HEAD_BYTES)
    self.size = os.lseek(self._file, 0, os.SEEK_END)
    return self

  def __exit__(self, *error: Any) -> None:
    os.close(self._file)

  def at(self, place: int, number: int) -> bytes:
    """So many bytes from a place on, or those that there are."""
    if place + number <= len(self.head):
      return self.head[place : place + number]
    os.lseek(self._file, place, os.SEEK_SET)
    return os.read(self._file, number)

  def has_after(self, place: int, mark: bytes) -> bool:
    """Whether a mark comes after a place: most probably at the end."""
    tail = max(self.size - _TAIL_BYTES, place)
    if mark in self.at(tail, _TAIL_BYTES):
      return True
    # What some cameras write behind the end is larger than the image.
    while place < tail:
      block = self.at(place, _BLOCK_BYTES)
      if mark in block:
        return True
      if len(block) < _BLOCK_BYTES:
        return False
      place += _BLOCK_BYTES - len(mark) + 1
    return False


def _is_plain_jpeg(file: _File) -> bool:
  """Whether a file begins and ends like a JPEG that can be decoded."""
  place = 2
  for _ in range(_MAX_SEGMENTS):
    part = file.at(place, 10)
    if len(part) < 10 or part[0] != 0xFF:
      return False
    marker, length = part[1], int.from_bytes(part[2:4], 'big')
    if marker in _JPEG_FRAMES:
      height, width = (int.from_bytes(part[i : i + 2], 'big') for i in (5, 7))
      return (
        part[4] == 8
        and part[9] in _JPEG_CHANNELS
        and _is_of_a_size(width, height)
        # A thumbnail, with an end of its own, came before.
        and file.has_after(place, _JPEG_END)
      )
    if marker < 0xC0 or length < 2:
      return False
    place += 2 + length
  return False


def _is_plain_png(file: _File) -> bool:
  """The same of a PNG."""
  head = file.head
  if len(head) < 34:
    return False
  width, height = (int.from_bytes(head[i : i + 4], 'big') for i in (16, 20))
  return (
    head[24] in _PNG_DEPTHS.get(head[25], ())
    and _is_of_a_size(width, height)
    and file.has_after(33, _PNG_END)
  )


def _is_of_a_size(width: int, height: int) -> bool:
  limit = Image.MAX_IMAGE_PIXELS
  return width * height > 0 and (limit is None or width * height <= limit)


def _seen_by_pillow(path: str, head: bytes, size: int) -> str | None:
  """The same for all other files, of which most are decoded."""
  if head[:4] == b'RIFF':
    number = int.from_bytes(head[4:8], 'little') + 8
    if number > size:
      return f'is truncated: it has {size} of {number} bytes'
  try:
    with Image.open(path, formats=_encoded_images.FORMATS) as image:
      _encoded_images.check_mode(image.mode)
      if image.format == 'TIFF':
        return _truncated_tiff(image, size)
      if image.format != 'WEBP':  # Its size was compared.
        image.load()
  except UnidentifiedImageError:
    return f'is no image: begins with {head[:12]!r}'
  except Exception as error:  # Pillow's readers raise all sorts.
    return f'cannot be decoded: {error}'
  return None


def _truncated_tiff(image: Any, size: int) -> str | None:
  """What of a TIFF lies behind its end: its pixels may be anywhere."""
  for offsets, lengths in _TIFF_PLACES:
    ends = [
      place + length
      for place, length in zip(
        image.tag_v2.get(offsets, ()),
        image.tag_v2.get(lengths, ()),
        strict=False,
      )
    ]
    if ends and max(ends) > size:
      return f'is truncated: it has {size} of {max(ends)} bytes'
  return None
