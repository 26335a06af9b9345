# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources of image files: which there are, and which of them can be used."""

from collections.abc import Mapping
import os
from typing import Any

import numpy as np

from imbsam_jax import _paths
from imbsam_jax import data as data_lib
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _sources

_DEFAULT_SPLITS = ('train', None, 'test')
# Names that people give to the folder of the test images.
_OTHER_NAMES = ('test', 'val', 'valid', 'validation', 'testing', 'eval', 'dev')
# What a screen has room for.
_LISTED = 20


def are_files(sources: Mapping[str, Any]) -> bool:
  """Whether sources are of image files."""
  kinds = (data_lib.FolderSource, data_lib.ListSource)
  return all(isinstance(source, kinds) for source in sources.values())


def is_one_folder(config: _config.Data) -> bool:
  """Whether a folder has folders of classes in place of those of splits.

  Args:
    config: The data set; `splits` are as by default.
  """
  if config.name != 'image_folder' or config.splits != _DEFAULT_SPLITS:
    return False
  folder = os.path.expanduser(config.data_dir or '')
  if config.data_dir is None or not os.path.isdir(folder):
    return False
  here = data_lib.list_folders(folder)
  # A folder of a split has folders; one of a class may be called 'train'.
  has_splits = any(
    name in here and data_lib.list_folders(os.path.join(folder, name))
    for name in ('train', 'test')
  )
  return bool(here) and not has_splits


def cut(config: _config.Data, folder: str) -> tuple[Any, Any, dict[str, str]]:
  """Training and test images out of one folder.

  Args:
    config: The data set.
    folder: Its folder.

  Returns:
    Both sources, and a line on them.
  """
  source = data_lib.FolderSource(
    folder,
    image_size=config.image_size,
    exif_orientation=config.exif_orientation,
  )
  of_test = data_lib.test_rows(
    source, config.test_share, seed=config.split_seed
  )
  without = len(source.class_names) - len(set(source.labels[of_test]))
  if not of_test.any():
    raise data_lib.DataError(
      f'{_paths.printable(folder)} has no folders train and test, and no class '
      'of two different images, of which one could become a test image. Put '
      "test images into folders of their own, `data.splits=('train', None, "
      "'test')`."
    )
  line = (
    f'no folders train and test: {config.test_share:.0%} of each class, '
    f'{of_test.sum()} images, are the test images (seed {config.split_seed})'
  )
  if without:
    line += f'; {without} classes of one image have none'
  return source.where(~of_test), source.where(of_test), {'split': line}


def check_folder(config: _config.Data, folder: str) -> None:
  """Refuses a split that has no folder.

  Raises:
    DataError: If it is not there; the message says which folders are.
  """
  if os.path.isdir(folder):
    return
  above = os.path.expanduser(config.data_dir or '')
  here = data_lib.list_folders(above) if os.path.isdir(above) else []
  train, validation, test = config.splits
  others = [name for name in here if name.lower() in _OTHER_NAMES]
  if not os.path.isdir(above):
    folder, advice = above, 'Pass the folder with `data.data_dir=PATH`.'
  elif others and os.path.basename(folder) == test and train in here:
    advice = f'Pass `data.splits={(train, validation, others[0])!r}`.'
  else:
    listed = ', '.join(_paths.printable(name) for name in here[:5]) or 'none'
    advice = (
      f'There are the folders {listed}. Put the images into DIR/train/CLASS '
      'and DIR/test/CLASS, or all into DIR/CLASS, which sets some of each '
      'class aside for the test; or name other folders, '
      f'`data.splits={config.splits!r}`.'
    )
  raise data_lib.DataError(
    f'there is no folder of images {_paths.printable(folder)}. {advice}'
  )


def same_splits(config: _config.Data) -> dict[str, str]:
  """A line if images are of two splits at once, by their names."""
  names = dict(
    zip(('training', 'validation', 'test'), config.splits, strict=True)
  )
  places = {
    part: _place(config, split) for part, split in names.items() if split
  }
  for one, other in (
    ('training', 'test'),
    ('training', 'validation'),
    ('validation', 'test'),
  ):
    if one in places and places.get(other) == places[one]:
      return {
        'warning': f'{one} and {other} images are the same '
        f'({names[one]!r}): numbers on these say nothing of new images'
      }
  return {}


def checked(
  config: _config.Data, sources: Mapping[str, Any], lines: Mapping[str, str]
) -> tuple[_sources.Sources, data_lib.FileReport]:
  """Sources without the images that cannot be used, if these are skipped.

  Args:
    config: The data set.
    sources: Sources of image files by part.
    lines: Remarks on them.

  Raises:
    DataError: If there are such images and they are not to be skipped, none
      would be left of a class, or labels are numbers in one list and names in
      another.
  """
  _check_labels(sources)
  skipped: dict[str, str] = {}
  left_out: dict[str, str] = {}
  usable = dict(sources)
  for part, source in sources.items():
    left_out |= _with_folder(source, source.left_out)
    if config.bad_images == 'unchecked':
      continue
    reasons = source.unusable()
    skipped |= _with_folder(source, reasons)
    usable[part] = source.where(
      np.array([path not in reasons for path in source.paths], bool)
    )
  if skipped and config.bad_images == 'fail':
    raise data_lib.DataError(
      _refusal(skipped, of_lists=config.name == 'image_list')
    )
  for part, source in usable.items():
    _check_classes(part, sources[part], source)
  left_out = {
    path: why for path, why in left_out.items() if path not in skipped
  }
  return as_sources(usable), data_lib.FileReport(
    lines=_lines(config, left_out, skipped) | dict(lines),
    left_out=left_out,
    skipped=skipped,
  )


def as_sources(sources: Mapping[str, Any]) -> _sources.Sources:
  """Sources by part."""
  return _sources.Sources(
    sources['train'], sources['test'], sources.get('validation')
  )


def _place(config: _config.Data, split: str) -> str:
  """A split, by what it is read from."""
  if config.name == 'image_list':
    return os.path.realpath(os.path.expanduser(split))
  if config.name == 'image_folder':
    folder = os.path.expanduser(config.data_dir or '')
    return os.path.realpath(os.path.join(folder, split))
  return split.strip()


def _check_labels(sources: Mapping[str, Any]) -> None:
  """Refuses lists of which some have numbers and some have names."""
  kinds = {
    part: source.has_names
    for part, source in sources.items()
    if isinstance(source, data_lib.ListSource)
  }
  if len(set(kinds.values())) > 1:
    words = {True: 'names of classes', False: 'numbers'}
    listed = ', '.join(
      f'{words[kind]} ({part})' for part, kind in kinds.items()
    )
    raise data_lib.DataError(
      f'the lists have as labels {listed}, whose order need not be the same. '
      'Write names in all lists, or numbers in all.'
    )


def _check_classes(part: str, before: Any, after: Any) -> None:
  """Refuses classes of which no image is left."""
  number = len(before.class_names)
  counts, left = (
    np.bincount(source.labels, minlength=number) for source in (before, after)
  )
  gone = np.flatnonzero((counts > 0) & (left == 0))
  if gone.size and (part == 'train' or gone.size == np.sum(counts > 0)):
    raise data_lib.DataError(
      f'of {counts[gone[0]]} {part} images of class '
      f'{before.class_names[gone[0]]!r} none can be used ({gone.size} such '
      'classes). Replace them.'
    )


def _with_folder(source: Any, reasons: Mapping[str, str]) -> dict[str, str]:
  return {
    os.path.join(source.folder, path): why for path, why in reasons.items()
  }


def _refusal(skipped: Mapping[str, str], *, of_lists: bool) -> str:
  """What to say of images that cannot be used: all, up to a screenful."""
  number = len(skipped)
  lines = [
    f'  {_paths.printable(path)} {why}'
    for path, why in sorted(skipped.items())[:_LISTED]
  ]
  if number > _LISTED:
    lines.append(f'  and {number - _LISTED} more')
  return '\n'.join(
    [
      f'{number} image file{"s" * (number != 1)} cannot be used:',
      *lines,
      'Replace them, or remove them' + ' with their lines' * of_lists + ';'
      ' or pass `data.bad_images=skip`, which leaves them out and writes down '
      'which they were.',
    ]
  )


def _lines(
  config: _config.Data, left_out: Mapping[str, str], skipped: Mapping[str, str]
) -> dict[str, str]:
  """What the header says of files."""
  lines = {
    'EXIF': 'images are turned as it says'
    if config.exif_orientation
    else 'orientation not heeded'
  }
  if left_out:
    lines['left out'] = data_lib.summarized(left_out)
  if skipped:
    lines['skipped'] = f'{data_lib.summarized(skipped)}, see files.json'
  if config.bad_images == 'unchecked':
    lines['files'] = 'not checked before the run'
  return lines
