# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources of examples: arrays of one's own, and data sets of TFDS."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
from typing import Any
from typing import NamedTuple
from typing import Protocol

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _encoded_images
from imbsam_jax.data import _errors

# Prepared on first use: they need no download.
_OWN_BUILDERS = ('digits',)
_RECORDS_AT_ONCE = 4096


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

  Args:
    images: ``[N, ...]``, uint8 (0 to 255) or floating point.
    labels: Int ``[N]``.
    class_names: One name per class; default '0', '1', ... up to the largest
      label.

  Raises:
    DataError: If lengths differ, labels are no class indices, or images are not
      finite or of another dtype.
  """

  def __init__(
    self,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
  ):
    images, labels = np.asarray(images), np.asarray(labels)
    if images.shape[:1] != labels.shape[:1]:
      rows = [x.shape[0] if x.ndim else 'no' for x in (images, labels)]
      raise _errors.DataError(
        '`images` and `labels` must have one row per example, got '
        f'{rows[0]} and {rows[1]} rows.'
      )
    self.labels = _checks.host_labels(
      labels,
      None if class_names is None else len(class_names),
      error=_errors.DataError,
    )
    if class_names is None:
      class_names = [str(c) for c in np.arange(self.labels.max() + 1)]
    self.class_names: Sequence[str] = list(class_names)
    if np.issubdtype(images.dtype, np.floating):
      images = images.astype(np.float32)
      finite = np.isfinite(images.reshape(len(images), -1)).all(axis=1)
      if not finite.all():
        raise _errors.DataError(
          f'`images` has NaN or infinity in row {np.flatnonzero(~finite)[0]} '
          f'({np.sum(~finite)} such rows). Remove or repair these rows.'
        )
    elif images.dtype != np.uint8:
      raise _errors.DataError(
        f'`images` must be uint8 or floating point, got {images.dtype}. '
        'Pass images.astype("float32").'
      )
    self._images = images

  def examples(self, indices: np.ndarray) -> Examples:
    """The examples at `indices`, in that order."""
    return Examples(self._images[indices], self.labels[indices])


class TfdsSource:
  """One split of an image-classification set of TensorFlow Datasets.

  Reads ArrayRecord files; TensorFlow is not needed. Labels are read at once,
  for which the whole split is read; images are decoded when asked for.

  Args:
    name: A TFDS name such as 'cifar10', or 'digits', which this library brings
      and prepares on first use.
    split: A TFDS split such as 'train' or 'test'.
    data_dir: Where prepared data sets are; None is TFDS's own default.
    image_size: Height and width of the images, which then are `EncodedImages`
      and decoded when a batch needs them. None decodes into memory what
      `examples` is asked for; all images must have the same shape.

  Raises:
    DataError: If the set is unknown, is not prepared, or has no image and
      label.
  """

  def __init__(
    self,
    name: str,
    split: str,
    *,
    data_dir: str | None = None,
    image_size: int | None = None,
  ):
    if image_size is not None:
      _checks.integer('image_size', image_size)
    self._image_size = image_size
    self._title = f'{name} {split}'
    features, self._rows = tfds_rows(
      name, split, data_dir=data_dir, needed=('image', 'label')
    )
    self.class_names: Sequence[str] = list(features['label'].names)
    self.labels = _checks.host_labels(
      np.array([row['label'] for row in self._read(range(len(self._rows)))]),
      len(self.class_names),
      error=_errors.DataError,
    )

  def examples(self, indices: np.ndarray) -> Examples:
    """The examples at `indices`, in that order."""
    indices = np.asarray(indices)
    if self._image_size is None:
      images = _encoded_images.decode_all(
        (self._describe(i), row['image'])
        for i, row in zip(indices, self._read(indices), strict=True)
      )
    else:
      images = _encoded_images.EncodedImages(
        self._read_image,
        self._describe,
        size=self._image_size,
        indices=indices,
      )
    return Examples(images, self.labels[indices])

  def _describe(self, i: int) -> str:
    return f'example {i} of {self._title}'

  def _read_image(self, i: int) -> bytes:
    return next(self._read([i]))['image']

  def _read(self, indices: Sequence[int] | np.ndarray) -> Iterator[Any]:
    # Many records at once are read three times faster than one by one.
    for start in range(0, len(indices), _RECORDS_AT_ONCE):
      chunk = [int(i) for i in indices[start : start + _RECORDS_AT_ONCE]]
      yield from self._rows.__getitems__(chunk)


def tfds_rows(
  name: str, split: str, *, data_dir: str | None, needed: Sequence[str]
) -> tuple[Any, Any]:
  """Features of a TFDS set and the rows of a split, images still encoded.

  Args:
    name: A TFDS name, or 'digits'.
    split: A TFDS split.
    data_dir: Where prepared data sets are; None is TFDS's own default.
    needed: The features that it must have.

  Raises:
    DataError: If the set is unknown, is not prepared, or lacks a feature or the
      split.
  """
  import tensorflow_datasets as tfds

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
  return features, rows


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
  if not builder.is_prepared():
    folder = f', data_dir={data_dir!r}' if data_dir else ''
    raise _errors.DataError(
      f'data set {name!r} is not prepared in {builder.data_dir}. If it lies '
      "elsewhere, pass that folder as `data_dir='DIR'`. Otherwise "
      'type (some sets need TensorFlow for this step)\n'
      '  python -c "import tensorflow_datasets as tfds; '
      f"tfds.builder('{name}'{folder}, file_format='array_record')"
      '.download_and_prepare()"'
    )
  return builder
