# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: sources of the three splits, and the long tail."""

from collections.abc import Sequence
import os

import numpy as np

from imbsam_jax import data as data_lib
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _file_sources
from imbsam_jax.experiment._sources import Source
from imbsam_jax.experiment._sources import Sources

# Data sets whose `data_dir` is not that of TFDS.
_OF_FILES = ('image_folder', 'image_list', 'npz')


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
  files = None
  if sources is None:
    sources, files = _by_name(config)
  train = _as_source(sources.train)
  names = train.class_names
  validation = sources.validation
  if validation is not None:
    validation = _as_source(validation, names)
  natural = config.profile == 'natural' or config.class_counts
  data = data_lib.long_tailed(
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
  return data._replace(files=files)


def sources_of(config: _config.Data) -> dict[str, data_lib.Source]:
  """The sources of the splits that a configuration names, nothing cut out.

  Args:
    config: The examples that are asked for; not those of one folder.

  Raises:
    DataError: If they are missing or cannot be read.
  """
  train, validation, test = config.splits
  sources = {'train': _source(config, str(train))}
  names = sources['train'].class_names
  for part, split in (('validation', validation), ('test', test)):
    if split is not None:
      sources[part] = _source(config, split, names)
  return sources


def with_channel_axis(
  data: data_lib.LongTailedData,
) -> data_lib.LongTailedData:
  """Gray images ``[N, height, width]`` with an axis of one channel, and a note.

  Other examples stay as they are.
  """
  shape = data.train.images.shape
  if len(shape) != 3:
    return data

  def changed(examples: data_lib.Examples) -> data_lib.Examples:
    return examples._replace(images=examples.images[..., None])

  note = f'images have no channel axis and are taken as gray {shape[1:]}'
  return data._replace(
    train=changed(data.train),
    validation=None if data.validation is None else changed(data.validation),
    test=changed(data.test),
    notes=(*data.notes, note.replace('(', '[').replace(')', ']')),
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
    data_dir=None if config.name in _OF_FILES else _expanded(config.data_dir),
    exif_orientation=config.exif_orientation,
  )


def _by_name(
  config: _config.Data,
) -> tuple[Sources, data_lib.FileReport | None]:
  train_split, validation_split, test_split = config.splits
  if not train_split or not test_split:
    raise ValueError(
      'a run needs a training and a test split; only the validation split can '
      f'be None. `data.splits` is {config.splits!r}.'
    )
  if _file_sources.is_one_folder(config):
    train, test, lines = _file_sources.cut(config, _location(config))
    return _file_sources.checked(config, {'train': train, 'test': test}, lines)
  train = _source(config, train_split)
  names = train.class_names
  sources = {'train': train}
  if validation_split is not None:
    sources['validation'] = _source(config, validation_split, names)
  sources['test'] = _source(config, test_split, names)
  lines = _file_sources.same_splits(config)
  if not _file_sources.are_files(sources):
    files = data_lib.FileReport(lines=lines) if lines else None
    return _file_sources.as_sources(sources), files
  return _file_sources.checked(config, sources, lines)


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
    'name', 'data_dir', 'splits', 'test_share', 'split_seed', 'bad_images',
    'exif_orientation', 'image_size', 'imbalance_factor',
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
  how = {
    'image_size': config.image_size,
    'exif_orientation': config.exif_orientation,
  }
  match config.name:
    case 'image_folder':
      folder = os.path.join(_location(config), split)
      _file_sources.check_folder(config, folder)
      return data_lib.FolderSource(folder, class_names=class_names, **how)
    case 'image_list':
      folder, split = _location(config), os.path.expanduser(split)
      _check_there(split, 'list of images', os.path.isfile(split))
      _check_there(folder, 'folder of images', os.path.isdir(folder))
      return data_lib.ListSource(split, folder, class_names=class_names, **how)
    case 'npz':
      if config.image_size is not None:
        raise ValueError(
          'the images of an .npz file have their size. Leave '
          '`data.image_size=None`.'
        )
      return data_lib.NpzSource(
        _location(config), split, class_names=class_names
      )
  split, _, positions = split.partition('@')
  positions = os.path.expanduser(positions)
  if positions:
    _check_there(positions, 'list of positions', os.path.isfile(positions))
  source = data_lib.TfdsSource(
    config.name, split, data_dir=_expanded(config.data_dir), **how
  )
  return data_lib.SubsetSource(source, positions) if positions else source


def _expanded(path: str | None) -> str | None:
  """None is TFDS's default."""
  return None if path is None else os.path.expanduser(path)


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
