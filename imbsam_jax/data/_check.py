# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a data set is, before anything is trained on it."""

import collections
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import hashlib
import io
import itertools
import os
import time
from typing import Any
from typing import BinaryIO
from typing import NamedTuple

import numpy as np

from imbsam_jax import _paths
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _file_listing
from imbsam_jax.data import _image_checks
from imbsam_jax.data import _image_facts

# Images of a stream that are in memory at once.
_RECORDS_AT_ONCE = 1024

_Openers = Sequence[Callable[[], BinaryIO]]


class Copy(NamedTuple):
  """One of several images that are the same.

  Attributes:
    split: 'train', 'validation' or 'test'.
    row: Its number in the split.
    label: Its class.
  """

  split: str
  row: int
  label: int


class ArrayFacts(NamedTuple):
  """What images in memory are.

  Attributes:
    dtype: Such as 'uint8'.
    shape: Shape of one of them.
    low: Smallest value.
    high: Largest value.
  """

  dtype: str
  shape: tuple[int, ...]
  low: float
  high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitFacts:
  """What is known of the images of a split.

  Attributes:
    names: What each image is called, its path in the folder if it is a file.
    labels: Int ``[N]``, by `DataFacts.class_names`.
    counts: Int64 ``[C]``, images of each class.
    files: What was found out about each file; empty for images in memory.
    array: What images in memory are, or None.
    problems: Why images cannot be used, by their names; of files too that by
      their names were to be images.
    left_out: Why other files are no examples, by their names.
    folders: Names of the class folders, where several look like one.
  """

  names: Sequence[str]
  labels: np.ndarray
  counts: np.ndarray
  files: Sequence[_image_facts.FileFacts] = ()
  array: ArrayFacts | None = None
  problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
  left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
  folders: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def images(self) -> dict[str, _image_facts.ImageFacts]:
    """What the headers tell of the images that have one, by their names."""
    return {
      name: file.image
      for name, file in zip(self.names, self.files, strict=False)
      if file.image is not None
    }

  def named(
    self, condition: Callable[[_image_facts.ImageFacts], bool]
  ) -> list[str]:
    """Names of the images whose headers meet a condition."""
    return [name for name, image in self.images.items() if condition(image)]

  def tally(
    self, key: Callable[[_image_facts.ImageFacts], Hashable]
  ) -> dict[Any, int]:
    """How many images have which value, the most frequent first."""
    return dict(
      collections.Counter(map(key, self.images.values())).most_common()
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFacts:
  """What is known of a data set.

  Attributes:
    class_names: Names of the classes of all splits; those of training come
      first.
    splits: By 'train', 'validation' and 'test', those that there are.
    same: Images that are there more than once.
    whole: Whether all pixels were decoded, and not headers alone.
    seconds: Time that it took.
  """

  class_names: Sequence[str]
  splits: Mapping[str, SplitFacts]
  same: Sequence[Sequence[Copy]]
  whole: bool
  seconds: float

  @property
  def num_images(self) -> int:
    """Number of images of all splits."""
    return sum(len(split.labels) for split in self.splits.values())


def check(
  train: Any,
  test: Any = None,
  validation: Any = None,
  *,
  whole: bool = True,
) -> DataFacts:
  """Finds out what a data set is; nothing is refused.

  Headers cost a fraction of a millisecond for each image; whole files are read
  and decoded once, by threads. Images are the same if their files have the same
  bytes or, of whole files, their pixels are equal as RGB.

  >>> import numpy as np
  >>> from imbsam_jax import data
  >>> images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4, 1)
  >>> facts = data.check(
  ...   data.ArraySource(images, np.array([0, 0, 1])),
  ...   data.ArraySource(images[:1], np.array([0])),
  ... )
  >>> facts.splits['train'].counts.tolist(), len(facts.same)
  ([2, 1], 1)

  Args:
    train: Source of the training images, such as a `FolderContent`, which
      refuses nothing, a `FolderSource` or an `ArraySource`.
    test: Source of the test images, or None.
    validation: Source of the validation images, or None.
    whole: Whether all files are read and decoded. Otherwise their headers and
      the marks of their ends are looked at, and of files of the same length and
      the same first bytes the content is compared.

  Returns:
    The facts.
  """
  begin = time.perf_counter()
  sources = {'train': train, 'validation': validation, 'test': test}
  sources = {name: source for name, source in sources.items() if source}
  class_names = _class_names(list(sources.values()))
  splits: dict[str, SplitFacts] = {}
  keys: dict[Hashable, list[Copy]] = collections.defaultdict(list)
  for name, source in sources.items():
    splits[name], own = _facts(source, class_names, whole)
    for row, key in enumerate(own):
      if key is not None:
        keys[key].append(Copy(name, row, int(splits[name].labels[row])))
  return DataFacts(
    class_names=class_names,
    splits=splits,
    same=[copies for copies in keys.values() if len(copies) > 1],
    whole=whole,
    seconds=time.perf_counter() - begin,
  )


def _class_names(sources: Sequence[Any]) -> list[str]:
  """Names of all classes."""
  names = list(sources[0].class_names)
  for source in sources[1:]:
    # Without a name in common, one of them has names of its own, such as '0'.
    if set(source.class_names).isdisjoint(names):
      names += list(source.class_names)[len(names) :]
    else:
      names += [name for name in source.class_names if name not in names]
  return names


def _facts(
  source: Any, class_names: Sequence[str], whole: bool
) -> tuple[SplitFacts, list[Hashable]]:
  """A split, and keys that are equal for images that are the same."""
  own = list(source.class_names)
  place = {name: label for label, name in enumerate(class_names)}
  if set(own).isdisjoint(class_names):
    place |= {name: label for label, name in enumerate(own)}
  labels = np.array([place[name] for name in own], np.int64)[source.labels]
  counts = np.bincount(labels, minlength=len(class_names))
  common: dict[str, Any] = {'labels': labels, 'counts': counts}
  if hasattr(source, 'paths'):
    files, keys = _of_paths(source.folder, source.paths, whole)
    names = [_paths.printable(path) for path in source.paths]
    left_out = {_paths.printable(p): why for p, why in source.left_out.items()}
    broken = {_paths.printable(p): why for p, why in source.broken.items()}
    folders = getattr(source, 'spellings', {})
    common |= {
      'left_out': {p: w for p, w in left_out.items() if p not in broken},
      'folders': {
        name: [_paths.printable(folder) for folder in spellings]
        for name, spellings in folders.items()
      },
    }
    problems = broken | _problems(names, files)
    return SplitFacts(
      names=names, files=files, problems=problems, **common
    ), keys
  every = np.arange(len(labels))
  if hasattr(source, 'encoded'):
    names = [f'example {row}' for row in every]
    files, keys = _of_records(source, source.encoded(every), whole)
    problems = _problems(names, files)
    return SplitFacts(
      names=names, files=files, problems=problems, **common
    ), keys
  images = source.examples(every).images
  if isinstance(images, _encoded_images.EncodedImages):
    names = list(images.names())
    files, keys = _of_files(_openers(images), whole)
    problems = _problems(names, files)
    return SplitFacts(
      names=names, files=files, problems=problems, **common
    ), keys
  images = np.asarray(images)
  names = [f'row {row}' for row in range(len(labels))]
  return (
    SplitFacts(names=names, array=_of_array(images), **common),
    _keys_of_rows(images),
  )


def _problems(
  names: Sequence[str], files: Sequence[_image_facts.FileFacts]
) -> dict[str, str]:
  return {
    name: file.problem
    for name, file in zip(names, files, strict=True)
    if file.problem is not None
  }


def _openers(images: _encoded_images.EncodedImages) -> _Openers:
  def opener(row):
    return lambda: io.BytesIO(next(images.subset([row]).contents()))

  return [opener(row) for row in range(len(images))]


def _of_paths(
  folder: str, paths: Sequence[str], whole: bool
) -> tuple[list[_image_facts.FileFacts], list[Hashable]]:
  """Facts on files, and keys that tell their images apart."""
  full = [os.path.join(folder, path) for path in paths]
  openers = [functools.partial(open, path, 'rb') for path in full]
  files, keys = _of_files(openers, whole)
  if whole:
    return files, keys
  # The mark of the end too.
  reasons = _file_listing.map_files(_image_checks.why_broken, full)
  for row, why in enumerate(reasons):
    if why is not None and files[row].problem is None:
      files[row] = files[row]._replace(problem=why)
      keys[row] = None
  return files, keys


def _of_records(
  source: Any, contents: Iterator[bytes], whole: bool
) -> tuple[list[_image_facts.FileFacts], list[Hashable]]:
  """Facts on images that come in one stream, of which few are in memory."""

  def opener(row):
    return lambda: io.BytesIO(next(source.encoded(np.array([row]))))

  files: list[_image_facts.FileFacts] = []
  while chunk := list(itertools.islice(contents, _RECORDS_AT_ONCE)):
    openers = [functools.partial(io.BytesIO, content) for content in chunk]
    files += _image_facts.facts_of_files(openers, whole=whole)
  return files, _keys([opener(row) for row in range(len(files))], files, whole)


def _of_files(
  openers: _Openers, whole: bool
) -> tuple[list[_image_facts.FileFacts], list[Hashable]]:
  files = _image_facts.facts_of_files(openers, whole=whole)
  return files, _keys(openers, files, whole)


def _keys(
  openers: _Openers, files: Sequence[_image_facts.FileFacts], whole: bool
) -> list[Hashable]:
  """Keys that are equal for images that are the same."""
  make_key = _key_of_pixels if whole else _key_of_content
  # What cannot be read is no copy of anything.
  return [
    None if file.problem is not None else make_key(file, opener)
    for opener, file in zip(openers, files, strict=True)
  ]


def _key_of_content(
  file: _image_facts.FileFacts, opener: Callable[[], BinaryIO]
) -> '_Key':
  begin = (file.length, file.head)
  return _Key(begin, lambda: _image_facts.sha256_of_file(opener))


def _key_of_pixels(
  file: _image_facts.FileFacts, opener: Callable[[], BinaryIO]
) -> '_Key':
  image = file.image
  assert image is not None, 'what has pixels has a header'
  begin = (image.width, image.height, image.orientation, file.pixels)
  return _Key(begin, lambda: _image_facts.sha256_of_pixels(opener))


class _Key:
  """A key whose end is computed only for those that begin with the same.

  Args:
    begin: What tells most images apart.
    end: Computes what tells all apart, or None.
  """

  def __init__(self, begin: Hashable, end: Callable[[], bytes | None]):
    self._begin = begin
    self._compute_end = end

  def __hash__(self) -> int:
    return hash(self._begin)

  def __eq__(self, other: object) -> bool:
    if not isinstance(other, _Key) or self._begin != other._begin:
      return False
    return self._end is not None and self._end == other._end

  @functools.cached_property
  def _end(self) -> bytes | None:
    return self._compute_end()


def _of_array(images: np.ndarray) -> ArrayFacts:
  low, high = (
    (float(images.min()), float(images.max()))
    if images.size
    else (
      0.0,
      0.0,
    )
  )
  return ArrayFacts(str(images.dtype), images.shape[1:], low, high)


def _keys_of_rows(images: np.ndarray) -> list[Hashable]:
  kind = (str(images.dtype), images.shape[1:])
  return [
    (kind, hashlib.sha256(np.ascontiguousarray(row).data).digest())
    for row in images
  ]
