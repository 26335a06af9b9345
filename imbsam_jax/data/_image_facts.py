# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an image file is: format, size, mode, orientation, checksums."""

from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import hashlib
import io
import itertools
import os
from typing import Any
from typing import BinaryIO
from typing import NamedTuple
import warnings
import zlib

from PIL import Image
from PIL import UnidentifiedImageError

from imbsam_jax.data import _encoded_images

# What tells most files of one length apart: behind the tables of a JPEG.
_HEAD_BYTES = 4096
# Decoders do not hold Python's lock. More of them than cores only get into one
# another's way, but for two that wait for the disk.
_THREADS = min((os.cpu_count() or 1) + 2, 32)
_CHUNK = 64


class ImageFacts(NamedTuple):
  """What the header of an image tells.

  Attributes:
    format: Such as 'JPEG'.
    mode: Pillow's name of what a pixel is, such as 'RGB', 'L' or 'I;16'.
    width: Pixels of a row.
    height: Number of rows.
    orientation: How the picture is to be turned, 1 to 8 as EXIF has it; 1 is
      not at all.
    num_frames: Number of pictures in the file.
    is_transparent: Whether it has transparent pixels, or may have some.
  """

  format: str
  mode: str
  width: int
  height: int
  orientation: int
  num_frames: int
  is_transparent: bool


class FileFacts(NamedTuple):
  """What was found out about a file.

  Attributes:
    image: What its header tells; None if it cannot be read.
    problem: Why it cannot be read or decoded, or None.
    length: Number of bytes.
    head: Checksum of its first bytes.
    pixels: CRC-32 of its pixels as RGB, if they were decoded.
  """

  image: ImageFacts | None
  problem: str | None
  length: int
  head: bytes
  pixels: int | None = None


def facts_of_files(
  openers: Sequence[Callable[[], BinaryIO]], *, whole: bool
) -> list[FileFacts]:
  """Looks at files, in threads.

  Args:
    openers: For each file a function that opens it.
    whole: Whether all bytes are read and all pixels decoded, beyond headers.
  """
  chunks = [openers[i : i + _CHUNK] for i in range(0, len(openers), _CHUNK)]

  def look(chunk):
    return [_facts_of_file(opener, whole) for opener in chunk]

  with (
    # Filters are those of all threads. Pillow warns of large images, and of
    # EXIF that is cut off; both are no news to whoever asks what there is.
    warnings.catch_warnings(),
    futures.ThreadPoolExecutor(_THREADS) as pool,
  ):
    warnings.simplefilter('ignore')
    return list(itertools.chain.from_iterable(pool.map(look, chunks)))


def is_deep(image: ImageFacts) -> bool:
  """Whether its pixels have no range that stands for 0 to 255."""
  return image.mode == 'F' or image.mode.startswith('I')


def sha256_of_file(opener: Callable[[], BinaryIO]) -> bytes | None:
  """SHA-256 of the content of a file; None if it cannot be read any more."""
  try:
    with opener() as file:
      return hashlib.sha256(file.read()).digest()
  except OSError:
    return None


def sha256_of_pixels(opener: Callable[[], BinaryIO]) -> bytes | None:
  """SHA-256 of the pixels as RGB; None if they cannot be read any more."""
  try:
    with (
      opener() as file,
      Image.open(file, formats=_encoded_images.FORMATS) as image,
    ):
      return hashlib.sha256(_encoded_images.to_rgb(image).tobytes()).digest()
  except Exception:  # Pillow's readers raise all sorts.
    return None


def _facts_of_file(opener: Callable[[], BinaryIO], whole: bool) -> FileFacts:
  length, head, start = 0, b'', b''
  facts = pixels = problem = None
  try:
    with opener() as file:
      if whole:
        data = file.read()
        length, start = len(data), data[:_HEAD_BYTES]
        opened: Any = io.BytesIO(data)
      else:
        start = file.read(_HEAD_BYTES)
        length = file.seek(0, io.SEEK_END)
        file.seek(0)
        opened = file
      head = hashlib.blake2b(start, digest_size=16).digest()
      with Image.open(opened, formats=_encoded_images.FORMATS) as image:
        facts = _facts(image)
        if is_deep(facts):
          problem = f'has pixels of more than 8 bits (mode {facts.mode})'
        elif whole:
          pixels = zlib.crc32(_encoded_images.to_rgb(image).tobytes())
  except UnidentifiedImageError:
    problem = f'no image that can be read: begins with {start[:12]!r}'
    if not length:
      problem = 'empty'
  except Exception as error:  # Pillow's readers raise all sorts.
    problem = getattr(error, 'strerror', None) or str(error) or repr(error)
  return FileFacts(facts, problem, length, head, pixels)


def _facts(image: Any) -> ImageFacts:
  return ImageFacts(
    image.format,
    image.mode,
    *image.size,
    orientation=_orientation(image),
    # Counting the pictures of others reads on.
    num_frames=image.n_frames if getattr(image, 'is_animated', False) else 1,
    is_transparent=bool(image.has_transparency_data),
  )


def _orientation(image: Any) -> int:
  # Pillow would decode others for it, to find it behind the pixels.
  if image.format == 'PNG' and 'exif' not in image.info:
    return 1
  return _encoded_images.orientation(image)
