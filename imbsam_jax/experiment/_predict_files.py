# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions for new images, written to a file."""

import collections
from collections.abc import Iterator
import concurrent.futures
import os
import time
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _checks
from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax._runs import console
from imbsam_jax.experiment import _classifier
from imbsam_jax.experiment import _image_source
from imbsam_jax.experiment import _prediction_file

GROUPS = ('many', 'medium', 'few')


class PredictionSummary(NamedTuple):
  """What `predict_files` did; ``str`` is a text about it.

  Attributes:
    num_images: Number of images with a prediction.
    errors: Name and reason of each image without one.
    seconds: Time that it took.
    groups: For 'many', 'medium' and 'few' the number of classes, the share of
      the training images, the share of the predictions, and their mean
      probability, None without any.
    notes: Remarks on the source.
  """

  num_images: int
  errors: list[tuple[str, str]]
  seconds: float
  groups: dict[str, tuple[int, float, float, float | None]]
  notes: tuple[str, ...] = ()

  def __str__(self) -> str:
    rows = [
      [
        group,
        str(classes),
        console.percent(before),
        console.percent(predicted),
        console.percent(confidence),
      ]
      for group, (classes, before, predicted, confidence) in self.groups.items()
    ]
    table = console.markdown_table(
      ['group', 'classes', 'of training', 'of predictions', 'mean probability'],
      rows,
    )
    rate = self.num_images / max(self.seconds, 1e-9)
    images = console.counted(self.num_images, 'image')
    lines = [f'{images}, {rate:.0f} a second']
    if self.errors:
      lines.append(
        f'{console.counted(len(self.errors), "image")} left out, see the '
        'column `error`'
      )
    return '\n'.join([*lines, *self.notes, '', 'in %', table])


def predict_files(
  classifier: _classifier.Classifier,
  source: str | os.PathLike[str],
  output: str | os.PathLike[str],
  *,
  kind: str | None = None,
  top: int = 5,
  recursive: bool = False,
  on_error: str = 'fail',
) -> PredictionSummary:
  """Predicts the classes of new images, and writes a line for each.

  CSV has the columns ``path, class_index, class_name, probability, group,
  top2_name, top2_probability, .., error``; JSON lines have ``{"path", "class",
  "name", "probability", "group", "top"}``, or ``{"path", "error"}``. Images go
  through batch by batch, so that memory does not grow with their number.

  Args:
    classifier: What `load_run` gave.
    source: A folder, an image file, a list of paths (.txt), a pattern, or an
      array (.npy, .npz).
    output: File to write, which is there when it is whole; '-' is the standard
      output.
    kind: 'csv' or 'jsonl'; None is that of the file's suffix.
    top: How many classes of each image, at most as many as there are.
    recursive: Whether images of inner folders are taken too.
    on_error: 'fail' stops at an image that cannot be read; 'skip' writes why.

  Returns:
    Counts, times and shares.

  Raises:
    ConfigError: If an argument is none of these, the output cannot be written,
      or an array has another shape than the run's examples.
    DataError: If there are no images, or one cannot be read; with 'skip', if
      none can.
  """
  if on_error not in ('fail', 'skip'):
    raise _errors.ConfigError(
      f"`on_error` must be 'fail' or 'skip', got {on_error!r}."
    )
  _checks.integer('top', top, error=_errors.ConfigError)
  output = os.fspath(output)
  kind = _prediction_file.format_of(output, kind)
  top = min(top, len(classifier.class_names))
  images = _image_source.open_source(
    source, row_shape=classifier.row_shape, recursive=recursive
  )
  begin = time.monotonic()
  errors: list[tuple[str, str]] = []
  number = collections.Counter()
  confidence = dict.fromkeys(GROUPS, 0.0)
  with _prediction_file.opened(output) as stream:
    writer = _prediction_file.Writer(stream, kind, top)
    for row in _rows(classifier, images, top, on_error == 'skip'):
      writer.write(row)
      if row.prediction is None:
        errors.append((row.path, row.error))
      else:
        number[row.group] += 1
        confidence[row.group] += row.prediction.probability
  total = sum(number.values())
  if not total:
    name, reason = errors[0]
    raise data_lib.DataError(
      f'none of {console.counted(len(errors), "image")} can be predicted, such '
      f'as {name}: {reason}'
    )
  counts = classifier.class_counts
  of_group = {g: np.array([g == x for x in classifier.groups]) for g in GROUPS}
  return PredictionSummary(
    total,
    errors,
    time.monotonic() - begin,
    {
      group: (
        int(of_group[group].sum()),
        float(counts[of_group[group]].sum() / counts.sum()),
        number[group] / total,
        confidence[group] / number[group] if number[group] else None,
      )
      for group in GROUPS
    },
    _notes(classifier, images),
  )


def _notes(
  classifier: _classifier.Classifier, images: _image_source.ImageSource
) -> tuple[str, ...]:
  known = images.folders & set(classifier.class_names)
  if not known:
    return ()
  return (
    f'note: folders in it have names of classes, such as {min(known)!r}; they '
    'are not taken as labels. `evaluate` measures on the test images of a run.',
  )


def _rows(
  classifier: _classifier.Classifier,
  images: _image_source.ImageSource,
  top: int,
  skip: bool,
) -> Iterator[_prediction_file.Row]:
  """A row for each image, in order."""
  for names, parts in _stored(classifier, images):
    errors = [part for part in parts if isinstance(part, data_lib.DataError)]
    if errors and not skip:
      raise errors[0]
    rows = [x for x in parts if not isinstance(x, data_lib.DataError)]
    predictions = iter(classifier.predict_rows(rows, top) if rows else [])
    for name, part in zip(names, parts, strict=True):
      if isinstance(part, data_lib.DataError):
        yield _prediction_file.Row(name, None, error=str(part))
      else:
        one = next(predictions)
        group = classifier.groups[one.class_index]
        yield _prediction_file.Row(name, one, group)


def _stored(
  classifier: _classifier.Classifier, images: _image_source.ImageSource
) -> Iterator[tuple[list[str], list[Any]]]:
  """Batches of names, and images as they are stored, or why they are not."""
  size = classifier.batch_size
  in_memory = images.images is not None
  workers = 1 if in_memory else max(classifier.config.data.workers, 1)

  def read(i):
    try:
      return classifier.stored(images[i])
    except data_lib.DataError as error:
      return error

  with concurrent.futures.ThreadPoolExecutor(workers, 'images') as pool:

    def begun(start):
      return [
        pool.submit(read, i)
        for i in range(start, min(start + size, len(images)))
      ]

    ahead = begun(0)
    for start in range(0, len(images), size):
      # The next ones are decoded while these go through the network.
      now, ahead = ahead, begun(start + size)
      names = list(images.names[start : start + size])
      try:
        yield names, [future.result() for future in now]
      except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
