# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images that stay encoded until a batch asks for them."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import functools
import hashlib
import io
import math
from typing import Any
from typing import NoReturn

import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError

from imbsam_jax import _checks
from imbsam_jax.data import _errors

# No others: some of Pillow's readers start programs (EPS: Ghostscript).
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'PPM', 'TIFF')
_CROP_SHARE = 0.875  # 224 of 256.
_AREA_SHARES = (0.08, 1.0)
_ASPECT_RATIOS = (3 / 4, 4 / 3)
_TRIES = 10
# JPEGs are decoded smaller while this much is left for the resampling.
_DRAFT_GAP = 2

_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)

_Box = tuple[float, float, float, float]


class EncodedImages:
  """Stands for a uint8 array ``[N, size, size, 3]``; decodes on demand.

  ``images[indices]`` are images as seen in evaluation: the shorter side is
  resized to ``round(size / 0.875)`` (256 for 224), and the center is cut out.
  `random_crops` are images as seen in training. Gray, palette, CMYK and
  transparent images become RGB; animations are their first frame. What EXIF
  says of the orientation of a camera is heeded, so that images stand as they
  are shown elsewhere; most codes for ImageNet do not heed it. That of TIFF
  files is always heeded.

  Crop and resize are one bilinear, antialiased resampling; its filter sees the
  pixels next to the crop. A JPEG of which even 1/2, 1/4 or 1/8 has twice the
  pixels per side that are needed is decoded at that scale: much cheaper for
  photographs of several megapixels, with a mean deviation below one of 255
  levels on scikit-learn's. Others are decoded in full.

  Broken content that still decodes goes unseen; what does not decode is a
  `DataError` that names the image. Nothing is kept between calls, so threads
  may share an instance if they may share `read`.

  Args:
    read: ``read(i)`` is the content of image i's file.
    describe: ``describe(i)`` names image i in errors, such as by its path.
    size: Height and width of the images.
    indices: Int ``[N]``, which images these are, in order.
    exif_orientation: Whether the orientation in EXIF is heeded.
    identify: ``identify(i)`` are bytes by which image i is known again wherever
      it lies; None takes what `describe` gives.

  Attributes:
    shape: ``(N, size, size, 3)``.
    dtype: uint8.
    ndim: 4.
    exif_orientation: Whether the orientation in EXIF is heeded.
  """

  dtype = np.dtype(np.uint8)
  ndim = 4

  def __init__(
    self,
    read: Callable[[int], bytes],
    describe: Callable[[int], str],
    *,
    size: int,
    indices: np.ndarray,
    exif_orientation: bool = True,
    identify: Callable[[int], bytes] | None = None,
  ):
    _checks.integer('size', size)
    self.exif_orientation = exif_orientation
    self._read = read
    self._describe = describe
    self._identify = identify
    self._size = int(size)
    self._indices = np.asarray(indices)
    if self._indices.ndim != 1 or not (
      np.issubdtype(self._indices.dtype, np.integer)
    ):
      raise TypeError(
        '`indices` must be integers of shape [N], got '
        f'{self._indices.dtype} {self._indices.shape}.'
      )

  @property
  def shape(self) -> tuple[int, int, int, int]:
    return (len(self), self._size, self._size, 3)

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, indices: Any) -> np.ndarray:
    """Decoded images as seen in evaluation.

    Args:
      indices: Into the first axis, as of an array: integers, a slice, a mask,
        or one integer for one image without that axis.

    Returns:
      uint8 ``[n, size, size, 3]``.

    Raises:
      DataError: If an image cannot be read or decoded.
    """
    chosen = self._indices[indices]
    images = np.empty((*chosen.shape, *self.shape[1:]), np.uint8)
    rows = images.reshape(-1, *self.shape[1:])
    for row, i in zip(rows, np.ravel(chosen), strict=True):
      row[...] = self._load(int(i), self._evaluation_box)
    return images

  def names(self) -> Iterator[str]:
    """What each image is called in errors, in order."""
    return (self._describe(int(i)) for i in self._indices)

  def identities(self) -> Iterator[bytes] | None:
    """What each image is known again by, in order; None if by its name."""
    if self._identify is None:
      return None
    return map(self._identify, self._indices.tolist())

  def contents(self) -> Iterator[bytes]:
    """The encoded bytes of each image, in order; reads all."""
    for i in self._indices:
      yield named_content(self._read, self._describe, int(i))[1]

  @functools.cached_property
  def content_sha256(self) -> str:
    """Checksum of the encoded bytes, in order; reads all, once."""
    digest = hashlib.sha256()
    for content in self.contents():
      digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()

  def subset(self, indices: Any) -> 'EncodedImages':
    """The images at `indices`, in that order, still encoded."""
    return EncodedImages(
      self._read,
      self._describe,
      size=self._size,
      indices=self._indices[indices],
      exif_orientation=self.exif_orientation,
      identify=self._identify,
    )

  def random_crops(self, indices: Any, seeds: np.ndarray) -> np.ndarray:
    """Decoded images as seen in training: random crops, half of them flipped.

    The random-resized crop of Inception (Szegedy et al., CVPR 2015), in the
    form and order of torchvision: up to 10 times the share of the area is drawn
    uniformly from (0.08, 1) and the ratio of width to height log-uniformly from
    (3/4, 4/3); the first box that fits is placed at random. Without one it is
    the largest centered box within these ratios. Then a flip from left to right
    with probability 1/2.

    Args:
      indices: Int ``[n]``, into the first axis.
      seeds: Int ``[n, words]``, each in ``[0, 2**32)``. All draws for a row
        come from ``numpy.random.RandomState(list of its words)``: the crop
        depends on nothing else, neither on the batch nor on threads.

    Returns:
      uint8 ``[n, size, size, 3]``.

    Raises:
      DataError: If an image cannot be read or decoded.
      TypeError: If the seeds are no integers.
      ValueError: If there is not one row of seeds per image.
    """
    chosen, seeds = self._indices[indices], np.asarray(seeds)
    if seeds.size and not np.issubdtype(seeds.dtype, np.integer):
      raise TypeError(f'`seeds` must be integers, got {seeds.dtype}.')
    if seeds.ndim != 2 or (len(seeds),) != chosen.shape or not seeds.shape[1]:
      raise ValueError(
        '`seeds` must be [n, words], one row for each index, got '
        f'{seeds.shape} for indices of shape {chosen.shape}. One word per row: '
        'seeds[:, None].'
      )
    images = np.empty((len(chosen), *self.shape[1:]), np.uint8)
    for row, i, words in zip(images, chosen, seeds, strict=True):
      # A list, for arrays of one word seed in another way.
      rng = np.random.RandomState(words.tolist())
      image = self._load(int(i), lambda size, rng=rng: _random_box(size, rng))
      row[...] = image[:, ::-1] if rng.uniform() < 0.5 else image
    return images

  def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
    # Without it NumPy would decode all, one by one, to make an array.
    raise TypeError(
      f'these {len(self)} images are encoded: images[indices] decodes some, '
      'images[:] all of them.'
    )

  def _evaluation_box(self, image_size: tuple[int, int]) -> _Box:
    return evaluation_box(image_size, self._size)

  def _load(
    self, i: int, choose_box: Callable[[tuple[int, int]], _Box]
  ) -> np.ndarray:
    name, content = named_content(self._read, self._describe, i)
    with _opened(name, content) as image:
      turn = orientation(image) if self.exif_orientation else _UPRIGHT
      stored = image.size
      full = stored[::-1] if turn in _SIDEWAYS else stored
      box = choose_box(full)
      # What the sides of the whole image must have left after decoding.
      enough = tuple(
        math.ceil(_DRAFT_GAP * self._size * side / (end - start))
        for side, start, end in zip(full, box[:2], box[2:], strict=True)
      )
      if turn in _SIDEWAYS:
        enough = enough[::-1]
      draft = image.draft(None, enough)  # None if it is not a JPEG.
      factor = 1.0 if draft is None else draft[1][2] / stored[0]
      image = turned(to_rgb(image), turn)
      left, top, right, bottom = (factor * x for x in box)
      width, height = image.size
      resized = image.resize(
        (self._size, self._size),
        resample=Image.Resampling.BILINEAR,
        box=(left, top, min(right, width), min(bottom, height)),
      )
    return np.asarray(resized)


def orientation(image: Any) -> int:
  """What EXIF says of how a picture is to be turned, from 1 (not) to 8.

  Args:
    image: A picture of Pillow, of which the header was read.
  """
  if image.format == 'TIFF':  # Pillow turns these when it reads them.
    return _UPRIGHT
  if image.format == 'PNG':
    # Pillow decodes for it, EXIF may come last; broken pixels are no matter of
    # EXIF, and would not be told of again.
    image.load()
  try:
    value = image.getexif().get(_ORIENTATION_TAG)
  except Exception:  # The pixels may be good where EXIF is not.
    return _UPRIGHT
  return value if value in _TURNS else _UPRIGHT


def turned(image: Any, value: int) -> Any:
  """A picture as it is to be seen, by its orientation in EXIF."""
  return image if value == _UPRIGHT else image.transpose(_TURNS[value])


def evaluation_box(image_size: tuple[int, int], size: int) -> _Box:
  """The part of an image that is seen in evaluation: left, top, right, bottom.

  Args:
    image_size: Width and height of the image.
    size: Height and width to which the part is resized.
  """
  shorter = min(image_size)
  resized = round(size / _CROP_SHARE)
  starts, ends = [], []
  for side in image_size:
    # torchvision truncates the longer side.
    resized_side = resized * side // shorter
    start = round((resized_side - size) / 2)
    starts.append(start * side / resized_side)
    ends.append((start + size) * side / resized_side)
  return (*starts, *ends)


def named_content(
  read: Callable[[int], bytes], describe: Callable[[int], str], i: int
) -> tuple[str, bytes]:
  """Name and content of a file; DataError if it cannot be read."""
  name = describe(i)
  try:
    return name, read(i)
  except Exception as error:
    cause = getattr(error, 'strerror', None) or error
    raise _errors.DataError(f'{name} cannot be read: {cause}.') from error


def decode_all(
  contents: Iterable[tuple[str, bytes]], *, exif_orientation: bool = True
) -> np.ndarray:
  """Decodes images at their own size, which must be one size.

  Args:
    contents: Names and contents of files.
    exif_orientation: Whether the orientation in EXIF is heeded.

  Returns:
    uint8 ``[N, height, width, 1]`` of gray images, ``[N, height, width, 3]`` of
    all others.

  Raises:
    DataError: If an image cannot be decoded, or the shapes differ.
  """
  images = []
  names: dict[tuple[int, ...], str] = {}
  for name, content in contents:
    with _opened(name, content) as image:
      turn = orientation(image) if exif_orientation else _UPRIGHT
      images.append(_pixels(image, turn))
    names.setdefault(images[-1].shape, name)
  if len(names) > 1:
    (one, one_name), (two, two_name) = list(names.items())[:2]
    raise _errors.DataError(
      f'images have {len(names)} different shapes, such as {one} ({one_name}) '
      f'and {two} ({two_name}); a batch needs one. Pass `image_size`, or '
      'resize them beforehand.'
    )
  return np.stack(images)


def _pixels(image: Any, turn: int) -> np.ndarray:
  """The pixels of a picture, of one channel if it is gray."""
  if image.mode in ('1', 'L'):
    return np.asarray(turned(image.convert('L'), turn))[..., None]
  return np.asarray(turned(to_rgb(image), turn))


@contextlib.contextmanager
def _opened(name: str, content: bytes) -> Iterator[Any]:
  """An image of which the header is read; what fails inside names it."""
  try:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
      yield image
  except UnidentifiedImageError as error:
    raise _errors.DataError(
      f'{name} is not an image of a known format ({", ".join(FORMATS)}): its '
      f'{len(content)} bytes begin with {content[:12]!r}. Replace or remove it.'
    ) from error
  except Exception as error:  # Pillow's readers raise all sorts.
    raise _errors.DataError(
      f'{name} cannot be decoded: {error}. Replace or remove it.'
    ) from error


def to_rgb(image: Any) -> Any:
  """A picture in RGB; ValueError if its pixels have more than 8 bits."""
  check_mode(image.mode)
  if image.mode == 'P':
    # Pillow warns of transparent palettes otherwise.
    image = image.convert('RGBA')
  return image if image.mode == 'RGB' else image.convert('RGB')


def check_mode(mode: str) -> None:
  """Refuses pixels of more than 8 bits.

  Raises:
    ValueError: If they have more.
  """
  if mode == 'F' or mode.startswith('I'):
    raise ValueError(
      f'pixels of mode {mode!r} have more than 8 bits, and no range that '
      'stands for 0 to 255; convert them to 8 bits'
    )


def _random_box(
  image_size: tuple[int, int], rng: np.random.RandomState
) -> _Box:
  width, height = image_size
  low, high = _ASPECT_RATIOS
  for _ in range(_TRIES):
    area = width * height * rng.uniform(*_AREA_SHARES)
    ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
    box_width = round(math.sqrt(area * ratio))
    box_height = round(math.sqrt(area / ratio))
    if 0 < box_width <= width and 0 < box_height <= height:
      top = rng.randint(height - box_height + 1)
      left = rng.randint(width - box_width + 1)
      return (left, top, left + box_width, top + box_height)
  box_width = min(width, round(height * high))
  box_height = min(height, round(width / low))
  left, top = (width - box_width) // 2, (height - box_height) // 2
  return (left, top, left + box_width, top + box_height)
