# Copyright 2026 The imbsam_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The finished run that another run begins with."""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from typing import Any
from typing import NamedTuple
import warnings

from flax import traverse_util
import numpy as np

from imbsam_jax import _errors
from imbsam_jax import data as data_lib
from imbsam_jax import methods
from imbsam_jax import training
from imbsam_jax._runs import folder as folder_lib
from imbsam_jax._runs import run_files
from imbsam_jax.experiment import _chosen_checkpoint
from imbsam_jax.experiment import _config
from imbsam_jax.experiment import _data_sets
from imbsam_jax.experiment import _own
from imbsam_jax.experiment import _trunk


class BaseRun(NamedTuple):
  """What is known of a run that another one begins with.

  Attributes:
    folder: Its folder.
    step: Number of steps of the checkpoint that was read.
    variables: What it is evaluated with: parameters, or their moving average,
      and other variables of the model.
    sha256: Checksum of `variables`.
    config: Its configuration.
  """

  folder: pathlib.Path
  step: int
  variables: dict[str, Any]
  sha256: str
  config: _config.Config


class BaseRuns:
  """The runs that runs of a configuration begin with, one for each seed.

  Args:
    config: The configuration, with `init_from`.
    data: Examples of these runs.
  """

  def __init__(self, config: _config.Config, data: data_lib.LongTailedData):
    self.text: str = config.init_from or ''
    for name in re.findall(r'{(\w*)}', self.text):
      if name not in ('seed', 'word'):
        raise _errors.ConfigError(
          f'`init_from={self.text}`: {{{name}}} stands for nothing. There are '
          '{seed} and, in a comparison, {word}.'
        )
    if '{word}' in self.text:
      raise _errors.ConfigError(
        f'`init_from={self.text}`: {{word}} is filled in by a comparison '
        'alone. Write the word.'
      )
    self._config = config
    self._data = data
    self._checked = functools.lru_cache(maxsize=2)(self._read)

  def of_seed(self, seed: int) -> BaseRun:
    """The run that a run of this seed begins with.

    Raises:
      ConfigError: If there is none, it is not finished or has changed, or it
        has seen images that are set aside here.
      CheckpointError: If its checkpoint cannot be read.
    """
    return self._checked(filled(self.text, seed=seed))

  def are_gone(self) -> bool:
    """Whether the folder of this configuration is not there any more."""
    folder, _ = _parts(filled(self.text, seed=self._config.seed))
    return not folder.exists()

  def config_of(self, seed: int) -> _config.Config:
    """The configuration of a run, for its ``config.json``."""
    folder, checkpoint = _parts(filled(self.text, seed=seed))
    return dataclasses.replace(
      self._config,
      seed=seed,
      # The same, from wherever the run goes on.
      init_from=str(folder.resolve())
      + ('' if checkpoint == 'last' else f':{checkpoint}'),
      init_from_sha256=self.of_seed(seed).sha256,
    )

  def _read(self, text: str) -> BaseRun:
    base = read(text, self._config.model)
    known = self._config.init_from_sha256
    if known is not None and known != base.sha256:
      raise _errors.ConfigError(
        f'the parameters in {base.folder} are not those that this run began '
        f'with: their checksum is {base.sha256[:12]}, it was {known[:12]}. Put '
        'that run back, or begin a new run.'
      )
    _check_trunk(base, self._config)
    check_unseen(base, self._data, self._config, self._fingerprint)
    return base

  @functools.cached_property
  def _fingerprint(self) -> dict[str, str]:
    """Checksums of the data, made once for the runs of all seeds."""
    return data_lib.fingerprint(self._data)


def of_method(config: _config.Config, name: str) -> _config.Config:
  """The configuration of a method of a comparison, with ``{word}`` filled in.

  Args:
    config: A configuration.
    name: Name of the method: its words, joined by plus signs, or any other.
  """
  if '{word}' not in (config.init_from or ''):
    return config
  words, _, _ = name.partition('@')  # What follows is a radius.
  known = methods.words()
  if all(word in known for word in words.split('+')):
    first = [
      known[w].follows if methods.fine_tunes(w) else w for w in words.split('+')
    ]
    words = '+'.join(w for w in first if w) or 'sgd'
  return dataclasses.replace(
    config, init_from=filled(config.init_from or '', word=words)
  )


def check_seeds(config: _config.Config, num_seeds: int) -> None:
  """Refuses a comparison if some of its runs have none to begin with.

  Args:
    config: The configuration of a method.
    num_seeds: Number of seeds of the comparison.

  Raises:
    ConfigError: If one of these runs does not exist or is not finished.
  """
  if config.init_from is not None:
    for seed in range(num_seeds):
      check_there(filled(config.init_from, seed=seed))


def filled(text: str, **values: Any) -> str:
  """`init_from` with ``{seed}`` or ``{word}`` filled in."""
  for name, value in values.items():
    text = text.replace(f'{{{name}}}', str(value))
  return text


def check_there(text: str) -> pathlib.Path:
  """Refuses what is no folder of a finished run, and reads nothing of it.

  Args:
    text: `init_from`, filled in.

  Raises:
    ConfigError: If there is no run, or it is not finished.
  """
  folder, _ = _parts(text)
  # Says what there is, where there is no run.
  folder_lib.read_config(folder, _config.Config)
  if not os.path.lexists(folder / 'summary.json'):
    raise _errors.ConfigError(
      f'`init_from={text}`: the run in {folder} is not finished, it has no '
      'summary.json. Finish it first, with the command that began it.'
    )
  return folder


def read(text: str, model: _config.Model) -> BaseRun:
  """Reads the parameters of a finished run.

  Args:
    text: `init_from`, filled in.
    model: The network of the run that begins with it, which tells where the
      file of their trunk is now.

  Raises:
    ConfigError: If there is no run, it is not finished, or has no such
      checkpoint.
    CheckpointError: If its checkpoint cannot be read.
  """
  folder = check_there(text)
  config = folder_lib.read_config(folder, _config.Config)
  theirs = config.model
  if theirs.trunk and theirs.trunk_sha256 == model.trunk_sha256:
    config = dataclasses.replace(
      config, model=dataclasses.replace(theirs, trunk=model.trunk)
    )
  _, wanted = _parts(text)
  step, variables = _chosen_checkpoint.variables(folder, config, wanted)
  if config.init_from is not None:
    variables['params'] = completed(variables['params'], config)
  if config.model.trunk is not None:
    variables = with_trunk(variables, config)
  return BaseRun(
    folder, step, variables, training.params_sha256(variables), config
  )


def with_trunk(
  variables: dict[str, Any], config: _config.Config
) -> dict[str, Any]:
  """Variables with those of the trunk that no run before has trained.

  Raises:
    ConfigError: If the run that it began with is gone, which may have trained
      some.
  """
  whole = _trunk.completed(variables, config)
  folder = None if config.init_from is None else _parts(config.init_from)[0]
  if folder is not None and not folder.exists():
    own = traverse_util.flatten_dict(variables['params'])
    if len(traverse_util.flatten_dict(whole['params'])) > len(own):
      raise _errors.ConfigError(
        f'the run in {folder}, with which that run began, is gone, and had '
        'parameters that it did not train. Put that run back.'
      )
  return whole


def _check_trunk(base: BaseRun, config: _config.Config) -> None:
  """Refuses a run on another pre-trained trunk, or on none.

  Raises:
    ConfigError: If the trunks of both differ; the message names both.
  """
  theirs, ours = base.config.model, config.model
  if theirs.trunk_sha256 == ours.trunk_sha256:
    return
  names = [
    'no trunk' if m.trunk is None else f'{m.trunk} ({str(m.trunk_sha256)[:12]})'
    for m in (theirs, ours)
  ]
  raise _errors.ConfigError(
    f'the run in {base.folder} is on {names[0]}, and this one on {names[1]}. '
    'Pass the trunk of that run, `model.trunk=FILE`, or begin with another run.'
  )


def completed(params: Any, config: _config.Config) -> Any:
  """Parameters of a run, with those that it did not train.

  They are in no checkpoint of its own, but in that of the run that it began
  with. Where that is gone, it may have trained all.
  """
  folder, _ = _parts(config.init_from or '')
  if not folder.exists():
    return params
  below = read(config.init_from or '', config.model)
  own = traverse_util.flatten_dict(params)
  whole = traverse_util.flatten_dict(below.variables['params']) | own
  if len(whole) > len(own) and below.sha256 != config.init_from_sha256:
    raise _errors.ConfigError(
      f'the run in {below.folder} is not the one that this began with, whose '
      'parameters it did not train: it was trained again. Put that run back.'
    )
  return traverse_util.unflatten_dict(whole)


def check_unseen(
  base: BaseRun,
  data: data_lib.LongTailedData,
  config: _config.Config,
  fingerprint: Mapping[str, str],
) -> None:
  """Refuses a run that was trained on images which are now set aside.

  So does it the runs that it began with. Where training sets differ, images are
  compared by their content.

  Args:
    base: The run that another one begins with.
    data: Examples of that other one.
    config: Its configuration.
    fingerprint: Checksums of these examples.

  Raises:
    ConfigError: If images for validation or for the test were training images
      of such a run, or it cannot be told.
  """
  folder, theirs = base.folder, base.config
  while True:
    if folder_lib.read_fingerprint(folder).get('train') != fingerprint['train']:
      _check_images(folder, theirs.data, data, config.data)
    if theirs.init_from is None:
      return
    folder, _ = _parts(theirs.init_from)
    config_file = folder / 'config.json'
    if not (config_file.exists() or run_files.has_copy(config_file)):
      warnings.warn(
        f'the run in {folder}, with which others before this one began, is '
        'gone: whether it was trained on images that are now set aside cannot '
        'be told.',
        stacklevel=2,
      )
      return
    theirs = folder_lib.read_config(folder, _config.Config)


def _trained(
  folder: pathlib.Path, theirs: _config.Data, ours: _config.Data
) -> data_lib.Examples:
  """The training examples of a run; those beside ours, if they were moved."""
  try:
    return _data_sets.load(theirs).train
  except data_lib.DataError:
    if theirs.name != ours.name or theirs.data_dir == ours.data_dir:
      raise
    moved = _data_sets.load(dataclasses.replace(theirs, data_dir=ours.data_dir))
    now, then = data_lib.fingerprint(moved), folder_lib.read_fingerprint(folder)
    if then and now.as_written(then)['train'] != then.get('train'):
      raise
    return moved.train


def _check_images(
  folder: pathlib.Path,
  theirs: _config.Data,
  data: data_lib.LongTailedData,
  ours: _config.Data,
) -> None:
  """The same for one run, of another training set."""
  if theirs.name == _own.OWN:
    if data.validation is None:
      return
    raise _errors.ConfigError(
      f'the run in {folder} was trained on other images of your own, and '
      'perhaps on those that are now set aside for validation. Set the same '
      'images aside in both, or none.'
    )
  try:
    trained = _trained(folder, theirs, ours)
  except data_lib.DataError as error:
    raise _errors.ConfigError(
      f'whether the run in {folder} was trained on images that are now set '
      f'aside cannot be told, since its data cannot be read: {error}'
    ) from error
  aside = {'validation': data.validation, 'test': data.test}
  keys = {part: list(_keys(x)) for part, x in aside.items() if x is not None}
  seen = {*_keys(trained)} & {key for own in keys.values() for key in own}
  if seen:  # An image that the data have twice is nobody's fault.
    seen -= {*_keys(data.train)}
  for part, own in keys.items():
    number = sum(key in seen for key in own)
    if number:
      raise _errors.ConfigError(
        f'the run in {folder} was trained on {number} of the {len(own)} images '
        f'that are now set aside for {part}: numbers on these would be too '
        'good. Train that run anew with the fields of `data` that this one '
        f'has, such as `data.validation_per_class={ours.validation_per_class}`.'
      )


def _keys(examples: data_lib.Examples) -> Iterator[bytes]:
  """By what an image is known again."""
  images = examples.images
  if isinstance(images, data_lib.EncodedImages):
    contents: Any = images.contents()
  else:
    contents = (np.ascontiguousarray(image).data for image in images)
  for content in contents:
    yield hashlib.sha256(content).digest()


def _parts(text: str) -> tuple[pathlib.Path, str | int]:
  """Folder and checkpoint."""
  path, colon, checkpoint = text.rpartition(':')
  if colon and (checkpoint in ('last', 'best') or checkpoint.isdecimal()):
    return (
      pathlib.Path(path).expanduser(),
      _chosen_checkpoint.check_checkpoint(checkpoint),
    )
  return pathlib.Path(text).expanduser(), 'last'
