# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""`check`: what a data set is, what is wrong with it, and how to start."""

from collections.abc import Callable
import dataclasses
import os
from typing import Any
from typing import NamedTuple

import numpy as np

from imbsam_jax import _errors
from imbsam_jax import _npz
from imbsam_jax import data as data_lib
from imbsam_jax import metrics
from imbsam_jax.experiment import _check_page
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _file_sources
from imbsam_jax.experiment import _findings
from imbsam_jax.experiment import _rehearsal
from imbsam_jax.experiment import _sources
from imbsam_jax.experiment import _suggestion

FORMAT = 1
_MOST_SIZES = 10
# Images of TFDS are looked at as they are stored, whatever this is.
_ANY_SIZE = 32
_LISTS = ('.txt', '.csv', '.tsv', '.lst')
_TEST_NAMES = ('test', 'val', 'valid', 'validation', 'testing', 'eval', 'dev')


@dataclasses.dataclass(frozen=True)
class DataReport:
  """What `check` tells of a data set; its text is a page.

  Attributes:
    facts: What the data set is.
    findings: What is wrong with it or worth to know, errors first.
    content: All of it as JSON has it.
    command: A command to start with, or None.
  """

  facts: data_lib.DataFacts
  findings: list[_findings.Finding]
  content: dict[str, Any]
  command: str | None

  @property
  def forbids_training(self) -> bool:
    """Whether there is an error among the findings."""
    return any(finding.severity == 'error' for finding in self.findings)

  def __str__(self) -> str:
    return _check_page.page(self.content, self.command)

  __repr__ = __str__


class _Named(NamedTuple):
  """Sources by split, and the fields by which a run names them."""

  title: str
  sources: dict[str, Any]
  data: _config.Data | None
  findings: list[_findings.Finding]


def check(
  config_or_source: _config.Config | _sources.Sources | str | os.PathLike[str],
  *,
  whole: bool = True,
  estimate: bool = False,
  data_dir: str | os.PathLike[str] | None = None,
  command: str | Callable[[_suggestion.Suggestion], str] | None = None,
  say: Callable[[str], Any] | None = None,
) -> DataReport:
  """Checks a data set before anything is trained on it.

  >>> from imbsam_jax import experiment
  >>> report = experiment.check(
  ...   experiment.Sources(train=(x, y), test=(x_test, y_test))
  ... )  # doctest: +SKIP
  >>> print(report)  # doctest: +SKIP

  Args:
    config_or_source: A folder of images, with folders ``train`` and ``test`` of
      folders of classes or with these alone; an ``.npz`` file; two lists of
      images, ``'TRAIN.txt,TEST.txt'``; the name of a TFDS set; `Sources`; or
      the configuration of a run, whose data are checked.
    whole: Whether files are read and decoded. Otherwise only their headers and
      ends are looked at.
    estimate: Whether time and memory of the run are estimated, by a rehearsal
      of some steps in a process of its own. What it compiles is kept for the
      run.
    data_dir: Folder of prepared TFDS sets, or of the images of lists.
    command: The command that trains with the configuration that is passed; or a
      function that writes the one of a configuration that is suggested. None
      writes it in Python.
    say: Called with a line before what takes a while.

  Returns:
    The report. Training is refused, or its numbers would mean nothing, where
    `DataReport.forbids_training`.

  Raises:
    ConfigError: If there is no such source.
    DataError: If it cannot be read at all, or has no image.
  """
  config = None
  if isinstance(config_or_source, _config.Config):
    config = config_or_source
    named = _of_data(config.data)
  elif isinstance(config_or_source, _sources.Sources):
    named = _of_sources(config_or_source)
  else:
    named = _of_text(os.fspath(config_or_source), data_dir)
  if say is not None:
    number = sum(len(source.labels) for source in named.sources.values())
    say(f'looking at {number:,} images ...')
  facts = data_lib.check(
    named.sources['train'],
    named.sources.get('test'),
    named.sources.get('validation'),
    whole=whole,
  )
  if not facts.splits['train'].counts.any():
    raise data_lib.DataError(_nothing(named, facts))
  exif_orientation = named.data is None or named.data.exif_orientation
  findings = named.findings + _findings.findings(
    facts, exif_orientation=exif_orientation
  )
  suggestion = None
  if config is None and named.data is not None:
    suggestion = _suggestion.suggest(facts, named.data)
    config = suggestion.config
    command = suggestion.code() if command is None else command
    if callable(command):
      command = command(suggestion)
  text = command if isinstance(command, str) else None
  counts = facts.splits['train'].counts
  if config is not None and not _has_errors(findings):
    if whole or suggestion is None or config.data.name == 'npz':
      refused = _refusal(config.data)
      if isinstance(refused, str):
        findings.insert(0, _findings.Finding('refused', 'error', refused))
      elif suggestion is None:
        counts = refused
  estimated = None
  if estimate and config is not None and not _has_errors(findings):
    if say is not None:
      say('rehearsing the command ...')
    estimated = _estimated(config)
  content = _content(named.title, facts, findings, counts, config)
  content |= {
    'suggestion': None
    if suggestion is None
    else {
      'command': text,
      'recipe': suggestion.recipe,
      'words': suggestion.words,
      'fields': suggestion.fields,
      'reasons': suggestion.reasons,
    },
    'command': text,
    'estimate': estimated,
  }
  return DataReport(facts, findings, content, text)


def _has_errors(findings: list[_findings.Finding]) -> bool:
  return any(finding.severity == 'error' for finding in findings)


def _refusal(data: _config.Data) -> Any:
  """Why a run would refuse the data, or its class counts."""
  try:
    return _data_sets.load(data).class_counts
  except (ValueError, TypeError) as error:  # DataError is one.
    return str(error)


def _estimated(config: _config.Config) -> dict[str, Any]:
  try:
    return _rehearsal.estimate(config)._asdict()
  except _errors.ConfigError as error:
    return {'problem': str(error)}


def _nothing(named: _Named, facts: data_lib.DataFacts) -> str:
  train = facts.splits['train']
  text = (
    f'{_check_page.shown(named.title)} has no training image that is in a '
    'folder of a class. Images are expected at DIR/train/CLASS/IMAGE.jpg and '
    'DIR/test/CLASS/IMAGE.jpg, or at DIR/CLASS/IMAGE.jpg.'
  )
  if train.left_out:
    text += f' There are {data_lib.summarized(train.left_out)}.'
  return text


def _of_text(source: str, data_dir: str | os.PathLike[str] | None) -> _Named:
  """The sources that a text names."""
  path = os.path.expanduser(source)
  if os.path.isdir(path):
    return _of_data(_folder_fields(source, path))
  if source.lower().endswith('.npz') and os.path.isfile(path):
    return _of_data(_config.Data(name='npz', data_dir=source))
  lists = source.split(',')
  if all(name.lower().endswith(_LISTS) for name in lists):
    if len(lists) not in (2, 3) or data_dir is None:
      raise _errors.ConfigError(
        'lists of images are passed as `source=TRAIN.txt,TEST.txt` (or '
        'TRAIN,VALIDATION,TEST), with the folder that their paths are relative '
        'to as `data_dir=DIR`.'
      )
    splits = (lists[0], lists[1] if len(lists) == 3 else None, lists[-1])
    return _of_data(
      _config.Data(
        name='image_list',
        data_dir=os.fspath(data_dir),
        splits=splits,
        image_size=_ANY_SIZE,
      )
    )
  if os.path.exists(path) or os.sep in source:
    raise _errors.ConfigError(
      f'`source={_check_page.shown(source)}`: pass a folder of images, an .npz '
      'file, lists TRAIN.txt,TEST.txt, or the name of a TFDS set.'
      + ('' if os.path.exists(path) else ' There is no such file or folder.')
    )
  return _of_data(
    _config.Data(
      name=source, data_dir=None if data_dir is None else os.fspath(data_dir)
    )
  )


def _folder_fields(source: str, path: str) -> _config.Data:
  """How a run names a folder."""
  data = _config.Data(name='image_folder', data_dir=source)
  here = data_lib.list_folders(path)
  lower = {name.lower(): name for name in reversed(here)}
  train = lower.get('train') or lower.get('training')
  if train is None or _file_sources.is_one_folder(data):
    return data
  test = next((lower[name] for name in _TEST_NAMES if name in lower), None)
  validation = None
  if 'test' in lower:
    others = [lower[n] for n in ('validation', 'val', 'valid') if n in lower]
    validation = others[0] if others else None
  return dataclasses.replace(data, splits=(train, validation, test or 'test'))


def _of_data(data: _config.Data) -> _Named:
  """The sources that the fields of a run name; folders as they are."""
  title = data.data_dir if data.name in ('image_folder', 'npz') else data.name
  findings: list[_findings.Finding] = []
  if data.name == 'npz':
    return _Named(str(title), _of_npz(data), data, findings)
  if data.name != 'image_folder':
    of_any_size = dataclasses.replace(data, image_size=_ANY_SIZE)
    return _Named(
      str(title), _data_sets.sources_of(of_any_size), data, findings
    )
  folder = os.path.expanduser(data.data_dir or '')
  if not data.data_dir or not os.path.isdir(folder):
    raise data_lib.DataError(
      f'there is no folder of images {_check_page.shown(folder)!r}. Pass it '
      'with `data.data_dir=PATH`.'
    )
  if _file_sources.is_one_folder(data):
    content: Any = data_lib.FolderContent(folder)
    of_test = np.zeros(len(content.labels), bool)
    if len(content.labels):
      of_test = data_lib.test_rows(
        content, data.test_share, seed=data.split_seed
      )
    test = content.where(of_test)
    test.left_out = {}
    sources: dict[str, Any] = {'train': content.where(~of_test), 'test': test}
    return _Named(str(title), sources, data, findings)
  sources = {}
  names: Any = ()
  for part, split in zip(
    ('train', 'validation', 'test'), data.splits, strict=True
  ):
    if split is None or not os.path.isdir(os.path.join(folder, split)):
      continue
    sources[part] = data_lib.FolderContent(
      os.path.join(folder, split), class_names=names
    )
    names = sources[part].class_names
    findings += [
      _findings.Finding('unreadable_folder', 'error', problem)
      for problem in sources[part].problems
    ]
  if 'train' not in sources:
    _file_sources.check_folder(
      data, os.path.join(folder, data.splits[0] or 'train')
    )
  if data.splits[0] == data.splits[-1]:
    findings.append(
      _findings.Finding(
        'test_is_train',
        'error',
        'training and test images are the same folder',
        'Name another one, `data.splits`.',
      )
    )
  return _Named(str(title), sources, data, findings)


class _Arrays:
  """Images and labels as they are, in the place of a source."""

  def __init__(self, images: np.ndarray, labels: np.ndarray):
    self.labels = labels
    self.class_names = [str(label) for label in range(int(labels.max()) + 1)]
    self._images = images

  def examples(self, indices: np.ndarray) -> data_lib.Examples:
    """The examples at `indices`, in that order."""
    return data_lib.Examples(self._images[indices], self.labels[indices])


def _of_npz(data: _config.Data) -> dict[str, Any]:
  """The arrays of a file, taken as they are where that has a meaning."""
  path = os.path.expanduser(data.data_dir or '')
  try:
    names = _npz.names_of(path)
    sources: dict[str, Any] = {}
    for part in ('train', 'test'):
      pair = [f'x_{part}', f'y_{part}']
      if not set(pair) <= set(names):
        continue
      images, labels = _npz.read(path, pair).values()
      whole = np.asarray(labels).reshape(len(labels), -1)
      is_plain = whole.shape[1:] == (1,) and whole.dtype.kind in 'iu'
      if not is_plain or not len(whole) or whole.min() < 0:
        raise ValueError  # What is said of it is said by the source.
      if len(images) != len(whole) or whole.max() > 2 * len(whole):
        raise ValueError
      sources[part] = _Arrays(images, whole[:, 0].astype(np.int64))
    if 'train' in sources:
      return sources
  except (ValueError, OSError):
    pass
  return _data_sets.sources_of(data)


def _of_sources(sources: _sources.Sources) -> _Named:
  by_part = {'train': sources.train, 'validation': sources.validation}
  by_part |= {'test': sources.test}
  return _Named(
    'sources of your own',
    {
      part: data_lib.ArraySource(*source)
      if isinstance(source, tuple)
      else source
      for part, source in by_part.items()
      if source is not None
    },
    None,
    [],
  )


def _content(
  title: str,
  facts: data_lib.DataFacts,
  findings: list[_findings.Finding],
  counts: np.ndarray,
  config: _config.Config | None,
) -> dict[str, Any]:
  """The report as JSON has it."""
  used = counts[counts > 0]
  threshold, why = _suggestion.fitting_threshold(counts)
  bounds = config or _config.Config()
  groups = metrics.class_groups(
    used, many_above=bounds.many_above, few_below=bounds.few_below
  )
  return {
    'format': FORMAT,
    'source': str(title),
    'whole': facts.whole,
    'seconds': facts.seconds,
    'images_per_second': facts.num_images / max(facts.seconds, 1e-9),
    'forbids_training': _has_errors(findings),
    'findings': [
      finding._asdict() | {'items': list(finding.items)} for finding in findings
    ],
    'classes': {
      'names': [str(name) for name in facts.class_names],
      'counts': {
        name: (counts if name == 'train' else split.counts).tolist()
        for name, split in facts.splits.items()
      },
      'imbalance_factor': float(used.max() / used.min()),
      'groups': {
        **{name: int(mask.sum()) for name, mask in groups.items()},
        'many_above': bounds.many_above,
        'few_below': bounds.few_below,
      },
      'threshold': threshold,
      'threshold_reason': why,
    },
    'splits': {name: _of_split(split) for name, split in facts.splits.items()},
  }


def _of_split(split: data_lib.SplitFacts) -> dict[str, Any]:
  sizes = split.tally(lambda image: (image.width, image.height))
  by_area = sorted(sizes, key=lambda size: size[0] * size[1])
  areas = np.cumsum([sizes[size] for size in by_area])

  def text(size):
    return f'{size[0]}x{size[1]}'

  return {
    'number': len(split.labels),
    'array': None
    if split.array is None
    else split.array._asdict() | {'shape': list(split.array.shape)},
    'sizes': {
      'smallest': text(by_area[0]),
      'median': text(by_area[np.searchsorted(areas, areas[-1] / 2)]),
      'largest': text(by_area[-1]),
      'frequent': [
        [text(size), number]
        for size, number in list(sizes.items())[:_MOST_SIZES]
      ],
    }
    if sizes
    else None,
    'modes': split.tally(lambda image: image.mode),
    'formats': split.tally(lambda image: image.format),
    'orientations': split.tally(lambda image: str(image.orientation)),
    'unreadable': dict(split.problems),
    'left_out': dict(split.left_out),
  }
