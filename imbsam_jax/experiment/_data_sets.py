# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: sources of the three splits, and the long tail."""

from collections.abc import Sequence
import os
from typing import NamedTuple

import numpy as np

from imbsam_jax import data as data_lib
from imbsam_jax.experiment import _config

# Data sets whose `data_dir` is not that of TFDS.
_OF_FILES = ('image_folder', 'image_list', 'npz')

# Arrays in memory count as one: (images [N, ...], labels [N]).
Source = data_lib.Source | tuple[np.ndarray, np.ndarray]


class Sources(NamedTuple):
  """Examples of one's own, before anything is cut out of them.

  Attributes:
    train: A `data.Source`, or a pair of arrays: images ``[N, ...]``, uint8 (0
      to 255) or floats, and int labels ``[N]`` from 0.
    test: The same of test examples; all are used.
    validation: The same of validation examples, or None: then
      ``data.validation_per_class`` takes some of the training examples.
    auxiliary: Images of other things than the classes, an array ``[N, ...]`` of
      the shape and dtype of the training images, for methods that take some; or
      None: then ``data.auxiliary`` says which they are.
  """

  train: Source
  test: Source
  validation: Source | None = None
  auxiliary: np.ndarray | None = None


def load(
  config: _config.Data, sources: Sources | None = None
) -> data_lib.LongTailedData:
  """Reads the data set and cuts the long-tailed subset out of it.

  Folders and lists of test and validation images share the classes of the
  training images: they may lack some, but not have others.

  Args:
    config: The examples that are asked for.
    sources: Examples of one's own; None reads those that `config.name` names.

  Raises:
    DataError: If the data are missing or do not give what is asked for.
    ValueError: If choices do not fit one another.
  """
  if sources is None:
    sources = _by_name(config)
  train = _as_source(sources.train)
  names = train.class_names
  validation = sources.validation
  if validation is not None:
    validation = _as_source(validation, names)
  natural = config.profile == 'natural' or config.class_counts
  return data_lib.long_tailed(
    train,
    _as_source(sources.test, names),
    validation=validation,
    imbalance_factor=None if natural else config.imbalance_factor,
    profile='step' if config.profile == 'step' else 'exp',
    max_count=config.max_count,
    class_counts=config.class_counts,
    validation_per_class=config.validation_per_class,
    seed=config.subset_seed if config.subset == 'shuffled' else None,
  )


def load_auxiliary(
  config: _config.Data,
  data: data_lib.LongTailedData,
  own: np.ndarray | None = None,
) -> data_lib.Examples:
  """Reads the auxiliary images of a run.

  Args:
    config: Its data fields.
    data: Its examples, in whose form the images come.
    own: Images of one's own; None reads those that `config.auxiliary` names.

  Raises:
    ConfigError: If the examples are no images that textures could be made like.
    DataError: If the images are missing or do not fit.
  """
  if own is not None:
    return data_lib.fitted_examples(own, data.train.images)
  return data_lib.auxiliary_examples(
    config.auxiliary,
    data.train.images,
    # Elsewhere it is the place of the training images.
    data_dir=None if config.name in _OF_FILES else config.data_dir,
  )


def _by_name(config: _config.Data) -> Sources:
  train_split, validation_split, test_split = config.splits
  if not train_split or not test_split:
    raise ValueError(
      'a run needs a training and a test split; only the validation split can '
      f'be None. `data.splits` is {config.splits!r}.'
    )
  train = _source(config, train_split)
  names = train.class_names
  return Sources(
    train,
    _source(config, test_split, names),
    None
    if validation_split is None
    else _source(config, validation_split, names),
  )


def _as_source(
  source: Source, class_names: Sequence[str] | None = None
) -> data_lib.Source:
  """Arrays as a source, with the classes of the training examples."""
  if not isinstance(source, tuple):
    return source
  return data_lib.ArraySource(*source, class_names=class_names)


def same_examples(one: _config.Data, two: _config.Data) -> bool:
  """Whether two configurations choose the same examples, in whatever order."""
  chosen = (
    'name', 'data_dir', 'splits', 'image_size', 'imbalance_factor',
    'profile', 'max_count', 'class_counts', 'subset', 'subset_seed',
    'validation_per_class',
  )  # fmt: skip
  return all(getattr(one, name) == getattr(two, name) for name in chosen)


def _source(
  config: _config.Data, split: str, class_names: Sequence[str] | None = None
) -> data_lib.Source:
  """One split.

  Args:
    config: The data set that the split is of.
    split: As its `splits`; of a TFDS set also SPLIT@LIST, the examples that a
      list names by position (see `data.SubsetSource`).
    class_names: Those of the training split, for the others.
  """
  size = {'image_size': config.image_size}
  match config.name:
    case 'image_folder':
      folder = os.path.join(_location(config), split)
      _check_there(folder, 'folder of images', os.path.isdir(folder))
      return data_lib.FolderSource(folder, class_names=class_names, **size)
    case 'image_list':
      folder = _location(config)
      _check_there(split, 'list of images', os.path.isfile(split))
      _check_there(folder, 'folder of images', os.path.isdir(folder))
      return data_lib.ListSource(split, folder, class_names=class_names, **size)
    case 'npz':
      if config.image_size is not None:
        raise ValueError(
          'the images of an .npz file have their size. Leave '
          '`data.image_size=None`.'
        )
      return data_lib.NpzSource(_location(config), split)
  split, _, positions = split.partition('@')
  if positions:
    _check_there(positions, 'list of positions', os.path.isfile(positions))
  source = data_lib.TfdsSource(
    config.name, split, data_dir=config.data_dir, **size
  )
  return data_lib.SubsetSource(source, positions) if positions else source


def _location(config: _config.Data) -> str:
  if config.data_dir is None:
    what = 'the .npz file' if config.name == 'npz' else 'the folder of images'
    raise ValueError(
      f'`data.name={config.name}` needs {what}: pass `data.data_dir=PATH`.'
    )
  return os.path.expanduser(config.data_dir)


def _check_there(path: str, what: str, there: bool) -> None:
  if not there:
    raise data_lib.DataError(
      f'there is no {what} {path}. Pass the folder with '
      '`data.data_dir=PATH`, and what is read with '
      "`data.splits=('TRAIN', None, 'TEST')`: folders in that "
      'folder for an image_folder, files for an image_list, SPLIT@FILE for a '
      'part of a TFDS set.'
    )
