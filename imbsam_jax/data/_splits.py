# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training, validation and test examples of a long-tailed experiment."""

from collections.abc import Sequence
from typing import Literal
from typing import NamedTuple

import numpy as np

from imbsam_jax import _checks
from imbsam_jax.data import _class_indices
from imbsam_jax.data import _duplicates
from imbsam_jax.data import _errors
from imbsam_jax.data import _file_report
from imbsam_jax.data import _long_tail
from imbsam_jax.data import _same_rows
from imbsam_jax.data import _sources

_LISTED = 5


class LongTailedData(NamedTuple):
  """What an experiment runs on.

  Attributes:
    train: Training examples, long-tailed.
    validation: Balanced examples for choosing anything by, or None.
    test: Test examples, for the final number.
    class_counts: int64 ``[C]``, training examples of each class.
    class_names: One name per class.
    files: What became of their files, if they are files.
    notes: Sentences on what is unusual about the examples, such as rows that
      are training and test examples at once.
  """

  train: _sources.Examples
  validation: _sources.Examples | None
  test: _sources.Examples
  class_counts: np.ndarray
  class_names: Sequence[str]
  files: _file_report.FileReport | None = None
  notes: tuple[str, ...] = ()


def long_tailed(
  train: _sources.Source,
  test: _sources.Source,
  *,
  validation: _sources.Source | None = None,
  imbalance_factor: float | None = None,
  profile: Literal['exp', 'step'] = 'exp',
  max_count: int | None = None,
  class_counts: Sequence[int] | None = None,
  validation_per_class: int = 0,
  seed: int | None = 0,
) -> LongTailedData:
  """Cuts a long-tailed training set and a validation set out of a source.

  Args:
    train: Source of the training and validation examples.
    test: Source of the test examples; all are kept.
    validation: Source of validation examples, where the data set brings some;
      all are kept.
    imbalance_factor: Largest over smallest class count. None, without
      `class_counts`, keeps the source's own distribution.
    profile: 'exp' or 'step', see `long_tail_class_counts`.
    max_count: Examples of the most frequent class. None takes the most that
      the source has.
    class_counts: Counts of one's own instead of a profile, one per class.
    validation_per_class: Examples of each class that are set aside first, with
      a seed of their own: the validation set is balanced, and the same for
      every imbalance factor.
    seed: Chooses the subset, see `long_tail_indices`; None takes the first
      examples in file order.

  Returns:
    The examples as the sources give them, in memory or still encoded, and the
    class counts.

  Raises:
    DataError: If more examples are asked for than there are, or train and test
      number their classes differently, or have rows of another shape, dtype or
      scale.
    ValueError: If the imbalance factor is below 1, or given together with
      counts.
  """
  if imbalance_factor is not None and class_counts is not None:
    raise ValueError(
      'Pass either `imbalance_factor` or `class_counts`, got both: the counts '
      'say it all.'
    )
  if validation is not None and validation_per_class:
    raise ValueError(
      'Pass either `validation` or `validation_per_class`, got both: there is '
      'one validation set.'
    )
  num_classes = len(train.class_names)
  for name, other in (('test', test), ('validation', validation)):
    if other is not None and len(other.class_names) > num_classes:
      raise _errors.DataError(
        f'train has {num_classes} classes, {name} {len(other.class_names)}: '
        f'{name} can lack classes, but not have others.'
      )
  _check_same_classes(train.class_names, test.class_names)
  empty = np.flatnonzero(np.bincount(train.labels, minlength=num_classes) == 0)
  if empty.size:
    advice = _class_indices.first_label_advice(train.labels)
    raise _errors.DataError(
      f'class {empty[0]} ({train.class_names[empty[0]]!r}) has no training '
      f'examples ({empty.size} such classes). '
      + (
        f'The {advice}'
        if advice and train.class_names[0] == '0'
        else 'Number the classes that occur from 0, such as by '
        'numpy.unique(labels, return_inverse=True)[1] on the training labels.'
      )
    )
  pool = np.arange(len(train.labels))
  held_out = None
  if validation is not None:
    held_out = validation.examples(np.arange(len(validation.labels)))
  if validation_per_class:
    _check_enough(train, validation_per_class)
    chosen = _long_tail.long_tail_indices(
      train.labels, np.full(num_classes, validation_per_class), seed=0
    )
    held_out = train.examples(chosen)
    pool = np.setdiff1d(pool, chosen)
  available = np.bincount(train.labels[pool], minlength=num_classes)
  if class_counts is not None:
    counts = np.asarray(class_counts)
  elif imbalance_factor is not None:
    counts = _profile_counts(available, imbalance_factor, profile, max_count)
  else:
    counts = available
  if len(counts) != num_classes:
    raise _errors.DataError(
      f'`class_counts` must have one entry for each of {num_classes} classes, '
      f'got {len(counts)}.'
    )
  kept = _long_tail.long_tail_indices(train.labels[pool], counts, seed=seed)
  long_tailed_data = LongTailedData(
    train=train.examples(pool[kept]),
    validation=held_out,
    test=test.examples(np.arange(len(test.labels))),
    class_counts=counts,
    class_names=train.class_names,
  )
  check_same_rows(long_tailed_data)
  return long_tailed_data._replace(
    notes=_notes(long_tailed_data, pool[kept], train.class_names)
  )


def hold_out(
  data: LongTailedData, share: float, *, seed: int = 0
) -> LongTailedData:
  """Sets training examples aside for validation, a share of each class.

  Args:
    data: The examples of an experiment.
    share: Share of each class, in (0, 1), rounded, but at least one example,
      and at least one stays. A class of a single example has it in both parts.
    seed: Seed of the choice.

  Returns:
    The data with fewer training examples, and validation examples that keep the
    long tail.

  Raises:
    ValueError: If the share is not in (0, 1).
  """
  _checks.number('share', share, above=0, below=1)
  rng = np.random.RandomState(seed)
  kept, chosen = [], []
  for label, count in enumerate(data.class_counts):
    own = rng.permutation(np.flatnonzero(data.train.labels == label))
    # Some of a class stay, and some are set aside.
    number = min(max(round(share * int(count)), 1), max(int(count) - 1, 1))
    chosen.append(own[:number])
    kept.append(own[number:] if count > 1 else own)
  train, validation = (
    data.train.at(np.sort(np.concatenate(part))) for part in (kept, chosen)
  )
  counts = np.bincount(train.labels, minlength=len(data.class_counts))
  return data._replace(train=train, validation=validation, class_counts=counts)


def check_same_rows(data: LongTailedData) -> None:
  """Refuses examples to evaluate that are unlike those of training.

  Args:
    data: All examples of an experiment.

  Raises:
    DataError: If rows of validation or test have another shape than those of
      training, or hold bytes where those hold floats, or floats on another
      scale.
  """
  for name, examples in (('validation', data.validation), ('test', data.test)):
    if examples is None:
      continue
    _same_rows.check_like(data.train.images, examples.images, name)


def _notes(
  data: LongTailedData, rows: np.ndarray, class_names: Sequence[str]
) -> tuple[str, ...]:
  """What is unusual about examples, as sentences.

  Args:
    data: The examples.
    rows: Which rows of their source the training examples are.
    class_names: One name per class.
  """
  notes = []
  if len(class_names) == 1:
    notes.append('there is one class, and nothing to tell apart')
  for name, examples in (('validation', data.validation), ('test', data.test)):
    images = data.train.images
    if examples is None or not (
      isinstance(images, np.ndarray) and isinstance(examples.images, np.ndarray)
    ):
      continue
    ours, theirs = _duplicates.shared_rows(images, examples.images)
    if len(theirs):
      notes.append(
        f'{len(theirs)} of {len(examples.labels)} {name} images are training '
        f'images too, such as {name} image {theirs[0]}, training image '
        f'{rows[ours[0]]}'
      )
  counts = np.bincount(data.test.labels, minlength=len(class_names))
  missing = [
    name for name, count in zip(class_names, counts, strict=True) if not count
  ]
  if missing:
    more = ', ...' if len(missing) > _LISTED else ''
    notes.append(
      f'{len(missing)} of {len(class_names)} classes have no test images: '
      f'{", ".join(missing[:_LISTED])}{more}'
    )
  return tuple(notes)


def _check_enough(train: _sources.Source, validation_per_class: int) -> None:
  """Refuses to set all training examples of a class aside."""
  counts = np.bincount(train.labels, minlength=len(train.class_names))
  smallest = int(counts.argmin())
  if counts[smallest] <= validation_per_class:
    advice = f'Pass {counts[smallest] - 1} at most' + (
      '.' if counts[smallest] > 1 else ', or validation examples of their own.'
    )
    raise _errors.DataError(
      f'class {smallest} ({train.class_names[smallest]!r}) has '
      f'{counts[smallest]} training examples, of which '
      f'`validation_per_class={validation_per_class}` leaves none. {advice}'
    )


def _check_same_classes(train: Sequence[str], test: Sequence[str]) -> None:
  # Without a name in common, one of them has names of its own, such as '0'.
  if set(train).isdisjoint(test):
    return
  for label, (ours, theirs) in enumerate(zip(train, test, strict=False)):
    if ours != theirs:
      raise _errors.DataError(
        f'class {label} is {ours!r} in train and {theirs!r} in test. Give both '
        'sources the same `class_names`, such as train.class_names.'
      )


def _profile_counts(
  available: np.ndarray,
  imbalance_factor: float,
  profile: Literal['exp', 'step'],
  max_count: int | None,
) -> np.ndarray:
  """Counts of a profile, the largest that the source can give."""
  if max_count is not None:
    return _long_tail.long_tail_class_counts(
      len(available), max_count, imbalance_factor, profile=profile
    )
  for candidate in range(int(available.max()), 0, -1):
    if candidate < imbalance_factor:
      break  # The rarest class would be empty.
    counts = _long_tail.long_tail_class_counts(
      len(available), candidate, imbalance_factor, profile=profile
    )
    if (counts <= available).all():
      return counts
  raise _errors.DataError(
    f'no subset of imbalance factor {imbalance_factor:g} fits the examples '
    f'that there are, {available[:5].tolist()} ... of class 0, 1, ...: class 0 '
    'is to have the most. Number the classes by frequency, lower '
    '`imbalance_factor`, or pass `class_counts`.'
  )
