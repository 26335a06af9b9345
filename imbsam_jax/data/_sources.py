# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources of examples: arrays of one's own, and data sets of TFDS."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import os
import pathlib
from typing import Any
from typing import NamedTuple
from typing import Protocol

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _class_indices
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _errors
from imbsam_jax.data import _facts_cache
from imbsam_jax.data import _host_arrays

# Prepared on first use: they need no download.
_OWN_BUILDERS = ('digits',)
_RECORDS_AT_ONCE = 4096
# Without it a folder is no data set of TFDS.
_INFO = 'dataset_info.json'


class Examples(NamedTuple):
  """Examples, in memory or encoded.

  Attributes:
    images: ``[N, ...]``, uint8 (0 to 255) or float32; or `EncodedImages`, which
      ``images[indices]`` decodes; in training batches `RandomCrops` of these.
    labels: int32 ``[N]``.
  """

  images: Any
  labels: np.ndarray

  def at(self, indices: np.ndarray) -> 'Examples':
    """The examples at `indices`, in that order, encoded if these are."""
    images = self.images
    if isinstance(images, _encoded_images.EncodedImages):
      return Examples(images.subset(indices), self.labels[indices])
    return Examples(images[indices], self.labels[indices])


class Source(Protocol):
  """Labels at once, images on demand.

  Attributes:
    labels: int32 ``[N]``.
    class_names: One name per class.
  """

  labels: np.ndarray
  class_names: Sequence[str]

  def examples(self, indices: np.ndarray) -> Examples:
    """The examples at `indices`, in that order.

    Their images are in memory, or `EncodedImages`: then nothing is decoded yet.
    """
    ...


class ArraySource:
  """Images (or feature vectors) and labels that are in memory already.

  Arrays of NumPy, JAX and PyTorch, frames of pandas and lists are taken.

  Args:
    images: ``[N, height, width, channels]``, ``[N, D]`` or other rows: uint8 (0
      to 255), or floating point, which becomes float32. Other integers are
      taken as uint8 where images hold 0 to 255, and as float32 in ``[N, D]``.
    labels: ``[N]`` or ``[N, 1]``: class indices from 0, or names of classes; or
      one-hot rows ``[N, C]``.
    class_names: One name per class. Default are '0', '1', ... up to the largest
      label, or the sorted names that occur; of test examples pass those of the
      training examples.

  Raises:
    DataError: If lengths differ, labels are none of these (soft or of several
      classes), a value is missing, or images are not finite, hold other
      integers or have their channels first.
  """

  labels: np.ndarray
  class_names: Sequence[str]

  def __init__(
    self,
    images: Any,
    labels: Any,
    *,
    class_names: Sequence[str] | None = None,
  ):
    images = _host_arrays.host_array(images, '`images`')
    labels = _host_arrays.host_array(labels, '`labels`')
    if images.ndim and labels.shape == (1, len(images)) != (1, 1):
      labels = labels[0]  # As MATLAB has rows of numbers.
    if not images.ndim or images.shape[:1] != labels.shape[:1]:
      rows = [x.shape[0] if x.ndim else 'no' for x in (images, labels)]
      raise _errors.DataError(
        '`images` and `labels` must have one row per example, got '
        f'{rows[0]} and {rows[1]} rows.'
      )
    self.labels, self.class_names = _class_indices.class_indices(
      labels, class_names
    )
    self._images = _host_arrays.image_array(images)

  def examples(self, indices: np.ndarray) -> Examples:
    """The examples at `indices`, in that order."""
    return Examples(self._images[indices], self.labels[indices])


class TfdsSource:
  """One split of an image-classification set of TensorFlow Datasets.

  Reads ArrayRecord files; TensorFlow is not needed. Labels are read at once,
  for which the whole split is read, since a record holds image and label as one
  compressed message. They are then kept in ``~/.cache/imbsam_jax/facts``, until
  a file of the set changes: a second start reads no record. Images are decoded
  when asked for.

  Args:
    name: A TFDS name such as 'cifar10', or 'digits', which this library brings
      and prepares on first use.
    split: A TFDS split such as 'train' or 'test'.
    data_dir: Where prepared data sets are; None is TFDS's own default.
    image_size: Height and width of the images, which then are `EncodedImages`
      and decoded when a batch needs them. None decodes into memory what
      `examples` is asked for; all images must have the same shape.
    exif_orientation: Whether images are turned as EXIF says.

  Raises:
    DataError: If the set is unknown, is not prepared, has no image and label,
      or a file of it is missing or broken.
  """

  def __init__(
    self,
    name: str,
    split: str,
    *,
    data_dir: str | None = None,
    image_size: int | None = None,
    exif_orientation: bool = True,
  ):
    if image_size is not None:
      _checks.integer('image_size', image_size)
    self._image_size = image_size
    self._exif_orientation = exif_orientation
    self._title = f'{name} {split}'
    features, self._rows = tfds_rows(
      name, split, data_dir=data_dir, needed=('image', 'label')
    )
    self.class_names: Sequence[str] = list(features['label'].names)
    facts = _facts_cache.get(
      self._rows.files, f'labels {name} {split}', self._facts
    )
    if len(facts['labels']) != len(self._rows):
      facts = self._facts()
    self.labels = _checks.host_labels(
      facts['labels'], len(self.class_names), error=_errors.DataError
    )

  def examples(self, indices: np.ndarray) -> Examples:
    """The examples at `indices`, in that order."""
    indices = np.asarray(indices)
    if self._image_size is None:
      images = _encoded_images.decode_all(
        (
          (self._describe(i), row['image'])
          for i, row in zip(indices, self._read(indices), strict=True)
        ),
        exif_orientation=self._exif_orientation,
      )
    else:
      images = _encoded_images.EncodedImages(
        self._read_image,
        self._describe,
        size=self._image_size,
        indices=indices,
        exif_orientation=self._exif_orientation,
      )
    return Examples(images, self.labels[indices])

  def _facts(self) -> dict[str, np.ndarray]:
    rows = self._read(range(len(self._rows)))
    return {'labels': np.array([row['label'] for row in rows])}

  def _describe(self, i: int) -> str:
    return f'example {i} of {self._title}'

  def encoded(self, indices: np.ndarray) -> Iterator[bytes]:
    """The encoded images at `indices`, in that order, read many at once."""
    return (row['image'] for row in self._read(indices))

  def _read_image(self, i: int) -> bytes:
    return next(self._read([i]))['image']

  def _read(self, indices: Sequence[int] | np.ndarray) -> Iterator[Any]:
    # Many records at once are read three times faster than one by one.
    for start in range(0, len(indices), _RECORDS_AT_ONCE):
      chunk = [int(i) for i in indices[start : start + _RECORDS_AT_ONCE]]
      yield from self._rows.__getitems__(chunk)


def tfds_rows(
  name: str, split: str, *, data_dir: str | None, needed: Sequence[str]
) -> tuple[Any, '_Rows']:
  """Features of a TFDS set and the rows of a split, images still encoded.

  Args:
    name: A TFDS name, or 'digits'.
    split: A TFDS split.
    data_dir: Where prepared data sets are; None is TFDS's own default.
    needed: The features that it must have.

  Raises:
    DataError: If the set is unknown, is not prepared, or lacks a feature or the
      split. Reading raises it too, if a file is missing or broken.
  """
  import tensorflow_datasets as tfds

  if data_dir is not None:  # TFDS would make a folder of the name ~.
    data_dir = os.path.expanduser(data_dir)
  builder = _tfds_builder(name, data_dir)
  features = builder.info.features
  if not features or not set(needed) <= set(features):
    listed = ' and '.join(map(repr, needed))
    raise _errors.DataError(
      f'data set {name!r} has features {sorted(features or ())}; {listed} '
      f'{"are" if len(needed) > 1 else "is"} needed. Read it yourself and pass '
      'an `ArraySource`.'
    )
  try:
    rows: Any = builder.as_data_source(
      split=split, decoders={'image': tfds.decode.SkipDecoding()}
    )
  except Exception as error:
    raise _errors.DataError(
      f'data set {name!r} has no readable split {split!r} in '
      f'{builder.data_dir}: {error}'
    ) from error
  return features, _Rows(rows, name, split, builder.data_dir)


class _Rows:
  """Records of a split, and the files of its data set."""

  def __init__(self, rows: Any, name: str, split: str, folder: Any):
    self._rows, self._title = rows, f'{name} {split}'
    self._folder = str(folder)

  def __len__(self) -> int:
    return len(self._rows)

  def __getitems__(self, indices: Sequence[int]) -> Sequence[Any]:
    try:
      return self._rows.__getitems__(indices)
    except Exception as error:  # Of Riegeli, by way of C++.
      raise _errors.DataError(self._say(indices, error)) from error

  @property
  def files(self) -> list[str]:
    """Paths of all files of the data set."""
    return [
      os.path.join(self._folder, name) for name in os.listdir(self._folder)
    ]

  def _say(self, indices: Sequence[int], error: Exception) -> str:
    for path in self.files:
      if '.array_record' in path and not _opens(path):
        return (
          f'{path} is broken or cut off, so that {self._title} cannot be read: '
          f'{error}. Copy it anew, or prepare the data set again.'
        )
    broken = next((i for i in indices if not self._reads(i)), indices[0])
    return (
      f'example {broken} of {self._title} cannot be read from {self._folder}: '
      f'{error}. Copy its files anew, or prepare the data set again.'
    )

  def _reads(self, index: int) -> bool:
    try:
      self._rows.__getitems__([index])
    except Exception:
      return False
    return True


def _opens(path: str) -> bool:
  """Whether a file of records has its end, where their places are written."""
  from array_record.python import array_record_module

  try:
    array_record_module.ArrayRecordReader(path).close()
  except Exception:
    return False
  return True


def _tfds_builder(name: str, data_dir: str | None) -> Any:
  import tensorflow_datasets as tfds

  try:
    if name in _OWN_BUILDERS:
      from imbsam_jax.data import _digits

      builder = _digits.Digits(data_dir=data_dir, file_format='array_record')
      # TFDS would tell of a download, which this is not.
      tfds.disable_progress_bar()
      with contextlib.redirect_stdout(io.StringIO()):
        try:
          builder.download_and_prepare()
        except FileExistsError:  # Another process was faster.
          builder = _digits.Digits(
            data_dir=data_dir, file_format='array_record'
          )
      return builder
    builder = tfds.builder(name, data_dir=data_dir, file_format='array_record')
  except tfds.core.DatasetNotFoundError as error:
    raise _errors.DataError(
      f'there is no data set {name!r} in TFDS. See tfds.list_builders(), or '
      'pass arrays of your own as an `ArraySource`.'
    ) from error
  except Exception as error:  # Of its files: what they raise depends on TFDS.
    raise _errors.DataError(
      f'data set {name!r} cannot be opened: {error}\nIf its '
      'dataset_info.json or features.json is broken, copy it anew, or prepare '
      'the data set again.'
    ) from error
  if not builder.is_prepared():
    folder = f', data_dir={data_dir!r}' if data_dir else ''
    raise _errors.DataError(
      f'data set {name!r} is not prepared in {builder.data_dir}.'
      f'{_what_is_there(builder.data_dir, data_dir)} If it lies '
      "elsewhere, pass that folder as `data_dir='DIR'`. Otherwise "
      'type (some sets need TensorFlow for this step)\n'
      '  python -c "import tensorflow_datasets as tfds; '
      f"tfds.builder('{name}'{folder}, file_format='array_record')"
      '.download_and_prepare()"'
    )
  return builder


def _what_is_there(folder: Any, data_dir: str | None) -> str:
  """Sentences on other data sets that are prepared, in a folder or around."""
  if data_dir is None:
    return ''
  base = pathlib.Path(data_dir).expanduser()
  for above, pattern in ((2, _INFO), (1, f'[0-9]*.*/{_INFO}')):
    if any(base.glob(pattern)):
      whole = str(base.absolute().parents[above - 1])
      return f' {base} is one data set: pass data_dir={whole!r}.'
  folder = pathlib.Path(folder)
  versions = sorted(p.parent.name for p in folder.parent.glob(f'*/{_INFO}'))
  if versions:
    return (
      f' There is version {", ".join(versions)} of it, but the TFDS that is '
      f'installed reads version {folder.name}.'
    )
  if folder.is_dir():
    return f' That folder has no {_INFO}: copy it anew.'
  others = sorted({p.parents[1].name for p in base.glob(f'*/*/{_INFO}')})
  if not others:
    return f' {base} holds no data set of TFDS.'
  return f' {base} holds {", ".join(others[:10])}.'
