# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Predictions for new images, written to a file."""

import collections
from collections.abc import Iterator
import concurrent.futures
import contextlib
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
  probabilities: str | os.PathLike[str] | bool | None = None,
  features: str | os.PathLike[str] | bool | None = None,
  spreadsheet_safe: bool = False,
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
    probabilities: File, .npz, of the array 'probabilities', float32 ``[N, C]``,
      whose rows belong to the images of `output` in their order, NaN where one
      cannot be read, and of 'class_names'. True is that beside `output`, such
      as predictions.probabilities.npz.
    features: File, .npz, of the array 'features', float32 ``[N, D]``, likewise:
      what the head of the network reads of each image as it is.
    spreadsheet_safe: Whether cells of a CSV that begin with =, +, -, @ or a tab
      get a ' before them, so that no spreadsheet takes them for formulas.

  Returns:
    Counts, times and shares.

  Raises:
    ConfigError: If an argument is none of these, a file cannot be written, an
      array has another shape than the run's examples, or the network does not
      tell its features.
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
  with contextlib.ExitStack() as stack:

    def rows_of(name, path, **others):
      if path is None or path is False:
        return None
      path = _prediction_file.beside(output, name) if path is True else path
      return stack.enter_context(
        _prediction_file.opened_rows(
          os.fspath(path), name, len(images), **others
        )
      )

    names = np.array(classifier.class_names)
    arrays = (
      rows_of('probabilities', probabilities, class_names=names),
      rows_of('features', features),
    )
    stream = stack.enter_context(_prediction_file.opened(output))
    writer = _prediction_file.Writer(
      stream, kind, top, spreadsheet_safe=spreadsheet_safe
    )
    for row in _rows(classifier, images, top, on_error == 'skip', arrays):
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
  notes = []
  if images.left_out:
    notes.append(f'left out: {data_lib.summarized(images.left_out)}')
  known = images.folders & set(classifier.class_names)
  if known:
    notes.append(
      f'note: folders in it have names of classes, such as {min(known)!r}; '
      'they are not taken as labels. `evaluate` measures on the test images of '
      'a run.'
    )
  return tuple(notes)


class _Batch(NamedTuple):
  """Images on their way: their names, what they are, and what is computed."""

  names: list[str]
  parts: list[Any]
  begun: _classifier.Begun | None


def _rows(
  classifier: _classifier.Classifier,
  images: _image_source.ImageSource,
  top: int,
  skip: bool,
  arrays: tuple[_prediction_file.Rows | None, _prediction_file.Rows | None],
) -> Iterator[_prediction_file.Row]:
  """A row for each image, in order."""
  before = None
  for names, parts in _stored(classifier, images):
    errors = [part for part in parts if isinstance(part, data_lib.DataError)]
    if errors and not skip:
      raise errors[0]
    rows = [x for x in parts if not isinstance(x, data_lib.DataError)]
    begun = None
    if rows:
      begun = classifier.begin(rows, features=arrays[1] is not None)
    # These are written while the devices work on the next ones.
    if before is not None:
      yield from _finished(classifier, before, top, arrays)
    before = _Batch(names, parts, begun)
  if before is not None:
    yield from _finished(classifier, before, top, arrays)


def _finished(
  classifier: _classifier.Classifier,
  batch: _Batch,
  top: int,
  arrays: tuple[_prediction_file.Rows | None, _prediction_file.Rows | None],
) -> Iterator[_prediction_file.Row]:
  """The rows of a batch, and what is kept of all classes."""
  outputs: tuple[np.ndarray, ...] = ()
  predictions = iter(())
  if batch.begun is not None:
    outputs = classifier.finish(batch.begun)
    predictions = iter(classifier.predictions(*outputs[:2], top=top))
  failed = [isinstance(part, data_lib.DataError) for part in batch.parts]
  for k, file in enumerate(arrays, 1):
    if file is not None:
      _write_rows(file, outputs[k] if outputs else None, failed)
  for name, part in zip(batch.names, batch.parts, strict=True):
    if isinstance(part, data_lib.DataError):
      yield _prediction_file.Row(name, None, error=str(part))
    else:
      one = next(predictions)
      yield _prediction_file.Row(name, one, classifier.groups[one.class_index])


def _write_rows(
  file: _prediction_file.Rows, rows: np.ndarray | None, failed: list[bool]
) -> None:
  """Rows in the order of the images, where some have none."""
  if rows is None:
    file.write_empty(len(failed))
    return
  whole = np.full((len(failed), rows.shape[1]), np.nan, np.float32)
  whole[~np.array(failed)] = rows
  file.write(whole)


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
